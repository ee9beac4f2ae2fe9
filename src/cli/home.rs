//! What a login leaves on this machine: one file in a directory of its own, `KEYFOB_HOME`.
//!
//! ```text
//! KEYFOB_HOME/                0700
//!   identity.json             0600, written whole and renamed into place
//!     { "version": 1,
//!       "address": "HOST:PORT" or "dir:PATH",
//!       "key": PEM, PKCS #8,  "chain": PEM, leaf first,  "roots": PEM,
//!       "not_before": RFC 3339,  "not_after": RFC 3339 }
//! ```
//!
//! Who it is (organization, user) stands in the certificate. Other clients can use the three PEM texts as they are. A file or
//! directory that others may read or write is refused, not mended: the key may have been copied already.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use super::failure::{Done, Failure};
use crate::{
    client::Credentials,
    domain::{identity::Identity, name::Id},
    tls,
};

const FILE: &str = "identity.json";

/// A directory that holds a login, or will.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

/// A login.
pub struct Login {
    pub address: String,
    pub identity: Identity,
    pub credentials: Credentials,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    version: u32,
    address: String,
    key: String,
    chain: String,
    roots: String,
    not_before: String,
    not_after: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
    }
}

impl Home {
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// As the environment says.
    pub fn from_env() -> Done<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        set("KEYFOB_HOME")
            // A relative XDG_CONFIG_HOME is to be ignored, says the XDG base directory specification.
            .or_else(|| set("XDG_CONFIG_HOME").filter(|p| p.is_absolute()).map(|p| p.join("keyfob")))
            .or_else(|| set("HOME").map(|p| p.join(".config/keyfob")))
            .map(Self::at)
            .ok_or_else(|| {
                Failure::local("neither KEYFOB_HOME nor HOME is set; set KEYFOB_HOME to a directory for this login")
            })
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The login, if there is one.
    pub fn load(&self) -> Done<Option<Login>> {
        let path = self.0.join(FILE);
        let shown = path.display();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::local(format!("{shown}: {e}"))),
        };
        self.refuse_if_open_to_others(&file)?;
        let len = file.metadata().map_or(0, |m| m.len() as usize);
        let mut text = Zeroizing::new(Vec::with_capacity(len + 1)); // one more: reading to the end must not make it grow
        file.read_to_end(&mut text).map_err(|e| Failure::local(format!("{shown}: {e}")))?;
        let login = serde_json::from_slice::<Stored>(&text).ok().filter(|s| s.version == 1).as_ref().and_then(parse);
        login.map(Some).ok_or_else(|| {
            Failure::local(format!(
                "{shown} is damaged; log in again: keyfob login --replace, with a new join string from an admin"
            ))
        })
    }

    pub fn store(&self, login: &Login) -> Done {
        self.make_dir()?;
        let c = &login.credentials;
        let rfc3339 =
            |t: OffsetDateTime| t.format(&Rfc3339).map_err(|e| Failure::local(format!("the certificate's life: {e}")));
        let stored = Stored {
            version: 1,
            address: login.address.clone(),
            key: pem("PRIVATE KEY", &c.key),
            chain: c.chain.iter().map(|der| pem("CERTIFICATE", der)).collect(),
            roots: c.roots.iter().map(|der| pem("CERTIFICATE", der)).collect(),
            not_before: rfc3339(c.not_before)?,
            not_after: rfc3339(c.not_after)?,
        };
        let text =
            Zeroizing::new(serde_json::to_vec_pretty(&stored).map_err(|e| Failure::local(format!("{FILE}: {e}")))?);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| Failure::local(format!("the system gives no randomness: {e}")))?;
        let temporary = self.0.join(format!(".{FILE}.{}", Id::from_random(random)));
        let written = write_new(&temporary, &text)
            .and_then(|()| fs::rename(&temporary, self.0.join(FILE)))
            .and_then(|()| File::open(&self.0)?.sync_all());
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            Failure::local(format!("can't write {}: {e}", self.0.join(FILE).display()))
        })
    }

    /// Whether there was one.
    pub fn remove(&self) -> Done<bool> {
        match fs::remove_file(self.0.join(FILE)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Failure::local(format!("{}: {e}", self.0.join(FILE).display()))),
        }
    }

    /// Made before a join string is spent, so that a directory that can't be used costs nothing.
    /// A file of ours beside the login, for nobody else to read; gives where it is.
    pub fn put(&self, name: &str, text: &[u8]) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => write_new(&path, text)?,
        }
        Ok(path)
    }

    pub fn make_dir(&self) -> Done {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0).and_then(|()| fs::metadata(&self.0));
        let dir = made.map_err(|e| {
            Failure::local(format!(
                "can't use {} for this login: {e}; KEYFOB_HOME names another directory",
                self.0.display()
            ))
        })?;
        self.refuse_if_writable_by_others(&dir)
    }

    fn refuse_if_open_to_others(&self, file: &File) -> Done {
        let looked = file.metadata().and_then(|file| Ok((file, fs::metadata(&self.0)?)));
        let (file, dir) = looked.map_err(|e| Failure::local(format!("{}: {e}", self.0.display())))?;
        let path = self.0.join(FILE);
        if file.mode() & 0o077 != 0 {
            return Err(Failure::local(format!(
                "the private key in {0} can be read by others (mode {1:04o}); if nobody can have copied it: chmod 600 {0}; otherwise: \
                 keyfob logout, and log in with a new join string",
                path.display(),
                file.mode() & 0o7777
            )));
        }
        self.refuse_if_writable_by_others(&dir)
    }

    fn refuse_if_writable_by_others(&self, dir: &Metadata) -> Done {
        if dir.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(Failure::local(format!(
            "others can write in {0} (mode {1:04o}) and could put their own key there; chmod 700 {0}, or let KEYFOB_HOME name a \
             directory of its own",
            self.0.display(),
            dir.mode() & 0o7777
        )))
    }
}

fn write_new(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn parse(stored: &Stored) -> Option<Login> {
    let certificates = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok();
    let moment = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let key = PrivatePkcs8KeyDer::from_pem_slice(stored.key.as_bytes()).ok()?;
    let credentials = Credentials {
        key: Zeroizing::new(key.secret_pkcs8_der().to_vec()),
        chain: certificates(&stored.chain)?,
        roots: certificates(&stored.roots)?,
        not_before: moment(&stored.not_before)?,
        not_after: moment(&stored.not_after)?,
    };
    let identity = tls::identity_of(credentials.chain.first()?)?;
    Some(Login { address: stored.address.clone(), identity, credentials })
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| *b as char));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn login() -> Login {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names =
            vec![rcgen::SanType::URI("spiffe://example.org/org/acme/user/alice".try_into().unwrap())];
        let leaf = params.self_signed(&key).unwrap().der().clone();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let credentials = Credentials {
            key: Zeroizing::new(key.serialize_der()),
            chain: vec![leaf.clone(), leaf.clone()],
            roots: vec![leaf],
            not_before: now,
            not_after: now + time::Duration::days(7),
        };
        let identity = tls::identity_of(&credentials.chain[0]).unwrap();
        Login { address: "keyfob.example.org:7443".into(), identity, credentials }
    }

    #[test]
    fn a_login_is_read_back_as_it_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("a/b"));
        assert!(home.load().unwrap().is_none());
        let stored = login();
        home.store(&stored).unwrap();
        home.store(&stored).unwrap(); // over itself: a renewal
        let read = home.load().unwrap().unwrap();
        assert_eq!((&read.address, &read.identity), (&stored.address, &stored.identity));
        assert_eq!(read.credentials.key, stored.credentials.key);
        assert_eq!(
            (&read.credentials.chain, &read.credentials.roots),
            (&stored.credentials.chain, &stored.credentials.roots)
        );
        assert_eq!(read.credentials.renew_at(), stored.credentials.renew_at());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(home.path()), mode(&home.path().join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no temporary file stays");
        assert!(home.remove().unwrap() && !home.remove().unwrap());
    }

    #[test]
    fn what_others_could_touch_or_what_is_damaged_is_refused() {
        type Spoil = fn(&Path);
        let cases: [(&str, Spoil, &str); 5] = [
            ("key readable by the group", |d| chmod(&d.join(FILE), 0o640), "can be read by others"),
            ("key readable by all", |d| chmod(&d.join(FILE), 0o604), "can be read by others"),
            ("directory writable by the group", |d| chmod(d, 0o770), "others can write"),
            ("cut short", |d| fs::write(d.join(FILE), &fs::read(d.join(FILE)).unwrap()[..500]).unwrap(), "is damaged"),
            ("another format", |d| fs::write(d.join(FILE), "{\"version\":2}").unwrap(), "is damaged"),
        ];
        for (what, spoil, said) in cases {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::at(dir.path());
            home.store(&login()).unwrap();
            spoil(dir.path());
            let refusal = home.load().err().map(|f| f.to_string()).unwrap_or_default();
            assert!(refusal.contains(said), "{what}: {refusal}");
            assert!(!refusal.contains("BEGIN"), "{refusal}");
        }
    }

    #[test]
    fn a_directory_open_to_others_is_no_home_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o1777);
        assert!(Home::at(dir.path()).make_dir().unwrap_err().to_string().contains("others can write"));
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o1777);
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
}
