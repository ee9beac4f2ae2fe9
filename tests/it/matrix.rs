//! Every call x every kind of caller x own, other, deleted, absent, another organization's.
//!
//! The rows come from a `match` over all calls of the descriptors: a new call without a row does not build. Each cell runs
//! against the real server with a target of its own, so that a delete in one cell leaves the next one's target whole.

use keyfob::{
    client,
    tls::Trust,
    wire::{
        calls::Call,
        v1::{self, Role, Visibility},
    },
};
use tonic::{Code, Status};

use crate::world::{Api, World, enrol_session, plain};

/// The callers, in the order of the letters of a row.
const CALLERS: [&str; 9] = [
    "alice, the owner",
    "bob, a member",
    "root, the admin",
    "ci, an orchestrator",
    "op, an operator",
    "a session of alice",
    "gone, a removed user",
    "another organization's admin",
    "nobody",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Nothing,
    Alices,
    AlicesShared,
    Deleted,
    Absent,
}

/// `a` allowed, `f` forbidden, `.` as if it did not exist, `u` who are you?
fn rows(call: Call) -> &'static [(On, &'static str)] {
    use On::{Absent, Alices, AlicesShared, Deleted, Nothing};
    match call {
        // Anybody may bring a token; this one is worth nothing.
        Call::EnrolmentEnrol => &[(Nothing, "uuuuuuuuu")],
        Call::EnrolmentRenew => &[(Nothing, "aaaaaauau")],
        Call::BundleFetch | Call::BundleReport | Call::BundleVouch | Call::BundleWatch | Call::BundleAcknowledge => {
            &[(Nothing, "fffffaufu")]
        }
        Call::BundleFetchNamed => {
            &[(Alices, "fffffaufu"), (AlicesShared, "fffffaufu"), (Deleted, "fffff.ufu"), (Absent, "fffff.ufu")]
        }
        Call::SecretGetSealingKey | Call::SecretCheckName => &[(Nothing, "aaafffuau")],
        Call::SecretCreateSecret => &[(Nothing, "aaafffuau")],
        Call::SecretImportSecrets => &[(Nothing, "aaafffuau")],
        Call::SecretListSecrets | Call::SecretListLeaks => &[(Nothing, "aaa...uau")],
        Call::SecretGetSecret | Call::SecretListDeliveries => {
            &[(Alices, "a.....u.u"), (AlicesShared, "aaa...u.u"), (Deleted, "......u.u"), (Absent, "......u.u")]
        }
        Call::SecretUpdateSecret | Call::SecretRotateSecret | Call::SecretDeleteSecret => {
            &[(Alices, "a.....u.u"), (AlicesShared, "afa...u.u"), (Deleted, "......u.u"), (Absent, "......u.u")]
        }
        Call::SecretPreviewBundle => &[(Alices, "afafffu.u"), (Absent, "......u.u")],
        Call::EnvironmentListEnvironments => &[(Nothing, "aaaa..uau")],
        Call::EnvironmentCreateEnvironment => &[(Nothing, "ffaf..uau")],
        Call::EnvironmentGetEnvironment | Call::EnvironmentListEnvironmentVersions => {
            &[(Alices, "aaaa..u.u"), (Absent, "......u.u")]
        }
        Call::EnvironmentUpdateEnvironment | Call::EnvironmentRestoreEnvironment => {
            &[(Alices, "ffaf..u.u"), (Absent, "......u.u")]
        }
        Call::SessionCreateSession => &[(Alices, "ffaaffu.u"), (Absent, "ff..ffu.u")],
        Call::SessionListSessions | Call::FleetListFleet | Call::FleetWatchFleet => &[(Nothing, "aaaaa.uau")],
        Call::SessionGetSession | Call::FleetGetFleetAgent => &[(Alices, "a.aaa.u.u"), (Absent, "......u.u")],
        Call::SessionEndSession => &[(Alices, "a.aaf.u.u"), (Absent, "......u.u")],
        Call::SessionRevokeSession => &[(Alices, "a.aaf.u.u"), (Absent, "......u.u")],
        Call::RolloutCreateRollout => {
            &[(Alices, "a.....u.u"), (AlicesShared, "afa...u.u"), (Deleted, "......u.u"), (Absent, "......u.u")]
        }
        Call::RolloutGetRollout | Call::RolloutListRolloutTargets | Call::RolloutWatchRollout => {
            &[(Alices, "a.a.a.u.u"), (Absent, "......u.u")]
        }
        Call::RolloutListRollouts => &[(Nothing, "aaa.a.uau")],
        Call::UserWhoAmI => &[(Nothing, "aaaaaauau")],
        Call::UserListUsers => &[(Nothing, "aaafffuau")],
        Call::UserInviteUser => &[(Nothing, "ffafffuau")],
        Call::UserUpdateUser | Call::UserRemoveUser => &[(Alices, "ffafffu.u"), (Absent, "......u.u")],
        Call::ConsoleCreateLink => &[(Nothing, "aaafffuau")],
        Call::AuditListAuditEntries | Call::AuditVerifyAudit => &[(Nothing, "ffafffuau")],
        // The agent's own service; the control plane does not serve it.
        Call::AgentStatusGetStatus | Call::AgentStatusWatchStatus => &[],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_by_every_kind_of_caller() {
    let world = World::with_arguments(&["--console-listen", "127.0.0.1:0"]).await;
    let alice = world.person("alice", Role::Member).await;
    let gone = world.person("gone", Role::Member).await;
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "gone".into() }).await.expect("the admin removes");
    let bob = world.person("bob", Role::Member).await;
    let ci = world.person("ci", Role::Orchestrator).await;
    let op = world.person("op", Role::Operator).await;
    let session = enrol_session(&world.session("alice", "default").await.join).await;
    let other = world.organization("other").await;
    let roots = alice.credentials.roots.clone();
    let channel =
        client::connect(&world.address, Trust::Roots(roots), None).await.expect("a connection without a certificate");
    let root_key = client::new_key().expect("a key");
    let nobody = Api { channel, credentials: alice_like(&root_key, &alice) };
    let callers = [&alice, &bob, world.admin(), &ci, &op, &session, &gone, &other, &nobody];

    let mut wrong = Vec::new();
    for call in Call::ALL {
        for (on, expected) in rows(*call) {
            assert_eq!(expected.len(), CALLERS.len(), "{call:?} {on:?}: a letter a caller");
            for ((caller, who), letter) in callers.iter().zip(CALLERS).zip(expected.chars()) {
                let target = target(&world, &alice, *call, *on).await;
                let found = match attempt(*call, caller, &target).await.as_ref().map_err(Status::code) {
                    Ok(()) => 'a',
                    Err(Code::PermissionDenied) => 'f',
                    Err(Code::NotFound) => '.',
                    Err(Code::Unauthenticated) => 'u',
                    Err(_) => 'x',
                };
                if found != letter {
                    let status = attempt(*call, caller, &target).await;
                    wrong.push(format!("{call:?} on {on:?} by {who}: {found}, not {letter} (again: {status:?})"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Hidden and absent must not be told apart by their words either.
#[tokio::test]
async fn hidden_and_absent_read_the_same() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    let secret = alice.create("mine", Visibility::Private, b"a value of alice").await;
    let by_id = |id: &str| v1::SecretRef { id: id.into(), ..Default::default() };
    let by_name = |name: &str| v1::SecretRef { name: name.into(), ..Default::default() };
    let mut answers = Vec::new();
    for reference in
        [by_id(&secret.id), by_id(&"a".repeat(26)), by_id("no id at all"), by_name("mine"), by_name("never-was")]
    {
        let get = bob.secrets().get_secret(v1::GetSecretRequest { r#ref: Some(reference.clone()) }).await.unwrap_err();
        let delete = v1::DeleteSecretRequest { r#ref: Some(reference), ..Default::default() };
        let delete = bob.secrets().delete_secret(delete).await.unwrap_err();
        answers.push((get.code(), get.message().to_owned(), delete.code(), delete.message().to_owned()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].0, answers[0].2), (Code::NotFound, Code::NotFound));
}

/// Another organization's lists hold nothing of ours.
#[tokio::test]
async fn organizations_do_not_see_each_other() {
    let world = World::new().await;
    let other = world.organization("other").await;
    world.admin().create("ours", Visibility::Shared, b"a value of acme").await;
    world.session("", "default").await;
    world
        .admin()
        .environments()
        .create_environment(v1::CreateEnvironmentRequest { name: "ours-too".into(), ..Default::default() })
        .await
        .unwrap();
    world.person("somebody", Role::Member).await;
    let secrets = other.secrets().list_secrets(v1::ListSecretsRequest::default()).await.unwrap().into_inner();
    let sessions = other
        .sessions()
        .list_sessions(v1::ListSessionsRequest { all: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let environments =
        other.environments().list_environments(v1::ListEnvironmentsRequest {}).await.unwrap().into_inner();
    let users = other.users().list_users(v1::ListUsersRequest {}).await.unwrap().into_inner();
    let audit = other.audit().list_audit_entries(v1::ListAuditEntriesRequest::default()).await.unwrap().into_inner();
    assert!(secrets.secrets.is_empty() && sessions.sessions.is_empty(), "{secrets:?} {sessions:?}");
    assert_eq!(environments.environments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["default"]);
    assert_eq!(users.users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["other-root"]);
    let shown = format!("{audit:?}");
    assert!(!shown.contains("ours") && !shown.contains("somebody") && !shown.contains("acme"), "{shown}");
}

/// Something fresh of alice's for one cell: an id or a name.
async fn target(world: &World, alice: &Api, call: Call, on: On) -> String {
    let unique = || format!("x{}", keyfob_unique());
    match (call, on) {
        (_, On::Nothing) => unique(),
        (Call::SecretPreviewBundle, On::Alices) => "alice".into(),
        (Call::SessionCreateSession, On::Alices) => "alice".into(),
        (
            Call::EnvironmentGetEnvironment
            | Call::EnvironmentListEnvironmentVersions
            | Call::EnvironmentUpdateEnvironment
            | Call::EnvironmentRestoreEnvironment,
            On::Alices,
        ) => {
            let name = unique();
            let request = v1::CreateEnvironmentRequest { name: name.clone(), ..Default::default() };
            world.admin().environments().create_environment(request).await.expect("the admin makes an environment");
            name
        }
        (
            Call::SessionGetSession | Call::FleetGetFleetAgent | Call::SessionEndSession | Call::SessionRevokeSession,
            On::Alices,
        ) => world.session("alice", "default").await.session.expect("a session").id,
        (Call::UserUpdateUser | Call::UserRemoveUser, On::Alices) => {
            let name = unique();
            world.invite(&name, Role::Member).await;
            name
        }
        (Call::RolloutGetRollout | Call::RolloutListRolloutTargets | Call::RolloutWatchRollout, On::Alices) => {
            let secret = alice.create(&unique(), Visibility::Private, b"a value of alice").await;
            let reach =
                v1::create_rollout_request::Reach::Secret(v1::SecretRef { id: secret.id, ..Default::default() });
            let request = v1::CreateRolloutRequest { reach: Some(reach), options: None };
            let made = alice.rollouts().create_rollout(request).await.expect("alice pushes").into_inner();
            made.rollout.expect("a rollout").id
        }
        // Named, not by id.
        (Call::BundleFetchNamed, On::Alices) => {
            alice.create(&unique(), Visibility::Private, b"a value of alice").await.name
        }
        (Call::BundleFetchNamed, On::AlicesShared) => {
            alice.create(&unique(), Visibility::Shared, b"a value of alice").await.name
        }
        (_, On::Alices) => alice.create(&unique(), Visibility::Private, b"a value of alice").await.id,
        (_, On::AlicesShared) => alice.create(&unique(), Visibility::Shared, b"a value of alice").await.id,
        (_, On::Deleted) => {
            let id = alice.create(&unique(), Visibility::Private, b"a value of alice").await.id;
            let reference = v1::SecretRef { id: id.clone(), ..Default::default() };
            alice
                .secrets()
                .delete_secret(v1::DeleteSecretRequest { r#ref: Some(reference), ..Default::default() })
                .await
                .expect("alice deletes");
            id
        }
        (_, On::Absent) => "a".repeat(26),
    }
}

fn keyfob_unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Nobody has no credentials; what stands in for them is never sent.
fn alice_like(key: &rcgen::KeyPair, alice: &Api) -> client::Credentials {
    let c = &alice.credentials;
    client::Credentials {
        key: key.serialize_der().into(),
        chain: c.chain.clone(),
        roots: c.roots.clone(),
        not_before: c.not_before,
        not_after: c.not_after,
    }
}

async fn attempt(call: Call, by: &Api, target: &str) -> Result<(), Status> {
    let id = target.to_owned();
    let name = target.to_owned();
    let r#ref = Some(v1::SecretRef { id: id.clone(), ..Default::default() });
    let value = Some(plain(b"a value from the matrix"));
    let private = Visibility::Private.into();
    match call {
        Call::EnrolmentEnrol => {
            let key = client::new_key().expect("a key");
            by.enrolment().enrol(v1::EnrolRequest { token: vec![7; 32], csr_der: csr(&key) }).await.map(drop)
        }
        Call::EnrolmentRenew => {
            let key = rcgen::KeyPair::try_from(&by.credentials.key[..]).expect("a key");
            by.enrolment().renew(v1::RenewRequest { csr_der: csr(&key), ..Default::default() }).await.map(drop)
        }
        Call::BundleFetch => {
            let key = keyfob::seal::RecipientKey::generate().expect("a key");
            by.bundle()
                .fetch(v1::FetchRequest { public_key: key.public().to_vec(), nonce: vec![0; 16] })
                .await
                .map(drop)
        }
        Call::BundleFetchNamed => {
            let key = keyfob::seal::RecipientKey::generate().expect("a key");
            let (public_key, nonce) = (key.public().to_vec(), vec![0; 16]);
            by.bundle().fetch_named(v1::FetchNamedRequest { names: vec![name], public_key, nonce }).await.map(drop)
        }
        Call::BundleReport => {
            let status = v1::AgentStatus { phase: v1::Phase::Fetching.into(), ..Default::default() };
            by.bundle().report(v1::ReportRequest { status: Some(status), ..Default::default() }).await.map(drop)
        }
        Call::BundleVouch => {
            let certificate_der = by.credentials.chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
            by.bundle().vouch(v1::VouchRequest { certificate_der }).await.map(drop)
        }
        Call::FleetListFleet => by.fleet().list_fleet(v1::ListFleetRequest::default()).await.map(drop),
        Call::FleetGetFleetAgent => {
            by.fleet().get_fleet_agent(v1::GetFleetAgentRequest { session: id }).await.map(drop)
        }
        Call::FleetWatchFleet => by.fleet().watch_fleet(v1::WatchFleetRequest::default()).await.map(drop),
        Call::SecretGetSealingKey => by.secrets().get_sealing_key(v1::GetSealingKeyRequest {}).await.map(drop),
        Call::SecretCheckName => by
            .secrets()
            .check_name(v1::CheckNameRequest { name, visibility: private, ..Default::default() })
            .await
            .map(drop),
        Call::SecretCreateSecret => by
            .secrets()
            .create_secret(v1::CreateSecretRequest { name, visibility: private, value, ..Default::default() })
            .await
            .map(drop),
        Call::SecretImportSecrets => {
            let items = vec![v1::ImportItem { name, value, line: 1 }];
            by.secrets()
                .import_secrets(v1::ImportSecretsRequest { visibility: private, items, ..Default::default() })
                .await
                .map(drop)
        }
        Call::SecretListSecrets => by.secrets().list_secrets(v1::ListSecretsRequest::default()).await.map(drop),
        Call::SecretGetSecret => by.secrets().get_secret(v1::GetSecretRequest { r#ref }).await.map(drop),
        Call::SecretUpdateSecret => by
            .secrets()
            .update_secret(v1::UpdateSecretRequest { r#ref, description: Some("noted".into()), ..Default::default() })
            .await
            .map(drop),
        Call::SecretRotateSecret => {
            by.secrets().rotate_secret(v1::RotateSecretRequest { r#ref, value, ..Default::default() }).await.map(drop)
        }
        Call::SecretDeleteSecret => {
            by.secrets().delete_secret(v1::DeleteSecretRequest { r#ref, ..Default::default() }).await.map(drop)
        }
        Call::BundleWatch => {
            let instance = (keyfob_unique() as u128).to_le_bytes().to_vec();
            by.bundle().watch(v1::WatchRequest { sequence: 0, instance, attempt: 1 }).await.map(drop)
        }
        Call::BundleAcknowledge => {
            let request = v1::AcknowledgeRequest { error: "no room".into(), ..Default::default() };
            by.bundle().acknowledge(request).await.map(drop)
        }
        Call::SecretListDeliveries => {
            by.secrets().list_deliveries(v1::ListDeliveriesRequest { r#ref, ..Default::default() }).await.map(drop)
        }
        Call::RolloutCreateRollout => {
            let reach = v1::create_rollout_request::Reach::Secret(v1::SecretRef { id, ..Default::default() });
            by.rollouts().create_rollout(v1::CreateRolloutRequest { reach: Some(reach), options: None }).await.map(drop)
        }
        Call::RolloutGetRollout => by.rollouts().get_rollout(v1::GetRolloutRequest { id }).await.map(drop),
        Call::RolloutListRollouts => by.rollouts().list_rollouts(v1::ListRolloutsRequest::default()).await.map(drop),
        Call::RolloutListRolloutTargets => by
            .rollouts()
            .list_rollout_targets(v1::ListRolloutTargetsRequest { id, ..Default::default() })
            .await
            .map(drop),
        Call::RolloutWatchRollout => by.rollouts().watch_rollout(v1::WatchRolloutRequest { id }).await.map(drop),
        Call::SecretListLeaks => by.secrets().list_leaks(v1::ListLeaksRequest::default()).await.map(drop),
        Call::SecretPreviewBundle => {
            by.secrets().preview_bundle(v1::PreviewBundleRequest { user: name, ..Default::default() }).await.map(drop)
        }
        Call::EnvironmentListEnvironments => {
            by.environments().list_environments(v1::ListEnvironmentsRequest {}).await.map(drop)
        }
        Call::EnvironmentCreateEnvironment => by
            .environments()
            .create_environment(v1::CreateEnvironmentRequest {
                name: format!("{name}-{}", keyfob_unique()),
                ..Default::default()
            })
            .await
            .map(drop),
        Call::EnvironmentGetEnvironment => {
            by.environments().get_environment(v1::GetEnvironmentRequest { name, version: 0 }).await.map(drop)
        }
        Call::EnvironmentListEnvironmentVersions => {
            by.environments().list_environment_versions(v1::ListEnvironmentVersionsRequest { name }).await.map(drop)
        }
        Call::EnvironmentUpdateEnvironment => {
            let set = vec![v1::EnvironmentVariable { variable: "A".into(), value: "1".into() }];
            by.environments()
                .update_environment(v1::UpdateEnvironmentRequest { name, set, ..Default::default() })
                .await
                .map(drop)
        }
        Call::EnvironmentRestoreEnvironment => {
            by.environments().restore_environment(v1::RestoreEnvironmentRequest { name, version: 1 }).await.map(drop)
        }
        Call::SessionCreateSession => {
            by.sessions().create_session(v1::CreateSessionRequest { user: name, ..Default::default() }).await.map(drop)
        }
        Call::SessionListSessions => by.sessions().list_sessions(v1::ListSessionsRequest::default()).await.map(drop),
        Call::SessionGetSession => by.sessions().get_session(v1::GetSessionRequest { id }).await.map(drop),
        Call::SessionEndSession => by.sessions().end_session(v1::EndSessionRequest { id }).await.map(drop),
        Call::SessionRevokeSession => by.sessions().revoke_session(v1::RevokeSessionRequest { id }).await.map(drop),
        Call::UserWhoAmI => by.users().who_am_i(v1::WhoAmIRequest {}).await.map(drop),
        Call::UserListUsers => by.users().list_users(v1::ListUsersRequest {}).await.map(drop),
        Call::UserInviteUser => by
            .users()
            .invite_user(v1::InviteUserRequest { name: format!("{name}-{}", keyfob_unique()), ..Default::default() })
            .await
            .map(drop),
        Call::UserUpdateUser => {
            by.users().update_user(v1::UpdateUserRequest { name, role: Role::Member.into() }).await.map(drop)
        }
        Call::UserRemoveUser => by.users().remove_user(v1::RemoveUserRequest { name }).await.map(drop),
        Call::AuditListAuditEntries => {
            by.audit().list_audit_entries(v1::ListAuditEntriesRequest::default()).await.map(drop)
        }
        Call::ConsoleCreateLink => by.console().create_link(v1::CreateLinkRequest {}).await.map(drop),
        Call::AuditVerifyAudit => by.audit().verify_audit(v1::VerifyAuditRequest {}).await.map(drop),
        Call::AgentStatusGetStatus | Call::AgentStatusWatchStatus => unreachable!("it has no rows"),
    }
}

fn csr(key: &rcgen::KeyPair) -> Vec<u8> {
    rcgen::CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}
