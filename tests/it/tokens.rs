//! Join tokens, renewal and revocation, as an attacker with many hands would try them.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyfob::{
    client::{self, Credentials},
    domain::join::{Audience, Join},
    wire::v1::{self, Role},
};
use rcgen::KeyPair;
use time::OffsetDateTime;
use tonic::Code;

use crate::world::{Api, World, enrol_session};

async fn enrol(join: &str, audience: Audience, key: &KeyPair) -> Result<Credentials, client::Error> {
    client::enrol(&Join::parse(join, audience).expect("a join string"), key, OffsetDateTime::now_utc()).await
}

fn code<T>(result: Result<T, client::Error>) -> Option<Code> {
    match result {
        Err(client::Error::Status(status)) => Some(status.code()),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_redeemers_one_wins() {
    let world = World::new().await;
    for round in 0..5 {
        let join = world.session("", "default").await.join;
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let join = join.clone();
                tokio::spawn(async move {
                    let key = client::new_key().unwrap();
                    let won = code(enrol(&join, Audience::Session, &key).await).is_none();
                    (won, key)
                })
            })
            .collect();
        let mut winners = Vec::new();
        let mut losers = Vec::new();
        for task in tasks {
            let (won, key) = task.await.unwrap();
            if won { winners.push(key) } else { losers.push(key) }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        // A dropped connection must not burn a VM: the same key may come again, no other ever.
        assert_eq!(code(enrol(&join, Audience::Session, &winners[0]).await), None);
        assert_eq!(code(enrol(&join, Audience::Session, &losers[0]).await), Some(Code::Unauthenticated));
    }
}

#[tokio::test]
async fn what_a_token_is_not_good_for() {
    let world = World::new().await;
    let refused = Some(Code::Unauthenticated);
    let key = || client::new_key().unwrap();

    let request = v1::CreateSessionRequest { join_ttl_seconds: 1, ..Default::default() };
    let short = world.admin().sessions().create_session(request).await.unwrap().into_inner();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await; // the life of the token is what is tested
    assert_eq!(code(enrol(&short.join, Audience::Session, &key()).await), refused, "expired");
    let request = v1::CreateSessionRequest { join_ttl_seconds: 601, ..Default::default() };
    assert_eq!(
        world.admin().sessions().create_session(request).await.unwrap_err().code(),
        Code::InvalidArgument,
        "longer than ten minutes"
    );

    for revoke in [false, true] {
        let made = world.session("", "default").await;
        let id = made.session.unwrap().id;
        if revoke {
            world.admin().sessions().revoke_session(v1::RevokeSessionRequest { id }).await.unwrap();
        } else {
            world.admin().sessions().end_session(v1::EndSessionRequest { id }).await.unwrap();
        }
        assert_eq!(code(enrol(&made.join, Audience::Session, &key()).await), refused, "ended before it was redeemed");
    }

    // The same key for a second identity.
    let twice = key();
    assert_eq!(code(enrol(&world.session("", "default").await.join, Audience::Session, &twice).await), None);
    assert_eq!(
        code(enrol(&world.session("", "default").await.join, Audience::Session, &twice).await),
        refused,
        "one key, one identity"
    );

    // In the wrong hands it is refused before it is sent, and so not burnt.
    let join = world.invite("alice", Role::Member).await;
    assert!(Join::parse(&join, Audience::Session).is_err());
    assert_eq!(code(enrol(&join, Audience::User, &key()).await), None);
}

#[tokio::test]
async fn revocation_and_removal_count_at_the_next_call() {
    let world = World::new().await;
    let who = |api: &Api| {
        let mut users = api.users();
        async move { users.who_am_i(v1::WhoAmIRequest {}).await.map(drop).map_err(|s| s.code()) }
    };
    let made = world.session("", "default").await;
    let session = enrol_session(&made.join).await;
    assert_eq!(who(&session).await, Ok(()));
    world.admin().sessions().revoke_session(v1::RevokeSessionRequest { id: made.session.unwrap().id }).await.unwrap();
    assert_eq!(who(&session).await, Err(Code::Unauthenticated));

    let bob = world.person("bob", Role::Member).await;
    let bobs = enrol_session(&world.session("bob", "default").await.join).await;
    assert_eq!((who(&bob).await, who(&bobs).await), (Ok(()), Ok(())));
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "bob".into() }).await.unwrap();
    assert_eq!((who(&bob).await, who(&bobs).await), (Err(Code::Unauthenticated), Err(Code::Unauthenticated)));
    // Somebody new of that name is somebody else.
    let new = world.person("bob", Role::Member).await;
    assert_eq!((who(&new).await, who(&bob).await), (Ok(()), Err(Code::Unauthenticated)));
}

#[tokio::test]
async fn renewal_is_for_the_key_on_record() {
    let world = World::new().await;
    let session = enrol_session(&world.session("", "default").await.join).await;
    let now = OffsetDateTime::now_utc();
    let life = session.credentials.not_after - session.credentials.not_before;
    assert_eq!(session.credentials.renew_at() - session.credentials.not_before, life * 0.7);
    let renewed = client::renew(session.channel.clone(), &session.credentials, now).await.expect("a renewal");
    assert!(renewed.not_after >= session.credentials.not_after && renewed.key == session.credentials.key);
    client::connect_as(&world.address, &renewed).await.expect("the renewed certificate connects");

    let other = client::new_key().unwrap();
    let csr_der = rcgen::CertificateParams::default().serialize_request(&other).unwrap().der().to_vec();
    let refused = session.enrolment().renew(v1::RenewRequest { csr_der, ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    // A certificate of ours whose key is not on record any more.
    let database = rusqlite::Connection::open(world.database()).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    database.execute("DELETE FROM credentials WHERE subject_kind = 'session'", []).unwrap();
    let refused = client::renew(session.channel.clone(), &session.credentials, now).await;
    assert_eq!(code(refused), Some(Code::Unauthenticated));
}

/// Nothing on the server's disk, its logs at trace level among it, holds a token in any form.
#[tokio::test]
async fn a_token_is_written_nowhere() {
    let world = World::new().await;
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for join in [world.session("", "default").await.join, world.session("", "default").await.join] {
        let raw = URL_SAFE_NO_PAD.decode(join.trim_start_matches("kfjoin1s_")).unwrap()[..32].to_vec();
        forms.push(raw.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes());
        forms.push(join.as_bytes()[..45].to_vec());
        forms.push(raw);
        enrol_session(&join).await;
    }
    let found = |dir: &Path| {
        files(dir)
            .into_iter()
            .filter(|f| forms.iter().any(|form| contains(&fs::read(f).unwrap_or_default(), form)))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(world.dir.path()), Vec::<std::path::PathBuf>::new());
    // The search finds one that is there.
    fs::write(world.dir.path().join("control"), &forms[2]).unwrap();
    assert_eq!(found(world.dir.path()).len(), 1);
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}
