//! What is asked of an OpenID provider, over HTTPS: one request, one answer, no redirections (they could lead inwards), bounds on
//! time and size. Plain HTTP only to this machine itself, where a test's provider is.

use std::{fmt, net::IpAddr, path::Path, pin::Pin, sync::Arc, time::Duration};

use axum::body::{Body, to_bytes};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use openidconnect::AsyncHttpClient;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const TIME: Duration = Duration::from_secs(10);
const LARGEST: usize = 1024 * 1024;
/// Where Debian and its like, Fedora and its like, and Alpine keep what the machine trusts.
const MACHINES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

#[derive(Debug)]
pub struct Unanswered(String);

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unanswered {}

fn because<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> Unanswered {
    move |error| Unanswered(format!("{what}: {error}"))
}

pub struct Fetcher {
    /// `None` where this machine trusts nobody.
    tls: Option<TlsConnector>,
}

impl Fetcher {
    /// Trusts the authorities of this file, or this machine's.
    pub fn new(authorities: Option<&Path>) -> Result<Self, String> {
        let machines = || MACHINES.iter().map(Path::new).find(|path| path.exists());
        let Some(path) = authorities.or_else(machines) else { return Ok(Self { tls: None }) };
        let shown = path.display();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| format!("{shown}: {e}"))? {
            // Of a machine's many, one that is not understood is one that is not trusted.
            let _ = roots.add(certificate.map_err(|e| format!("{shown}: {e}"))?);
        }
        if roots.is_empty() {
            return Err(format!("{shown} has no certificate in it"));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![crate::tls::HTTP_1.to_vec()];
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Refuses what would travel in the clear.
    pub fn may_ask(&self, url: &str) -> Result<(), String> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        let host = uri.host().unwrap_or_default();
        match uri.scheme_str() {
            Some("https") if self.tls.is_none() => Err("this machine trusts no authority; give --oidc-ca".into()),
            Some("https") if !host.is_empty() => Ok(()),
            Some("http") if is_here(host) => Ok(()),
            _ => Err("it must be an https URL".into()),
        }
    }

    async fn fetch(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Unanswered> {
        let url = request.uri().to_string();
        self.may_ask(&url).map_err(because("the provider named a URL that is not asked"))?;
        timeout(TIME, self.ask(request)).await.map_err(|_| Unanswered("the provider takes too long".into()))?
    }

    /// What the provider says of the holder of an access token.
    pub async fn userinfo(&self, url: &str, token: &str) -> Result<Value, Unanswered> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(because("the access token"))?;
        bearer.set_sensitive(true);
        let request = Request::get(url).header(header::AUTHORIZATION, bearer).body(Vec::new());
        let answer = self.fetch(request.map_err(because("the provider's userinfo endpoint"))?).await?;
        if answer.status() != StatusCode::OK {
            return Err(Unanswered(format!("the provider's userinfo endpoint answers {}", answer.status())));
        }
        serde_json::from_slice(answer.body()).map_err(|_| Unanswered("the provider's userinfo is not JSON".into()))
    }

    async fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Unanswered> {
        let uri = request.uri().clone();
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(because("connecting to the provider"))?;
        let Some(tls) = self.tls.as_ref().filter(|_| secure) else { return converse(tcp, request).await };
        let name = ServerName::try_from(host).map_err(because("the provider's name"))?;
        converse(tls.connect(name, tcp).await.map_err(because("TLS with the provider"))?, request).await
    }
}

/// As the library wants to be answered.
impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, Unanswered>> + Send + 'c>>;

    fn call(&'c self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(self.fetch(request))
    }
}

async fn converse<T>(io: T, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Unanswered>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(because("speaking to the provider"))?;
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
    parts.headers.insert(header::HOST, HeaderValue::from_str(&authority).map_err(because("the provider's name"))?);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).parse();
    parts.uri = path.map_err(because("the provider's URL"))?;
    let asked = async {
        let answer = sender.send_request(Request::from_parts(parts, Body::from(body))).await;
        let (parts, body) = answer.map_err(because("the provider's answer"))?.into_parts();
        let body = to_bytes(Body::new(body), LARGEST).await.map_err(because("the provider's answer"))?;
        Ok(Response::from_parts(parts, body.to_vec()))
    };
    tokio::select! {
        answer = asked => answer,
        // It ends when the answer is whole, or when there will be none.
        Err(error) = connection => Err(Unanswered(format!("the provider's connection broke: {error}"))),
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked() {
        let fetcher = Fetcher::new(None).unwrap();
        let trusting = fetcher.tls.is_some();
        for (url, expected) in [
            ("https://login.example.com", trusting),
            ("https://login.example.com:8443/realms/x?y=z", trusting),
            ("http://127.0.0.1:3000", true),
            ("http://[::1]:3000/x", true),
            ("http://localhost:3000", true),
            ("http://login.example.com", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://10.0.0.1", false),
            ("file:///etc/passwd", false),
            ("/x", false),
            ("", false),
        ] {
            assert_eq!(fetcher.may_ask(url).is_ok(), expected, "{url}");
        }
    }
}
