//! The client's side of the control plane, as agent and CLI share it: find it, trust it, enrol, renew, connect.
//!
//! What it never does: retry. Who retries, and for how long, is the caller's policy; [`Error`] tells what is worth it.

use std::{fmt, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};
use zeroize::Zeroizing;

use crate::{
    domain::{join::Join, name::OrgName},
    tls::{self, Answers, Keyed, Trust},
    wire::v1,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call failed, by what can be done about it.
#[derive(Debug)]
pub enum Error {
    /// No answer. Worth trying again.
    Unreachable { address: String, cause: String },
    /// No answer, nor a refusal, for as long as there was time. Worth trying again.
    Late { doing: &'static str },
    /// Something answered, but it is not the server that this client was told to trust. Never worth trying again.
    Untrusted { address: String, cause: String },
    /// A certificate that is not valid at this machine's time. Worth trying again: a VM's clock is often set late.
    Clock { cause: &'static str },
    /// The server's own answer.
    Status(Status),
    /// Something on this side: no randomness, an unusable key.
    Local(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, cause } => write!(f, "can't reach the control plane at {address}: {cause}"),
            Self::Late { doing } => write!(f, "can't reach the control plane: no answer in time while {doing}"),
            Self::Untrusted { address, cause } => {
                write!(f, "what answers at {address} is not the control plane this client was told to trust: {cause}")
            }
            Self::Clock { cause } => {
                write!(
                    f,
                    "this machine's clock and the control plane's do not agree ({cause}); set it, by NTP for example"
                )
            }
            Self::Status(status) => f.write_str(status.message()),
            Self::Local(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Error {
    /// Whether nobody answered: then there is nobody to be told of it either.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Late { .. })
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Late { .. } | Self::Clock { .. } => true,
            Self::Status(s) => matches!(
                s.code(),
                Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled | Code::Unknown
            ),
            Self::Untrusted { .. } | Self::Local(_) => false,
        }
    }
}

/// An identity and what it trusts. The private key is wiped when dropped.
pub struct Credentials {
    /// PKCS #8, DER.
    pub key: Zeroizing<Vec<u8>>,
    /// Leaf first, DER.
    pub chain: Vec<CertificateDer<'static>>,
    pub roots: Vec<CertificateDer<'static>>,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Credentials {
    /// From here on a renewal is due: 70 % of the certificate's life.
    pub fn renew_at(&self) -> OffsetDateTime {
        self.not_before + (self.not_after - self.not_before) * 0.7
    }

    pub(crate) fn keyed(&self) -> Keyed {
        let key = PrivatePkcs8KeyDer::from(self.key.to_vec());
        Keyed { chain: self.chain.clone(), key: key.into() }
    }
}

/// Redeems a join string. The key is made before the first try and kept by the caller over retries ([`new_key`]): a repeat
/// with the same key succeeds, so a broken connection does not burn the token.
pub async fn enrol(join: &Join, key: &KeyPair, now: OffsetDateTime) -> Result<Credentials, Error> {
    enrol_by(&Way::default(), join, key, now).await
}

/// As [`enrol`], by a way that is not the usual one.
pub async fn enrol_by(way: &Way, join: &Join, key: &KeyPair, now: OffsetDateTime) -> Result<Credentials, Error> {
    let channel = way.connect(&locate(&join.address)?, Trust::Fingerprint(join.ca_fingerprint), None).await?;
    let mut client = v1::enrolment_service_client::EnrolmentServiceClient::new(channel);
    let request = v1::EnrolRequest { token: join.token.expose().to_vec(), csr_der: csr(key)? };
    let reply = client.enrol(request).await?.into_inner();
    credentials(key, reply.certificate_chain, reply.trust_bundle, reply.not_after, now)
}

/// Gets a fresh certificate for the same key.
pub async fn renew(channel: Channel, current: &Credentials, now: OffsetDateTime) -> Result<Credentials, Error> {
    renew_counted(channel, current, now, &Counter::default()).await.map(|(renewed, _)| renewed)
}

/// What its holder knows of a credential's renewals: two who hold one key, a VM and its clone, count apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    /// Up to now; `None` for those who don't count.
    pub renewals: Option<u64>,
    /// Random, the same until the renewal is answered.
    pub attempt: Vec<u8>,
}

/// As [`renew`], for those who count; gives how often the key has been renewed by then.
pub async fn renew_counted(
    channel: Channel,
    current: &Credentials,
    now: OffsetDateTime,
    counter: &Counter,
) -> Result<(Credentials, u64), Error> {
    let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(&current.key[..]))
        .map_err(|e| Error::Local(format!("the private key on file: {e}")))?;
    let mut client = v1::enrolment_service_client::EnrolmentServiceClient::new(channel);
    let Counter { renewals, attempt } = counter.clone();
    let reply = client.renew(v1::RenewRequest { csr_der: csr(&key)?, renewals, attempt }).await?.into_inner();
    let renewed = credentials(&key, reply.certificate_chain, reply.trust_bundle, reply.not_after, now)?;
    Ok((renewed, reply.renewals))
}

/// A fresh ECDSA P-256 key.
pub fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| Error::Local(format!("making a key: {e}")))
}

fn csr(key: &KeyPair) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new(); // the server decides the identity
    params
        .serialize_request(key)
        .map(|csr| csr.der().to_vec())
        .map_err(|e| Error::Local(format!("making a certificate request: {e}")))
}

fn credentials(
    key: &KeyPair,
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
    not_after: Option<prost_types::Timestamp>,
    now: OffsetDateTime,
) -> Result<Credentials, Error> {
    let not_after = not_after
        .and_then(|t| OffsetDateTime::from_unix_timestamp(t.seconds).ok())
        .filter(|end| *end > now)
        .ok_or(Error::Clock { cause: "the certificate it gave has expired already" })?;
    let der = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from).collect::<Vec<_>>();
    Ok(Credentials {
        key: Zeroizing::new(key.serialize_der()),
        chain: der(chain),
        roots: der(roots),
        not_before: now,
        not_after,
    })
}

/// Connects as the holder of the credentials.
pub async fn connect_as(address: &str, own: &Credentials) -> Result<Channel, Error> {
    Way::default().connect_as(address, own).await
}

/// How bytes get to the control plane and back: over TCP and TLS, unless something else is given in their stead.
#[derive(Clone, Default)]
pub struct Way(Option<Arc<Dial>>);

/// Gives a connection in the name of a certificate, or of nobody.
pub type Dial = dyn Fn(Option<CertificateDer<'static>>) -> Dialled + Send + Sync;
pub type Dialled = Pin<Box<dyn Future<Output = io::Result<Box<dyn Bytes>>> + Send>>;

/// Bytes, both ways.
pub trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

impl Way {
    pub fn new(dial: Arc<Dial>) -> Self {
        Self(Some(dial))
    }

    /// As the holder of the credentials.
    pub async fn connect_as(&self, address: &str, own: &Credentials) -> Result<Channel, Error> {
        self.connect(&locate(address)?, Trust::Roots(own.roots.clone()), Some(own.keyed())).await
    }

    /// As [`Way::connect_as`], but connects when it is used, and again when it has to.
    pub fn lazy_as(&self, address: &str, own: &Credentials) -> Result<Channel, Error> {
        let address = locate(address)?;
        let (trust, own) = (Trust::Roots(own.roots.clone()), own.keyed());
        match &self.0 {
            None => {
                let (endpoint, connector) = way(&address, trust, Some(own), Answers::ControlPlane)?;
                Ok(endpoint.connect_with_connector_lazy(connector))
            }
            Some(dial) => Ok(endpoint(&address)?.connect_with_connector_lazy(dialling(dial, Some(&own)))),
        }
    }

    async fn connect(&self, address: &str, trust: Trust, own: Option<Keyed>) -> Result<Channel, Error> {
        match &self.0 {
            None => connect(address, trust, own).await,
            Some(dial) => {
                let endpoint = endpoint(address)?;
                endpoint
                    .connect_with_connector(dialling(dial, own.as_ref()))
                    .await
                    .map_err(|e| connect_error(address, &e))
            }
        }
    }
}

fn dialling(
    dial: &Arc<Dial>,
    own: Option<&Keyed>,
) -> impl tower::Service<Uri, Response = TokioIo<Box<dyn Bytes>>, Error = io::Error, Future: Send> + Send + 'static + use<>
{
    let (dial, certificate) = (dial.clone(), own.and_then(|own| own.chain.first().cloned()));
    tower::service_fn(move |_| {
        let dialled = dial(certificate.clone());
        async move { dialled.await.map(TokioIo::new) }
    })
}

/// `HOST:PORT` as it is; `dir:PATH` by asking the server's data directory on this machine where it listens.
pub fn locate(address: &str) -> Result<String, Error> {
    let Some(dir) = address.strip_prefix("dir:") else { return Ok(address.to_owned()) };
    let file = format!("{dir}/listening");
    let unreachable = |cause: String| Error::Unreachable { address: address.to_owned(), cause };
    let found = std::fs::read_to_string(&file).map_err(|e| {
        unreachable(format!("{file}: {e}; is `keyfob-server serve --data-dir {dir}` running on this machine?"))
    })?;
    Ok(found.trim().to_owned())
}

/// Connects; without `own`, as nobody, which is enough to enrol.
pub async fn connect(address: &str, trust: Trust, own: Option<Keyed>) -> Result<Channel, Error> {
    let (endpoint, connector) = way(address, trust, own, Answers::ControlPlane)?;
    endpoint.connect_with_connector(connector).await.map_err(|e| connect_error(address, &e))
}

/// Connects to the agent of a session of the organization, to ask how it is.
pub async fn connect_agent(address: &str, org: &OrgName, own: &Credentials) -> Result<Channel, Error> {
    let answers = Answers::AgentOf(org.clone());
    let (endpoint, connector) = way(address, Trust::Roots(own.roots.clone()), Some(own.keyed()), answers)?;
    endpoint.connect_with_connector(connector).await.map_err(|e| connect_error(address, &e))
}

/// Connects to the agent of this VM.
pub async fn connect_local(socket: &Path) -> Result<Channel, Error> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    // A name is wanted, and nothing is done with it.
    let endpoint = Endpoint::from_static("http://agent.invalid").connect_timeout(CONNECT_TIMEOUT);
    endpoint.connect_with_connector(connector).await.map_err(|e| match connect_error("", &e) {
        Error::Unreachable { cause, .. } => Error::Local(format!(
            "no agent answers at {} ({cause}); is it running, and are you root or in its group?",
            socket.display()
        )),
        other => other,
    })
}

type Tls = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

/// How an address is reached.
fn way(
    address: &str,
    trust: Trust,
    own: Option<Keyed>,
    answers: Answers,
) -> Result<
    (Endpoint, impl tower::Service<Uri, Response = Tls, Error = io::Error, Future: Send> + Send + 'static + use<>),
    Error,
> {
    let config = tls::client_config_to(trust, own, answers).map_err(|e| Error::Local(format!("TLS: {e}")))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let (host, _) = address.rsplit_once(':').ok_or_else(|| Error::Local(format!("`{address}` is no HOST:PORT")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::Local(format!("`{host}` is no host name or address")))?;
    let target = address.to_owned();
    Ok((
        endpoint(address)?,
        tower::service_fn(move |_| {
            let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
            async move {
                let tcp = TcpStream::connect(&target).await?;
                tcp.set_nodelay(true)?;
                let tls = connector.connect(name, tcp).await?;
                Ok::<_, io::Error>(TokioIo::new(tls))
            }
        }),
    ))
}

fn endpoint(address: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .map_err(|_| Error::Local(format!("`{address}` is no HOST:PORT")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10)))
}

/// Tells "nobody there" from "somebody else there".
fn connect_error(address: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let address = address.to_owned();
    let mut cause = error;
    loop {
        let tls = cause
            .downcast_ref::<rustls::Error>()
            .or_else(|| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYet)) => {
                return Error::Clock { cause: "its certificate is not valid yet" };
            }
            Some(rustls::Error::InvalidCertificate(CertificateError::Expired)) => {
                return Error::Clock { cause: "its certificate has expired" };
            }
            Some(
                e @ (rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoApplicationProtocol
                | rustls::Error::General(_)),
            ) => {
                return Error::Untrusted { address, cause: e.to_string() };
            }
            _ => {}
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => return Error::Unreachable { address, cause: cause.to_string() },
        }
    }
}
