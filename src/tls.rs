//! TLS 1.3 for both ends. Peers are known by the SPIFFE name in their certificate, checked against our own authority; a
//! host name plays no part, so a VM can reach the control plane by whatever address its network gives it.
//!
//! Our own clients offer X25519MLKEM768 and nothing else; the server prefers it and takes X25519 or P-256 from clients that
//! are not ours. Session tickets are off: every connection is a full handshake, so that a revoked key can't resume one.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::domain::{
    identity::{Identity, Subject, is_server_uri},
    name::OrgName,
};

/// What HTTP/2 is called in the handshake.
const ALPN: &[u8] = b"h2";
/// And HTTP/1.1, which only browsers are offered.
pub const HTTP_1: &[u8] = b"http/1.1";

/// How a client knows its server.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the SHA-256 of the authority's certificate, out of a join string; the authority is in the server's chain.
    Fingerprint([u8; 32]),
    /// By the authorities it was given when it enrolled.
    Roots(Vec<CertificateDer<'static>>),
}

/// A certificate chain, leaf first, and its key.
pub struct Keyed {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// What a client brings to the handshake; `None` before it has enrolled.
pub fn client_config(trust: Trust, own: Option<Keyed>) -> Result<ClientConfig, Error> {
    client_config_to(trust, own, Answers::ControlPlane)
}

/// Who may answer a client.
#[derive(Debug, Clone)]
pub enum Answers {
    ControlPlane,
    /// The agent of one of the organization's sessions.
    AgentOf(OrgName),
}

impl Answers {
    fn are(&self, leaf: &EndEntityCert<'_>) -> bool {
        match self {
            Self::ControlPlane => leaf.valid_uri_names().any(is_server_uri),
            Self::AgentOf(org) => {
                let mut names = leaf.valid_uri_names().map(Identity::from_uri);
                match (names.next(), names.next()) {
                    (Some(Some(identity)), None) => {
                        identity.org == *org && matches!(identity.subject, Subject::Session(_))
                    }
                    _ => false,
                }
            }
        }
    }
}

/// As [`client_config`], for a client that is answered by somebody else.
pub fn client_config_to(trust: Trust, own: Option<Keyed>, answers: Answers) -> Result<ClientConfig, Error> {
    let provider = provider(&[aws_lc_rs::kx_group::X25519MLKEM768]);
    let verifier = ServerBySpiffe { trust, answers, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // by rustls's naming; the verifier below checks chain, usage, time and SPIFFE name
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(Keyed { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What the server brings. Clients without a certificate get through the handshake: enrolment is for them.
pub fn server_config(own: Keyed, authorities: &[CertificateDer<'static>]) -> Result<ServerConfig, Error> {
    config_of_server(own, authorities, true)
}

/// What an agent brings to those who ask how it is. Nobody gets through the handshake without a certificate.
pub fn agent_config(own: Keyed, authorities: &[CertificateDer<'static>]) -> Result<ServerConfig, Error> {
    config_of_server(own, authorities, false)
}

/// What the console brings to browsers. They are asked for no certificate: people sign in.
#[cfg(feature = "server")]
pub fn console_config(own: Keyed) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider(&ANYBODY)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(own.chain, own.key)?;
    config.alpn_protocols = vec![ALPN.to_vec(), HTTP_1.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Key exchanges for clients that are not ours, too.
const ANYBODY: [&dyn rustls::crypto::SupportedKxGroup; 3] =
    [aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1];

fn config_of_server(
    own: Keyed,
    authorities: &[CertificateDer<'static>],
    anonymous: bool,
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(provider(&ANYBODY));
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = if anonymous { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|e| Error::General(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain, own.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

fn provider(groups: &[&'static dyn rustls::crypto::SupportedKxGroup]) -> CryptoProvider {
    CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() }
}

/// The identity that a verified certificate names, if it names exactly one of ours.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(name), None) => Identity::from_uri(name),
        _ => None,
    }
}

/// SHA-256 of the certificate's public key: what a credential is on record as.
pub fn key_hash_of(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    Some(Sha256::digest(certificate.subject_public_key_info()).into())
}

pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

#[derive(Debug)]
struct ServerBySpiffe {
    trust: Trust,
    answers: Answers,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerBySpiffe {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authorities: Vec<&CertificateDer<'_>> = match &self.trust {
            Trust::Fingerprint(expected) => intermediates.iter().filter(|c| fingerprint(c) == *expected).collect(),
            Trust::Roots(roots) => roots.iter().collect(),
        };
        let anchors = authorities
            .into_iter()
            .map(anchor_from_trusted_cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(webpki_error)?;
        if anchors.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let leaf = EndEntityCert::try_from(leaf).map_err(webpki_error)?;
        leaf.verify_for_usage(self.algorithms.all, &anchors, intermediates, now, KeyUsage::server_auth(), None, None)
            .map_err(webpki_error)?;
        if self.answers.are(&leaf) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn webpki_error(error: webpki::Error) -> Error {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired.into(),
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        other => Error::General(format!("certificate: {other}")),
    }
}
