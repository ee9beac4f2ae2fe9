//! The program `keyfob`: what is typed ([`args`]) becomes one function call per verb, and what those return becomes an exit
//! code ([`failure`]).
//!
//! ```text
//! argv -> args -> verb (secret, rollout, leaks, environment, session, user, audit, login) -> remote (connected, renewed) -> server
//!                  │ values: input, from a prompt, a pipe or a file; sealed in remote
//!                  └ results: views -> output
//! ```
//!
//! It never prints a value, never takes one from the command line, and retries nothing but the redemption of a join string.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, error::ErrorKind};

mod agent;
mod args;
mod audit;
mod console;
#[cfg(all(feature = "agent", feature = "server"))]
mod demo;
mod environment;
mod failure;
mod fleet;
mod home;
mod import;
mod input;
mod leaks;
mod live;
mod login;
mod output;
mod pages;
mod remote;
mod rollout;
mod secret;
mod session;
#[cfg(all(feature = "agent", feature = "server"))]
mod stage;
mod user;
mod views;

use args::{Agent, Audit, Cli, Fleet, Format, Noun, Rollout, Secret, Session, User};
use failure::{Done, Failure};
use home::Home;
use output::Out;
use remote::Remote;

/// All of the program, from its arguments (the program's name first) to its exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    #[cfg(all(feature = "agent", feature = "server"))]
    if let Some(code) = stage::play_part(&args) {
        return code;
    }
    crate::panics::start("keyfob");
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return misused(&e, &args),
    };
    let out = Out::new(cli.output);
    // Not where files or processes of the user's own are made: they would inherit it.
    #[cfg(feature = "memory")]
    if !matches!(cli.noun, Noun::Demo(_) | Noun::Man { .. } | Noun::Completions { .. }) {
        let _ = crate::harden::harden(); // what could not be done is worth no word to the user
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&out, &Failure::local(format!("can't start: {e}"))),
    };
    let result = runtime.block_on(run(cli.noun, &out));
    runtime.shutdown_background(); // a prompt may still be waiting for somebody who was not asked any more
    result.unwrap_or_else(|failure| failed(&out, &failure))
}

async fn run(noun: Noun, out: &Out) -> Done<ExitCode> {
    match noun {
        Noun::Completions { shell } => pages::completions(out, shell)?,
        Noun::Man { dir } => pages::man(&dir)?,
        #[cfg(all(feature = "agent", feature = "server"))]
        Noun::Demo(args) => return demo::run(out, args).await,
        #[cfg(not(all(feature = "agent", feature = "server")))]
        Noun::Demo(_) => {
            return Err(Failure::local(
                "this program was built without server and agent, which the demo runs; build it with all features: cargo run -- demo",
            ));
        }
        Noun::Login(args) => login::login(&Home::from_env()?, out, args).await?,
        Noun::Logout(args) => login::logout(&Home::from_env()?, out, &args.sure).await?,
        Noun::Secret(verb) => {
            // What is plainly wrong is said before anything is connected.
            match &verb {
                Secret::Create(args) => {
                    input::refuse_argument(&args.source, &args.name)?;
                    secret::parse_name(&args.name)?;
                    secret::said(&args.visibility)?;
                }
                Secret::Rotate(args) => input::refuse_argument(&args.source, &args.secret.name)?,
                _ => {}
            }
            let remote = connect(out).await?;
            match verb {
                Secret::Create(args) => secret::create(&remote, out, args).await?,
                Secret::List(args) => secret::list(&remote, out, args).await?,
                Secret::Show(args) => secret::show(&remote, out, args).await?,
                Secret::Deliveries(args) => secret::deliveries(&remote, out, args).await?,
                Secret::Edit(args) => secret::edit(&remote, out, args).await?,
                Secret::Rotate(args) => secret::rotate(&remote, out, args).await?,
                Secret::Delete(args) => secret::delete(&remote, out, args).await?,
                Secret::Import(args) => import::run(&remote, out, args).await?,
            }
        }
        Noun::Console { no_browser } => {
            let home = Home::from_env()?;
            console::open(&home, &Remote::open(&home, out).await?, out, no_browser).await?
        }
        Noun::Whoami => user::whoami(&connect(out).await?, out).await?,
        Noun::Push(args) => rollout::push(&connect(out).await?, out, args).await?,
        Noun::Rollout(Rollout::List) => rollout::list(&connect(out).await?, out).await?,
        Noun::Rollout(Rollout::Show { id, wait }) => rollout::show(&connect(out).await?, out, &id, wait).await?,
        Noun::Preview(args) => secret::preview(&connect(out).await?, out, args).await?,
        Noun::Leaks(args) => {
            let filter = leaks::filter(&args)?;
            leaks::list(&connect(out).await?, out, filter).await?
        }
        Noun::Env(verb) => environment::run(&connect(out).await?, out, verb).await?,
        Noun::Session(verb) => {
            let remote = connect(out).await?;
            match verb {
                Session::Create(args) => session::create(&remote, out, args).await?,
                Session::List(args) => session::list(&remote, out, args).await?,
                Session::Show { id } => session::show(&remote, out, &id).await?,
                Session::End { id } => session::end(&remote, out, &id).await?,
                Session::Revoke { id, sure } => session::revoke(&remote, out, &id, &sure).await?,
            }
        }
        Noun::Fleet(verb) => {
            let remote = connect(out).await?;
            match verb {
                Fleet::List(args) => fleet::list(&remote, out, args).await?,
                Fleet::Show { id } => fleet::show(&remote, out, &id).await?,
                Fleet::Watch(args) => fleet::watch(&remote, out, args).await?,
            }
        }
        Noun::Agent(Agent::Status(args)) => agent::status(out, args).await?,
        Noun::User(verb) => {
            let remote = connect(out).await?;
            match verb {
                User::Invite { name, role, ttl } => user::invite(&remote, out, &name, role, ttl).await?,
                User::List => user::list(&remote, out).await?,
                User::Role { name, role } => user::role(&remote, out, &name, role).await?,
                User::Remove { name, sure } => user::remove(&remote, out, &name, &sure).await?,
            }
        }
        Noun::Audit(verb) => {
            let remote = connect(out).await?;
            match verb {
                Audit::List(args) => audit::list(&remote, out, args).await?,
                Audit::Verify => audit::verify(&remote, out).await?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(out: &Out) -> Done<Remote> {
    Remote::open(&Home::from_env()?, out).await
}

fn failed(out: &Out, failure: &Failure) -> ExitCode {
    out.failure(failure);
    failure.exit()
}

/// Help and version, asked for or needed. A word in the wrong place is not repeated: it may be a value that somebody typed.
fn misused(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { Failure::Silent.exit() };
    }
    let json = args.windows(2).any(|w| (w[0] == "-o" || w[0] == "--output") && w[1] == "json")
        || args.iter().any(|a| a == "-ojson" || a == "--output=json");
    let text = error.render().to_string();
    let text = text.trim_end();
    let failure = Failure::usage(if crate::argv::may_be_told(error) {
        text.strip_prefix("error: ").unwrap_or(text).to_owned()
    } else {
        format!("there is a word too many, not repeated here in case it is a secret: {}", input::NOT_IN_ARGUMENTS)
    });
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json {
        let _ = error.print(); // to stderr; where that is gone, there is nobody left to tell
        return failure.exit();
    }
    failed(&Out::new(if json { Format::Json } else { Format::Table }), &failure)
}
