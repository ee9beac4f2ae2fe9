//! An agent that has lived through rotations holds neither what was nor what is.

use std::collections::BTreeMap;

use keyfob::wire::v1::Role;

use super::{Needles, as_root, encoded, random, scan, text, wait_for, windows};
use crate::world::{AgentRun, World};

/// Secrets, how long they are, and the command line's word for how they are delivered.
const SECRETS: [(&str, usize, &[&str]); 4] =
    [("short", 48, &[]), ("long", 2_048, &[]), ("longest", 65_536, &[]), ("binary", 4_096, &["--file"])];

fn value(name: &str, len: usize) -> Vec<u8> {
    if name == "binary" { random(len) } else { text(len) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_keeps_no_copy_of_what_was_pushed_nor_of_what_was_before() {
    if !as_root() {
        return;
    }
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let mut needles: Needles = Vec::new();
    let mut remember = |name: &str, value: &[u8]| {
        needles.extend(windows(name, value));
        // Of the large ones the forms would be most of the search, and are made in the same way.
        if value.len() < 3_000 {
            needles.extend(encoded(name, value));
        }
        needles.clone()
    };
    for (name, len, more) in SECRETS {
        let first = value(name, len);
        remember(&format!("{name} 0"), &first);
        let words = [&["secret", "create", name, "--private", "--value-file", "-"], more].concat();
        alice.run_with(&words, &first).ok();
    }
    let made = world.session("alice", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for(|| agent.dir.join("manifest.json").exists());
    for round in 1..=3 {
        for (name, len, _) in SECRETS {
            let fresh = value(name, len);
            let needles = remember(&format!("{name} {round}"), &fresh);
            let words = ["secret", "rotate", name, "--value-file", "-", "--push", "--wait"];
            let said = alice.run_with(&words, &fresh).ok();
            assert!(said.contains("1 installed"), "{said}");
            if name != "binary" {
                assert_eq!(agent.environ()[&name.to_uppercase()], fresh);
            }
            assert_eq!(scan(agent.child.id(), &needles), BTreeMap::new(), "{name}, rotated {round} times");
        }
    }
    alice.run(&["secret", "delete", "short", "--revoke", "--wait", "--yes"]).ok();
    let needles = remember("nothing", &random(64));
    assert_eq!(scan(agent.child.id(), &needles), BTreeMap::new(), "taken back");

    // The search finds what this process does hold: the name of the bundle, which is no secret.
    let manifest = std::fs::read_to_string(agent.dir.join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let bundle = manifest["bundle_version"].as_str().expect("a name").as_bytes().to_vec();
    assert!(!scan(agent.child.id(), &vec![("bundle".into(), bundle)]).is_empty());
}
