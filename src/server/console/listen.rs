//! The console's own listener: the edge's accept loop, with bounds for browsers and a certificate for them.

use std::{
    convert::Infallible,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use http::{Request, Response};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use time::OffsetDateTime;
use tokio::{net::TcpListener, sync::watch};
use tonic::{body::Body, codegen::Service};

use super::{Console, Oidc, routes};
use crate::{
    server::{ca::Authority, edge, grpc::App},
    tls::{self, Keyed},
};

/// How often a certificate of yours is read again, so that a renewed one is taken up.
const READ_AGAIN: Duration = Duration::from_secs(3_600);

/// Where its certificate comes from.
pub enum Certificate {
    /// PEM files of yours.
    Files { certificate: PathBuf, key: PathBuf },
    /// Issued by the built-in authority, for these names.
    Issued { authority: Arc<Authority>, names: Vec<String> },
}

impl Certificate {
    /// The newest, and how long it is good for being the newest.
    pub fn issue(&self) -> Result<(Arc<ServerConfig>, Duration), String> {
        let (keyed, wait) = match self {
            Self::Files { certificate, key } => {
                let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let chain = chain.map_err(|e| format!("{}: {e}", certificate.display()))?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
                (Keyed { chain, key }, READ_AGAIN)
            }
            Self::Issued { authority, names } => {
                let now = OffsetDateTime::now_utc();
                let (keyed, not_after) = authority.issue_console(names, now).map_err(|e| e.to_string())?;
                (keyed, Duration::try_from((not_after - now) * 0.7).unwrap_or(READ_AGAIN))
            }
        };
        let config = tls::console_config(keyed).map_err(|e| format!("the console's certificate: {e}"))?;
        Ok((Arc::new(config), wait))
    }
}

/// All that it takes to serve the console.
pub struct Listen {
    pub listener: TcpListener,
    pub certificates: watch::Receiver<Arc<ServerConfig>>,
    pub oidc: Option<Oidc>,
}

pub async fn serve(listen: Listen, app: Arc<App>, shutdown: impl Future<Output = ()>) {
    let Listen { listener, certificates, oidc } = listen;
    let pages = Pages(routes(Console::new(app, oidc)));
    edge::serve(listener, certificates, pages, edge::Limits::console(), Arc::default(), shutdown).await;
}

/// The routes as the edge calls them.
#[derive(Clone)]
struct Pages(Router);

impl Service<Request<Body>> for Pages {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // a router always is
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answered = self.0.call(request.map(axum::body::Body::new));
        Box::pin(async move { Ok(answered.await?.map(Body::new)) })
    }
}
