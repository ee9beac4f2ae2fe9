//! Fetching: a fresh key, one call, and what comes opened where no copy of it can linger. The whole bundle ([`fetch`]), or
//! secrets by name for one command ([`fetch_named`]).
//!
//! The reply is ciphertext all the way here. It is copied into secret memory once, opened in place, and parsed without
//! copying: the values of [`BundleContents`] point into that memory, which is wiped when the last of them is dropped.

use bytes::Bytes;
use prost::Message;
use tonic::transport::Channel;

use super::files::LeftOut;
use crate::{
    client::Error,
    domain::{
        identity::{Identity, Subject},
        name::{Id, SecretName},
        report::Line,
        reserved,
        value::{self, Delivery},
        variable::Variable,
    },
    memory::{Rung, SecretBuf},
    seal::{self, Purpose, RecipientKey},
    wire::v1::{self, BundleContents, FetchNamedRequest, FetchRequest, bundle_service_client::BundleServiceClient},
};

/// A bundle, opened and checked.
pub struct Fetched {
    pub entries: Vec<Entry>,
    pub organization: String,
    pub session: String,
    pub user: String,
    pub environment: String,
    pub environment_version: u64,
    pub bundle_version: String,
    pub sequence: u64,
    pub left_out: Vec<LeftOut>,
    /// What protects the values' memory.
    pub rung: Rung,
}

/// Secrets that were asked for by name, opened and checked: those and no others, in the order of their variables.
#[allow(dead_code, reason = "read by whoever serves `exec --with` on the agent's socket")]
pub struct Named {
    pub entries: Vec<Entry>,
    /// What protects the values' memory.
    pub rung: Rung,
}

/// One variable; its value lies in secret memory.
pub struct Entry {
    pub variable: Variable,
    pub name: String,
    pub origin: &'static str,
    pub version: String,
    pub delivery: Delivery,
    pub value: Bytes,
}

impl Entry {
    /// An environment's variables are no secrets: `production` in a log is no leak.
    pub fn is_secret(&self) -> bool {
        self.origin != v1::Origin::Environment.word()
    }
}

const LARGEST: usize = 8 * 1024 * 1024;

/// Fetches the bundle of the session that `own` names. `floor` is the weakest memory that the values may lie in.
pub async fn fetch(channel: Channel, own: &Identity, floor: Rung) -> Result<Fetched, Error> {
    let session = session(own)?;
    let (key, nonce) = fresh()?;
    let request = FetchRequest { public_key: key.public().to_vec(), nonce: nonce.to_vec() };
    let mut client = BundleServiceClient::new(channel).max_decoding_message_size(LARGEST);
    let reply = client.fetch(request).await?.into_inner();
    let purpose = Purpose::Bundle {
        org: own.org.as_str(),
        session: session.as_str(),
        bundle_version: &reply.bundle_version,
        sequence: reply.sequence,
        nonce: &nonce,
    };
    let sealed = Sealed { suite: reply.suite, key: &reply.encapsulated_key, message: &reply.ciphertext };
    let Opened { entries, contents, rung } = open(key, &sealed, &purpose, floor)?;
    Ok(Fetched {
        entries,
        organization: contents.organization,
        session: contents.session,
        user: contents.user,
        environment: contents.environment,
        environment_version: contents.environment_version,
        bundle_version: reply.bundle_version,
        sequence: reply.sequence,
        left_out: contents.left_out.into_iter().filter_map(left_out).collect(),
        rung,
    })
}

/// For people to read: what is no name is not told.
fn left_out(said: v1::LeftOutVariable) -> Option<LeftOut> {
    let origin = said.origin().word().to_owned();
    let variable = Variable::parse(&said.variable).ok()?.to_string();
    let name = SecretName::parse(&said.name).ok()?.to_string();
    Some(LeftOut { variable, name, origin, reason: Line::<500>::cut(&said.reason).into() })
}

/// Fetches secrets of the session that `own` names by their names; each once.
pub async fn fetch_named(channel: Channel, own: &Identity, names: &[String], floor: Rung) -> Result<Named, Error> {
    let session = session(own)?;
    let (key, nonce) = fresh()?;
    let request = FetchNamedRequest { names: names.to_vec(), public_key: key.public().to_vec(), nonce: nonce.to_vec() };
    let mut client = BundleServiceClient::new(channel).max_decoding_message_size(LARGEST);
    let reply = client.fetch_named(request).await?.into_inner();
    let purpose = Purpose::Named {
        org: own.org.as_str(),
        session: session.as_str(),
        sequence: reply.sequence,
        nonce: &nonce,
        names,
    };
    let sealed = Sealed { suite: reply.suite, key: &reply.encapsulated_key, message: &reply.ciphertext };
    let Opened { entries, rung, .. } = open(key, &sealed, &purpose, floor)?;
    let mut came: Vec<_> = entries.iter().map(|entry| &entry.name).collect();
    let mut asked: Vec<_> = names.iter().collect();
    came.sort();
    asked.sort();
    if came == asked {
        Ok(Named { entries, rung })
    } else {
        Err(Error::Local("the control plane sent other secrets than were asked for; none of them is used".into()))
    }
}

fn session(own: &Identity) -> Result<&Id, Error> {
    match &own.subject {
        Subject::Session(session) => Ok(session),
        _ => Err(Error::Local("the agent's certificate is not a session's".into())),
    }
}

/// A key and a nonce for one call.
fn fresh() -> Result<(RecipientKey, [u8; seal::NONCE_LEN]), Error> {
    let no = |e: getrandom::Error| Error::Local(format!("no randomness: {e}"));
    let mut nonce = [0; seal::NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(no)?;
    Ok((RecipientKey::generate().map_err(no)?, nonce))
}

/// As it came.
struct Sealed<'a> {
    suite: u32,
    key: &'a [u8],
    message: &'a [u8],
}

struct Opened {
    entries: Vec<Entry>,
    /// All but the entries.
    contents: BundleContents,
    rung: Rung,
}

/// The key goes with the one message that it was made for.
fn open(key: RecipientKey, sealed: &Sealed<'_>, purpose: &Purpose<'_>, floor: Rung) -> Result<Opened, Error> {
    if sealed.suite != seal::SUITE {
        return Err(Error::Local(format!(
            "the bundle is sealed with suite {}, which this agent does not know; update it",
            sealed.suite
        )));
    }
    let mut memory =
        SecretBuf::new(sealed.message.len(), floor).map_err(|e| Error::Local(format!("secret memory: {e}")))?;
    memory.copy_from_slice(sealed.message);
    let len = key.open(sealed.key, &mut memory, purpose).map_err(|e| Error::Local(format!("the bundle: {e}")))?;
    drop(key);
    let rung = memory.rung();
    let mut contents = BundleContents::decode(memory.into_bytes().slice(..len))
        .map_err(|_| Error::Local("the bundle can't be parsed".into()))?;
    let entries = std::mem::take(&mut contents.entries).into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
    if let Some(twice) = entries.windows(2).find(|pair| pair[0].variable >= pair[1].variable) {
        return Err(Error::Local(format!(
            "the bundle has ${} twice or out of order; none of it was installed",
            twice[1].variable
        )));
    }
    Ok(Opened { entries, contents, rung })
}

/// The agent checks again what the server should never have let through.
fn check(entry: v1::BundleEntry) -> Result<Entry, Error> {
    let refused = |variable: &str, why: &dyn std::fmt::Display| {
        Error::Local(format!("the bundle's ${variable} can't be installed ({why}); none of it was"))
    };
    let variable = Variable::parse(&entry.variable).map_err(|_| {
        Error::Local("the bundle has a variable that no shell would take; none of it was installed".into())
    })?;
    if let Some(reserved) = reserved::class_of(&variable)
        && !(reserved.class == reserved::Class::RunsCode && entry.reserved_allowed)
    {
        return Err(refused(variable.as_str(), &reserved));
    }
    let (delivery, origin) = (Delivery::from(entry.delivery()), entry.origin().word());
    let is_environment = entry.origin() == v1::Origin::Environment;
    if !(is_environment && entry.value.is_empty()) {
        value::check(&entry.value, delivery).map_err(|e| refused(variable.as_str(), &e))?;
    }
    Ok(Entry { variable, name: entry.name, origin, version: entry.version, delivery, value: entry.value })
}
