//! Secrets in arguments: every user of the machine can read them, and journald itself writes them beside each line of the process
//! (`_CMDLINE`), where no redactor stands before it. The doctor tells who has some.

use std::{fs, path::Path, sync::Arc};

use serde::Serialize;

use super::redact;
use crate::domain::redaction::{Hits, Redactor};

/// A process, and the variables whose values stand in its arguments.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Telling {
    pub pid: u32,
    pub command: String,
    pub variables: Vec<String>,
}

/// All of this machine, or why they could not be looked at.
pub fn of_all(dir: &Path) -> Result<Vec<Telling>, String> {
    let redactor = redact::redactor(&mut redact::fingerprints(dir)?)?;
    let processes = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid| of(pid, &redactor)).collect())
}

fn of(pid: u32, redactor: &Arc<Redactor>) -> Option<Telling> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let (mut masked, mut hits) = (Vec::new(), Hits::default());
    for argument in arguments.split(|b| *b == 0) {
        redactor.redact(argument, &mut masked, &mut hits);
    }
    let mut variables: Vec<String> = hits.drain().map(|hit| hit.variable).collect();
    variables.sort();
    variables.dedup();
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command = command.trim_end().to_owned();
    (!variables.is_empty()).then_some(Telling { pid, command, variables })
}

/// A line for each.
pub fn as_text(all: &[Telling]) -> String {
    let line = |telling: &Telling| {
        let variables: Vec<String> = telling.variables.iter().map(|variable| format!("${variable}")).collect();
        let (pid, command) = (telling.pid, &telling.command);
        format!(
            "{} in the arguments of process {pid} ({command}), for all to read and in the journal\n",
            variables.join(" ")
        )
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::domain::redaction::Redaction;

    #[test]
    fn who_was_started_with_a_value() {
        let mut redaction = Redaction::new([3; 32]);
        redaction.add("TOKEN", "1", b"glpat-0123456789abcdefghij");
        let redactor = Arc::new(redaction.redactor());
        // A shell that waits for its input: what follows its script are words it does not look at.
        let mut child = Command::new("sh")
            .args(["-c", "read line", "sh", "glpat-0123456789abcdefghij"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // For a moment after a program has been started it has no arguments yet.
        let found = (0..1_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            of(child.id(), &redactor)
        });
        let none = of(std::process::id(), &redactor);
        child.kill().unwrap();
        child.wait().unwrap();
        let (found, pid) = (found.unwrap(), child.id());
        assert_eq!(found.variables, ["TOKEN"]);
        assert_eq!(none, None);
        let text = as_text(&[Telling { command: "sleep".into(), ..found }]);
        assert_eq!(
            text,
            format!("$TOKEN in the arguments of process {pid} (sleep), for all to read and in the journal\n")
        );
    }
}
