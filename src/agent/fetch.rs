//! One fetch: a fresh key, one call, and the bundle opened where no copy of it can linger.
//!
//! The reply is ciphertext all the way here. It is copied into secret memory once, opened in place, and parsed without
//! copying: the values of [`BundleContents`] point into that memory, which is wiped when the last of them is dropped.

use bytes::Bytes;
use prost::Message;
use tonic::transport::Channel;

use crate::{
    client::Error,
    domain::{
        identity::{Identity, Subject},
        reserved,
        value::{self, Delivery},
        variable::Variable,
    },
    memory::{Rung, SecretBuf},
    seal::{self, Purpose, RecipientKey},
    wire::v1::{self, BundleContents, FetchRequest, bundle_service_client::BundleServiceClient},
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

/// Fetches the bundle of the session that `own` names. `floor` is the weakest memory that the values may lie in.
pub async fn fetch(channel: Channel, own: &Identity, floor: Rung) -> Result<Fetched, Error> {
    let Subject::Session(session) = &own.subject else {
        return Err(Error::Local("the agent's certificate is not a session's".into()));
    };
    let local = |what: &'static str| move |cause: &dyn std::fmt::Display| Error::Local(format!("{what}: {cause}"));
    let key = RecipientKey::generate().map_err(|e| local("no randomness")(&e))?;
    let mut nonce = [0; seal::NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|e| local("no randomness")(&e))?;
    let request = FetchRequest { public_key: key.public().to_vec(), nonce: nonce.to_vec() };
    let mut client = BundleServiceClient::new(channel).max_decoding_message_size(8 * 1024 * 1024);
    let reply = client.fetch(request).await?.into_inner();
    if reply.suite != seal::SUITE {
        return Err(Error::Local(format!(
            "the bundle is sealed with suite {}, which this agent does not know; update it",
            reply.suite
        )));
    }
    let mut memory = SecretBuf::new(reply.ciphertext.len(), floor).map_err(|e| local("secret memory")(&e))?;
    memory.copy_from_slice(&reply.ciphertext);
    let purpose = Purpose::Bundle {
        org: own.org.as_str(),
        session: session.as_str(),
        bundle_version: &reply.bundle_version,
        sequence: reply.sequence,
        nonce: &nonce,
    };
    let len = key.open(&reply.encapsulated_key, &mut memory, &purpose).map_err(|e| local("the bundle")(&e))?;
    drop(key);
    let rung = memory.rung();
    let contents = BundleContents::decode(memory.into_bytes().slice(..len))
        .map_err(|_| Error::Local("the bundle can't be parsed".into()))?;
    let entries = contents.entries.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
    if let Some(twice) = entries.windows(2).find(|pair| pair[0].variable >= pair[1].variable) {
        return Err(Error::Local(format!(
            "the bundle has ${} twice or out of order; none of it was installed",
            twice[1].variable
        )));
    }
    Ok(Fetched {
        entries,
        organization: contents.organization,
        session: contents.session,
        user: contents.user,
        environment: contents.environment,
        environment_version: contents.environment_version,
        bundle_version: reply.bundle_version,
        sequence: reply.sequence,
        rung,
    })
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
