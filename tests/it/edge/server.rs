//! The server under test: the real edge with real certificates, and a service that tells what the edge does around it.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{Request, Response};
use keyfob::{
    server::edge::{Counter, Limits, Peer, Stats, serve},
    tls::{Keyed, Trust, client_config, fingerprint, server_config},
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tonic::{body::Body, codegen::Service, service::Routes};

use super::{
    NEVER, PATIENCE,
    client::{Client, Connection},
};

pub struct Edge {
    pub address: SocketAddr,
    pub stats: Arc<Stats>,
    pub tls: watch::Sender<Arc<ServerConfig>>,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
    /// Lets one `/test/slow` end.
    pub finish_slow: Arc<Notify>,
}

/// The real caps, and no deadline that a busy machine could meet.
pub fn patient() -> Limits {
    Limits {
        handshake: NEVER,
        preface: NEVER,
        first_request: NEVER,
        anonymous_lifetime: NEVER,
        anonymous_bytes: 1 << 30,
        keepalive_interval: NEVER,
        keepalive_timeout: NEVER,
        write_stall: NEVER,
        request_timeout: NEVER,
        max_age: NEVER,
        drain: NEVER,
        ..Limits::default()
    }
}

impl Edge {
    pub async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stats = Arc::new(Stats::default());
        let finish_slow = Arc::new(Notify::new());
        let (tls, watched) = watch::channel(PKI.server().0);
        let (stop, stopped) = oneshot::channel();
        let service = service(finish_slow.clone());
        let task =
            tokio::spawn(serve(listener, watched, service, limits, stats.clone(), async { drop(stopped.await) }));
        Self { address, stats, tls, stop: Some(stop), task, finish_slow }
    }

    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub fn client(&self, certificate: bool) -> Client {
        Client { address: self.address, from: None, config: PKI.client(certificate) }
    }

    pub async fn connect(&self, certificate: bool) -> Connection {
        self.client(certificate).connect().await.unwrap()
    }

    pub async fn until(&self, condition: impl Fn(&Stats) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.stats) {
            assert!(Instant::now() < deadline, "{:?}", self.stats);
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the kernel has just two sockets on the server's side: the listening one and one connection. One closed
    /// in order would stay for a minute (TIME_WAIT), longer than this waits.
    pub async fn nothing_lingers(&self) {
        const ESTABLISHED: &str = "01";
        const LISTEN: &str = "0A";
        let local = format!("0100007F:{:04X}", self.address.port()); // 127.0.0.1, as it stands in memory
        let deadline = Instant::now() + PATIENCE;
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()); // sl, local, remote, state
            let mut states: Vec<&str> = rows.filter(|row| row[1] == local).map(|row| row[3]).collect();
            states.sort_unstable();
            if states == [ESTABLISHED, LISTEN] {
                return;
            }
            assert!(Instant::now() < deadline, "{states:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn counter(&self, name: &str) -> &Counter {
        let s = &*self.stats;
        match name {
            "handshake_timeouts" => &s.handshake_timeouts,
            "preface_timeouts" => &s.preface_timeouts,
            "idle_anonymous" => &s.idle_anonymous,
            "broken" => &s.broken,
            "refused_address" => &s.refused_address,
            "refused_full" => &s.refused_full,
            "refused_anonymous" => &s.refused_anonymous,
            "write_stalls" => &s.write_stalls,
            "over_allowance" => &s.over_allowance,
            other => panic!("{other}"),
        }
    }
}

/// gRPC health, and three paths that tell what the edge does around a service.
pub fn service(
    finish_slow: Arc<Notify>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let routes = Routes::new(tonic_health::server::health_reporter().1).prepare();
    tower::service_fn(move |request: Request<Body>| {
        let (mut routes, finish_slow) = (routes.clone(), finish_slow.clone());
        async move {
            let text = match request.uri().path() {
                "/test/slow" => {
                    finish_slow.notified().await;
                    "slow".to_owned()
                }
                "/test/big" => "b".repeat(64 << 20),
                "/test/peer" => {
                    let peer = request.extensions().get::<Peer>().unwrap();
                    let who =
                        peer.certificate.as_ref().map_or("nobody".to_owned(), |c| format!("{:?}", fingerprint(c)));
                    format!("{} {who}", peer.address)
                }
                _ => return routes.call(request).await,
            };
            Ok(Response::new(Body::new(text)))
        }
    })
}

pub static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);

pub struct Pki {
    pub root: CertificateDer<'static>,
    pub issuer: Issuer<'static, KeyPair>,
    pub user: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        let user = issue(&issuer, "spiffe://keyfob.example/org/acme/user/alice", ExtendedKeyUsagePurpose::ClientAuth);
        Self { root, issuer, user }
    }

    pub fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Keyed {
        let (leaf, key) = issue(&self.issuer, name, usage);
        Keyed { chain: vec![leaf], key }
    }

    /// A fresh certificate each time, and the configuration that shows it.
    pub fn server(&self) -> (Arc<ServerConfig>, CertificateDer<'static>) {
        let own = self.issue("spiffe://keyfob.example/server", ExtendedKeyUsagePurpose::ServerAuth);
        let leaf = own.chain[0].clone();
        (Arc::new(server_config(own, std::slice::from_ref(&self.root)).unwrap()), leaf)
    }

    pub fn client(&self, certificate: bool) -> Arc<ClientConfig> {
        let own = certificate.then(|| Keyed { chain: vec![self.user.0.clone()], key: self.user.1.clone_key() });
        Arc::new(client_config(Trust::Roots(vec![self.root.clone()]), own).unwrap())
    }
}

pub fn issue(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    params.extended_key_usages = vec![usage];
    let leaf = params.signed_by(&key, issuer).unwrap().der().clone();
    (leaf, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}
