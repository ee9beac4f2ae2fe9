//! What every seed begins with: an organization whose admin holds an identity, a secret that counts, and sessions that nobody
//! has booted yet. Made once, by the real calls; each seed gets a copy of the database.

use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use tempfile::TempDir;
use time::OffsetDateTime;

use super::{
    agent::{Wrong, way},
    network::Link,
    random::Random,
    server::{ADDRESS, Server},
};
use crate::{
    client::{self, Credentials},
    domain::{
        boot::BootPolicy,
        join::{Audience, Join},
        name::{Id, OrgName, UserName},
    },
    server::{
        ca::{self, Lives},
        keyring::Keyring,
        streams::Streams,
    },
    tls,
    wire::v1::{self, secret_service_client::SecretServiceClient, session_service_client::SessionServiceClient},
};

pub const MOST: usize = 5;
/// What the calendar says at the beginning.
pub fn began() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a day in 2027")
}

pub struct Given {
    dir: TempDir,
    pub admin: Credentials,
    /// In the order of their ids, which the store sorts by: they are random, and their order is not.
    pub sessions: Vec<(Id, String)>,
}

pub fn org() -> OrgName {
    OrgName::parse("acme").expect("a name")
}

pub fn plain(value: u64) -> v1::SecretValue {
    v1::SecretValue { kind: Some(v1::secret_value::Kind::Plain(value.to_string().into_bytes())) }
}

pub fn get() -> &'static Given {
    static GIVEN: OnceLock<Given> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(make())
    })
}

async fn make() -> Given {
    let dir = tempfile::Builder::new().prefix("keyfob-given-").tempdir_in("/dev/shm").expect("/dev/shm is there");
    Keyring::add_key(&dir.path().join("keyring"), "simulated").expect("a keyring");
    let clock = Wrong::default().clock(began() - time::Duration::minutes(2));
    let random = Random::new(0);
    let hear = Arc::new(|_: &[_]| {});
    let server =
        Server::new(dir.path(), clock.clone(), Lives::default(), random.clone(), hear, None).expect("a server");
    let store = server.store(0, Arc::new(AtomicBool::new(true)), Streams::new()).expect("a store");
    let now = clock.now();
    let made = store.write(move |tx| {
        tx.set_setting("trust_domain", "simulated")?;
        let authority = ca::create(tx, "simulated", now)?;
        ca::activate(tx, &authority)?;
        let token = tx.create_organization(&org(), &UserName::parse("root").expect("a name"))?;
        let fingerprint = ca::list(tx)?.first().map(|a| tls::fingerprint(&a.certificate)).unwrap_or_default();
        Ok((token, fingerprint))
    });
    let (token, ca_fingerprint) = made.await.expect("an organization");
    drop(store);

    server.start().await.expect("it starts");
    let way = way(&Link::new(random.fork(1)), &server, &clock);
    let address = ADDRESS.to_owned();
    let join = Join { audience: Audience::User, address, ca_fingerprint, token, boot: BootPolicy::default() };
    let key = client::new_key().expect("a key");
    let admin = client::enrol_by(&way, &join, &key, clock.now()).await.expect("the admin enrols");
    let channel = way.connect_as(ADDRESS, &admin).await.expect("a connection");
    let request = v1::CreateSecretRequest {
        name: "counter".into(),
        visibility: v1::Visibility::Shared.into(),
        value: Some(plain(1)),
        ..Default::default()
    };
    SecretServiceClient::new(channel.clone()).create_secret(request).await.expect("a secret");
    let mut sessions = Vec::new();
    for _ in 0..MOST {
        let request = v1::CreateSessionRequest { environment: "default".into(), ..Default::default() };
        let made = SessionServiceClient::new(channel.clone()).create_session(request).await.expect("a session");
        let v1::CreateSessionResponse { session, join, .. } = made.into_inner();
        sessions.push((Id::parse(&session.expect("a session").id).expect("an id"), join));
    }
    sessions.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    server.kill();
    Given { dir, admin, sessions }
}

impl Given {
    pub fn copy_to(&self, dir: &Path) {
        for file in ["keyring", "keyfob.db", "keyfob.db-wal"] {
            if self.dir.path().join(file).exists() {
                fs::copy(self.dir.path().join(file), dir.join(file)).expect("a copy");
            }
        }
    }
}
