//! `keyfob env`: one function per verb.

use super::{
    args::{Env, EnvBoot, Sure},
    failure::{Done, Failure},
    input,
    output::Out,
    remote::Remote,
    views,
};
use crate::{
    domain::{boot, name::EnvironmentName, plain::plain, suspicion, variable::Variable},
    wire::v1,
};

pub async fn run(remote: &Remote, out: &Out, verb: Env) -> Done {
    match verb {
        Env::Create { name, description } => create(remote, out, &name, description).await,
        Env::List => list(remote, out).await,
        Env::Show { name, version } => show(remote, out, &name, version).await,
        Env::Set { name, variables, expect, sure } => set(remote, out, &name, &variables, expect, &sure).await,
        Env::Unset { name, variables, expect } => unset(remote, out, &name, &variables, expect).await,
        Env::Boot(args) => boot(remote, out, args).await,
        Env::History { name } => history(remote, out, &name).await,
        Env::Restore { name, version } => restore(remote, out, &name, version).await,
    }
}

async fn create(remote: &Remote, out: &Out, name: &str, description: String) -> Done {
    let request = v1::CreateEnvironmentRequest { name: parse(name)?, description };
    let reply = remote.environments().create_environment(request).await?.into_inner();
    changed(reply.environment, out, "created")
}

async fn list(remote: &Remote, out: &Out) -> Done {
    let reply = remote.environments().list_environments(v1::ListEnvironmentsRequest {}).await?.into_inner();
    if out.is_json() {
        return out.json(&reply.environments.iter().map(views::environment).collect::<Vec<_>>());
    }
    let rows: Vec<_> = reply
        .environments
        .iter()
        .map(|e| {
            [
                e.name.clone(),
                e.version.to_string(),
                e.variables.len().to_string(),
                views::by_at(&e.updated_by, &e.updated_at),
                e.description.clone(),
            ]
        })
        .collect();
    out.table(["NAME", "VERSION", "VARIABLES", "UPDATED", "DESCRIPTION"], &rows)
}

async fn show(remote: &Remote, out: &Out, name: &str, version: Option<u64>) -> Done {
    let e = get(remote, name, version).await?;
    if out.is_json() {
        return out.json(&views::environment(&e));
    }
    let [deadline, on_failure] = views::boot_fields(&e.boot.unwrap_or_default());
    out.fields(&[
        ("name", e.name.clone()),
        ("version", e.version.to_string()),
        ("description", e.description.clone()),
        ("updated", views::by_at(&e.updated_by, &e.updated_at)),
        deadline,
        on_failure,
    ])?;
    if e.variables.is_empty() {
        out.note("no variables; set one: keyfob env set ENV VARIABLE=VALUE");
        return Ok(());
    }
    out.line("")?;
    out.table(
        ["VARIABLE", "VALUE"],
        &e.variables.iter().map(|v| [v.variable.clone(), v.value.clone()]).collect::<Vec<_>>(),
    )
}

async fn set(remote: &Remote, out: &Out, name: &str, given: &[String], expect: Option<u64>, sure: &Sure) -> Done {
    let name = parse(name)?;
    let variables = assignments(given)?;
    let suspicious: Vec<_> = variables
        .iter()
        .filter_map(|v| suspicion::looks_like_secret(&v.value).map(|why| (v.variable.as_str(), why)))
        .collect();
    let doubtful = !suspicious.is_empty();
    for (variable, why) in suspicious {
        out.warn(&format!(
            "the value of {variable} looks like a secret ({why}); everyone could read it, now and in the history. Use a secret: keyfob \
             secret create {variable}"
        ));
    }
    if doubtful && !sure.yes && !out.is_json() && std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        input::confirm(sure, out, "setting it as an environment variable all the same").await?;
    }
    let expected_version = expect.unwrap_or(0);
    let request = v1::UpdateEnvironmentRequest { name, set: variables, expected_version, ..Default::default() };
    let reply = update(remote, request).await?;
    if !doubtful {
        reply.warnings.iter().for_each(|w| out.warn(w));
    }
    if out.is_json() {
        let json = views::environment(&reply.environment.unwrap_or_default());
        return out.json(&views::with(json, [("warnings", reply.warnings.into())]));
    }
    changed(reply.environment, out, "set")
}

async fn unset(remote: &Remote, out: &Out, name: &str, variables: &[String], expect: Option<u64>) -> Done {
    let (unset, expected_version) = (variables.to_vec(), expect.unwrap_or(0));
    let request = v1::UpdateEnvironmentRequest { name: parse(name)?, unset, expected_version, ..Default::default() };
    changed(update(remote, request).await?.environment, out, "unset")
}

async fn boot(remote: &Remote, out: &Out, args: EnvBoot) -> Done {
    let e = get(remote, &args.name, None).await?;
    let current = e.boot.unwrap_or_default();
    if !args.unset && args.deadline.is_none() && args.on_failure.is_none() {
        return if out.is_json() {
            out.json(&views::environment(&e))
        } else {
            out.fields(&views::boot_fields(&current))
        };
    }
    let mut policy = if args.unset { v1::BootPolicy::default() } else { current };
    if let Some(seconds) = args.deadline {
        policy.deadline_seconds = seconds.into();
    }
    if let Some(what) = args.on_failure {
        policy.set_on_failure(boot::OnFailure::from(what).into());
    }
    // What the flags leave alone is what was read; somebody else's change meanwhile is not undone.
    let (boot, expected_version) = (Some(policy), e.version);
    let request = v1::UpdateEnvironmentRequest { name: e.name, boot, expected_version, ..Default::default() };
    changed(update(remote, request).await?.environment, out, "set")
}

async fn history(remote: &Remote, out: &Out, name: &str) -> Done {
    let request = v1::ListEnvironmentVersionsRequest { name: parse(name)? };
    let reply = remote.environments().list_environment_versions(request).await.map_err(not_found)?.into_inner();
    if out.is_json() {
        return out.json(&reply.versions.iter().map(views::environment_version).collect::<Vec<_>>());
    }
    for version in &reply.versions {
        let restored = if version.restored_from == 0 {
            String::new()
        } else {
            format!(", restored from {}", version.restored_from)
        };
        out.line(&format!(
            "version {}  {}{restored}",
            version.version,
            plain(&views::by_at(&version.created_by, &version.created_at))
        ))?;
        for change in version.changes.iter().cloned().chain(views::boot_changes(version)) {
            for (sign, side) in [('-', &change.before), ('+', &change.after)] {
                if let Some(value) = side {
                    out.line(&format!("  {sign} {}={}", plain(&change.variable), plain(value)))?;
                }
            }
        }
    }
    Ok(())
}

async fn restore(remote: &Remote, out: &Out, name: &str, version: u64) -> Done {
    let request = v1::RestoreEnvironmentRequest { name: parse(name)?, version };
    let reply = remote.environments().restore_environment(request).await.map_err(not_found)?.into_inner();
    changed(reply.environment, out, "restored")
}

async fn get(remote: &Remote, name: &str, version: Option<u64>) -> Done<v1::Environment> {
    let request = v1::GetEnvironmentRequest { name: parse(name)?, version: version.unwrap_or(0) };
    let reply = remote.environments().get_environment(request).await.map_err(not_found)?;
    Ok(reply.into_inner().environment.unwrap_or_default())
}

async fn update(remote: &Remote, request: v1::UpdateEnvironmentRequest) -> Done<v1::UpdateEnvironmentResponse> {
    let next = format!("see what changed: keyfob env history {}", request.name);
    let reply = remote.environments().update_environment(request).await;
    Ok(reply.map_err(|e| not_found(e).hint("aborted", &next))?.into_inner())
}

/// All that is wrong with them, at once.
fn assignments(given: &[String]) -> Done<Vec<v1::EnvironmentVariable>> {
    let mut problems = Vec::new();
    let mut variables: Vec<v1::EnvironmentVariable> = Vec::new();
    for (at, assignment) in given.iter().enumerate() {
        let Some((variable, value)) = assignment.split_once('=') else {
            problems.push(format!("argument {} has no `=`: write VARIABLE=VALUE", at + 1));
            continue;
        };
        match Variable::parse(variable) {
            Ok(_) if variables.iter().any(|v| v.variable == variable) => {
                problems.push(format!("{variable} is given twice"))
            }
            Ok(_) => variables.push(v1::EnvironmentVariable { variable: variable.to_owned(), value: value.to_owned() }),
            Err(e) => problems.push(format!("argument {}: {e}", at + 1)),
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(Failure::usage(problems.join("\n"))) }
}

fn parse(name: &str) -> Done<String> {
    EnvironmentName::parse(name).map(|n| n.to_string()).map_err(|e| Failure::usage(e.to_string()))
}

fn not_found(status: tonic::Status) -> Failure {
    Failure::from(status).hint("not_found", "`keyfob env list` shows what there is")
}

fn changed(environment: Option<v1::Environment>, out: &Out, done: &str) -> Done {
    let e = environment.unwrap_or_default();
    if out.is_json() {
        return out.json(&views::environment(&e));
    }
    out.line(&format!("{done}: {} is at version {}", e.name, e.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_all_right_or_all_told() {
        for (given, expected) in [
            (&["A=1", "B=x=y", "C="][..], Ok(&[("A", "1"), ("B", "x=y"), ("C", "")][..])),
            (&["A"], Err(&["argument 1 has no `=`"][..])),
            (&["A=1", "1B=2", "C", "A=3"], Err(&["argument 2: ", "argument 3 has no `=`", "A is given twice"])),
            (&["=x"], Err(&["argument 1: "])),
        ] {
            let given: Vec<String> = given.iter().map(|s| (*s).to_owned()).collect();
            match (assignments(&given), expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(
                        found.iter().map(|v| (v.variable.as_str(), v.value.as_str())).collect::<Vec<_>>(),
                        expected
                    );
                }
                (Err(found), Err(expected)) => {
                    let found = found.to_string();
                    assert!(expected.iter().all(|e| found.contains(e)), "{found}");
                    assert_eq!(found.lines().count(), expected.len(), "{found}");
                }
                (found, _) => panic!("{given:?}: {found:?}"),
            }
        }
    }
}
