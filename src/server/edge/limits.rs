//! What one caller may cost, and all of them together. Every figure has a reason; the tests use smaller ones.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

const KIB: u32 = 1024;

/// The bounds of [`serve`](super::serve). Times are from the event named, sizes in bytes, counts at one moment.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all, handshaking ones included. Each costs a file descriptor: the process's own limit must be
    /// higher than this, or the store goes short of them together with the callers.
    pub max_connections: usize,
    /// Connections of one address; of IPv6 one /64, which is what one customer of a network usually holds. High, since a
    /// whole cluster of VMs may stand behind one translated address.
    pub max_per_address: usize,
    /// Whether callers are known by certificates. Where they are not (the console), nobody is a stranger for having none, and the
    /// bounds of strangers do not count.
    pub certificates: bool,
    /// Connections without a client certificate. Only enrolment needs them, and it is done in one short call.
    pub max_anonymous: usize,
    /// The same from one address, so that one stranger can't take all the places that booting VMs enrol in.
    pub max_anonymous_per_address: usize,

    /// From accept to the end of the TLS handshake. A slow link needs two round trips and some 10 KiB.
    pub handshake: Duration,
    /// From the end of the handshake to the last byte of the HTTP/2 preface and first SETTINGS frame; clients send them in
    /// one piece with the end of their handshake. Bounds silence and trickle alike.
    pub preface: Duration,
    /// From the preface to the first request of a connection without certificate: whoever enrols asks at once. In HTTP/1.1, from
    /// each answer to the end of the next request's headers.
    pub first_request: Duration,
    /// From accept to the end of a connection without certificate, whatever it is doing.
    pub anonymous_lifetime: Duration,
    /// What a connection without certificate may send in its life, TLS framing included. An enrolment is below 10 KiB; this
    /// bounds what a stranger's floods of any frame can cost before the next handshake is due.
    pub anonymous_bytes: u64,

    /// Silence after which the peer is asked whether it is still there (HTTP/2 PING).
    pub keepalive_interval: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
    /// How long a peer may refuse to take a single byte of what we write. Without this, a peer that stops reading outlives
    /// the keep-alive, whose GOAWAY would wait behind the full buffers for ever.
    pub write_stall: Duration,
    /// From a request's headers to its response's. Streams may go on after that; a caller that trickles its message, or a
    /// handler that hangs, may not.
    pub request_timeout: Duration,
    /// Age at which a connection with a certificate is asked to reconnect (GOAWAY, then [`drain`](Self::drain)). TLS looks at
    /// a certificate's dates in the handshake only, so without this an expired one is good for as long as it stays
    /// connected. Shortened by up to an eighth, differently for each, so that those who came together don't return together.
    pub max_age: Duration,
    /// From the request to stop, or to reconnect, to the end of the requests in progress.
    pub drain: Duration,

    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// A request's headers, decoded. Also bounds CONTINUATION frames and HPACK's expansion.
    pub max_header_list: u32,
    /// HPACK's table for a connection's request headers.
    pub header_table: u32,
    /// Streams opened and reset by the peer before we looked at them ("rapid reset"); one more ends the connection.
    pub max_pending_reset: usize,
    /// Streams that we reset because of the peer's errors, in a connection's life; one more ends it.
    pub max_local_error_reset: usize,
    /// What a peer may send on one stream before a handler takes it.
    pub stream_window: u32,
    /// What a peer may send on all streams before handlers take it: the unread bytes that a connection can hold here.
    pub connection_window: u32,
    /// What a handler may have written to one stream before the peer takes it.
    pub max_send_buffer: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_per_address: 1_024,
            certificates: true,
            max_anonymous: 512,
            max_anonymous_per_address: 64,
            handshake: Duration::from_secs(5),
            preface: Duration::from_secs(5),
            first_request: Duration::from_secs(5),
            anonymous_lifetime: Duration::from_secs(30),
            anonymous_bytes: 256 * u64::from(KIB),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            max_age: Duration::from_secs(3600),
            drain: Duration::from_secs(10),
            max_concurrent_streams: 64,
            max_header_list: 16 * KIB,
            header_table: 4 * KIB,
            max_pending_reset: 20,
            max_local_error_reset: 1_024,
            stream_window: 256 * KIB,
            connection_window: 1024 * KIB,
            max_send_buffer: 256 * KIB,
        }
    }
}

impl Limits {
    /// For browsers: a page is a handful of requests on a few connections, which stay open while somebody reads.
    pub fn console() -> Self {
        Self {
            max_connections: 2_048,
            max_per_address: 256,
            certificates: false,
            first_request: Duration::from_secs(60),
            ..Self::default()
        }
    }

    /// hyper's side of the limits, in HTTP/1.1.
    pub(super) fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new()) // without it, the deadline panics
            .header_read_timeout(self.first_request)
            .max_buf_size(self.max_header_list.max(16 * KIB) as usize) // bounds what the headers may be, too
            .max_headers(64);
        builder
    }

    /// hyper's side of the limits. Each is set, also where it equals hyper's default of today.
    pub(crate) fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new()) // without it, keep-alive panics
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(self.max_header_list)
            .header_table_size(self.header_table)
            .max_frame_size(16 * KIB) // the protocol's least: larger ones only let one stream hold up the others
            .max_pending_accept_reset_streams(self.max_pending_reset)
            .max_local_error_reset_streams(self.max_local_error_reset)
            .adaptive_window(false) // it would override the two windows
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_send_buf_size(self.max_send_buffer as usize)
            .auto_date_header(false); // gRPC has no use for it
        builder
    }

    /// [`max_age`](Self::max_age) for the connection with this number.
    pub(super) fn age_of(&self, number: u64) -> Duration {
        self.max_age - self.max_age / 8 * (number % 64) as u32 / 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_spread_over_an_eighth_and_never_exceed_the_maximum() {
        let limits = Limits { max_age: Duration::from_secs(3600), ..Limits::default() };
        let ages: Vec<Duration> = (0..128).map(|number| limits.age_of(number)).collect();
        assert_eq!(ages[0], Duration::from_secs(3600));
        assert!(ages.iter().all(|age| *age > Duration::from_secs(3150) && *age <= limits.max_age), "{ages:?}");
        assert_eq!(ages[..64].iter().collect::<std::collections::HashSet<_>>().len(), 64);
    }
}
