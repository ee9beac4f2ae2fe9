//! What can be typed: nouns, verbs and flags, with their help. Nothing happens here.
//!
//! Values have no argument. Where people try one all the same (`secret create NAME VALUE`, `--value VALUE`, `NAME=VALUE`),
//! it is never echoed, and answered with how to do it.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    domain::{
        boot::{self, BootPolicy},
        identity,
    },
    wire::v1,
};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  refused or failed
  2  wrong usage
  3  the control plane can't be reached
  `keyfob demo -- CMD` ends with CMD's own code.

Environment:
  KEYFOB_HOME  directory of this login's key and certificate (default: keyfob in $XDG_CONFIG_HOME or ~/.config)
  NO_COLOR     no colours

Machine output is JSON on stdout (-o json); with it, an error is one object on stderr: {\"error\":{\"code\",\"message\"}}.";

/// Give every short-lived VM the secrets its session is entitled to.
///
/// Secrets are saved here once, sealed to the server, and never shown again. At boot each session's agent fetches what the
/// session is entitled to: its user's private secrets, the organization's shared ones, its environment's variables.
#[derive(Debug, Parser)]
#[command(name = "keyfob", version, after_help = AFTER_HELP, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    /// How to print results
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true, value_name = "FORMAT")]
    pub output: Format,
    #[command(subcommand)]
    pub noun: Noun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For scripts
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Join an organization with the join string an admin gave you
    ///
    /// Makes a key on this machine, redeems the join string for a certificate, and keeps both in KEYFOB_HOME. A join string
    /// works once and for ten minutes at most; get one from an admin: `keyfob user invite NAME`.
    #[command(
        after_help = "Examples:\n  keyfob login                       asks for the join string, without echo\n  keyfob login --join-file join.txt\n  pass keyfob/join | keyfob login --join-file -"
    )]
    Login(Login),
    /// Remove this machine's key and certificate
    ///
    /// The certificate itself stays valid until its end; an admin can remove the user to end it at once.
    Logout(Logout),
    /// Open the console, this server's pages for browsers, signed in as you
    ///
    /// Prints a link and opens it (xdg-open). It works once, within a minute; then you are signed in for 12 hours at the most, in
    /// that browser, and an hour after you last used it.
    #[command(
        after_help = "Examples:\n  keyfob console\n  keyfob console --no-browser        prints the link, for a browser elsewhere"
    )]
    Console {
        /// Print the link and open nothing
        #[arg(long)]
        no_browser: bool,
    },
    /// Show who you are, as the server sees it
    Whoami,
    /// Keep secrets: create, list, rotate, ...
    #[command(subcommand)]
    Secret(Secret),
    /// Push saved changes into running sessions
    ///
    /// Without a push, running sessions keep what they have, and get changes at their next boot. A pushed session's files are
    /// replaced whole: new shells and services see the new values, running processes keep theirs. Only sessions whose secrets
    /// would change are told. Sessions stay pinned to their version of the environment.
    #[command(
        after_help = "Examples:\n  keyfob push --secret openai-api-key --wait\n  keyfob push --environment staging --max-in-flight 20\n  keyfob push --all --wait -o json"
    )]
    Push(Push),
    /// What was pushed, and how far it has come
    #[command(subcommand)]
    Rollout(Rollout),
    /// Show what a session would get, and why
    ///
    /// Every variable with its origin and version, what it overrides, and what is left out with the reason. Never a value.
    #[command(after_help = "Examples:\n  keyfob preview\n  keyfob preview --as alice --environment staging")]
    Preview(Preview),
    /// Show which secrets were printed in sessions, and masked there
    ///
    /// Redactors in the VMs count what they mask and tell it here: which version, in which session, by which unit, in which
    /// form; never the text around it. You see the leaks of your private secrets, and of shared ones those in your own
    /// sessions; admins see those of shared secrets everywhere. A value that was printed may stand unmasked elsewhere: get a
    /// new one from whoever issued it, and save it with `keyfob secret rotate NAME`.
    #[command(
        after_help = "Examples:\n  keyfob leaks\n  keyfob leaks --secret db-url --since 7d\n  keyfob leaks -o json | jq -r '.[] | select(.current) | .name' | sort -u"
    )]
    Leaks(Leaks),
    /// Environments: non-sensitive variables with a version history
    #[command(subcommand, visible_alias = "environment")]
    Env(Env),
    /// Sessions: one for each VM boot
    #[command(subcommand)]
    Session(Session),
    /// All agents, in all live sessions: how they are, what they have installed
    #[command(subcommand)]
    Fleet(Fleet),
    /// One agent, asked itself
    #[command(subcommand)]
    Agent(Agent),
    /// The people and machines of the organization
    #[command(subcommand)]
    User(User),
    /// The record of every change, delivery and refusal (admins)
    #[command(subcommand)]
    Audit(Audit),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  keyfob completions bash > ~/.local/share/bash-completion/completions/keyfob\n  keyfob completions fish > ~/.config/fish/completions/keyfob.fish"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Run the whole thing here, once: a server, a session, an agent, a shell that has the variables
    ///
    /// Everything lives in a temporary directory and in memory, needs no root and no network beyond this machine, and is
    /// gone when the shell or the command ends.
    #[command(
        after_help = "Examples:\n  keyfob demo\n  keyfob demo --from .env\n  keyfob demo --from .env -- sh -c 'test -n \"$OPENAI_API_KEY\"'"
    )]
    Demo(Demo),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// Where to
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Login {
    /// Read the join string from a file, or from stdin with `-`
    #[arg(long, value_name = "FILE")]
    pub join_file: Option<PathBuf>,
    /// Replace a login that is still good
    #[arg(long)]
    pub replace: bool,
}

#[derive(Debug, Args)]
pub struct Logout {
    #[command(flatten)]
    pub sure: Sure,
}

/// For what can't be undone.
#[derive(Debug, Args)]
pub struct Sure {
    /// Don't ask; needed where there is no terminal to ask at
    #[arg(short, long)]
    pub yes: bool,
}

/// Private or shared.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Visibility {
    /// Only your own sessions get it
    #[arg(long)]
    pub private: bool,
    /// Every session of the organization gets it
    #[arg(long)]
    pub shared: bool,
}

/// Where a value comes from.
#[derive(Debug, Args)]
pub struct ValueSource {
    /// Read the value from a file, or from stdin with `-`
    ///
    /// Without it, the value is read from stdin if that is piped, else asked for without echo. What is typed is one line of
    /// printable text; several lines or control characters come from a file or a pipe.
    #[arg(long, value_name = "FILE")]
    pub value_file: Option<PathBuf>,
    /// Leave out one newline at the end of the value
    #[arg(long)]
    pub trim_newline: bool,
    /// A value on the command line; refused.
    #[arg(long, hide = true, value_name = "VALUE")]
    pub value: Option<OsString>,
}

#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Save a new secret
    ///
    /// Its variable is the name in upper snake case: `openai-api-key` becomes $OPENAI_API_KEY; it is shown before anything
    /// is saved. The value comes from a prompt without echo, from stdin or from a file; it is sealed to the server's key and
    /// can't be read back.
    #[command(
        after_help = "Examples:\n  keyfob secret create openai-api-key --private\n  pass openai | keyfob secret create openai-api-key --private --trim-newline\n  keyfob secret create tls-key --shared --file --value-file key.pem"
    )]
    Create(SecretCreate),
    /// List or search secrets
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  keyfob secret list\n  keyfob secret list openai\n  keyfob secret list --shared -o json | jq -r '.[].variable'"
    )]
    List(SecretList),
    /// Show one secret: what it is, its versions, what it overrides, which sessions got it, where it was printed
    Show(SecretShow),
    /// Show which sessions got which version, and whether old ones may still be held somewhere
    ///
    /// A live session that was ever given an older version may hold it in memory, whatever is in its files now: an old key is
    /// safe to revoke, where it was issued, when there is no such session.
    #[command(
        after_help = "Examples:\n  keyfob secret deliveries openai-api-key\n  keyfob secret deliveries db-url --live -o json | jq .receipts.safe_to_revoke"
    )]
    Deliveries(SecretDeliveries),
    /// Change a secret's description, auto-install or variable; not its value
    #[command(
        after_help = "Examples:\n  keyfob secret edit openai-api-key --no-auto-install\n  keyfob secret edit db-url --variable DATABASE_URL\n  keyfob secret edit db-url --derive-variable"
    )]
    Edit(SecretEdit),
    /// Save a new value
    ///
    /// Always makes a new version, for the same value too. Sessions get it at their next boot, running ones with --push. If
    /// somebody else has saved a value in the meantime, nothing is overwritten.
    #[command(
        after_help = "Examples:\n  keyfob secret rotate openai-api-key\n  keyfob secret rotate openai-api-key --value-file new-key --push --wait\n  vault-tool new | keyfob secret rotate db-url --shared --trim-newline"
    )]
    Rotate(SecretRotate),
    /// Remove a secret from later boots, with --revoke from running sessions' files too
    ///
    /// Running processes keep what they already exported.
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  keyfob secret delete openai-api-key\n  keyfob secret delete openai-api-key --revoke --wait --yes"
    )]
    Delete(SecretDelete),
    /// Save all variables of a dotenv file as secrets: all of them or, with every problem told, none
    #[command(
        after_help = "Examples:\n  keyfob secret import .env --private\n  keyfob secret import team.env --shared --rotate-existing\n  sops -d team.env | keyfob secret import - --shared"
    )]
    Import(SecretImport),
}

#[derive(Debug, Args)]
pub struct SecretCreate {
    /// 1 to 128 letters, digits, `.`, `_` or `-`
    pub name: String,
    #[command(flatten)]
    pub visibility: Visibility,
    /// Keep it in store without installing it in VMs
    #[arg(long)]
    pub no_auto_install: bool,
    /// Deliver it as a file; the variable holds the file's path
    #[arg(long)]
    pub file: bool,
    /// A note for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
    /// A variable to use instead of the one derived from the name
    #[arg(long)]
    pub variable: Option<String>,
    #[command(flatten)]
    pub source: ValueSource,
}

#[derive(Debug, Args)]
pub struct SecretList {
    /// Part of a name, variable or description; upper and lower case are alike
    #[arg(default_value = "", hide_default_value = true)]
    pub query: String,
    #[command(flatten)]
    pub visibility: Visibility,
}

/// One secret.
#[derive(Debug, Args)]
pub struct SecretName {
    /// The secret's name
    pub name: String,
    #[command(flatten)]
    pub visibility: Visibility,
}

#[derive(Debug, Args)]
pub struct SecretShow {
    #[command(flatten)]
    pub secret: SecretName,
}

#[derive(Debug, Args)]
pub struct SecretDeliveries {
    #[command(flatten)]
    pub secret: SecretName,
    /// Only sessions that are alive
    #[arg(long)]
    pub live: bool,
}

/// Whether a change reaches running sessions, and how.
#[derive(Debug, Args)]
pub struct PushFlags {
    /// Push the change into running sessions too
    #[arg(long)]
    pub push: bool,
    #[command(flatten)]
    pub pace: Pace,
}

#[derive(Debug, Args)]
pub struct Pace {
    /// Sessions that are told and have not answered, at the most (default: all at once)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_in_flight: Option<u32>,
    /// Give a session up as unreachable when it has been silent for so long (default: 120)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub patience: Option<u16>,
    /// Wait until every session is through; fail if one does not have it
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
#[group(id = "reach", required = true, multiple = false, args = ["secret", "environment", "session", "all"])]
pub struct Push {
    /// One secret, to the sessions in which it makes a difference
    #[arg(long, value_name = "NAME")]
    pub secret: Option<String>,
    /// Everything, to the sessions of one environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<String>,
    /// Everything, to one session
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Everything, to every session
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub visibility: Visibility,
    #[command(flatten)]
    pub pace: Pace,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// List rollouts, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Show one rollout: its sessions and how far they are
    Show {
        /// The rollout's id
        id: String,
        /// Wait until every session is through; fail if one does not have it
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Args)]
pub struct SecretEdit {
    #[command(flatten)]
    pub secret: SecretName,
    /// A new note for people; empty removes it
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Install it in VMs from their next boot on
    #[arg(long, conflicts_with = "no_auto_install")]
    pub auto_install: bool,
    /// Keep it in store without installing it in VMs
    #[arg(long)]
    pub no_auto_install: bool,
    /// A new variable
    #[arg(long, conflicts_with = "derive_variable")]
    pub variable: Option<String>,
    /// Derive the variable from the name again
    #[arg(long)]
    pub derive_variable: bool,
    #[command(flatten)]
    pub push: PushFlags,
}

#[derive(Debug, Args)]
pub struct SecretRotate {
    #[command(flatten)]
    pub secret: SecretName,
    /// Go on only if this is still the current version (default: the one found when the command starts)
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<String>,
    /// Replace whatever is there, even if it has just changed
    #[arg(long, conflicts_with = "expect")]
    pub force: bool,
    #[command(flatten)]
    pub push: PushFlags,
    #[command(flatten)]
    pub source: ValueSource,
}

#[derive(Debug, Args)]
pub struct SecretDelete {
    #[command(flatten)]
    pub secret: SecretName,
    /// Go on only if this is still the current version (default: the one found when the command starts)
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<String>,
    /// Take it out of running sessions' files now, and list those that may still hold it in memory
    #[arg(long)]
    pub revoke: bool,
    #[command(flatten)]
    pub push: PushFlags,
    #[command(flatten)]
    pub sure: Sure,
}

#[derive(Debug, Args)]
pub struct SecretImport {
    /// The dotenv file, or `-` for stdin
    pub file: PathBuf,
    #[command(flatten)]
    pub visibility: Visibility,
    /// Save a new version of secrets that exist already, instead of refusing the import
    #[arg(long)]
    pub rotate_existing: bool,
    /// Keep new ones in store without installing them in VMs
    #[arg(long)]
    pub no_auto_install: bool,
}

#[derive(Debug, Args)]
pub struct Preview {
    /// Whose session (default: yours); private secrets of others are never shown
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<String>,
    /// The environment
    #[arg(long, short, value_name = "ENV", default_value = "default")]
    pub environment: String,
}

#[derive(Debug, Args)]
pub struct Leaks {
    /// Only of secrets of this name
    #[arg(long, value_name = "NAME")]
    pub secret: Option<String>,
    /// Only of private secrets
    #[arg(long, conflicts_with = "shared")]
    pub private: bool,
    /// Only of shared secrets
    #[arg(long)]
    pub shared: bool,
    /// Only what was printed since then: how long ago (`30m`, `24h`, `7d`) or when (`2026-01-31`, `2026-01-31T10:00:00Z`)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Env {
    /// Make an environment
    Create {
        /// 1 to 64 lower-case letters, digits or `-`
        name: String,
        /// A note for people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List environments
    #[command(visible_alias = "ls")]
    List,
    /// Show an environment's variables
    Show {
        /// The environment
        name: String,
        /// An older version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// Set variables; makes one new version
    ///
    /// The values stay in the environment's history and everyone can read them: whatever must not be seen is a secret
    /// (`keyfob secret create`).
    #[command(after_help = "Examples:\n  keyfob env set default NODE_ENV=development LOG_LEVEL=info")]
    Set {
        /// The environment
        name: String,
        /// What to set
        #[arg(required = true, value_name = "VARIABLE=VALUE")]
        variables: Vec<String>,
        /// Go on only if this is still the newest version
        #[arg(long, value_name = "N")]
        expect: Option<u64>,
        #[command(flatten)]
        sure: Sure,
    },
    /// Unset variables; makes one new version
    Unset {
        /// The environment
        name: String,
        /// What to unset
        #[arg(required = true, value_name = "VARIABLE")]
        variables: Vec<String>,
        /// Go on only if this is still the newest version
        #[arg(long, value_name = "N")]
        expect: Option<u64>,
    },
    /// Show or change what a session's VM does when its secrets do not come; a change makes one new version
    ///
    /// A session's join string carries the policy into its VM, whose own configuration (/etc/keyfob/agent.toml) comes
    /// before it.
    #[command(
        after_help = "Examples:\n  keyfob env boot default\n  keyfob env boot default --deadline 30 --on-failure continue\n  keyfob env boot default --unset"
    )]
    Boot(EnvBoot),
    /// Show who changed what, and when
    History {
        /// The environment
        name: String,
    },
    /// Make a new version that equals an older one
    Restore {
        /// The environment
        name: String,
        /// The version to go back to
        version: u64,
    },
}

#[derive(Debug, Args)]
pub struct EnvBoot {
    /// The environment
    pub name: String,
    /// How long the VM waits for its secrets, from the agent's start: 1 to 3600 (unsaid: 90)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=i64::from(BootPolicy::MAX_DEADLINE)))]
    pub deadline: Option<u16>,
    /// What it does then, or when the control plane refuses (unsaid: block)
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// Leave unsaid what no other flag says
    #[arg(long)]
    pub unset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// Stay closed: the agent fails, and what waits for it does not start
    Block,
    /// Open without secrets, visibly so; the agent goes on trying
    Continue,
}

impl From<OnFailure> for boot::OnFailure {
    fn from(given: OnFailure) -> Self {
        match given {
            OnFailure::Block => Self::Block,
            OnFailure::Continue => Self::Continue,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Session {
    /// Make a session and print its join string, once
    ///
    /// Give the join string to the VM as systemd credential `keyfob.join` or as a file, never on a command line. It works
    /// once and for ten minutes at most.
    #[command(
        after_help = "Examples:\n  keyfob session create --user alice --environment default > join\n  keyfob session create --automation -o json | jq -r .join"
    )]
    Create(SessionCreate),
    /// List sessions, newest first
    #[command(visible_alias = "ls")]
    List(SessionList),
    /// Show one session
    Show {
        /// The session's id
        id: String,
    },
    /// End a session: its VM is gone
    End {
        /// The session's id
        id: String,
    },
    /// Revoke a session: its VM is not trusted any more
    ///
    /// Its agent's stream is cut at once, and the agent wipes the session's files; what runs there keeps what it has exported.
    Revoke {
        /// The session's id
        id: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Subcommand)]
pub enum Fleet {
    /// List agents, those of the newest sessions first
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  keyfob fleet list --stale\n  keyfob fleet list --environment default --outdated\n  keyfob fleet list -o json | jq -r '.[] | select(.agent.phase != \"ready\") | .id'"
    )]
    List(FleetFilter),
    /// Show one agent, also of a session that has ended
    Show {
        /// Its session's id
        id: String,
    },
    /// Show agents as they change, until interrupted
    ///
    /// On a terminal, a table that is redrawn, those that need a look first; else, a line for each change (-o json: an object).
    Watch(FleetFilter),
}

/// Which agents.
#[derive(Debug, Args)]
pub struct FleetFilter {
    /// Only of this user's sessions
    #[arg(long)]
    pub user: Option<String>,
    /// Only of this environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<String>,
    /// Only in this phase
    #[arg(long, value_enum)]
    pub phase: Option<Phase>,
    /// Only those that have been silent for three beats
    #[arg(long)]
    pub stale: bool,
    /// Only those whose bundle is not what their session would get now
    #[arg(long)]
    pub outdated: bool,
    /// Only those whose identity was seen at two places
    #[arg(long)]
    pub cloned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Redeeming its join string
    Enrolling,
    /// Fetching its bundle
    Fetching,
    /// Files are in place and read back
    Ready,
    /// Goes on without secrets, or with what it has
    Degraded,
    /// Refused by the control plane
    Refused,
    /// Gave up
    Failed,
}

impl From<Phase> for v1::Phase {
    fn from(given: Phase) -> Self {
        match given {
            Phase::Enrolling => Self::Enrolling,
            Phase::Fetching => Self::Fetching,
            Phase::Ready => Self::Ready,
            Phase::Degraded => Self::Degraded,
            Phase::Refused => Self::Refused,
            Phase::Failed => Self::Failed,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Show how an agent is, as it says itself; never a value
    ///
    /// On its own machine: root, and members of the group that reads the files. Over the network, where its configuration lets
    /// it listen: operators and admins of its organization, with this login. Names of private secrets are told on its own
    /// machine only, and to nobody else than their owner.
    #[command(
        after_help = "Examples:\n  keyfob agent status\n  keyfob agent status --address 192.0.2.7:7444 -o json\n  keyfob agent status --watch"
    )]
    Status(AgentStatus),
}

#[derive(Debug, Args)]
pub struct AgentStatus {
    /// The agent's socket on this machine
    #[arg(long, value_name = "PATH", default_value = "/run/keyfob-agent/status", conflicts_with = "address")]
    pub socket: PathBuf,
    /// An agent's address on the network, HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Go on showing it after each change
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct SessionCreate {
    /// Whose session; it gets this user's private secrets
    #[arg(long, required_unless_present = "automation", conflicts_with = "automation")]
    pub user: Option<String>,
    /// Nobody's session: it gets shared secrets and the environment's variables only
    #[arg(long)]
    pub automation: bool,
    /// The environment
    #[arg(long, short, value_name = "ENV", default_value = "default")]
    pub environment: String,
    /// How long the join string works
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub ttl: u32,
}

#[derive(Debug, Args)]
pub struct SessionList {
    /// Only this user's
    #[arg(long)]
    pub user: Option<String>,
    /// Only of this environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<String>,
    /// Also ended, revoked and expired ones
    #[arg(long, short)]
    pub all: bool,
}

#[derive(Debug, Subcommand)]
pub enum User {
    /// Add somebody and print their join string, once
    ///
    /// For somebody who is there already, prints a new join string: a new laptop, an expired certificate.
    #[command(
        after_help = "Examples:\n  keyfob user invite alice\n  keyfob user invite ci --role orchestrator -o json | jq -r .join"
    )]
    Invite {
        /// 1 to 64 lower-case letters, digits, `.`, `_` or `-`
        name: String,
        /// What they may do (default: member; for somebody who is there already, the role they have)
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// How long the join string works
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
        ttl: u32,
    },
    /// List everyone
    #[command(visible_alias = "ls")]
    List,
    /// Make a member an admin, or an admin a member
    Role {
        /// Who
        name: String,
        /// The new role
        #[arg(value_enum)]
        role: Role,
    },
    /// Remove somebody: certificates stop working, sessions are revoked, private secrets are destroyed
    #[command(visible_alias = "rm")]
    Remove {
        /// Who
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// A person: own private secrets, shared secrets, own sessions
    Member,
    /// A person who also manages users, environments, sessions and everyone's shared secrets, and reads the audit log
    Admin,
    /// A machine that boots VMs: makes and ends sessions
    Orchestrator,
    /// A person or machine that watches sessions and agents
    Operator,
}

impl From<Role> for identity::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Orchestrator => Self::Orchestrator,
            Role::Operator => Self::Operator,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List entries, newest first
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  keyfob audit list --actor user/alice\n  keyfob audit list --action secret. --limit 20\n  keyfob audit list --all --oldest-first -o json"
    )]
    List(AuditList),
    /// Recompute the whole chain; fails and names the first entry that does not fit
    ///
    /// Prints the hash of the last entry. Note it elsewhere to notice that an old copy of the database was put back.
    Verify,
}

#[derive(Debug, Args)]
pub struct AuditList {
    /// Only of this actor: `user/NAME`, `session/ID`, `orchestrator/NAME`, `server`
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// Only actions that start so: `secret.`, `bundle.deliver`
    #[arg(long, value_name = "PREFIX")]
    pub action: Option<String>,
    /// Only of this target: `secret/ID`, `environment/NAME`, `session/ID`, `user/NAME`
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, conflicts_with = "all")]
    pub limit: u32,
    /// Every entry
    #[arg(long)]
    pub all: bool,
    /// Oldest first
    #[arg(long)]
    pub oldest_first: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Take the secrets from a dotenv file instead of asking
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Run this instead of an interactive shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}
