//! Where the status is asked for: a unix socket whose mode and group decide who may connect, and, where configured, TCP with
//! mutual TLS in the name of the session. What asks is bounded: so many at a time, so long, so much.

use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use nix::unistd::Gid;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tonic::{Status as Refusal, body::Body, codegen::Service};
use tonic_health::pb::health_server::HealthServer;

use super::{Status, calls::Calls, metrics, sight::Peer};
use crate::{
    agent::local::{self, open_to},
    wire::v1::agent_status_service_server::AgentStatusServiceServer,
};

/// Connections at one time, on each of the two.
const MOST: usize = 32;
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A connection's life over the network. Its certificate's dates are looked at when it begins and not again.
const LONGEST: Duration = Duration::from_secs(600);
const DRAIN: Duration = Duration::from_secs(5);
/// A request is a handful of bytes.
const LARGEST: usize = 64 * 1024;

/// What is listened on.
pub struct Sockets {
    pub unix: PathBuf,
    /// Who may connect there, besides root.
    pub group: Option<Gid>,
    pub tcp: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
}

impl Sockets {
    /// Where the socket of the agent is whose runtime directory is `dir`; beside the other one (`local`).
    pub fn path(dir: &Path) -> PathBuf {
        local::path(dir).with_file_name("status")
    }
}

/// Binds all that is configured and gives what serves it, until it is dropped. The unix socket may fail: without its directory,
/// which systemd makes, an agent run by hand goes on without. What was asked for by name may not.
pub fn serve(sockets: &Sockets, status: Status) -> io::Result<impl Future<Output = Infallible> + use<>> {
    let calls = Calls { status: status.clone(), vouched: Arc::default() };
    let unix = match unix(sockets) {
        Ok(unix) => Some(unix),
        Err(error) => {
            tracing::info!(socket = %sockets.unix.display(), %error, "the status is not served there");
            None
        }
    };
    let named =
        |what: &str, address: SocketAddr, e: io::Error| io::Error::new(e.kind(), format!("{what} {address}: {e}"));
    let bind = |what: &'static str, address: SocketAddr| {
        std::net::TcpListener::bind(address)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            })
            .map_err(|e| named(what, address, e))
    };
    let tcp = sockets.tcp.map(|address| bind("status.listen", address)).transpose()?;
    let metrics = sockets.metrics.map(|address| bind("status.metrics", address)).transpose()?;
    if let Some(listening) = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()) {
        tracing::info!(%listening, "the status is served to operators and admins");
    }
    Ok(async move {
        tokio::join!(local(unix, calls.clone()), remote(tcp, calls), metrics::serve(metrics, status));
        std::future::pending().await
    })
}

fn unix(sockets: &Sockets) -> io::Result<UnixListener> {
    match fs::remove_file(&sockets.unix) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Whoever connects needs leave to write, which until the last line nobody but the agent has.
    let listener = std::os::unix::net::UnixListener::bind(&sockets.unix)?;
    listener.set_nonblocking(true)?;
    open_to(&sockets.unix, sockets.group)?;
    UnixListener::from_std(listener)
}

async fn local(listener: Option<UnixListener>, calls: Calls) {
    let Some(listener) = listener else { return };
    let mut guests = Guests::new();
    loop {
        let slot = guests.slot().await;
        match listener.accept().await {
            Ok((connection, _)) => {
                if let Ok(peer) = connection.peer_cred() {
                    tracing::debug!(uid = peer.uid(), pid = peer.pid(), "asked for the status");
                }
                let calls = calls.clone();
                guests.let_in(async move {
                    let _slot = slot;
                    converse(connection, Peer::Local, calls).await;
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn remote(listener: Option<TcpListener>, calls: Calls) {
    let Some(listener) = listener else { return };
    let mut guests = Guests::new();
    loop {
        let slot = guests.slot().await;
        let (connection, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let calls = calls.clone();
        guests.let_in(async move {
            let _slot = slot;
            let Some(identity) = calls.status.0.identity.borrow().clone() else {
                return tracing::debug!(%address, "asked before there is an identity to answer with");
            };
            let tls = match timeout(HANDSHAKE, TlsAcceptor::from(identity.server).accept(connection)).await {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => return tracing::debug!(%address, %error, "handshake failed"),
                Err(_) => return tracing::debug!(%address, "no handshake in time"),
            };
            let leaf = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
            // The handshake asks for one; without, there is nobody to vouch for.
            if let Some(leaf) = leaf {
                converse(tls, Peer::Holder(leaf.into_owned()), calls).await;
            }
        });
    }
}

/// Connections in progress; those that end give their places back.
struct Guests {
    slots: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Guests {
    fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(MOST)), tasks: JoinSet::new() }
    }

    async fn slot(&mut self) -> OwnedSemaphorePermit {
        while self.tasks.try_join_next().is_some() {}
        self.slots.clone().acquire_owned().await.expect("nobody closes it")
    }

    fn let_in(&mut self, guest: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(guest);
    }
}

/// One that went away again, or no descriptors left, which passes.
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "accepting somebody who asks for the status");
    sleep(Duration::from_millis(50)).await;
}

async fn converse(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer, calls: Calls) {
    let bounded = matches!(peer, Peer::Holder(_));
    let answer = service_fn(move |request: Request<Incoming>| answer(request, peer.clone(), calls.clone()));
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(16)
        .max_header_list_size(8 * 1024)
        .max_pending_accept_reset_streams(20)
        .initial_stream_window_size(LARGEST as u32)
        .initial_connection_window_size(LARGEST as u32)
        .max_send_buf_size(256 * 1024)
        .auto_date_header(false);
    let mut connection = pin!(http2.serve_connection(TokioIo::new(io), answer));
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection that asked for the status");
            }
        }
        () = sleep(LONGEST), if bounded => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(DRAIN, connection).await;
        }
    }
}

async fn answer(request: Request<Incoming>, peer: Peer, calls: Calls) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    let path = request.uri().path();
    if path.starts_with("/keyfob.v1.AgentStatusService/") {
        AgentStatusServiceServer::new(calls).max_decoding_message_size(LARGEST).call(request).await
    } else if path.starts_with("/grpc.health.v1.Health/") {
        HealthServer::new(calls).max_decoding_message_size(LARGEST).call(request).await
    } else {
        Ok(Refusal::unimplemented("an agent serves keyfob.v1.AgentStatusService and grpc.health.v1.Health").into_http())
    }
}
