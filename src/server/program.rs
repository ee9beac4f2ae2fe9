//! The program `keyfob-server`: makes a data directory, serves it, looks after its keys.

use std::{
    ffi::OsString,
    fs, io,
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::{
    ca,
    error::Error,
    keyring::Keyring,
    serve::{self, Serve},
    store::{Store, Tx, new_id},
};
use crate::{
    argv,
    domain::{
        boot::BootPolicy,
        join::{Audience, Join, Token},
        name::{Id, OrgName, UserName},
        variable::Variable,
    },
    harden, logs, panics, tls,
};

const DATABASE: &str = "keyfob.db";
const KEYRING: &str = "keyring";
/// Where `serve` says that it listens; read by join strings that name the data directory instead of an address.
pub(super) const LISTENING: &str = "listening";

#[derive(Parser)]
#[command(name = "keyfob-server", version, about = "The Keyfob control plane", max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a data directory with its keyring, authority, first organization and admin; print the admin's join string
    Init(Init),
    /// Serve a data directory
    Serve(Box<Serve>),
    /// Organizations
    #[command(subcommand)]
    Org(Org),
    /// Print a new join string for a user who is there already (a lost or expired one)
    Join {
        #[command(flatten)]
        data: Data,
        /// The user's organization
        #[arg(long)]
        org: String,
        /// The user
        #[arg(long)]
        user: String,
        /// Where people reach the server, HOST:PORT [default: the server running on this machine]
        #[arg(long)]
        address: Option<String>,
    },
    /// The certificate authority
    #[command(subcommand)]
    Ca(Ca),
    /// The keys that encrypt what is at rest
    #[command(subcommand)]
    Keyring(KeyringVerb),
    /// Move everything at rest to the newest key of the keyring; no value is touched
    Rewrap {
        #[command(flatten)]
        data: Data,
    },
    /// Write a consistent copy of the database, also while the server runs (the keyring is not in it)
    Backup {
        #[command(flatten)]
        data: Data,
        /// The file to write; must not exist
        file: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct Data {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
}

impl Data {
    pub fn database(&self) -> PathBuf {
        self.data_dir.join(DATABASE)
    }

    fn keyring_path(&self) -> PathBuf {
        self.keyring.clone().unwrap_or_else(|| self.data_dir.join(KEYRING))
    }

    pub fn existing(&self) -> Result<Keyring, String> {
        if !self.database().exists() {
            let dir = self.data_dir.display();
            return Err(format!(
                "{dir} is no data directory; `keyfob-server init --data-dir {dir} --org ORG --admin NAME` makes one"
            ));
        }
        Keyring::load(&self.keyring_path())
    }

    /// One transaction on the database, for commands that run beside a server or without one.
    fn change<T>(&self, job: impl FnOnce(&Tx<'_>) -> Result<T, Error>) -> Result<T, String> {
        let keyring = self.existing()?;
        Store::write_here(&self.database(), &keyring, job).map_err(|e| e.to_string())
    }
}

#[derive(Args)]
struct Init {
    #[command(flatten)]
    data: Data,
    /// The first organization
    #[arg(long)]
    org: String,
    /// Its first admin
    #[arg(long)]
    admin: String,
    /// Where people reach the server, HOST:PORT [default: the server running on this machine]
    #[arg(long)]
    address: Option<String>,
    /// The SPIFFE trust domain of all identities
    #[arg(long, default_value = "keyfob")]
    trust_domain: String,
    /// A CA certificate of yours (PEM) instead of a new one
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
    /// Its key (PEM, PKCS #8)
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Org {
    /// Make another organization and its first admin; print the admin's join string
    Create {
        #[command(flatten)]
        data: Data,
        /// The organization
        org: String,
        /// Its first admin
        #[arg(long)]
        admin: String,
        /// Where people reach the server, HOST:PORT [default: the server running on this machine]
        #[arg(long)]
        address: Option<String>,
    },
    /// Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited
    Allow {
        #[command(flatten)]
        data: Data,
        /// The organization
        org: String,
        /// The variable
        variable: String,
        /// Take the allowance back
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Subcommand)]
enum Ca {
    /// Show the authorities, the signing one first
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Print the trusted certificates as PEM, for clients that are not ours
    Export {
        #[command(flatten)]
        data: Data,
    },
    /// Add an authority: trusted from the server's next start, signing once activated
    Add {
        #[command(flatten)]
        data: Data,
        /// A CA certificate of yours (PEM) instead of a new one
        #[arg(long, value_name = "FILE", requires = "ca_key")]
        ca_cert: Option<PathBuf>,
        /// Its key (PEM, PKCS #8)
        #[arg(long, value_name = "FILE", requires = "ca_cert")]
        ca_key: Option<PathBuf>,
    },
    /// Let an authority sign from the server's next start; give everybody time to renew after `add`
    Activate {
        #[command(flatten)]
        data: Data,
        /// Its id
        id: String,
    },
}

#[derive(Subcommand)]
enum KeyringVerb {
    /// Add a fresh key; a running server picks it up when it meets it, or at its next start
    Add {
        #[command(flatten)]
        data: Data,
    },
    /// Show the keys' names and how many secrets hang on each
    List {
        #[command(flatten)]
        data: Data,
    },
}

/// The whole program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    panics::start("keyfob-server");
    logs::start();
    for undone in harden::harden() {
        tracing::debug!(%undone, "hardening");
    }
    let program = match Program::try_parse_from(args) {
        Ok(program) => program,
        Err(error) => return argv::misused("keyfob-server", &error),
    };
    match run(program.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "keyfob-server: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What can be typed, for completions.
pub fn command() -> clap::Command {
    Program::command()
}

fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Init(init) => self::init(init),
        Command::Serve(args) => runtime()?.block_on(serve::run(*args)),
        Command::Org(Org::Create { data, org, admin, address }) => {
            let (org, admin) = (parse(OrgName::parse(&org))?, parse(UserName::parse(&admin))?);
            let (token, fingerprint) =
                data.change(|tx| Ok((tx.create_organization(&org, &admin)?, fingerprint(tx)?)))?;
            print_join(&data, address, fingerprint, token, &admin)
        }
        Command::Org(Org::Allow { data, org, variable, remove }) => {
            let (org, variable) = (parse(OrgName::parse(&org))?, parse(Variable::parse(&variable))?);
            data.change(|tx| tx.allow_variable(&org, &variable, !remove))
        }
        Command::Join { data, org, user, address } => {
            let (org, user) = (parse(OrgName::parse(&org))?, parse(UserName::parse(&user))?);
            let (token, fingerprint) = data.change(|tx| Ok((tx.admin_join(&org, &user)?, fingerprint(tx)?)))?;
            print_join(&data, address, fingerprint, token, &user)
        }
        Command::Ca(verb) => self::ca(verb),
        Command::Keyring(verb) => self::keyring(verb),
        Command::Rewrap { data } => {
            let mut moved = 0;
            loop {
                match data.change(|tx| tx.rewrap_secrets())? {
                    0 => break,
                    n => moved += n,
                }
            }
            data.change(|tx| tx.rewrap_rest())?;
            print(&format!("{moved} secrets moved to the newest key\n"))
        }
        Command::Backup { data, file } => {
            let keyring = data.existing()?;
            let store = Store::open(&data.database(), Arc::new(keyring), Box::new(drop)).map_err(|e| e.to_string())?;
            store.backup(&file).map_err(|e| e.to_string())
        }
    }
}

fn init(init: Init) -> Result<(), String> {
    let data = &init.data;
    let dir = data.data_dir.display();
    let (org, admin) = (parse(OrgName::parse(&init.org))?, parse(UserName::parse(&init.admin))?);
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if init.trust_domain.is_empty() || init.trust_domain.len() > 255 || !init.trust_domain.chars().all(valid) {
        return Err(format!(
            "`{}` is no SPIFFE trust domain: use lower-case letters, digits, `-`, `.`, `_`",
            init.trust_domain
        ));
    }
    let own_ca = own_ca(&init.ca_cert, &init.ca_key)?;
    if data.database().exists() {
        return Err(format!(
            "{dir} is a data directory already. To add an organization: keyfob-server org create; for a new join string of its admin: keyfob-server join"
        ));
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&data.data_dir).map_err(|e| format!("{dir}: {e}"))?;
    let keyring_path = data.keyring_path();
    if !keyring_path.exists() && std::env::var_os("CREDENTIALS_DIRECTORY").is_none() {
        Keyring::add_key(&keyring_path, &key_name()?)?;
    }
    let keyring = Keyring::load(&keyring_path)?;
    let now = OffsetDateTime::now_utc();
    let (token, fingerprint) = Store::write_here(&data.database(), &keyring, |tx| {
        tx.set_setting("trust_domain", &init.trust_domain)?;
        let authority = match &own_ca {
            Some((certificate, key)) => ca::import(tx, certificate, key)?,
            None => ca::create(tx, &init.trust_domain, now)?,
        };
        ca::activate(tx, &authority)?;
        Ok((tx.create_organization(&org, &admin)?, fingerprint(tx)?))
    })
    .map_err(|e| {
        // Nothing was there before: a half-made database must not stand in the way of the next try.
        let _ = fs::remove_file(data.database());
        e.to_string()
    })?;
    print_join(data, init.address, fingerprint, token, &admin)?;
    let _ = writeln!(
        io::stderr(),
        "Made {dir}. Keep {} apart from backups of it: without that file no secret can be read, with it all can.\n\
         Now run: keyfob-server serve --data-dir {dir}\n\
         Then, within ten minutes, as {admin}: keyfob login (and paste the line above)",
        keyring_path.display()
    );
    Ok(())
}

fn own_ca(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Result<Option<(String, zeroize::Zeroizing<String>)>, String> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((read(certificate)?, zeroize::Zeroizing::new(read(key)?)))),
        _ => Ok(None),
    }
}

fn fingerprint(tx: &Tx<'_>) -> Result<[u8; 32], Error> {
    Ok(ca::list(tx)?.first().map(|a| tls::fingerprint(&a.certificate)).unwrap_or_default())
}

/// The join string alone on standard output: scripts rely on that.
fn print_join(
    data: &Data,
    address: Option<String>,
    ca_fingerprint: [u8; 32],
    token: Token,
    user: &UserName,
) -> Result<(), String> {
    let address = match address {
        Some(address) => reachable(address)?,
        None => {
            let dir = fs::canonicalize(&data.data_dir).map_err(|e| format!("{}: {e}", data.data_dir.display()))?;
            format!("dir:{}", dir.to_str().ok_or("the data directory's path is not UTF-8; give --address")?)
        }
    };
    let _ = user;
    let join = Join { audience: Audience::User, address, ca_fingerprint, token, boot: BootPolicy::default() };
    print(&format!("{}\n", *join.to_text()))
}

pub(super) fn reachable(address: String) -> Result<String, String> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p != 0) => Ok(address),
        _ => Err(format!("`{address}` is no HOST:PORT")),
    }
}

fn ca(verb: Ca) -> Result<(), String> {
    match verb {
        Ca::List { data } => {
            let mut text = String::new();
            for (place, a) in data.change(ca::list)?.into_iter().enumerate() {
                let state = match a.active_at {
                    Some(_) if place == 0 => "signing",
                    Some(_) => "trusted (signed before)",
                    None => "trusted (not signing yet)",
                };
                let fingerprint: String = tls::fingerprint(&a.certificate).iter().map(|b| format!("{b:02x}")).collect();
                let end = OffsetDateTime::from_unix_timestamp(a.not_after / 1_000_000)
                    .map(|t| t.date().to_string())
                    .unwrap_or_default();
                text.push_str(&format!("{}  {state}  until {end}  sha256 {fingerprint}\n", a.id));
            }
            print(&text)
        }
        Ca::Export { data } => print(&data.change(ca::list)?.iter().map(|a| pem(&a.certificate)).collect::<String>()),
        Ca::Add { data, ca_cert, ca_key } => {
            let own_ca = own_ca(&ca_cert, &ca_key)?;
            let id = data.change(|tx| match &own_ca {
                Some((certificate, key)) => ca::import(tx, certificate, key),
                None => ca::create(tx, &tx.setting("trust_domain")?.unwrap_or_default(), OffsetDateTime::now_utc()),
            })?;
            print(&format!("{id}\n"))
        }
        Ca::Activate { data, id } => {
            let id = parse(Id::parse(&id))?;
            data.change(|tx| ca::activate(tx, &id))
        }
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let encoded = STANDARD.encode(certificate);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn keyring(verb: KeyringVerb) -> Result<(), String> {
    match verb {
        KeyringVerb::Add { data } => {
            data.existing()?;
            let name = Keyring::add_key(&data.keyring_path(), &key_name()?)?;
            print(&format!("{name}\n"))?;
            let _ = writeln!(
                io::stderr(),
                "New values use {name} from the server's next start; `keyfob-server rewrap` moves what is there."
            );
            Ok(())
        }
        KeyringVerb::List { data } => {
            let keyring = data.existing()?;
            let used = data.change(|tx| tx.keys_in_use())?;
            let mut text = String::new();
            for key in keyring.keys().iter() {
                let count = used.iter().find(|(id, _)| *id == key.id).map_or(0, |(_, n)| *n);
                text.push_str(&format!("{}  {count} secrets\n", key.id));
            }
            print(&text)
        }
    }
}

/// `kek-DATE-RANDOM`.
fn key_name() -> Result<String, String> {
    let date = OffsetDateTime::now_utc().date();
    let id = new_id().map_err(|e| e.to_string())?;
    Ok(format!("kek-{:04}{:02}{:02}-{}", date.year(), u8::from(date.month()), date.day(), &id.as_str()[20..]))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("starting: {e}"))
}

fn parse<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<T, String> {
    parsed.map_err(|e| e.to_string())
}

pub(super) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))
}
