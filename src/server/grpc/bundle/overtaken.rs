//! Pushes that land while a bundle is being made: after it was read, and before its delivery is on record.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use prost::Message;
use tonic::Request;

use super::{super::secrets::SecretCalls, App, BundleCalls};
use crate::{
    clock::Clock,
    domain::join::{Audience, Join, Token},
    seal::RecipientKey,
    server::{
        ca::{Authority, Lives},
        edge::Peer,
        grpc::Fleet,
        keyring::Keyring,
        store::{Credential, Proof, Store, in_turn::Turn, new_id},
        streams::Streams,
    },
    simulation::given,
    wire::v1::{self, BundleContents, PushOptions, secret_service_server::SecretService},
};

async fn app(dir: &Path, turn: Turn) -> Arc<App> {
    let keyring = Arc::new(Keyring::load(&dir.join("keyring")).unwrap());
    let clock = Clock::new(given::began);
    let store = Store::in_turn(&dir.join("keyfob.db"), keyring, Box::new(|_| ()), clock, turn).unwrap();
    let authority = store.read(|tx| Authority::load(tx, "simulated".into(), Lives::default())).await.unwrap();
    Arc::new(App {
        store,
        streams: Streams::new(),
        authority: Arc::new(authority),
        address: String::new(),
        sealing_key: RecipientKey::generate().unwrap(),
        sealing_key_id: new_id().unwrap(),
        beat: Duration::from_secs(30),
        fleet: Fleet::default(),
        console: None,
    })
}

async fn push(app: &Arc<App>, value: u64) {
    let mut request = Request::new(v1::RotateSecretRequest {
        r#ref: Some(v1::SecretRef { name: "counter".into(), ..Default::default() }),
        value: Some(given::plain(value)),
        expected_version: String::new(),
        push: Some(PushOptions::default()),
    });
    let certificate = Some(Arc::new(given::get().admin.chain[0].clone()));
    request.extensions_mut().insert(Peer { address: ([127, 0, 0, 1], 1).into(), certificate });
    SecretCalls(app.clone()).rotate_secret(request).await.expect("it is rotated and pushed");
}

/// Each row: in front of which of the store's jobs something is pushed (a try reads and then writes; the last one writes only),
/// and how many jobs it takes then. What is delivered takes in every push before it, always.
#[test]
fn a_delivery_takes_in_every_push_before_it() {
    let given = given::get();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    for (what, pushes, jobs) in [
        ("nothing", &[][..], 2),
        ("before it is read", &[1], 2),
        ("in between", &[2], 4),
        ("in between, twice", &[2, 4], 6),
        ("before it is read again", &[2, 3], 4),
        ("in between, each time", &[2, 4, 6], 7),
        ("and before the last", &[2, 4, 6, 7], 7),
    ] {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        given.copy_to(dir.path());
        runtime.block_on(async {
            let others = app(dir.path(), Box::new(|| Box::pin(async {}))).await;
            let done = Arc::new(AtomicUsize::new(0));
            let (counted, pushing) = (done.clone(), others.clone());
            let turn: Turn = Box::new(move || {
                let job = counted.fetch_add(1, Relaxed) + 1;
                let (others, now) = (pushing.clone(), pushes.contains(&job));
                Box::pin(async move {
                    if now {
                        push(&others, 10 + job as u64).await;
                    }
                })
            });

            let (id, join) = &given.sessions[0];
            let token = Join::parse(join, Audience::Session).unwrap().token;
            let hash = Token::hash(token.expose());
            let redeemed = others.store.write(move |tx| tx.redeem(&hash, &[7; 32])).await.unwrap();
            let credential = Credential { identity: redeemed.identity, proof: Proof::Key([7; 32]) };
            let calls = BundleCalls(app(dir.path(), turn).await);
            done.store(0, Relaxed); // what it began with
            let (_, _, message, sequence) = calls.record(&credential).await.unwrap();

            let contents = BundleContents::decode(&message[..]).unwrap();
            let newest = pushes.last().map_or("1".into(), |job| (10 + job).to_string());
            assert_eq!(contents.entries[0].value, newest.as_bytes(), "{what}");
            assert_eq!(done.load(Relaxed), jobs, "{what}: jobs");
            let (of, session) = (given::org(), id.clone());
            let (newest, delivery) = others
                .store
                .read(move |tx| {
                    let newest = tx.one("SELECT COALESCE(MAX(sequence), 0) FROM rollouts", &[], |row| row.uint(0))?;
                    Ok((newest, tx.delivery(&of, &session, sequence)?))
                })
                .await
                .unwrap();
            assert!(Some(sequence) > newest && delivery == Some(None), "{what}: {sequence}, {newest:?}");
        });
    }
}
