//! An environment's boot policy on its way into a VM, and what agents say of themselves on the way back.

use std::{
    fs,
    time::{Duration, Instant},
};

use keyfob::{
    domain::{
        boot::{BootPolicy, OnFailure},
        join::{Audience, Join},
    },
    wire::v1,
};
use tonic::Code;

use crate::{
    agent::wait_for,
    world::{AgentRun, World},
};

const fn policy(deadline: Option<u16>, on_failure: Option<OnFailure>) -> BootPolicy {
    BootPolicy { deadline, on_failure }
}

const UNSAID: BootPolicy = policy(None, None);
const SHORT: BootPolicy = policy(Some(1), Some(OnFailure::Continue));

/// What `default` says from now on; gives its version.
async fn say(world: &World, boot: BootPolicy) -> u64 {
    let request =
        v1::UpdateEnvironmentRequest { name: "default".into(), boot: Some(boot.into()), ..Default::default() };
    let reply = world.admin().environments().update_environment(request).await.expect("the admin says it").into_inner();
    let environment = reply.environment.expect("an environment");
    assert_eq!(environment.boot, Some(boot.into()));
    environment.version
}

fn carried(join: &str) -> BootPolicy {
    Join::parse(join, Audience::Session).expect("a session's join string").boot
}

#[tokio::test]
async fn a_policy_is_versioned_restored_and_travels_in_join_strings() {
    let world = World::new().await;
    assert_eq!(carried(&world.session("", "default").await.join), UNSAID);
    assert_eq!(say(&world, SHORT).await, 2);
    assert_eq!(say(&world, SHORT).await, 2, "nothing new");
    assert_eq!(carried(&world.session("", "default").await.join), SHORT);
    // A change of variables leaves it alone.
    let set = vec![v1::EnvironmentVariable { variable: "A".into(), value: "1".into() }];
    let request = v1::UpdateEnvironmentRequest { name: "default".into(), set, ..Default::default() };
    world.admin().environments().update_environment(request).await.expect("the admin sets");
    assert_eq!(carried(&world.session("", "default").await.join), SHORT);
    assert_eq!(say(&world, policy(Some(3_600), None)).await, 4);
    let request = v1::RestoreEnvironmentRequest { name: "default".into(), version: 2 };
    let restored = world.admin().environments().restore_environment(request).await.expect("the admin restores");
    let restored = restored.into_inner().environment.expect("an environment");
    assert_eq!((restored.version, restored.variables.len(), restored.boot), (5, 0, Some(SHORT.into())));
    assert_eq!(carried(&world.session("", "default").await.join), SHORT);

    let request = v1::ListEnvironmentVersionsRequest { name: "default".into() };
    let history = world.admin().environments().list_environment_versions(request).await.expect("a history");
    let changes: Vec<_> = history.into_inner().versions.into_iter().map(|v| (v.version, v.boot)).collect();
    let change = |before: BootPolicy, after: BootPolicy| {
        Some(v1::BootPolicyChange { before: Some(before.into()), after: Some(after.into()) })
    };
    assert_eq!(
        changes,
        [
            (5, change(policy(Some(3_600), None), SHORT)),
            (4, change(SHORT, policy(Some(3_600), None))),
            (3, None),
            (2, change(UNSAID, SHORT)),
            (1, None),
        ]
    );
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused() {
    let world = World::new().await;
    for (deadline_seconds, on_failure, said) in [
        (3_601, 0, "boot.deadline is 3601 seconds, not 1 to 3600"),
        (65_537, 1, "boot.deadline is 65537 seconds"),
        (u32::MAX, 0, "boot.deadline is"),
        (30, 3, "boot.on_failure is neither `block` nor `continue`"),
        (30, -1, "boot.on_failure is neither"),
    ] {
        let boot = Some(v1::BootPolicy { deadline_seconds, on_failure });
        let request = v1::UpdateEnvironmentRequest { name: "default".into(), boot, ..Default::default() };
        let status = world.admin().environments().update_environment(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(said), "{status:?}");
    }
    assert_eq!(carried(&world.session("", "default").await.join), UNSAID);
}

#[tokio::test]
async fn an_agent_obeys_its_environment_and_flags_come_before_it() {
    let mut world = World::new().await;
    say(&world, SHORT).await;
    let [alone, flagged] = [world.session("", "default").await.join, world.session("", "default").await.join];
    say(&world, policy(Some(1), Some(OnFailure::Block))).await;
    let blocked = world.session("", "default").await.join;
    world.kill_server();

    let started = Instant::now();
    let mut agent = AgentRun::start(&alone, &[]);
    wait_for("the problem is told", || agent.dir.join("problem").exists());
    assert!(started.elapsed() < Duration::from_secs(15), "it waited longer than its environment says");
    assert!(agent.child.try_wait().unwrap().is_none(), "it goes on trying");
    for (join, flags) in [(flagged, &["--on-failure", "block"][..]), (blocked, &[])] {
        let mut agent = AgentRun::start(&join, flags);
        let (code, printed) = agent.finish();
        assert_eq!(code, 3, "{flags:?}: {printed}");
        assert_eq!(fs::read_dir(&agent.dir).unwrap().count(), 0);
    }
}
