//! `keyfob secret import`: a dotenv file, read here, sealed value by value, saved all or none.

use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;

use super::{
    args::SecretImport,
    failure::{Done, Failure},
    input,
    output::Out,
    remote::Remote,
    secret, views,
};
use crate::{
    domain::{
        dotenv,
        plain::plain,
        value::{self, Delivery, MAX_VALUE, Value},
        variable::variable_of,
    },
    wire::v1,
};

/// Longer than any file whose values fit into one bundle.
const LONGEST_FILE: usize = 64 * MAX_VALUE;
/// From here on sealing takes long enough to be watched.
const MANY: usize = 200;

/// A secret on its way in.
pub struct Item {
    pub name: String,
    pub value: Value,
    /// Where it stood; 0 if nowhere.
    pub line: u32,
}

pub async fn run(remote: &Remote, out: &Out, args: SecretImport) -> Done {
    let visibility = secret::said(&args.visibility)?;
    let items = read(&args.file).await?;
    let reply = send(remote, out, &items, visibility, args.rotate_existing, args.no_auto_install).await?;
    refuse_problems(&reply)?;
    if out.is_json() {
        return out.json(&json!({
            "secrets": reply.secrets.iter().map(views::secret).collect::<Vec<_>>(),
            "warnings": reply.warnings,
        }));
    }
    reply.warnings.iter().for_each(|w| out.warn(w));
    out.table(views::SECRET_HEADS, &reply.secrets.iter().map(views::secret_row).collect::<Vec<_>>())?;
    out.note(&format!("{} saved; the file still holds the values: remove it if it is not needed", reply.secrets.len()));
    Ok(())
}

/// Every problem of a file is told at once, by line.
pub async fn read(file: &Path) -> Done<Vec<Item>> {
    let text = input::read(file, LONGEST_FILE).await?;
    let mut problems: Vec<(u32, String)> = Vec::new();
    let mut items = Vec::new();
    match dotenv::parse(&text) {
        Ok(found) => {
            for entry in found {
                let variable = secret::parse_name(&entry.name)
                    .and_then(|n| variable_of(&n).map_err(|e| Failure::usage(e.to_string())));
                match (variable, value::check(entry.value.expose(), Delivery::Env)) {
                    (Ok(_), Ok(())) => items.push(Item { name: entry.name, value: entry.value, line: entry.line }),
                    (Err(e), _) => problems.push((entry.line, e.to_string())),
                    (_, Err(e)) => problems.push((entry.line, format!("{}: {e}", entry.name))),
                }
            }
        }
        Err(found) => problems.extend(found.into_iter().map(|p| (p.line, p.reason.to_owned()))),
    }
    if items.is_empty() && problems.is_empty() {
        return Err(Failure::refused(
            "invalid_argument",
            format!("{} holds no variables; nothing was saved", file.display()),
        ));
    }
    refuse(problems)?;
    Ok(items)
}

/// Seals and sends all of them, in one call.
pub async fn send(
    remote: &Remote,
    out: &Out,
    items: &[Item],
    visibility: v1::Visibility,
    rotate_existing: bool,
    no_auto_install: bool,
) -> Done<v1::ImportSecretsResponse> {
    let bar = ProgressBar::new(items.len() as u64);
    if items.len() < MANY || out.is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden()); // where there is no terminal, it hides by itself
    }
    let reply = remote
        .call_sealed(async |sealer| {
            bar.set_position(0);
            let sealed = items.iter().map(|item| {
                bar.inc(1);
                Ok(v1::ImportItem { name: item.name.clone(), value: Some(sealer.seal(&item.value)?), line: item.line })
            });
            let items = sealed.collect::<Result<Vec<_>, tonic::Status>>()?;
            let request =
                v1::ImportSecretsRequest { visibility: visibility.into(), items, rotate_existing, no_auto_install };
            remote.secrets().import_secrets(request).await
        })
        .await;
    bar.finish_and_clear();
    Ok(reply?.into_inner())
}

/// The server stores nothing where it reports a problem.
pub fn refuse_problems(reply: &v1::ImportSecretsResponse) -> Done {
    let told =
        |p: &v1::ImportProblem| if p.name.is_empty() { p.reason.clone() } else { format!("{}: {}", p.name, p.reason) };
    refuse(reply.problems.iter().map(|p| (p.line, told(p))).collect())
}

fn refuse(problems: Vec<(u32, String)>) -> Done {
    if problems.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = problems
        .iter()
        .map(|(line, what)| if *line == 0 { what.clone() } else { format!("line {line}: {what}") })
        .map(|text| plain(&text))
        .collect();
    Err(Failure::refused(
        "invalid_argument",
        format!("nothing was saved; {} problem(s):\n{}", told.len(), told.join("\n")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn every_problem_is_told_at_once_and_no_value_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".env");
        std::fs::write(&file, "GOOD=hunter2\nEMPTY=\n123=hunter2\n").unwrap();
        let told = read(&file).await.err().map(|f| f.to_string()).unwrap_or_default();
        assert!(told.contains("line 2: ") && told.contains("line 3: ") && !told.contains("hunter2"), "{told}");
        std::fs::write(&file, "# nothing\n\n").unwrap();
        assert!(read(&file).await.is_err_and(|f| f.to_string().contains("holds no variables")));
    }
}
