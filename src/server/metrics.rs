//! What the server counts: calls by name and code and how long they took, connections, commits. No label names a secret, a
//! person or an organization; calls are named by the descriptors, so that nobody can make up labels.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body, codegen::Service};

use super::{edge::Stats, histogram::Histogram};
use crate::{exposition::Text, wire::calls::PATHS};

/// As gRPC names them, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Health, reflection, and what is not there.
const OTHER: &str = "other";

pub struct Metrics {
    pub edge: Arc<Stats>,
    /// A transaction's commit, `fsync` in it, and the jobs that shared it.
    pub commit: Histogram,
    pub group: Histogram,
    /// As they were when the store was asked last.
    pub rollouts: AtomicU64,
    calls: Vec<Call>,
}

impl Default for Metrics {
    fn default() -> Self {
        let calls = (0..=PATHS.len()).map(|_| Call::default()).collect();
        Self {
            edge: Arc::default(),
            commit: Histogram::default(),
            group: Histogram::of_counts(),
            rollouts: AtomicU64::new(0),
            calls,
        }
    }
}

/// One name's.
#[derive(Default)]
struct Call {
    codes: [AtomicU64; CODES.len()],
    open: AtomicI64,
    time: Histogram,
}

impl Metrics {
    fn place(path: &str) -> usize {
        let name = path.strip_prefix("/keyfob.v1.").unwrap_or_default();
        PATHS.iter().position(|known| *known == name).unwrap_or(PATHS.len())
    }

    fn calls(&self) -> impl Iterator<Item = (&'static str, &Call)> {
        PATHS.iter().copied().chain([OTHER]).zip(&self.calls)
    }

    pub fn render(&self) -> Text {
        let mut text = Text::default();
        text.family("keyfob_requests_total", "counter", "Calls that are over, by name and gRPC code.");
        for (rpc, call) in self.calls() {
            for (code, count) in CODES.iter().zip(&call.codes) {
                match count.load(Relaxed) {
                    0 => {}
                    count => text.sample("keyfob_requests_total", &[("rpc", rpc), ("code", code)], count),
                }
            }
        }
        text.family("keyfob_streams_open", "gauge", "Calls that are not over: streams, and requests in progress.");
        for (rpc, call) in self.calls() {
            text.sample("keyfob_streams_open", &[("rpc", rpc)], call.open.load(Relaxed).max(0));
        }
        text.family(
            "keyfob_request_seconds",
            "histogram",
            "From a call's head to its answer's; BundleService/Fetch is a boot's.",
        );
        for (rpc, call) in self.calls().filter(|(_, call)| call.time.count() > 0) {
            call.time.render(&mut text, "keyfob_request_seconds", &[("rpc", rpc)]);
        }
        text.family("keyfob_handshake_seconds", "histogram", "TLS handshakes that succeeded.");
        self.edge.handshake_time.render(&mut text, "keyfob_handshake_seconds", &[]);
        text.family("keyfob_store_commit_seconds", "histogram", "Commits of the store, until they were on disk.");
        self.commit.render(&mut text, "keyfob_store_commit_seconds", &[]);
        text.family("keyfob_store_group_size", "histogram", "Jobs that shared a commit.");
        self.group.render(&mut text, "keyfob_store_group_size", &[]);
        text.one("keyfob_rollouts_open", "gauge", "Rollouts that are not over.", self.rollouts.load(Relaxed));
        self.edge(&mut text);
        text
    }

    fn edge(&self, text: &mut Text) {
        let edge = &self.edge;
        text.one("keyfob_connections_total", "counter", "Connections that got a place.", edge.accepted.get());
        let open = edge.accepted.get().saturating_sub(edge.closed.get());
        text.one("keyfob_connections_open", "gauge", "Connections that are open.", open);
        text.family(
            "keyfob_connections_refused_total",
            "counter",
            "Connections that were turned away or cut, by reason.",
        );
        for (reason, counter) in [
            ("full", &edge.refused_full),
            ("address", &edge.refused_address),
            ("anonymous", &edge.refused_anonymous),
            ("handshake_timeout", &edge.handshake_timeouts),
            ("handshake", &edge.handshake_failures),
            ("preface_timeout", &edge.preface_timeouts),
            ("preface", &edge.preface_failures),
            ("idle_anonymous", &edge.idle_anonymous),
            ("expired_anonymous", &edge.expired_anonymous),
            ("over_allowance", &edge.over_allowance),
            ("write_stall", &edge.write_stalls),
            ("broken", &edge.broken),
            ("drain", &edge.cut),
        ] {
            text.sample("keyfob_connections_refused_total", &[("reason", reason)], counter.get());
        }
        text.one("keyfob_accept_errors_total", "counter", "Failures to accept a connection.", edge.accept_errors.get());
        text.one("keyfob_request_timeouts_total", "counter", "Calls that took too long.", edge.request_timeouts.get());
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub struct Counted<S> {
    pub service: S,
    pub metrics: Arc<Metrics>,
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut open = Open { place: Metrics::place(request.uri().path()), metrics: self.metrics.clone(), code: None };
        open.call().open.fetch_add(1, Relaxed);
        let began = Instant::now();
        let answering = self.service.call(request);
        Box::pin(async move {
            let answer = answering.await?;
            open.call().time.observe(began.elapsed().as_secs_f64());
            open.look(answer.headers()); // a refusal has no body
            Ok(answer.map(|body| Body::new(Answer { body, open })))
        })
    }
}

/// A call that is not over. Whoever hangs up cancels it.
struct Open {
    place: usize,
    metrics: Arc<Metrics>,
    code: Option<Code>,
}

impl Open {
    fn call(&self) -> &Call {
        &self.metrics.calls[self.place]
    }

    fn look(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.code = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled) as usize;
        self.call().codes[code].fetch_add(1, Relaxed);
        self.call().open.fetch_sub(1, Relaxed);
    }
}

/// Looks at the trailers that go by.
struct Answer {
    body: Body,
    open: Open,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.open.look(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
