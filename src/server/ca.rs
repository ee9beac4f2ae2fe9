//! The certificate authority: ours, made at `init`, or yours. It lives in the store, its private key sealed under the
//! keyring. To roll over, a second one is added: it is trusted at once and handed out with every renewal, and signs from
//! the moment it is activated, when everybody has heard of it.
//!
//! Identities are decided here and by the store, never by a certificate request: of a request only the public key is used.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{
    error::Error,
    keyring::Keyring,
    store::{Tx, bind, new_id},
    vault,
};
use crate::{
    domain::{
        identity::{Identity, Subject, server_uri},
        name::Id,
    },
    tls::{self, Keyed},
};

/// Clocks differ, and one that was an hour ahead is set right: a certificate is good from a while before it was made.
const SKEW: Duration = Duration::minutes(70);
const CA_LIFE: Duration = Duration::days(3650);

/// For how long certificates of each kind live.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    pub session: Duration,
    pub user: Duration,
    pub server: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self { session: Duration::hours(1), user: Duration::days(7), server: Duration::days(7) }
    }
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// All that are trusted, the signing one first.
    roots: Vec<CertificateDer<'static>>,
    trust_domain: String,
    lives: Lives,
}

/// A certificate request whose signature holds, reduced to what counts.
pub struct Request(CertificateSigningRequestParams);

impl Request {
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(|e| Error::Invalid(format!("the certificate request can't be used: {e}")))?;
        let algorithm = request.public_key.algorithm();
        if [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].contains(&algorithm) {
            Ok(Self(request))
        } else {
            Err(Error::Invalid("the certificate request's key must be ECDSA P-256, ECDSA P-384 or Ed25519".into()))
        }
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.public_key.subject_public_key_info()).into()
    }
}

/// An issued certificate and what goes with it.
pub struct Issued {
    pub chain: Vec<CertificateDer<'static>>,
    pub not_after: OffsetDateTime,
}

impl Authority {
    /// The authorities in the store.
    pub fn load(tx: &Tx<'_>, trust_domain: String, lives: Lives) -> Result<Self, Error> {
        let rows = tx.all(
            "SELECT id, certificate, kek_id, sealed_key FROM authorities WHERE not_after > ?1 ORDER BY COALESCE(active_at, 0) DESC, id",
            bind![tx.now],
            |row| Ok((row.text(0)?, CertificateDer::from(row.blob(1)?), row.text(2)?, row.blob(3)?)),
        )?;
        let (id, certificate, kek_id, sealed) = rows.first().ok_or_else(|| {
            Error::Precondition(
                "there is no valid certificate authority; `keyfob-server ca add` and `ca activate` make one".into(),
            )
        })?;
        let key = open(tx.keyring(), kek_id, id, sealed)?;
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(&key[..]))
            .map_err(|_| Error::Corrupt("the certificate authority's key can't be read".into()))?;
        let issuer = Issuer::from_ca_cert_der(certificate, key)
            .map_err(|_| Error::Corrupt("the certificate authority can't be read".into()))?;
        let roots = rows.iter().map(|row| row.1.clone()).collect();
        Ok(Self { issuer, certificate: certificate.clone(), roots, trust_domain, lives })
    }

    /// What join strings name it by.
    pub fn fingerprint(&self) -> [u8; 32] {
        tls::fingerprint(&self.certificate)
    }

    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// A certificate for an identity and the key in the request.
    pub fn issue(&self, identity: &Identity, request: &Request, now: OffsetDateTime) -> Result<Issued, Error> {
        let life = match identity.subject {
            Subject::Session(_) => self.lives.session,
            _ => self.lives.user,
        };
        let uri = identity.to_uri(&self.trust_domain);
        let mut params = leaf(Some(&uri), ExtendedKeyUsagePurpose::ClientAuth, &[], now, life)?;
        if let Subject::Session(id) = &identity.subject {
            // Its agent also answers those who ask how it is. Ours know it by its URI; others look at a host name, and this one
            // can be nobody else's.
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            let name = session_host(id.as_str(), &self.trust_domain);
            let name = name.try_into().map_err(|_| Error::Internal("a session that is no host name"))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let not_after = params.not_after;
        let leaf = params
            .signed_by(&request.0.public_key, &self.issuer)
            .map_err(|_| Error::Internal("signing a certificate"))?;
        Ok(Issued { chain: vec![leaf.der().clone(), self.certificate.clone()], not_after })
    }

    /// The server's own certificate and a fresh key. `names` are host names and addresses, for clients that look at them.
    pub fn issue_server(&self, names: &[String], now: OffsetDateTime) -> Result<(Keyed, OffsetDateTime), Error> {
        self.issue_own(Some(&server_uri(&self.trust_domain)), names, now)
    }

    /// The console's, for browsers, which look at names. It does not say that it is the server: nobody of ours is answered by it.
    pub fn issue_console(&self, names: &[String], now: OffsetDateTime) -> Result<(Keyed, OffsetDateTime), Error> {
        self.issue_own(None, names, now)
    }

    fn issue_own(
        &self,
        uri: Option<&str>,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(Keyed, OffsetDateTime), Error> {
        let key =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| Error::Internal("making the server's key"))?;
        let params = leaf(uri, ExtendedKeyUsagePurpose::ServerAuth, names, now, self.lives.server)?;
        let not_after = params.not_after;
        let leaf =
            params.signed_by(&key, &self.issuer).map_err(|_| Error::Internal("signing the server's certificate"))?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok((Keyed { chain, key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())) }, not_after))
    }
}

/// `ID.session.TRUST_DOMAIN`, as far as a host name may have such characters.
fn session_host(id: &str, trust_domain: &str) -> String {
    format!("{id}.session.{}", trust_domain.replace('_', "-"))
}

fn leaf(
    uri: Option<&str>,
    usage: ExtendedKeyUsagePurpose,
    names: &[String],
    now: OffsetDateTime,
    life: Duration,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names.to_vec())
        .map_err(|_| Error::Invalid("a server name is neither a host name nor an address".into()))?;
    if let Some(uri) = uri {
        let uri = uri.try_into().map_err(|_| Error::Internal("an identity that is no URI"))?;
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    (params.not_before, params.not_after) = (now - SKEW, now + life);
    params.serial_number = Some(serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn serial() -> Result<SerialNumber, Error> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(|_| Error::Internal("the kernel gives no randomness"))?;
    random[0] &= 0x7f; // positive
    Ok(SerialNumber::from_slice(&random))
}

/// Makes an authority and stores it, not signing yet; gives its id.
pub fn create(tx: &Tx<'_>, trust_domain: &str, now: OffsetDateTime) -> Result<Id, Error> {
    let key =
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| Error::Internal("making the authority's key"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Keyfob authority of {trust_domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (now - SKEW, now + CA_LIFE);
    params.serial_number = Some(serial()?);
    let not_after = params.not_after;
    let certificate = params.self_signed(&key).map_err(|_| Error::Internal("signing the authority"))?;
    insert(tx, certificate.der(), &Zeroizing::new(key.serialize_der()), not_after)
}

/// Stores an authority of yours, not signing yet: PEM texts of a CA certificate and its PKCS #8 key.
pub fn import(tx: &Tx<'_>, certificate: &str, key: &str) -> Result<Id, Error> {
    use rustls::pki_types::pem::PemObject;
    let invalid = |what: &str| Error::Invalid(what.to_owned());
    let certificate =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| invalid("the CA certificate is not PEM"))?;
    let key = KeyPair::from_pem(key).map_err(|_| invalid("the CA key is not a PEM key of PKCS #8"))?;
    let (ours, not_after, is_ca) = inspect(&certificate).ok_or_else(|| invalid("the CA certificate can't be read"))?;
    if !is_ca {
        return Err(invalid("the certificate is not one of a CA (basic constraints say no)"));
    }
    if ours != key.subject_public_key_info() {
        return Err(invalid("the CA key does not belong to the CA certificate"));
    }
    insert(tx, &certificate, &Zeroizing::new(key.serialize_der()), not_after)
}

/// Public key, end of life, and whether it may sign.
fn inspect(certificate: &CertificateDer<'_>) -> Option<(Vec<u8>, OffsetDateTime, bool)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let not_after = OffsetDateTime::from_unix_timestamp(parsed.validity().not_after.timestamp()).ok()?;
    Some((parsed.public_key().raw.to_vec(), not_after, parsed.is_ca()))
}

/// The end of a certificate's life.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    inspect(certificate).map(|(_, not_after, _)| not_after)
}

fn insert(tx: &Tx<'_>, certificate: &CertificateDer<'_>, key: &[u8], not_after: OffsetDateTime) -> Result<Id, Error> {
    let id = new_id()?;
    let (kek_id, sealed) = vault::seal_own(tx.keyring(), &label(id.as_str()), key)?;
    tx.execute(
        "INSERT INTO authorities (id, certificate, kek_id, sealed_key, created_at, not_after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        bind![&id, certificate.as_ref(), &kek_id, &sealed, tx.now, not_after.unix_timestamp() * 1_000_000],
    )?;
    Ok(id)
}

/// From now on this one signs.
pub fn activate(tx: &Tx<'_>, id: &Id) -> Result<(), Error> {
    match tx.execute("UPDATE authorities SET active_at = ?2 WHERE id = ?1", bind![id, tx.now])? {
        0 => Err(Error::NotFound(format!("there is no authority {id}; `keyfob-server ca list` shows them"))),
        _ => Ok(()),
    }
}

/// An authority as people see it.
pub struct Listed {
    pub id: String,
    pub certificate: CertificateDer<'static>,
    pub not_after: i64,
    pub active_at: Option<i64>,
}

/// All of them, the signing one first.
pub fn list(tx: &Tx<'_>) -> Result<Vec<Listed>, Error> {
    tx.all(
        "SELECT id, certificate, not_after, active_at FROM authorities ORDER BY COALESCE(active_at, 0) DESC, id",
        bind![],
        |row| {
            Ok(Listed {
                id: row.text(0)?,
                certificate: row.blob(1)?.into(),
                not_after: row.int(2)?,
                active_at: row.opt_int(3)?,
            })
        },
    )
}

fn label(id: &str) -> String {
    format!("authority/{id}")
}

/// Moves the authorities' keys to the newest key of the ring.
pub fn rewrap(tx: &Tx<'_>) -> Result<(), Error> {
    let newest = tx.keyring().newest(|key| key.id.clone());
    let rows = tx.all("SELECT id, kek_id, sealed_key FROM authorities WHERE kek_id <> ?1", bind![&newest], |row| {
        Ok((row.text(0)?, row.text(1)?, row.blob(2)?))
    })?;
    for (id, kek_id, sealed) in rows {
        let key = open(tx.keyring(), &kek_id, &id, &sealed)?;
        let (kek_id, sealed) = vault::seal_own(tx.keyring(), &label(&id), &key)?;
        tx.execute("UPDATE authorities SET kek_id = ?2, sealed_key = ?3 WHERE id = ?1", bind![&id, &kek_id, &sealed])?;
    }
    Ok(())
}

fn open(keyring: &Keyring, kek_id: &str, id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    vault::open_own(keyring, kek_id, &label(id), sealed)?
        .map_err(|_| Error::Corrupt("the certificate authority's key was altered in the store".into()))
}
