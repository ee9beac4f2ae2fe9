//! At rest: somebody writes to the database behind the server's back. What callers see of it through the real calls, what
//! goes on record, and what heals it; the same for the audit chain; and the keys that all of it hangs on.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use keyfob::{
    domain::{
        audit::{self, Fact, Outcome},
        name::OrgName,
    },
    wire::v1::{self, Role, Visibility},
};
use prost::Message;
use rusqlite::Connection;
use tonic::{Code, Status};

use crate::world::{Api, Cli, ORG, Opened, SERVER, World, enrol_session, plain};

fn open(database: &Path) -> Connection {
    let database = Connection::open(database).expect("the server's own file");
    database.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    database
}

/// Somebody's session, and the organization it lies in.
struct Vm {
    api: Api,
    org: &'static str,
    id: String,
}

impl Vm {
    async fn of(admin: &Api, org: &'static str, user: &str) -> Self {
        let request = v1::CreateSessionRequest { user: user.into(), ..Default::default() };
        let made = admin.sessions().create_session(request).await.expect("an admin makes a session").into_inner();
        Self { api: enrol_session(&made.join).await, org, id: made.session.expect("a session").id }
    }

    async fn fetch(&self) -> Result<Opened, Status> {
        self.api.fetch(self.org, &self.id).await
    }
}

/// Two organizations, three people, a session each.
struct Stage {
    world: World,
    other: Api,
    people: [(&'static str, Api, Vm); 3],
}

/// The secrets of every case: name, owner (empty: shared), organization. Their values are `value of NAME`.
const SECRETS: [(&str, &str, &str); 6] = [
    ("a", "alice", ORG),
    ("a2", "alice", ORG),
    ("off", "alice", ORG), // auto-install off
    ("b", "bob", ORG),
    ("s", "", ORG),
    ("o", "", OTHER),
];
const OTHER: &str = "other";

fn value_of(name: &str) -> Vec<u8> {
    format!("the value of {name}").into_bytes()
}

fn by_id(id: &str) -> Option<v1::SecretRef> {
    Some(v1::SecretRef { id: id.into(), ..Default::default() })
}

impl Stage {
    async fn new() -> Self {
        let world = World::new().await;
        let other = world.organization(OTHER).await;
        let (alice, bob) = (world.person("alice", Role::Member).await, world.person("bob", Role::Member).await);
        let eve = Api { channel: other.channel.clone(), credentials: enrolled(&other) };
        let people = [
            ("alice", alice, Vm::of(world.admin(), ORG, "alice").await),
            ("bob", bob, Vm::of(world.admin(), ORG, "bob").await),
            ("eve", eve, Vm::of(&other, OTHER, "").await),
        ];
        Self { world, other, people }
    }

    fn database(&self) -> Connection {
        open(&self.world.database())
    }

    fn api(&self, owner: &str, org: &str) -> &Api {
        match (owner, org) {
            ("alice", _) => &self.people[0].1,
            ("bob", _) => &self.people[1].1,
            (_, OTHER) => &self.other,
            _ => self.world.admin(),
        }
    }

    async fn restart(&mut self) {
        self.world.restart().await;
        let address = &self.world.address;
        self.other.reconnect(address).await;
        for (_, api, vm) in &mut self.people {
            api.reconnect(address).await;
            vm.api.reconnect(address).await;
        }
    }

    async fn create(&self) {
        for (name, owner, org) in SECRETS {
            let visibility = if owner.is_empty() { Visibility::Shared } else { Visibility::Private };
            let request = v1::CreateSecretRequest {
                name: name.into(),
                visibility: visibility.into(),
                value: Some(plain(&value_of(name))),
                no_auto_install: name == "off",
                ..Default::default()
            };
            // The shared one is alice's work.
            let by = if name == "s" { "alice" } else { owner };
            self.api(by, org).secrets().create_secret(request).await.expect("a fresh secret");
        }
    }

    /// Everything that stands in the table, deleted by whoever it seems to belong to.
    async fn delete_all(&self) {
        for row in rows(&self.database()) {
            let request = v1::DeleteSecretRequest { r#ref: by_id(&row.id), ..Default::default() };
            let deleted = self.api(&row.owner, &row.org).secrets().delete_secret(request).await;
            deleted.unwrap_or_else(|e| panic!("{} of `{}` can't be deleted: {e}", row.name, row.owner));
        }
    }

    /// How many refusals of a secret's row are on record, by what was wrong.
    fn on_record(&self, org: &str, id: &str) -> Vec<String> {
        let database = self.database();
        let mut found = database
            .prepare("SELECT detail FROM audit WHERE org = ?1 AND target = ?2 AND action = 'secret.integrity' AND outcome = 'refused' AND actor = 'server'")
            .unwrap();
        let found = found.query_map([org, &format!("secret/{id}")], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    }
}

fn enrolled(api: &Api) -> keyfob::client::Credentials {
    let c = &api.credentials;
    keyfob::client::Credentials {
        key: c.key.clone(),
        chain: c.chain.clone(),
        roots: c.roots.clone(),
        not_before: c.not_before,
        not_after: c.not_after,
    }
}

struct Row {
    org: String,
    id: String,
    name: String,
    owner: String,
    auto_install: bool,
}

fn rows(database: &Connection) -> Vec<Row> {
    let mut found =
        database.prepare("SELECT org, id, name, owner, auto_install FROM secrets ORDER BY org, name").unwrap();
    let row = |r: &rusqlite::Row<'_>| {
        Ok(Row { org: r.get(0)?, id: r.get(1)?, name: r.get(2)?, owner: r.get(3)?, auto_install: r.get(4)? })
    };
    found.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// What is done to the database.
#[derive(Clone, Copy)]
enum Do {
    Sql(&'static str),
    /// One bit of a column of `a`, at this byte; from the end where negative.
    Flip(&'static str, i64),
    /// The row of `a` as it was is put back after its owner did this.
    PutBack(Meanwhile),
    /// As above, but only what is encrypted, and the version.
    PutBackValue(Meanwhile),
}
use Do::{Flip, PutBack, PutBackValue, Sql};

#[derive(Clone, Copy)]
enum Meanwhile {
    Rotated,
    Deleted,
    AutoInstallOff,
    Renamed,
}
use Meanwhile::{AutoInstallOff, Deleted, Renamed, Rotated};

const ALTERED: &str = "the row was altered, or stands in another's place";
const OLDER: &str = "an older row was put back";
const VALUE: &str = "the value was altered";
const NO_KEY: &str = "its key `nobody` is not in the keyring";

/// What was done; how; the secret it shows at; whose sessions are refused because of it; what is wrong, in words.
type Case = (&'static str, Do, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const CASES: [Case; 43] = [
    ("ciphertext of another",          Sql("UPDATE secrets SET ciphertext = (SELECT ciphertext FROM secrets WHERE name = 'a2') WHERE name = 'a'"), "a", "alice", VALUE),
    ("wrapped key of another",         Sql("UPDATE secrets SET wrapped_key = (SELECT wrapped_key FROM secrets WHERE name = 'a2') WHERE name = 'a'"), "a", "alice", ALTERED),
    ("both of another",                Sql("UPDATE secrets SET (ciphertext, wrapped_key) = (SELECT ciphertext, wrapped_key FROM secrets WHERE name = 'a2') WHERE name = 'a'"), "a", "alice", ALTERED),
    ("both, version and sequence too", Sql("UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 'a2') WHERE name = 'a'"), "a", "alice", ALTERED),
    ("both of a shared one",           Sql("UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 's') WHERE name = 'a'"), "a", "alice", ALTERED),
    ("a shared one holds a private",   Sql("UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 'a') WHERE name = 's'"), "s", "alice bob", ALTERED),
    ("bob's holds alice's",            Sql("UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 'a') WHERE name = 'b'"), "b", "bob", ALTERED),
    ("bob's row is alice's, id and all", Sql("DELETE FROM secrets WHERE name = 'b'; UPDATE secrets SET owner = 'bob', name = 'b', variable = 'B' WHERE name = 'a'"), "b", "bob", ALTERED),
    ("two swapped, values",            Sql("CREATE TABLE t AS SELECT * FROM secrets WHERE name = 'a'; UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 'a2') WHERE name = 'a'; UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM t) WHERE name = 'a2'; DROP TABLE t"), "a", "alice", ALTERED),
    ("two swapped, names",             Sql("UPDATE secrets SET name = 'x', variable = 'X' WHERE name = 'a'; UPDATE secrets SET name = 'a', variable = 'A' WHERE name = 'a2'; UPDATE secrets SET name = 'a2', variable = 'A2' WHERE name = 'x'"), "a", "alice", ALTERED),
    ("two swapped, ids",               Sql("CREATE TABLE t AS SELECT id FROM secrets WHERE name = 'a'; UPDATE secrets SET id = 'x' WHERE name = 'a'; UPDATE secrets SET id = (SELECT id FROM t) WHERE name = 'a2'; UPDATE secrets SET id = substr('aaaaaaaaaaaaaaaaaaaaaaaaaa', 1, length((SELECT id FROM t))) WHERE id = 'x'; DROP TABLE t"), "a", "alice", ALTERED),
    ("given to bob",                   Sql("UPDATE secrets SET owner = 'bob' WHERE name = 'a'"), "a", "bob", ALTERED),
    ("made shared",                    Sql("UPDATE secrets SET owner = '' WHERE name = 'a'"), "a", "alice bob", ALTERED),
    ("made private",                   Sql("UPDATE secrets SET owner = 'alice' WHERE name = 's'"), "s", "alice", ALTERED),
    ("moved to another organization",  Sql("UPDATE secrets SET org = 'other' WHERE name = 's'"), "s", "eve", ALTERED),
    ("a private one, made shared there", Sql("UPDATE secrets SET org = 'other', owner = '' WHERE name = 'a'"), "a", "eve", ALTERED),
    ("moved here from another",        Sql("UPDATE secrets SET org = 'acme' WHERE name = 'o'"), "o", "alice bob", ALTERED),
    ("holds another organization's",   Sql("UPDATE secrets SET (id, ciphertext, wrapped_key, version, sequence) = (SELECT id, ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 'o') WHERE name = 's'"), "s", "alice bob", ALTERED),
    ("value: nonce",                   Flip("ciphertext", 0), "a", "alice", VALUE),
    ("value: last of the nonce",       Flip("ciphertext", 11), "a", "alice", VALUE),
    ("value: first byte",              Flip("ciphertext", 12), "a", "alice", VALUE),
    ("value: last of the tag",         Flip("ciphertext", -1), "a", "alice", VALUE),
    ("value: cut by one",              Sql("UPDATE secrets SET ciphertext = substr(ciphertext, 1, length(ciphertext) - 1) WHERE name = 'a'"), "a", "alice", VALUE),
    ("value: shorter than a tag",      Sql("UPDATE secrets SET ciphertext = substr(ciphertext, 1, 13) WHERE name = 'a'"), "a", "alice", VALUE),
    ("value: nothing",                 Sql("UPDATE secrets SET ciphertext = x'' WHERE name = 'a'"), "a", "alice", VALUE),
    ("key: nonce",                     Flip("wrapped_key", 0), "a", "alice", ALTERED),
    ("key: first byte",                Flip("wrapped_key", 12), "a", "alice", ALTERED),
    ("key: last of the tag",           Flip("wrapped_key", -1), "a", "alice", ALTERED),
    ("key: nothing",                   Sql("UPDATE secrets SET wrapped_key = x'' WHERE name = 'a'"), "a", "alice", ALTERED),
    ("name",                           Sql("UPDATE secrets SET name = 'z' WHERE name = 'a'"), "z", "alice", ALTERED),
    ("variable",                       Sql("UPDATE secrets SET variable = 'PGPASSWORD' WHERE name = 'a'"), "a", "alice", ALTERED),
    ("variable, one that runs code",   Sql("UPDATE secrets SET variable = 'LD_PRELOAD' WHERE name = 'a'"), "a", "alice", ALTERED),
    ("variable that is none",          Sql("UPDATE secrets SET variable = 'no variable' WHERE name = 'a'"), "a", "alice", ALTERED),
    ("auto-install switched on",       Sql("UPDATE secrets SET auto_install = 1 WHERE name = 'off'"), "off", "alice", ALTERED),
    ("auto-install switched off",      Sql("UPDATE secrets SET auto_install = 0 WHERE name = 'a'"), "a", "alice", ALTERED),
    ("delivery",                       Sql("UPDATE secrets SET delivery = 'file' WHERE name = 'a'"), "a", "alice", ALTERED),
    ("delivery that is none",          Sql("UPDATE secrets SET delivery = 'pigeon' WHERE name = 'a'"), "a", "alice", ALTERED),
    ("version",                        Sql("UPDATE secrets SET version = (SELECT version FROM secrets WHERE name = 'a2') WHERE name = 'a'"), "a", "alice", ALTERED),
    ("sequence",                       Sql("UPDATE secrets SET sequence = sequence + 1 WHERE name = 'a'"), "a", "alice", ALTERED),
    ("name of its key",                Sql("UPDATE secrets SET kek_id = 'nobody' WHERE name = 'a'"), "a", "alice", NO_KEY),
    ("an older row, after a rotation", PutBack(Rotated), "a", "alice", OLDER),
    ("an older row, after an edit",    PutBack(AutoInstallOff), "a", "alice", OLDER),
    ("an older value in the new row",  PutBackValue(Rotated), "a", "alice", ALTERED),
];

#[rustfmt::skip]
const RESURRECTIONS: [Case; 2] = [
    ("a deleted row",                  PutBack(Deleted), "a", "alice", OLDER),
    ("a row of another variable",      PutBack(Renamed), "a", "alice", OLDER),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_what_was_stored_is_refused_recorded_and_healed() {
    let stage = Stage::new().await;
    for case in CASES.iter().chain(&RESURRECTIONS) {
        stage.create().await;
        stage.all_is_well(case.0).await;
        stage.tamper(case.1).await;
        stage.is_refused(case).await;
        // What the error names heals it: a rotation has done so already where it can; else all of them go, by their own
        // owners, and come anew.
        stage.delete_all().await;
        assert!(rows(&stage.database()).is_empty(), "{}", case.0);
    }
    stage.create().await;
    stage.all_is_well("in the end").await;
    for admin in [stage.world.admin(), &stage.other] {
        let verified = admin.audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
        assert!(verified.intact, "{}", verified.problem);
    }
}

impl Stage {
    async fn tamper(&self, what: Do) {
        let database = self.database();
        let run = |sql: &str| {
            database.execute_batch(&format!("BEGIN IMMEDIATE; {sql}; COMMIT")).unwrap_or_else(|e| panic!("{sql}: {e}"))
        };
        match what {
            Sql(sql) => run(sql),
            Flip(column, at) => {
                let select = format!("SELECT {column} FROM secrets WHERE name = 'a'");
                let mut bytes: Vec<u8> = database.query_row(&select, [], |row| row.get(0)).unwrap();
                let at = if at < 0 { bytes.len() as i64 + at } else { at };
                bytes[at as usize] ^= 0x10;
                database.execute(&format!("UPDATE secrets SET {column} = ?1 WHERE name = 'a'"), [bytes]).unwrap();
            }
            PutBack(meanwhile) | PutBackValue(meanwhile) => {
                run("CREATE TABLE old AS SELECT * FROM secrets WHERE name = 'a'");
                self.meanwhile(meanwhile).await;
                match what {
                    PutBackValue(_) => run(
                        "UPDATE secrets SET (version, ciphertext, wrapped_key) = (SELECT version, ciphertext, wrapped_key FROM old) WHERE name = 'a'; DROP TABLE old",
                    ),
                    _ => run(
                        "DELETE FROM secrets WHERE name = 'a'; INSERT INTO secrets SELECT * FROM old; DROP TABLE old",
                    ),
                }
            }
        }
    }

    async fn meanwhile(&self, what: Meanwhile) {
        let alice = &self.people[0].1;
        let reference =
            Some(v1::SecretRef { name: "a".into(), visibility: Visibility::Private.into(), ..Default::default() });
        let update = |auto_install, variable| v1::UpdateSecretRequest {
            r#ref: reference.clone(),
            auto_install,
            variable,
            ..Default::default()
        };
        match what {
            Rotated => {
                let request = v1::RotateSecretRequest {
                    r#ref: reference,
                    value: Some(plain(b"a newer value")),
                    ..Default::default()
                };
                alice.secrets().rotate_secret(request).await.map(drop)
            }
            Deleted => alice
                .secrets()
                .delete_secret(v1::DeleteSecretRequest { r#ref: reference, ..Default::default() })
                .await
                .map(drop),
            AutoInstallOff => alice.secrets().update_secret(update(Some(false), None)).await.map(drop),
            Renamed => alice.secrets().update_secret(update(None, Some("A_NEW".into()))).await.map(drop),
        }
        .expect("the owner's own change")
    }

    /// Everybody gets exactly what is theirs.
    async fn all_is_well(&self, when: &str) {
        for (who, _, vm) in &self.people {
            let got = vm.fetch().await.unwrap_or_else(|e| panic!("{when}: {who}: {e}"));
            assert_eq!(got.values(), expected(who, vm.org), "{when}: {who}");
        }
    }

    async fn is_refused(&self, (what, _, hit, refused, problem): &Case) {
        let all = rows(&self.database());
        let row = all.iter().find(|row| row.name == *hit).unwrap_or_else(|| panic!("{what}: no row {hit}"));
        let mut refusals = 0;
        for (who, _, vm) in &self.people {
            let got = vm.fetch().await;
            if refused.contains(who) {
                let status = got.map(|o| o.values()).expect_err(&format!("{what}: {who} got a bundle"));
                assert_eq!(status.code(), Code::DataLoss, "{what}: {who}: {status}");
                assert!(status.message().contains(problem), "{what}: {who}: {status}");
                assert!(!status.message().contains("the value of"), "{what}: {who}: {status}");
                refusals += 1;
            } else {
                // Not refused, so whole: what lies in their scope now, each under its own name with its own value.
                let got = got.unwrap_or_else(|e| panic!("{what}: {who}: {e}"));
                let in_scope =
                    |row: &&Row| row.org == vm.org && row.auto_install && (row.owner.is_empty() || row.owner == *who);
                let theirs: BTreeMap<_, _> =
                    all.iter().filter(in_scope).map(|row| (row.name.to_uppercase(), value_of(&row.name))).collect();
                assert_eq!(got.values(), theirs, "{what}: {who}");
            }
        }
        // Its owner can't lend it a new value or new facts either, where those there are not proven.
        let owner = self.api(&row.owner, &row.org);
        let request = v1::UpdateSecretRequest {
            r#ref: by_id(&row.id),
            description: Some("looked at".into()),
            ..Default::default()
        };
        let updated = owner.secrets().update_secret(request).await.map(drop);
        let request =
            v1::RotateSecretRequest { r#ref: by_id(&row.id), value: Some(plain(b"healed")), ..Default::default() };
        let rotated = owner.secrets().rotate_secret(request).await.map(drop);
        if *problem == VALUE {
            assert_eq!((updated.map_err(|e| e.code()), rotated.map_err(|e| e.code())), (Ok(()), Ok(())), "{what}");
            let got = self.people[0].2.fetch().await.unwrap_or_else(|e| panic!("{what}: not healed: {e}"));
            assert_eq!(got.values()["A"], b"healed", "{what}");
        } else {
            for (done, result) in [("update", updated), ("rotate", rotated)] {
                let status = result.expect_err(&format!("{what}: {done}"));
                assert_eq!(status.code(), Code::DataLoss, "{what}: {done}: {status}");
                assert!(status.message().contains(problem), "{what}: {done}: {status}");
                refusals += 1;
            }
        }
        // Every refusal is on record, and nothing else is.
        let recorded = self.on_record(&row.org, &row.id);
        assert_eq!(recorded.len(), refusals, "{what}: {recorded:?}");
        assert!(recorded.iter().all(|detail| detail.contains(problem)), "{what}: {recorded:?}");
    }
}

fn expected(who: &str, org: &str) -> BTreeMap<String, Vec<u8>> {
    let theirs = SECRETS
        .into_iter()
        .filter(|(name, owner, o)| *o == org && *name != "off" && (owner.is_empty() || *owner == who));
    theirs.map(|(name, ..)| (name.to_uppercase(), value_of(name))).collect()
}

/// Whoever comes after somebody of that name does not inherit what was destroyed with them.
#[tokio::test]
async fn a_removed_users_row_is_not_their_successors() {
    let world = World::new().await;
    world.person("bob", Role::Member).await.create("b", Visibility::Private, b"the first bob's").await;
    let database = open(&world.database());
    database.execute_batch("CREATE TABLE old AS SELECT * FROM secrets").unwrap();
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "bob".into() }).await.unwrap();
    world.person("bob", Role::Member).await;
    let vm = Vm::of(world.admin(), ORG, "bob").await;
    assert!(vm.fetch().await.unwrap().contents.entries.is_empty());
    database.execute_batch("INSERT INTO secrets SELECT * FROM old").unwrap();
    let status = vm.fetch().await.map(|o| o.values()).unwrap_err();
    assert!(status.code() == Code::DataLoss && status.message().contains(OLDER), "{status}");
}

/// Rows that are no rows: nobody is served from them, other organizations are, and the server stands.
#[tokio::test]
async fn a_row_that_cannot_be_read_stops_its_own_organization_alone() {
    let stage = Stage::new().await;
    stage.create().await;
    let database = stage.database();
    let alice = &stage.people[0];
    for column in [
        "id = 'none'",
        "id = x'00'",
        "variable = x'00ff'",
        "name = CAST(x'ff' AS TEXT)",
        "sequence = 'one'",
        "ciphertext = 'text'",
        "wrapped_key = 7",
    ] {
        database.execute_batch("CREATE TABLE old AS SELECT * FROM secrets").unwrap();
        database.execute_batch(&format!("UPDATE secrets SET {column} WHERE name = 's'")).unwrap();
        let status = alice.2.fetch().await.map(|o| o.values()).expect_err(column);
        assert_eq!(status.code(), Code::DataLoss, "{column}: {status}");
        assert_eq!(stage.people[2].2.fetch().await.unwrap().values(), expected("eve", OTHER), "{column}");
        database.execute_batch("DELETE FROM secrets; INSERT INTO secrets SELECT * FROM old; DROP TABLE old").unwrap();
        stage.all_is_well(column).await;
    }
}

/// Counts and lists that nothing authenticates: whatever they say, nobody gets more or other than is theirs.
#[tokio::test]
async fn what_only_counts_or_lists_gives_nothing_away() {
    let stage = Stage::new().await;
    stage.create().await;
    let database = stage.database();
    stage.all_is_well("so that there are contents").await;
    for sql in [
        "UPDATE usage SET bytes = -1000000000000",
        "DELETE FROM usage",
        "UPDATE content_items SET version = 'x'",
        "INSERT INTO content_items SELECT c.org, c.id, s.id, s.version FROM contents c JOIN secrets s ON s.org = c.org ON CONFLICT DO NOTHING",
        "UPDATE secrets SET size = 1, created_by = 'user/bob', description = 'x', created_at = 0, rotated_at = 0, variable_overridden = 1",
        "UPDATE secret_versions SET strength = 'none'",
        "DELETE FROM secret_versions",
        "INSERT INTO leaks SELECT s.org, s.id, k.id, k.version, 'u', 'f', 9000 + k.rowid + 100 * s.rowid, 1, 0, 0 FROM sessions s, secrets k",
    ] {
        database.execute_batch(sql).unwrap();
        stage.all_is_well(sql).await;
    }
}

/// Leaks are no proof of anything: whoever writes to the database can make some up. They are shown to those alone who may know
/// of the secret all the same, nothing comes of them, and the chain has none of them.
#[tokio::test]
async fn leaks_that_were_made_up() {
    let stage = Stage::new().await;
    stage.create().await;
    let database = stage.database();
    let forge = "INSERT INTO leaks SELECT s.org, s.id, k.id, k.version, k.name, 'f', 9000 + k.rowid + 100 * s.rowid, 1, 0, 0 FROM sessions s, secrets k";
    database.execute_batch(forge).unwrap();
    let seen = async |by: &Api| {
        let leaks = by.secrets().list_leaks(v1::ListLeaksRequest::default()).await.expect("a list").into_inner().leaks;
        let mut names: Vec<_> = leaks.into_iter().map(|l| l.name).collect();
        names.sort();
        names.dedup();
        names.join(" ")
    };
    for (by, names) in [
        (&stage.people[0].1, "a a2 off s"),
        (&stage.people[1].1, "b s"),
        (stage.world.admin(), "s"),
        (&stage.other, "o"),
    ] {
        assert_eq!(seen(by).await, names);
    }
    for column in ["count = 'one'", "unit = x'00ff'", "last_at = 9223372036854775807, first_at = -9223372036854775807"]
    {
        database.execute_batch(&format!("UPDATE leaks SET {column} WHERE org = 'acme'")).unwrap();
        let listed = stage.world.admin().secrets().list_leaks(v1::ListLeaksRequest::default()).await;
        assert!(listed.as_ref().err().is_none_or(|status| status.code() == Code::DataLoss), "{column}: {listed:?}");
        assert_eq!(seen(&stage.other).await, "o", "{column}");
        database.execute_batch(&format!("DELETE FROM leaks; {forge}")).unwrap();
    }
    stage.all_is_well("with leaks that were made up").await;
    let verified = stage.world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verified.intact);
    let request = v1::ListAuditEntriesRequest { action: "secret.leaked".into(), ..Default::default() };
    assert!(stage.world.admin().audit().list_audit_entries(request).await.unwrap().into_inner().entries.is_empty());
}

/// What is absent is absent: said here so that nobody believes otherwise. The record names what was done to it.
#[tokio::test]
async fn what_a_session_does_not_notice() {
    let stage = Stage::new().await;
    let alice = &stage.people[0];
    let put_back = "DELETE FROM secrets WHERE name = 'a'; INSERT INTO secrets SELECT * FROM old";
    let newest = "(SELECT MAX(sequence) FROM audit WHERE org = 'acme' AND action = 'secret.rotate')";
    #[rustfmt::skip]
    let cases: [(&str, String, &str, Option<&str>); 3] = [
        // (what, how, the variables alice gets, what `audit verify` says)
        ("a row removed by hand",                    "DELETE FROM secrets WHERE name = 'a'".into(),                  "A2 S", None),
        ("a shared row's auto-install off, by hand", "UPDATE secrets SET auto_install = 0 WHERE name = 's'".into(),  "A A2", None),
        ("an older row, and its newer entry hidden", format!("{put_back}; UPDATE audit SET outcome = 'refused' WHERE org = 'acme' AND sequence = {newest}"), "A A2 S", Some("was changed")),
    ];
    for (what, sql, variables, verdict) in cases {
        stage.create().await;
        let database = stage.database();
        database.execute_batch("CREATE TABLE old AS SELECT * FROM secrets WHERE name = 'a'").unwrap();
        stage.meanwhile(Rotated).await;
        database.execute_batch(&format!("{sql}; DROP TABLE old")).unwrap();
        let got = alice.2.fetch().await.unwrap_or_else(|e| panic!("{what}: {e}")).values();
        assert_eq!(got.keys().map(String::as_str).collect::<Vec<_>>().join(" "), variables, "{what}");
        let verified = stage.world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
        match verdict {
            None => assert!(verified.intact, "{what}"),
            Some(problem) => {
                assert!(!verified.intact && verified.problem.contains(problem), "{what}: {}", verified.problem)
            }
        }
        database.execute_batch("DELETE FROM secrets").unwrap();
    }
}

// The audit chain.

/// What was done; how; the first broken entry and what is said of it. The chain has 9 entries before.
type ChainCase = (&'static str, &'static str, Option<(u64, &'static str)>);

#[rustfmt::skip]
const CHAIN: [ChainCase; 26] = [
    ("nothing",                 "",                                                                   None),
    ("actor",                   "UPDATE audit SET actor = 'user/mallory' WHERE {3}",                  Some((3, "was changed"))),
    ("time",                    "UPDATE audit SET at = at + 1 WHERE {1}",                             Some((1, "was changed"))),
    ("action",                  "UPDATE audit SET action = 'secret.read' WHERE {7}",                  Some((7, "was changed"))),
    ("target",                  "UPDATE audit SET target = 'secret/x' WHERE {7}",                     Some((7, "was changed"))),
    ("outcome",                 "UPDATE audit SET outcome = 'refused' WHERE {7}",                     Some((7, "was changed"))),
    ("detail, a fact more",     "UPDATE audit SET detail = '{\"a\":\"b\"}' WHERE {5}",                Some((5, "was changed"))),
    ("detail, none",            "UPDATE audit SET detail = '{}' WHERE {7}",                           Some((7, "was changed"))),
    ("detail, no JSON",         "UPDATE audit SET detail = '{' WHERE {5}",                            Some((5, "can't be read"))),
    ("detail, not text",        "UPDATE audit SET detail = x'00' WHERE {5}",                          Some((5, "can't be read"))),
    ("hash",                    "UPDATE audit SET hash = zeroblob(32) WHERE {4}",                     Some((4, "was changed"))),
    ("hash, too short",         "UPDATE audit SET hash = x'00' WHERE {4}",                            Some((4, "can't be read"))),
    ("the first removed",       "DELETE FROM audit WHERE {1}",                                        Some((1, "is missing"))),
    ("one removed",             "DELETE FROM audit WHERE {6}",                                        Some((6, "is missing"))),
    ("one removed, gap closed", "DELETE FROM audit WHERE {6}; UPDATE audit SET sequence = -sequence WHERE org = 'acme' AND sequence > 6; UPDATE audit SET sequence = -sequence - 1 WHERE org = 'acme' AND sequence < 0", Some((6, "was changed"))),
    ("the last removed",        "DELETE FROM audit WHERE {9}",                                        Some((9, "is missing: the chain was cut short"))),
    ("the last three removed",  "DELETE FROM audit WHERE org = 'acme' AND sequence > 6",              Some((7, "is missing: the chain was cut short"))),
    ("all removed",             "DELETE FROM audit WHERE org = 'acme'",                               Some((1, "is missing"))),
    ("two swapped",             "UPDATE audit SET sequence = -1 WHERE {6}; UPDATE audit SET sequence = 6 WHERE {7}; UPDATE audit SET sequence = 7 WHERE {-1}", Some((6, "was changed"))),
    ("one put in",              "UPDATE audit SET sequence = -sequence - 1 WHERE org = 'acme' AND sequence > 5; UPDATE audit SET sequence = -sequence WHERE org = 'acme' AND sequence < 0; INSERT INTO audit SELECT org, 6, at, actor, action, target, outcome, detail, hash FROM audit WHERE {5}", Some((6, "was changed"))),
    ("one put behind",          "INSERT INTO audit SELECT org, 10, at, actor, action, target, outcome, detail, hash FROM audit WHERE {9}", Some((10, "was changed"))),
    ("one put before",          "INSERT INTO audit SELECT org, 0, at, actor, action, target, outcome, detail, hash FROM audit WHERE {9}", Some((1, "has entries before it"))),
    ("head's hash",             "UPDATE audit_heads SET hash = zeroblob(32) WHERE org = 'acme'",      Some((9, "signed head is gone or forged"))),
    ("head's sequence",         "DELETE FROM audit WHERE {9}; UPDATE audit_heads SET sequence = 8, hash = (SELECT hash FROM audit WHERE {8}) WHERE org = 'acme'", Some((8, "signed head is gone or forged"))),
    ("no head",                 "DELETE FROM audit_heads WHERE org = 'acme'",                         Some((9, "signed head is gone or forged"))),
    ("another chain's head",    "UPDATE audit_heads SET (sequence, hash, mac) = (SELECT sequence, hash, mac FROM audit_heads WHERE org = 'other') WHERE org = 'acme'", Some((9, "signed head is gone or forged"))),
];

const SAVE: &str = "DROP TABLE IF EXISTS saved_audit; CREATE TABLE saved_audit AS SELECT * FROM audit WHERE org = 'acme';
                    DROP TABLE IF EXISTS saved_heads; CREATE TABLE saved_heads AS SELECT * FROM audit_heads WHERE org = 'acme'";
const RESTORE: &str = "DELETE FROM audit WHERE org = 'acme'; INSERT INTO audit SELECT * FROM saved_audit;
                       DELETE FROM audit_heads WHERE org = 'acme'; INSERT INTO audit_heads SELECT * FROM saved_heads";

#[tokio::test]
async fn verify_names_the_first_entry_that_does_not_fit() {
    let world = World::new().await;
    world.organization(OTHER).await;
    let auditor = world.cli("auditor", Role::Admin).await; // invited, enrolled
    for name in ["x", "y"] {
        world.admin().create(name, Visibility::Shared, b"some value").await;
    }
    world.session("", "default").await;
    let database = open(&world.database());
    let entries: i64 =
        database.query_row("SELECT COUNT(*) FROM audit WHERE org = 'acme'", [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 9, "the table below counts on it");
    database.execute_batch(SAVE).unwrap();
    for (what, sql, expected) in CHAIN {
        let sql = (-1..10).fold(sql.to_owned(), |sql, n| {
            sql.replace(&format!("{{{n}}}"), &format!("org = 'acme' AND sequence = {n}"))
        });
        database.execute_batch(&sql).unwrap_or_else(|e| panic!("{what}: {e}"));
        verdict(what, &world, &auditor, expected).await;
        database.execute_batch(RESTORE).unwrap();
    }
    verdict("restored", &world, &auditor, None).await;

    // Made anew from an edited entry on: the hashes fit, the signed head does not.
    remake(&database, 3, |fact| fact.actor = "user/mallory".into());
    verdict("remade", &world, &auditor, Some((9, "is not the entry that the signed head names"))).await;
    database.execute_batch(RESTORE).unwrap();

    // The end and its head put back together are what an older database looks like: whole, but with another head than the one
    // that was noted. What was changed since is refused.
    world.admin().create("z", Visibility::Shared, b"newer than the head").await;
    let noted = auditor.run(&["audit", "verify", "-o", "json"]).json()["head"].clone();
    database.execute_batch(RESTORE).unwrap();
    let rolled = auditor.run(&["audit", "verify", "-o", "json"]).json();
    assert_eq!((&rolled["intact"], &rolled["entries"]), (&true.into(), &9.into()));
    assert_ne!(rolled["head"], noted);
    let status = Vm::of(world.admin(), ORG, "").await.fetch().await.map(|o| o.values()).unwrap_err();
    assert!(status.code() == Code::DataLoss && status.message().contains("`z`"), "{status}");
}

/// By call and by CLI.
async fn verdict(what: &str, world: &World, auditor: &Cli, expected: Option<(u64, &str)>) {
    let verified = world
        .admin()
        .audit()
        .verify_audit(v1::VerifyAuditRequest {})
        .await
        .unwrap_or_else(|e| panic!("{what}: {e}"))
        .into_inner();
    let ran = auditor.run(&["audit", "verify"]);
    match expected {
        None => {
            assert!(verified.intact && verified.entries == 9, "{what}: {}", verified.problem);
            assert!(ran.ok().contains("9 entries, the chain is whole"), "{what}");
        }
        Some((sequence, problem)) => {
            assert_eq!((verified.intact, verified.first_broken), (false, sequence), "{what}: {}", verified.problem);
            assert!(
                verified.problem.starts_with(&format!("entry {sequence} {problem}"))
                    || verified.problem.contains(problem),
                "{what}: {}",
                verified.problem
            );
            assert_eq!(ran.code(), 1, "{what}");
            assert!(ran.stderr().contains(&format!("entry {sequence} ")), "{what}: {}", ran.stderr());
        }
    }
}

/// Computes the chain anew from an entry on, as somebody would who has the code and not the keyring.
fn remake(database: &Connection, from: u64, edit: impl Fn(&mut Fact)) {
    let org = OrgName::parse(ORG).unwrap();
    let hash_of = |sequence: u64| -> [u8; 32] {
        database
            .query_row("SELECT hash FROM audit WHERE org = ?1 AND sequence = ?2", (ORG, sequence as i64), |row| {
                row.get(0)
            })
            .unwrap()
    };
    for sequence in from..=9 {
        let (at, actor, action, target, detail): (i64, String, String, String, String) = database
            .query_row(
                "SELECT at, actor, action, target, detail FROM audit WHERE org = ?1 AND sequence = ?2",
                (ORG, sequence as i64),
                |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)),
            )
            .unwrap();
        let detail: BTreeMap<String, String> = serde_json::from_str(&detail).unwrap();
        let detail = detail.into_iter().map(|(key, value)| (&*key.leak(), value)).collect();
        let mut fact = Fact { actor, action: action.leak(), target, outcome: Outcome::Done, detail };
        if sequence == from {
            edit(&mut fact);
        }
        let entry = audit::chain(&org, &hash_of(sequence - 1), sequence, at, fact);
        database
            .execute(
                "UPDATE audit SET actor = ?3, hash = ?4 WHERE org = ?1 AND sequence = ?2",
                (ORG, sequence as i64, &entry.actor, &entry.hash[..]),
            )
            .unwrap();
    }
}

/// Nothing is appended to a chain whose end is in doubt: its organization stands still, and nobody else notices.
#[tokio::test]
async fn a_broken_head_stops_its_own_organization_alone() {
    let stage = Stage::new().await;
    stage.create().await;
    let database = stage.database();
    database.execute_batch(SAVE).unwrap();
    let (bob, eve) = (&stage.people[1], &stage.people[2]);
    for (sql, code) in [
        ("UPDATE audit_heads SET mac = zeroblob(32) WHERE org = 'acme'", Code::DataLoss),
        ("UPDATE audit_heads SET hash = x'00' WHERE org = 'acme'", Code::DataLoss),
        ("DELETE FROM audit_heads WHERE org = 'acme'", Code::DataLoss),
        ("UPDATE audit_heads SET kek_id = 'nobody' WHERE org = 'acme'", Code::FailedPrecondition),
    ] {
        database.execute_batch(sql).unwrap();
        // A change, a delivery, and a refusal that would have to go on record.
        let request = v1::CreateSecretRequest {
            name: "new".into(),
            visibility: Visibility::Private.into(),
            value: Some(plain(b"v")),
            ..Default::default()
        };
        assert_eq!(bob.1.secrets().create_secret(request).await.unwrap_err().code(), code, "{sql}: create");
        assert_eq!(bob.2.fetch().await.map(|o| o.values()).unwrap_err().code(), code, "{sql}: fetch");
        let request = v1::DeleteSecretRequest { r#ref: by_id("absent"), ..Default::default() };
        assert_eq!(bob.1.secrets().delete_secret(request).await.unwrap_err().code(), code, "{sql}: refusal");
        // Nothing of it was done, and another organization works.
        assert_eq!(rows(&database).len(), SECRETS.len(), "{sql}");
        assert_eq!(
            eve.2.fetch().await.unwrap_or_else(|e| panic!("{sql}: {e}")).values(),
            expected("eve", OTHER),
            "{sql}"
        );
        database.execute_batch(RESTORE).unwrap();
        assert!(bob.2.fetch().await.is_ok(), "{sql}: restored");
        database.execute_batch(SAVE).unwrap();
    }
}

// The keyring.

/// Everything of a secret's row that a rewrap may touch, and that it may not.
fn columns(database: &Path, columns: &str) -> BTreeMap<String, Vec<u8>> {
    let database = open(database);
    let mut found = database.prepare(&format!("SELECT org || '/' || id, {columns} FROM secrets")).unwrap();
    let found = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    found.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_new_key_takes_over_without_a_value_being_touched() {
    let mut stage = Stage::new().await;
    stage.create().await;
    let (database, ring) = (stage.world.database(), stage.world.data().join("keyring"));
    let before = (columns(&database, "ciphertext"), columns(&database, "wrapped_key"));
    let old_line = fs::read_to_string(&ring).unwrap().lines().last().unwrap().to_owned();

    let key = stage.world.server_command(&["keyring", "add"]).trim().to_owned();
    stage.all_is_well("with two keys, the server not started anew").await;
    stage.restart().await;
    stage.all_is_well("with two keys").await;
    assert_eq!(stage.world.server_command(&["rewrap"]), format!("{} secrets moved to the newest key\n", SECRETS.len()));
    stage.all_is_well("rewrapped, while the server runs").await;
    assert_eq!(stage.world.server_command(&["rewrap"]), "0 secrets moved to the newest key\n");

    let after = (columns(&database, "ciphertext"), columns(&database, "wrapped_key"));
    assert_eq!(after.0, before.0, "a value was touched");
    assert!(after.1.iter().all(|(id, wrapped)| before.1[id] != *wrapped), "a key was not wrapped anew");
    for table in ["secrets", "authorities", "audit_heads"] {
        let keys: Vec<String> = open(&database)
            .prepare(&format!("SELECT DISTINCT kek_id FROM {table}"))
            .unwrap()
            .query_map([], |r| r.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(keys, [key.as_str()], "{table}");
    }

    // The old line may go now, and the server runs as before.
    let text = fs::read_to_string(&ring).unwrap();
    fs::write(&ring, text.lines().filter(|l| *l != old_line).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    stage.restart().await;
    stage.all_is_well("without the old key").await;
    stage.meanwhile(Rotated).await;
    Vm::of(stage.world.admin(), ORG, "alice").await;
    let verified = stage.world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verified.intact, "{}", verified.problem);
}

/// A row that is not genuine gets no new wrapping; which one it is, is said and on record.
#[tokio::test]
async fn a_rewrap_refuses_what_was_altered() {
    let stage = Stage::new().await;
    stage.create().await;
    stage.world.server_command(&["keyring", "add"]);
    stage.tamper(Sql("UPDATE secrets SET owner = '' WHERE name = 'a'")).await;
    let ran = Command::new(SERVER).args(["rewrap", "--data-dir"]).arg(stage.world.data()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        !ran.status.success() && said.contains("`a`") && said.contains(ALTERED) && said.contains("Delete it"),
        "{said}"
    );
    let row = rows(&stage.database()).into_iter().find(|row| row.name == "a").unwrap();
    assert_eq!(stage.on_record(&row.org, &row.id).len(), 1);
    // Once it is gone, the others move.
    stage
        .world
        .admin()
        .secrets()
        .delete_secret(v1::DeleteSecretRequest { r#ref: by_id(&row.id), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(
        stage.world.server_command(&["rewrap"]),
        format!("{} secrets moved to the newest key\n", SECRETS.len() - 1)
    );
}

/// Killed at many points, and completed in the end.
#[tokio::test]
async fn a_rewrap_that_is_killed_loses_nothing() {
    const EACH: usize = 300; // of four people: more than two of its transactions
    let mut world = World::new().await;
    let mut vms = Vec::new();
    for user in ["p0", "p1", "p2", "p3"] {
        let person = world.person(user, Role::Member).await;
        let items = (0..EACH).map(|i| v1::ImportItem {
            name: format!("n{i}"),
            value: Some(plain(&value_of(&format!("{user}/{i}")))),
            line: 0,
        });
        let visibility = Visibility::Private.into();
        let request = v1::ImportSecretsRequest { visibility, items: items.collect(), ..Default::default() };
        let reply = person.secrets().import_secrets(request).await.unwrap().into_inner();
        assert!(reply.problems.is_empty(), "{:?}", reply.problems);
        let vm = Vm::of(world.admin(), ORG, user).await;
        let values = vm.fetch().await.unwrap().values();
        assert_eq!(values.len(), EACH);
        vms.push((vm, values));
    }
    let ciphertexts = columns(&world.database(), "ciphertext");
    world.kill_server();

    let rewrap = || {
        let mut command = Command::new(SERVER);
        command.args(["rewrap", "--data-dir"]).arg(world.data()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    world.server_command(&["keyring", "add"]);
    let started = Instant::now();
    assert!(rewrap().status().unwrap().success());
    let whole = started.elapsed();
    let mut halfway = 0;
    for step in 1..=12 {
        world.server_command(&["keyring", "add"]);
        let mut child = rewrap().spawn().unwrap();
        std::thread::sleep(whole * step / 13); // where it is killed is what is tried, nothing is waited for
        child.kill().unwrap();
        child.wait().unwrap();
        let keys = "SELECT COUNT(DISTINCT kek_id) FROM secrets";
        halfway += i64::from(open(&world.database()).query_row(keys, [], |row| row.get::<_, i64>(0)).unwrap() > 1);
    }
    assert!(halfway > 0, "no kill came between two transactions");
    assert!(rewrap().status().unwrap().success());
    assert_eq!(columns(&world.database(), "ciphertext"), ciphertexts);
    world.restart().await;
    for (vm, values) in &mut vms {
        vm.api.reconnect(&world.address).await;
        assert_eq!(vm.fetch().await.unwrap().values(), *values);
    }
    let verified = world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verified.intact, "{}", verified.problem);
}

#[tokio::test]
async fn a_missing_key_is_named_and_nothing_is_lost() {
    let mut stage = Stage::new().await;
    stage.create().await;
    let ring = stage.world.data().join("keyring");
    let with_old = fs::read_to_string(&ring).unwrap();
    let old = with_old.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    stage.world.server_command(&["keyring", "add"]);
    let with_both = fs::read_to_string(&ring).unwrap();
    let without = with_both.replace(with_old.lines().last().unwrap(), "");

    // All of it still hangs on the old key: the server does not start without, and says why.
    stage.world.kill_server();
    fs::write(&ring, &without).unwrap();
    let refused = serve_refused(&stage.world.data());
    assert!(refused.contains(&format!("the keyring has no key `{old}`; put it back into")), "{refused}");
    // With authority and chain on the new key, secrets alone miss theirs.
    fs::write(&ring, &with_both).unwrap();
    stage.world.server_command(&["rewrap"]);
    open(&stage.world.database()).execute("UPDATE secrets SET kek_id = 'gone' WHERE name = 'a'", []).unwrap();
    stage.restart().await;
    let status = stage.people[0].2.fetch().await.map(|o| o.values()).unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    assert!(
        status.message().contains("its key `gone` is not in the keyring")
            && status.message().contains("Put that key back"),
        "{status}"
    );
    assert!(stage.people[1].2.fetch().await.is_ok(), "bob's do not hang on it");
    // Put back, without a restart.
    let renamed = with_both.lines().last().unwrap().split_once(' ').unwrap().1;
    fs::write(&ring, format!("gone {renamed}\n{with_both}")).unwrap();
    stage.all_is_well("put back").await;
}

/// Runs `keyfob-server serve`, which must not come up; gives what it says.
fn serve_refused(data: &Path) -> String {
    let ran = Command::new(SERVER)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .output()
        .expect("keyfob-server runs");
    assert!(!ran.status.success() && ran.stdout.is_empty());
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

#[tokio::test]
async fn keyrings_that_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new().await;
    world.kill_server();
    let ring = world.data().join("keyring");
    let good = fs::read_to_string(&ring).unwrap();
    let line = good.lines().last().unwrap().to_owned();
    #[rustfmt::skip]
    let cases: [(&str, u32, String, &str); 8] = [
        ("others read it",    0o644, good.clone(),                            "mode 644 lets others read it; chmod 600"),
        ("the group does",    0o640, good.clone(),                            "mode 640 lets others read it"),
        ("others may write",  0o602, good.clone(),                            "mode 602 lets others read it"),
        ("a name twice",      0o600, format!("{line}\n{line}\n"),             "line 2: this name stands twice"),
        ("a name twice, another key", 0o600, format!("{line}\n{} {}\n", line.split(' ').next().unwrap(), "A".repeat(43) + "="), "line 2: this name stands twice"),
        ("no key",            0o600, "# nothing\n".into(),                    "holds no key"),
        ("a short key",       0o600, "short AAAA\n".into(),                   "line 1: the key does not have 32 bytes"),
        ("no base64",         0o600, "bad $$$$\n".into(),                     "line 1: the key is not base64"),
    ];
    for (what, mode, text, said) in cases {
        fs::write(&ring, &text).unwrap();
        fs::set_permissions(&ring, fs::Permissions::from_mode(mode)).unwrap();
        let refused = serve_refused(&world.data());
        assert!(refused.contains(said), "{what}: {refused}");
        // A key that leaked into an error would be in logs.
        assert!(!refused.contains(line.split(' ').nth(1).unwrap()), "{what}");
        let added = Command::new(SERVER).args(["keyring", "add", "--data-dir"]).arg(world.data()).output().unwrap();
        assert!(!added.status.success() && fs::read_to_string(&ring).unwrap() == text, "{what}: it was written anew");
    }
    fs::write(&ring, &good).unwrap();
    fs::set_permissions(&ring, fs::Permissions::from_mode(0o600)).unwrap();
    world.restart().await;
}

#[tokio::test]
async fn a_backup_is_a_server_and_holds_no_plaintext() {
    use std::os::unix::fs::PermissionsExt;
    let mut stage = Stage::new().await;
    stage.create().await;
    stage.meanwhile(Rotated).await;
    let backup = stage.world.dir.path().join("backup.db");
    stage.world.server_command(&["backup", backup.to_str().unwrap()]); // while it runs
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let again =
        Command::new(SERVER).args(["backup", "--data-dir"]).arg(stage.world.data()).arg(&backup).output().unwrap();
    assert!(!again.status.success(), "a backup overwrites nothing");
    let bytes = fs::read(&backup).unwrap();
    let ring = fs::read_to_string(stage.world.data().join("keyring")).unwrap();
    let key = ring.lines().last().unwrap().split(' ').nth(1).unwrap().as_bytes();
    for (what, needle) in [("a value", &b"the value of"[..]), ("a newer value", b"a newer value"), ("a key", key)] {
        assert_eq!(memchr::memmem::find(&bytes, needle), None, "{what}");
    }
    assert!(memchr::memmem::find(&bytes, b"secret.rotate").is_some(), "the search finds what is there");

    // What was done after it is not in it; all else is, and the same people are let in.
    stage.meanwhile(Deleted).await;
    let before = stage.world.server_pid();
    stage.world.kill_server();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", stage.world.database().display()));
    }
    fs::copy(&backup, stage.world.database()).unwrap();
    stage.restart().await;
    assert_ne!(stage.world.server_pid(), before);
    let got = stage.people[0].2.fetch().await.unwrap().values();
    assert_eq!(got["A"], b"a newer value");
    assert_eq!(stage.people[2].2.fetch().await.unwrap().values(), expected("eve", OTHER));
    let verified = stage.world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verified.intact, "{}", verified.problem);
}

/// Every call's reply, searched for the value of the secrets that it is about.
#[tokio::test]
async fn no_reply_contains_a_value() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    let value = b"only-ever-written-0123456789";
    let reference = || Some(v1::SecretRef { name: "w".into(), ..Default::default() });
    let mut replies: Vec<(&str, Vec<u8>)> = Vec::new();
    macro_rules! call {
        ($api:expr, $service:ident, $method:ident, $request:ident { $($fields:tt)* }) => {{
            let reply = $api.$service().$method(v1::$request { $($fields)* }).await;
            replies.push((stringify!($method), match reply {
                Ok(reply) => reply.into_inner().encode_to_vec(),
                Err(status) => [status.message().as_bytes(), status.details()].concat(),
            }));
        }};
    }
    let given = || Some(plain(value));
    let root = world.admin();
    let private = Visibility::Private as i32;
    call!(
        alice,
        secrets,
        create_secret,
        CreateSecretRequest { name: "w".into(), visibility: private, value: given(), ..Default::default() }
    );
    call!(
        alice,
        secrets,
        create_secret,
        CreateSecretRequest { name: "w".into(), visibility: private, value: given(), ..Default::default() }
    ); // exists
    call!(
        alice,
        secrets,
        create_secret,
        CreateSecretRequest { name: "PATH".into(), visibility: private, value: given(), ..Default::default() }
    ); // reserved
    call!(
        alice,
        secrets,
        rotate_secret,
        RotateSecretRequest { r#ref: reference(), value: given(), expected_version: "not this".into(), push: None }
    ); // changed
    call!(
        alice,
        secrets,
        rotate_secret,
        RotateSecretRequest { r#ref: reference(), value: given(), ..Default::default() }
    );
    call!(alice, secrets, get_sealing_key, GetSealingKeyRequest {});
    call!(alice, secrets, get_secret, GetSecretRequest { r#ref: reference() });
    call!(alice, secrets, list_secrets, ListSecretsRequest { ..Default::default() });
    call!(alice, secrets, list_secrets, ListSecretsRequest { query: "only-ever".into(), ..Default::default() });
    call!(
        alice,
        secrets,
        update_secret,
        UpdateSecretRequest { r#ref: reference(), description: Some("d".into()), ..Default::default() }
    );
    let item = |name: &str| v1::ImportItem { name: name.into(), value: given(), line: 1 };
    call!(
        alice,
        secrets,
        import_secrets,
        ImportSecretsRequest { visibility: private, items: vec![item("v"), item("LD_PRELOAD")], ..Default::default() }
    );
    call!(
        alice,
        secrets,
        import_secrets,
        ImportSecretsRequest {
            visibility: private,
            items: vec![item("v"), item("w")],
            rotate_existing: true,
            ..Default::default()
        }
    );
    call!(alice, secrets, preview_bundle, PreviewBundleRequest { ..Default::default() });
    let vm = Vm::of(root, ORG, "alice").await;
    assert_eq!(vm.fetch().await.unwrap().values()["W"], value, "it is there to be found");
    let key = keyfob::seal::RecipientKey::generate().unwrap();
    call!(vm.api, bundle, fetch, FetchRequest { public_key: key.public().to_vec(), nonce: vec![0; 16] });
    call!(alice, sessions, list_sessions, ListSessionsRequest { all: true, ..Default::default() });
    call!(alice, sessions, get_session, GetSessionRequest { id: vm.id.clone() });
    call!(root, audit, list_audit_entries, ListAuditEntriesRequest { page_size: 1_000, ..Default::default() });
    call!(root, audit, verify_audit, VerifyAuditRequest {});
    call!(root, users, list_users, ListUsersRequest {});
    call!(root, environments, list_environments, ListEnvironmentsRequest {});
    call!(alice, secrets, delete_secret, DeleteSecretRequest { r#ref: reference(), ..Default::default() });
    // The control: what is not a secret is shown.
    let set = vec![v1::EnvironmentVariable {
        variable: "NOT_SECRET".into(),
        value: String::from_utf8(value.to_vec()).unwrap(),
    }];
    call!(
        root,
        environments,
        update_environment,
        UpdateEnvironmentRequest { name: "default".into(), set, ..Default::default() }
    );
    let found: Vec<&str> = replies
        .iter()
        .filter(|(_, reply)| memchr::memmem::find(reply, value).is_some())
        .map(|(call, _)| *call)
        .collect();
    assert_eq!(found, ["update_environment"]);
}
