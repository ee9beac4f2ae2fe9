//! Secrets: what is saved, what a session would get of it, and where it was found.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand};

use super::{PushFlags, Sure};

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
