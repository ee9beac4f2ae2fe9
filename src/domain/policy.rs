//! Who may do what: one pure function, [`decide`]. Its table is the test at the end of this file.
//!
//! A [`Decision`] is made here and nowhere else; the store turns it into a `Grant` by writing it into the audit chain, and
//! its operations take nothing less. Refusals come in two kinds: *forbidden*, where the caller may know that the thing
//! exists, and *hidden*, which looks exactly like a thing that does not exist.

use super::{
    identity::{Caller, Role},
    name::{Id, UserName},
    rollout::Reach,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    BundleDeliver,
    /// Secrets by name, for one command.
    BundleDeliverNamed,
    BundleWatch,
    BundleAcknowledge,
    SecretCreate,
    SecretRead,
    SecretUpdate,
    SecretRotate,
    SecretDelete,
    /// A session's word that a value of its was printed.
    SecretLeak,
    LeakRead,
    /// Leaks of shared secrets in anybody's sessions.
    LeakReadAll,
    BundlePreview,
    EnvironmentRead,
    EnvironmentCreate,
    EnvironmentUpdate,
    SessionCreate,
    SessionRead,
    SessionEnd,
    SessionRevoke,
    SessionReport,
    /// An error in a session's report that may name a secret.
    SessionReadNames,
    /// Its agent's status, from the agent itself.
    SessionStatus,
    UserRead,
    UserInvite,
    UserUpdate,
    UserRemove,
    AuditRead,
    RolloutCreate,
    RolloutRead,
    /// A link that signs somebody in to the console.
    ConsoleLink,
    /// The end of a session there.
    ConsoleSignOut,
}

impl Action {
    /// As the audit chain names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BundleDeliver => "bundle.deliver",
            Self::BundleDeliverNamed => "bundle.deliver_named",
            Self::BundleWatch => "bundle.watch",
            Self::BundleAcknowledge => "bundle.acknowledge",
            Self::SecretCreate => "secret.create",
            Self::SecretRead => "secret.read",
            Self::SecretUpdate => "secret.update",
            Self::SecretRotate => "secret.rotate",
            Self::SecretDelete => "secret.delete",
            Self::SecretLeak => "secret.leaked",
            Self::LeakRead => "leak.read",
            Self::LeakReadAll => "leak.read_all",
            Self::BundlePreview => "bundle.preview",
            Self::EnvironmentRead => "environment.read",
            Self::EnvironmentCreate => "environment.create",
            Self::EnvironmentUpdate => "environment.update",
            Self::SessionCreate => "session.create",
            Self::SessionRead => "session.read",
            Self::SessionEnd => "session.end",
            Self::SessionRevoke => "session.revoke",
            Self::SessionReport => "session.report",
            Self::SessionReadNames => "session.read_names",
            Self::SessionStatus => "session.status",
            Self::UserRead => "user.read",
            Self::UserInvite => "user.invite",
            Self::UserUpdate => "user.update",
            Self::UserRemove => "user.remove",
            Self::AuditRead => "audit.read",
            Self::RolloutCreate => "rollout.create",
            Self::RolloutRead => "rollout.read",
            Self::ConsoleLink => "console.link",
            Self::ConsoleSignOut => "console.sign_out",
        }
    }
}

/// What an action is about, with the facts that the rules ask for. All of it lies in the caller's organization: the store
/// looks nothing up in another.
#[derive(Debug, Clone)]
pub enum Target {
    /// The organization as a whole: lists, new things.
    Organization,
    /// Something that is not there.
    Absent {
        label: String,
    },
    Secret {
        id: Id,
        owner: Option<UserName>,
        created_by: String,
    },
    Environment {
        name: String,
    },
    Session {
        id: Id,
        user: Option<UserName>,
    },
    User {
        name: UserName,
    },
    Rollout {
        id: Id,
        reach: Reach,
        created_by: String,
    },
}

impl Target {
    /// As the audit chain names it.
    pub fn label(&self) -> String {
        match self {
            Self::Organization => "organization".into(),
            Self::Absent { label } => label.clone(),
            Self::Secret { id, .. } => format!("secret/{id}"),
            Self::Environment { name } => format!("environment/{name}"),
            Self::Session { id, .. } => format!("session/{id}"),
            Self::User { name } => format!("user/{name}"),
            Self::Rollout { id, .. } => format!("rollout/{id}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// As if it did not exist.
    Hide,
    /// With the reason.
    Forbid(&'static str),
}

/// What [`decide`] found, for one caller, action and target. Fields are private: it can't be made up or altered.
#[derive(Debug, Clone)]
#[must_use = "a decision has no effect until the store has audited it"]
pub struct Decision {
    actor: String,
    action: Action,
    target: String,
    verdict: Verdict,
}

impl Decision {
    pub fn actor(&self) -> &str {
        &self.actor
    }

    pub fn action(&self) -> Action {
        self.action
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

pub fn decide(caller: &Caller, action: Action, target: &Target) -> Decision {
    Decision {
        actor: caller.identity.subject.to_string(),
        action,
        target: target.label(),
        verdict: verdict(caller, action, target),
    }
}

fn verdict(caller: &Caller, action: Action, target: &Target) -> Verdict {
    use Action as A;
    use Verdict::{Allow, Forbid, Hide};
    let person = matches!(caller.role, Role::Member | Role::Admin);
    let admin = caller.role == Role::Admin;
    if let Target::Absent { .. } = target {
        return Hide;
    }
    match action {
        A::BundleDeliver => match target {
            Target::Session { id, .. } if is_session(caller, id) => Allow,
            _ => Forbid("only a session's own agent fetches its bundle"),
        },
        A::BundleDeliverNamed => match target {
            Target::Session { id, .. } if is_session(caller, id) => Allow,
            _ => Forbid("only a session's own agent fetches its secrets"),
        },
        A::BundleWatch | A::BundleAcknowledge => match target {
            Target::Session { id, .. } if is_session(caller, id) => Allow,
            _ => Forbid("only a session's own agent waits for pushes and answers them"),
        },
        A::SecretCreate if person => Allow,
        A::SecretCreate => Forbid("only members and admins keep secrets"),
        A::SecretRead | A::SecretUpdate | A::SecretRotate | A::SecretDelete => match target {
            _ if !person => Hide,
            // A list or a search: the store gives everyone their own private secrets and the shared ones.
            Target::Organization => {
                if action == A::SecretRead {
                    Allow
                } else {
                    Hide
                }
            }
            Target::Secret { owner: Some(owner), .. } => {
                if caller.user() == Some(owner) {
                    Allow
                } else {
                    Hide
                }
            }
            Target::Secret { owner: None, created_by, .. } => {
                if action == A::SecretRead || admin || *created_by == caller.identity.subject.to_string() {
                    Allow
                } else {
                    Forbid("a shared secret is changed by whoever created it, or by an admin")
                }
            }
            _ => Hide,
        },
        A::SecretLeak => match target {
            Target::Session { id, .. } if is_session(caller, id) => Allow,
            _ => Forbid("only a session's own agent reports its leaks"),
        },
        // The store gives everyone those of their own private secrets, and members those of shared ones in their own sessions.
        A::LeakRead if person => Allow,
        A::LeakRead => Hide,
        A::LeakReadAll if admin => Allow,
        A::LeakReadAll => Hide,
        A::BundlePreview => match target {
            Target::User { name } if caller.user() == Some(name) || admin => Allow,
            // Members may list users, so there is nothing to hide.
            Target::User { .. } if person => {
                Forbid("members preview their own sessions; admins anyone's, without private secrets")
            }
            _ => Forbid("only members and admins preview bundles"),
        },
        A::EnvironmentRead if person || caller.role == Role::Orchestrator => Allow,
        A::EnvironmentRead => Hide,
        A::EnvironmentCreate | A::EnvironmentUpdate if admin => Allow,
        A::EnvironmentCreate | A::EnvironmentUpdate if person || caller.role == Role::Orchestrator => {
            Forbid("environments reach everyone's sessions; only admins change them")
        }
        A::EnvironmentCreate | A::EnvironmentUpdate => Hide,
        A::SessionCreate if admin || caller.role == Role::Orchestrator => Allow,
        A::SessionCreate => Forbid("sessions are made by an orchestrator or an admin"),
        A::SessionRead => match target {
            Target::Organization if caller.role != Role::Session => Allow,
            Target::Organization => Hide,
            Target::Session { .. } if admin || matches!(caller.role, Role::Orchestrator | Role::Operator) => Allow,
            Target::Session { id, user } if is_session(caller, id) || (person && caller.user() == user.as_ref()) => {
                Allow
            }
            _ => Hide,
        },
        A::SessionEnd => match target {
            Target::Session { .. } if admin || caller.role == Role::Orchestrator => Allow,
            Target::Session { id, user } if is_session(caller, id) || (person && caller.user() == user.as_ref()) => {
                Allow
            }
            Target::Session { .. } if caller.role == Role::Operator => {
                Forbid("operators watch sessions, they do not end them")
            }
            _ => Hide,
        },
        A::SessionRevoke => match target {
            Target::Session { .. } if admin || caller.role == Role::Orchestrator => Allow,
            Target::Session { user, .. } if person && caller.user() == user.as_ref() => Allow,
            Target::Session { .. } if caller.role == Role::Operator => {
                Forbid("operators watch sessions, they do not revoke them")
            }
            Target::Session { id, .. } if is_session(caller, id) => {
                Forbid("a session ends itself, it does not revoke itself")
            }
            _ => Hide,
        },
        A::SessionReport => match target {
            Target::Session { id, .. } if is_session(caller, id) => Allow,
            _ => Forbid("only a session's own agent reports how it is"),
        },
        // The names of private secrets are their owner's to know, those of shared ones the members'.
        A::SessionReadNames => match target {
            Target::Session { id, .. } if is_session(caller, id) => Allow,
            Target::Session { user: None, .. } if person => Allow,
            Target::Session { user: Some(user), .. } if caller.user() == Some(user) => Allow,
            _ => Hide,
        },
        A::SessionStatus => match target {
            Target::Session { .. } if admin || caller.role == Role::Operator => Allow,
            _ => Forbid("over the network, agents tell operators and admins how they are"),
        },
        A::UserRead if person => Allow,
        A::UserRead => Forbid("only members and admins see who is there"),
        A::UserInvite | A::UserUpdate | A::UserRemove if admin => Allow,
        A::UserInvite | A::UserUpdate | A::UserRemove => Forbid("only admins manage users"),
        A::AuditRead if admin => Allow,
        A::AuditRead => Forbid("only admins read the audit log"),
        A::RolloutCreate => match target {
            Target::Rollout { reach, .. } => push(caller, reach),
            _ => Hide,
        },
        A::RolloutRead => match target {
            Target::Organization if person || caller.role == Role::Operator => Allow,
            Target::Rollout { .. } if admin || caller.role == Role::Operator => Allow,
            Target::Rollout { created_by, .. } if person && *created_by == caller.identity.subject.to_string() => Allow,
            _ => Hide,
        },
        A::ConsoleLink | A::ConsoleSignOut => match target {
            Target::User { name } if caller.user() == Some(name) => Allow,
            _ => Forbid("people sign themselves in to the console, and out of it; machines have none"),
        },
    }
}

/// Who may change a secret may push it.
fn push(caller: &Caller, reach: &Reach) -> Verdict {
    use Verdict::{Allow, Forbid, Hide};
    let person = matches!(caller.role, Role::Member | Role::Admin);
    match reach {
        Reach::Secret { id, owner, created_by } => {
            let secret = Target::Secret { id: id.clone(), owner: owner.clone(), created_by: created_by.clone() };
            verdict(caller, Action::SecretRotate, &secret)
        }
        _ if caller.role == Role::Admin => Allow,
        Reach::Session { user, .. } if person && caller.user() == user.as_ref() => Allow,
        Reach::Session { .. } if matches!(caller.role, Role::Orchestrator | Role::Operator) => {
            Forbid("a session is pushed to by its user, or by an admin")
        }
        Reach::Session { .. } => Hide,
        Reach::Environment(_) if person || caller.role == Role::Orchestrator => {
            Forbid("an environment reaches everyone's sessions; only admins push to it")
        }
        Reach::Environment(_) => Hide,
        Reach::All => Forbid("only admins push to every session"),
    }
}

fn is_session(caller: &Caller, id: &Id) -> bool {
    matches!(&caller.identity.subject, super::identity::Subject::Session(own) if own == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        identity::{Identity, Subject},
        name::OrgName,
    };

    const S1: [u8; 16] = [1; 16];
    const S2: [u8; 16] = [2; 16];

    fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn callers() -> [Caller; 6] {
        [
            (Subject::User(user("alice")), Role::Member),
            (Subject::User(user("bob")), Role::Member),
            (Subject::User(user("root")), Role::Admin),
            (Subject::Orchestrator(user("ci")), Role::Orchestrator),
            (Subject::Operator(user("op")), Role::Operator),
            (Subject::Session(Id::from_random(S1)), Role::Session), // a session of alice
        ]
        .map(|(subject, role)| Caller { identity: Identity { org: OrgName::parse("acme").unwrap(), subject }, role })
    }

    /// One letter a caller, in the order alice, bob, root (admin), ci (orchestrator), op (operator), session S1 of alice:
    /// `a` allowed, `f` forbidden, `.` as if it did not exist.
    #[test]
    fn the_table() {
        let secret = |owner: Option<&str>, by: &str| Target::Secret {
            id: Id::from_random([9; 16]),
            owner: owner.map(user),
            created_by: by.into(),
        };
        let session = |id, of: Option<&str>| Target::Session { id: Id::from_random(id), user: of.map(user) };
        let org = || Target::Organization;
        let absent = || Target::Absent { label: "secret/x".into() };
        let env = || Target::Environment { name: "default".into() };
        let rollout = |reach| Target::Rollout { id: Id::from_random([8; 16]), reach, created_by: "user/alice".into() };
        let pushed = |owner: Option<&str>| {
            rollout(Reach::Secret {
                id: Id::from_random([9; 16]),
                owner: owner.map(user),
                created_by: "user/alice".into(),
            })
        };
        let pushed_to = |id, of: Option<&str>| rollout(Reach::Session { id: Id::from_random(id), user: of.map(user) });
        use Action::*;
        for (action, what, target, expected) in [
            (BundleDeliver, "alice's session S1", session(S1, Some("alice")), "fffffa"),
            (BundleDeliver, "another session", session(S2, Some("alice")), "ffffff"),
            (SecretCreate, "a new secret", org(), "aaafff"),
            (SecretRead, "the list", org(), "aaa..."),
            (SecretRead, "alice's private", secret(Some("alice"), "user/alice"), "a....."),
            (SecretRead, "alice's shared", secret(None, "user/alice"), "aaa..."),
            (SecretRead, "nothing", absent(), "......"),
            (SecretUpdate, "alice's private", secret(Some("alice"), "user/alice"), "a....."),
            (SecretUpdate, "alice's shared", secret(None, "user/alice"), "afa..."),
            (SecretUpdate, "nothing", absent(), "......"),
            (SecretRotate, "alice's private", secret(Some("alice"), "user/alice"), "a....."),
            (SecretRotate, "alice's shared", secret(None, "user/alice"), "afa..."),
            (SecretRotate, "shared by one who left", secret(None, "user/gone"), "ffa..."),
            (SecretRotate, "nothing", absent(), "......"),
            (SecretDelete, "alice's private", secret(Some("alice"), "user/alice"), "a....."),
            (SecretDelete, "alice's shared", secret(None, "user/alice"), "afa..."),
            (SecretDelete, "nothing", absent(), "......"),
            (BundleDeliverNamed, "alice's session S1", session(S1, Some("alice")), "fffffa"),
            (BundleDeliverNamed, "another session", session(S2, Some("alice")), "ffffff"),
            (SecretLeak, "alice's session S1", session(S1, Some("alice")), "fffffa"),
            (SecretLeak, "another session", session(S2, Some("alice")), "ffffff"),
            (LeakRead, "the list", org(), "aaa..."),
            (LeakReadAll, "the list", org(), "..a..."),
            (BundlePreview, "alice", Target::User { name: user("alice") }, "afafff"),
            (EnvironmentRead, "default", env(), "aaaa.."),
            (EnvironmentRead, "nothing", absent(), "......"),
            (EnvironmentCreate, "a new one", org(), "ffaf.."),
            (EnvironmentUpdate, "default", env(), "ffaf.."),
            (SessionCreate, "a new one", org(), "ffaaff"),
            (SessionRead, "the list", org(), "aaaaa."),
            (SessionRead, "alice's session S1", session(S1, Some("alice")), "a.aaaa"),
            (SessionRead, "automation's", session(S2, None), "..aaa."),
            (SessionEnd, "alice's session S1", session(S1, Some("alice")), "a.aafa"),
            (SessionEnd, "alice's session S2", session(S2, Some("alice")), "a.aaf."),
            (SessionEnd, "automation's", session(S2, None), "..aaf."),
            (SessionRevoke, "alice's session S1", session(S1, Some("alice")), "a.aaff"),
            (SessionRevoke, "nothing", absent(), "......"),
            (SessionReport, "alice's session S1", session(S1, Some("alice")), "fffffa"),
            (SessionReport, "alice's session S2", session(S2, Some("alice")), "ffffff"),
            (SessionReport, "nothing", absent(), "......"),
            (SessionReadNames, "alice's session S1", session(S1, Some("alice")), "a....a"),
            (SessionReadNames, "bob's session S2", session(S2, Some("bob")), ".a...."),
            (SessionReadNames, "automation's", session(S2, None), "aaa..."),
            (SessionStatus, "alice's session S1", session(S1, Some("alice")), "ffafaf"),
            (SessionStatus, "automation's", session(S2, None), "ffafaf"),
            (SessionStatus, "nothing", absent(), "......"),
            (UserRead, "the list", org(), "aaafff"),
            (UserInvite, "somebody", org(), "ffafff"),
            (UserUpdate, "bob", Target::User { name: user("bob") }, "ffafff"),
            (UserRemove, "bob", Target::User { name: user("bob") }, "ffafff"),
            (AuditRead, "the log", org(), "ffafff"),
            (BundleWatch, "alice's session S1", session(S1, Some("alice")), "fffffa"),
            (BundleWatch, "another session", session(S2, Some("alice")), "ffffff"),
            (BundleAcknowledge, "alice's session S1", session(S1, Some("alice")), "fffffa"),
            (RolloutCreate, "alice's private", pushed(Some("alice")), "a....."),
            (RolloutCreate, "alice's shared", pushed(None), "afa..."),
            (RolloutCreate, "alice's session S1", pushed_to(S1, Some("alice")), "a.aff."),
            (RolloutCreate, "automation's", pushed_to(S2, None), "..aff."),
            (RolloutCreate, "default", rollout(Reach::Environment("default".into())), "ffaf.."),
            (RolloutCreate, "everything", rollout(Reach::All), "ffafff"),
            (RolloutCreate, "nothing", absent(), "......"),
            (RolloutRead, "the list", org(), "aaa.a."),
            (RolloutRead, "alice's", rollout(Reach::All), "a.a.a."),
            (RolloutRead, "nothing", absent(), "......"),
            (ConsoleLink, "alice", Target::User { name: user("alice") }, "afffff"),
            (ConsoleSignOut, "alice", Target::User { name: user("alice") }, "afffff"),
        ] {
            let found: String = callers()
                .iter()
                .map(|c| match decide(c, action, &target).verdict() {
                    Verdict::Allow => 'a',
                    Verdict::Forbid(_) => 'f',
                    Verdict::Hide => '.',
                })
                .collect();
            assert_eq!(found, expected, "{action:?} on {what}");
        }
    }
}
