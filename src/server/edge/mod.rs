//! Connections: the accept loop, TLS, and the bounds that hold before and around every request. What is asked on a connection
//! is the service's business; who asks is handed to it as [`Peer`].
//!
//! Whoever chose HTTP/1.1 in the handshake, where that is offered, is spoken to in it; without a preface, and with a deadline for
//! each request's headers in its place.
//!
//! ```text
//! accept ─► a place? ─► TLS ─────────► certificate? ─► preface + SETTINGS ─► HTTP/2 ──────────────► drain
//!           per address  `handshake`    no: one of       `preface`            requests, keep-alive,   GOAWAY, `drain`
//!           and in all                  `max_anonymous`                       anonymous: `first_request`,
//!                                                                             `anonymous_lifetime`, `anonymous_bytes`
//! ```
//!
//! Every arrow has a deadline, so silence or a trickle at any point holds a place for seconds. A caller that breaks a bound
//! loses its connection and hears nothing more than TLS or HTTP/2 has to say; it is counted in [`Stats`], and the log of a
//! flood is one line now and then. The loop itself ends on `shutdown` only, never on an error.

mod limits;
mod preface;
mod slots;
mod stream;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::{HttpService, Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{Status, body::Body, codegen::Service};
use tracing::{debug, error, warn};

pub use limits::Limits;
use slots::{Full, Slot, Slots};
use stream::{Bounded, Replay};

use crate::{server::histogram::Histogram, tls};

/// First and longest pause after an accept that failed for want of descriptors or memory.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How long a failed handshake waits for the client to read why: closed at once, the alert would be lost with the socket.
const LAST_WORD: Duration = Duration::from_millis(500);
const LAST_WORD_BYTES: u64 = 16 * 1024;
/// The least time between two lines about the same kind of flood.
const QUIET: Duration = Duration::from_secs(10);

/// Who sent a request; in the extensions of each.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The leaf of the client's verified chain. The handshake proved possession of its key and that it was valid then.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}

/// Lets who answers a request end its connection, when that is answered: what came over it is then wiped with its buffers.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Notify>);

impl Ending {
    pub fn end(&self) {
        self.0.notify_one();
    }
}

/// What happened at the edge since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections that got a place, and those of them that gave it back: the difference is open now.
    pub accepted: Counter,
    pub closed: Counter,
    pub requests: Counter,
    pub accept_errors: Counter,
    /// No place left in all, or for the address. Neither is in `accepted`.
    pub refused_full: Counter,
    pub refused_address: Counter,
    /// The same for places without a certificate.
    pub refused_anonymous: Counter,
    /// Of those that succeeded.
    pub handshake_time: Histogram,
    pub handshake_timeouts: Counter,
    pub handshake_failures: Counter,
    pub preface_timeouts: Counter,
    pub preface_failures: Counter,
    /// Without certificate: no request in time, the life used up, the bytes used up.
    pub idle_anonymous: Counter,
    pub expired_anonymous: Counter,
    pub over_allowance: Counter,
    pub write_stalls: Counter,
    /// Ended by an HTTP/2 error or a lost peer.
    pub broken: Counter,
    pub request_timeouts: Counter,
    /// Still busy when the drain was over.
    pub cut: Counter,
}

/// Only ever grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn add(&self, n: u64) {
        self.next(n);
    }

    /// Adds, and says what it was before.
    fn next(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Relaxed)
    }
}

/// Serves until `shutdown`, then lets requests in progress end and returns. New connections use the newest of `tls`.
pub async fn serve<S>(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    service: S,
    limits: Limits,
    stats: Arc<Stats>,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let (stop, stopping) = watch::channel(false);
    let edge = Arc::new(Edge {
        slots: Slots::new(&limits, stats.clone()),
        http1: limits.http1(),
        http2: limits.http2(),
        limits,
        stats,
        tls,
        stopping,
        refusals: Quiet::default(),
        accept_errors: Quiet::default(),
    });
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report_panic(ended),
            (tcp, address) = edge.accept(&listener) => {
                if let Some(slot) = edge.admit(&tcp, address) {
                    connections.spawn(edge.clone().connection(tcp, address, slot, service.clone()));
                }
            }
        }
    }
    drop(listener); // the kernel refuses newcomers, who then try another replica
    stop.send_replace(true);
    let drained = timeout(edge.limits.drain, async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    });
    if drained.await.is_err() {
        let cut = connections.len() as u64;
        edge.stats.cut.add(cut);
        warn!(cut, "connections cut off: still busy when the time to drain was over");
        connections.shutdown().await;
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    // Its text may hold a value; where it happened, the program's hook has said.
    if ended.is_err_and(|e| e.is_panic()) {
        error!("a connection's task panicked");
    }
}

/// What all connections share.
struct Edge {
    limits: Limits,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    slots: Arc<Slots>,
    stats: Arc<Stats>,
    tls: watch::Receiver<Arc<ServerConfig>>,
    stopping: watch::Receiver<bool>,
    refusals: Quiet,
    accept_errors: Quiet,
}

impl Edge {
    /// The next connection, however long the machine has none to give. A connection that ends interrupts the pause: it may
    /// have been its descriptor that was missing.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        let (mut pause, longest) = PAUSES;
        loop {
            let error = match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => error,
            };
            self.stats.accept_errors.add(1);
            if let Some(more) = self.accept_errors.now() {
                warn!(%error, more, "can't accept connections; trying on. If files are short, raise LimitNOFILE=");
            }
            use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
            if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }

    /// A place for the connection; without one it is reset, before it has cost a handshake.
    fn admit(&self, tcp: &TcpStream, address: SocketAddr) -> Option<Slot> {
        let full = match self.slots.take(address.ip()) {
            Ok(slot) => return Some(slot),
            Err(full) => full,
        };
        let (counter, cap) = match full {
            Full::All => (&self.stats.refused_full, "max_connections"),
            Full::Address => (&self.stats.refused_address, "max_per_address"),
        };
        counter.add(1);
        self.refused(address, cap);
        let _ = tcp.set_zero_linger(); // fails only on a socket that is gone
        None
    }

    fn refused(&self, peer: SocketAddr, cap: &str) {
        if let Some(more) = self.refusals.now() {
            warn!(%peer, cap, more, "connection refused: no place left");
        }
    }

    /// A connection's life.
    async fn connection<S>(self: Arc<Self>, tcp: TcpStream, address: SocketAddr, mut slot: Slot, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let mut stopping = self.stopping.clone();
        let greeted = tokio::select! {
            // On the heap, and gone when it is done: a connection is a greeting for a moment, and idle for hours.
            greeted = Box::pin(self.greet(tcp, address, &mut slot)) => greeted,
            _ = stopping.wait_for(|stop| *stop) => None, // nothing was asked yet, so nothing is lost
        };
        if let Some((io, peer, speaks)) = greeted {
            self.converse(io, peer, speaks, slot.number, service).await;
        }
    }

    /// TLS, the certificate, the preface: everything before HTTP/2 is set up.
    async fn greet(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        slot: &mut Slot,
    ) -> Option<(Replay<TlsStream<Bounded>>, Peer, Speaks)> {
        let _ = tcp.set_nodelay(true); // fails only on a socket that is gone; the handshake will tell
        let config = self.tls.borrow().clone();
        let began = Instant::now();
        let tcp = Bounded::new(tcp, self.limits.write_stall, self.stats.clone());
        let mut tls = match timeout(self.limits.handshake, TlsAcceptor::from(config).accept(tcp).into_fallible()).await
        {
            Ok(Ok(tls)) => {
                self.stats.handshake_time.observe(began.elapsed().as_secs_f64());
                tls
            }
            Ok(Err((error, tcp))) => {
                self.stats.handshake_failures.add(1);
                debug!(peer = %address, %error, "handshake failed");
                last_word(tcp).await;
                return None;
            }
            Err(_) => {
                self.stats.handshake_timeouts.add(1);
                debug!(peer = %address, "no handshake in time");
                return None;
            }
        };

        let (tcp, session) = tls.get_mut();
        let certificate =
            session.peer_certificates().and_then(|chain| chain.first()).map(|leaf| Arc::new(leaf.clone().into_owned()));
        let speaks = match session.alpn_protocol() {
            Some(tls::HTTP_1) => Speaks::Http1,
            None if !self.limits.certificates => Speaks::Http1, // what ALPN's absence has always meant, where ours do not call
            _ => Speaks::Http2,
        };
        if certificate.is_none() && self.limits.certificates {
            tcp.allow(self.limits.anonymous_bytes);
            if slot.take_anonymous().is_err() {
                self.stats.refused_anonymous.add(1);
                self.refused(address, "max_anonymous");
                return None;
            }
        }

        if matches!(speaks, Speaks::Http1) {
            return Some((Replay::new(Bytes::new(), tls), Peer { address, certificate }, speaks));
        }
        match timeout(self.limits.preface, preface::read(&mut tls)).await {
            Ok(Ok(preface)) => Some((Replay::new(preface, tls), Peer { address, certificate }, speaks)),
            Ok(Err(error)) => {
                self.stats.preface_failures.add(1);
                debug!(peer = %address, %error, "no HTTP/2");
                None
            }
            Err(_) => {
                self.stats.preface_timeouts.add(1);
                debug!(peer = %address, "no HTTP/2 preface in time");
                None
            }
        }
    }

    /// HTTP, until the peer goes, breaks a bound, or is asked to go.
    async fn converse<S>(&self, io: Replay<TlsStream<Bounded>>, peer: Peer, speaks: Speaks, number: u64, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let Peer { address, certificate } = &peer;
        let (address, anonymous) = (*address, certificate.is_none() && self.limits.certificates);
        let asked = Arc::new(AtomicBool::new(false));
        let ending = (!self.limits.certificates).then(Ending::default); // ours seal their values
        let handler = {
            let (service, stats, asked) = (TowerToHyperService::new(service), self.stats.clone(), asked.clone());
            let (limit, ending) = (self.limits.request_timeout, ending.clone());
            service_fn(move |mut request| {
                asked.store(true, Relaxed);
                ending.clone().map(|ending| request.extensions_mut().insert(ending));
                answer(service.clone(), request, peer.clone(), limit, stats.clone())
            })
        };
        let who = Who { address, anonymous, number, asked, ending };
        match speaks {
            Speaks::Http2 => self.attend(pin!(self.http2.serve_connection(TokioIo::new(io), handler)), who).await,
            Speaks::Http1 => self.attend(pin!(self.http1.serve_connection(TokioIo::new(io), handler)), who).await,
        }
    }

    /// Holds a connection to its bounds.
    async fn attend(&self, mut connection: Pin<&mut impl Conversation>, who: Who) {
        let Who { address, anonymous, number, asked, mut ending } = who;
        let mut stopping = self.stopping.clone();
        let mut first_request = pin!(sleep(self.limits.first_request));
        let mut unasked = anonymous;
        let age = if anonymous { self.limits.anonymous_lifetime } else { self.limits.age_of(number) };
        let mut end = pin!(sleep(age));
        let (mut aged, mut stopped) = (false, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        self.stats.broken.add(1);
                        debug!(peer = %address, %error, "connection broke");
                    }
                    return;
                }
                () = &mut first_request, if unasked => {
                    unasked = false;
                    if !asked.load(Relaxed) {
                        self.stats.idle_anonymous.add(1);
                        debug!(peer = %address, "no request in time, and no certificate");
                        return;
                    }
                }
                () = &mut end => {
                    if anonymous {
                        self.stats.expired_anonymous.add(1);
                        debug!(peer = %address, "the time of a connection without certificate is over");
                        return;
                    }
                    if aged {
                        self.stats.cut.add(1);
                        debug!(peer = %address, "still busy long after it was asked to reconnect");
                        return;
                    }
                    aged = true;
                    connection.as_mut().finish();
                    end.as_mut().reset(tokio::time::Instant::now() + self.limits.drain);
                }
                () = asked_to_end(ending.as_ref()), if ending.is_some() => {
                    ending = None;
                    connection.as_mut().finish();
                }
                _ = stopping.wait_for(|stop| *stop), if !stopped => {
                    stopped = true; // `serve` cuts off what does not end in time
                    connection.as_mut().finish();
                }
            }
        }
    }
}

/// What was agreed on in the handshake.
enum Speaks {
    Http1,
    Http2,
}

/// Whose conversation it is.
struct Who {
    address: SocketAddr,
    anonymous: bool,
    number: u64,
    asked: Arc<AtomicBool>,
    ending: Option<Ending>,
}

/// A connection that is served, in either protocol.
trait Conversation: Future<Output = hyper::Result<()>> {
    /// Takes no more requests, and ends when those in progress have ended.
    fn finish(self: Pin<&mut Self>);
}

type Io = TokioIo<Replay<TlsStream<Bounded>>>;

impl<S> Conversation for http1::Connection<Io, S>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Conversation for http2::Connection<Io, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn answer<S>(
    service: TowerToHyperService<S>,
    request: Request<Incoming>,
    peer: Peer,
    limit: Duration,
    stats: Arc<Stats>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    stats.requests.add(1);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    timeout(limit, service.call(request)).await.unwrap_or_else(|_| {
        stats.request_timeouts.add(1);
        Ok(Status::deadline_exceeded("the control plane was too long about this call; try again").into_http())
    })
}

async fn asked_to_end(ending: Option<&Ending>) {
    match ending {
        Some(ending) => ending.0.notified().await,
        None => std::future::pending().await,
    }
}

/// Lets the client read the alert that says why it was turned away.
async fn last_word(mut tcp: Bounded) {
    let _ = timeout(LAST_WORD, async {
        tcp.shutdown().await?;
        copy(&mut tcp.take(LAST_WORD_BYTES), &mut sink()).await
    })
    .await; // whatever came of it, the connection ends here
}

/// Lets one line through per [`QUIET`], with the number of those it held back.
#[derive(Default)]
struct Quiet(Mutex<(Option<Instant>, u64)>);

impl Quiet {
    fn now(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held_back) = &mut *state;
        if last.is_some_and(|last| last.elapsed() < QUIET) {
            *held_back += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(held_back))
    }
}
