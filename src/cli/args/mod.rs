//! What can be typed: nouns, verbs and flags, with their help. Nothing happens here.
//!
//! Values have no argument. Where people try one all the same (`secret create NAME VALUE`, `--value VALUE`, `NAME=VALUE`),
//! it is never echoed, and answered with how to do it.

mod environment;
mod organization;
mod push;
mod secret;
mod session;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::{environment::*, organization::*, push::*, secret::*, session::*};

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

#[derive(Debug, Args)]
pub struct Demo {
    /// Take the secrets from a dotenv file instead of asking
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Run this instead of an interactive shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}
