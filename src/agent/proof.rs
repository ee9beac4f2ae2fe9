//! The self-proof at work: once the files are in place the canary is sent, and what became of it is told.

use std::{convert::Infallible, path::Path, time::Duration};

use tokio::sync::oneshot;

use super::{
    canary::{self, Failed},
    config::JournalMode,
    serve::Place,
};
use crate::domain::report::Line;

/// How long after one that failed it is tried again, in case the redactor was late, and how often.
const AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// The status tells the result; never ends by itself.
pub async fn tell(place: &Place<'_>) -> Infallible {
    let journal = place.redacting.journal;
    for pause in [Duration::ZERO].into_iter().chain(AGAIN) {
        tokio::time::sleep(pause).await;
        let (send, result) = oneshot::channel();
        let (dir, canary) = (place.dir.path().to_owned(), place.redacting.canary.clone());
        // A thread that nobody waits for: an agent that is told to stop does.
        std::thread::spawn(move || send.send(try_ways(journal, &dir, &canary)));
        let Ok(result) = result.await else { break };
        place.status.redaction(&say(journal, &result));
        match result {
            Ok(()) => {
                tracing::info!("redaction: the canary did not come out");
                break;
            }
            Err(error) => tracing::error!(%error, "redaction: failed"),
        }
    }
    std::future::pending().await
}

fn try_ways(journal: JournalMode, dir: &Path, canary: &str) -> Result<(), Failed> {
    canary::exec(dir, canary)?;
    if journal == JournalMode::WholeMachine { canary::journal(canary) } else { Ok(()) }
}

/// For operators.
fn say(journal: JournalMode, result: &Result<(), Failed>) -> String {
    let said = match (result, journal) {
        (Err(failed), _) => format!("failed: {failed}"),
        (Ok(()), JournalMode::WholeMachine) => "verified".into(),
        (Ok(()), JournalMode::Services) => {
            "verified for exec; of the journal, units with LogNamespace=keyfob only".into()
        }
        (Ok(()), JournalMode::Off) => {
            "verified for exec; the journal is not redacted (redact.journal = \"off\")".into()
        }
    };
    Line::<200>::cut(&said).into()
}

#[cfg(test)]
mod tests {
    use super::{
        super::canary::{Way, Why},
        *,
    };

    #[test]
    fn what_is_said() {
        let failed = Err(Failed { way: Way::Syslog, why: Why::Seen });
        for (journal, result, said) in [
            (JournalMode::WholeMachine, Ok(()), "verified"),
            (JournalMode::Off, Ok(()), "verified for exec; the journal is not redacted (redact.journal = \"off\")"),
            (JournalMode::WholeMachine, failed.clone(), "failed: syslog is not redacted"),
            (JournalMode::Off, failed, "failed: syslog is not redacted"),
        ] {
            assert_eq!(say(journal, &result), said);
        }
    }
}
