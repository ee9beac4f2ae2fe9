//! The self-proof at work: once the files are in place the canary is sent, and what became of it is told.

use std::{convert::Infallible, path::Path, time::Duration};

use tokio::sync::oneshot;

use super::{
    canary::{self, Failed},
    config::JournalMode,
    serve::Place,
};
use crate::domain::report::Line;

/// Where journald listens, if there is one.
const JOURNAL: &str = "/run/systemd/journal";
/// How long after one that failed it is tried again, in case the redactor was late, and how often.
const AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// The status tells the result; never ends by itself.
pub async fn tell(place: &Place<'_>) -> Infallible {
    // None: a container whose logs are somebody else's.
    let journal = Path::new(JOURNAL).exists().then_some(place.redacting.journal);
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

fn try_ways(journal: Option<JournalMode>, dir: &Path, canary: &str) -> Result<(), Failed> {
    canary::exec(dir, canary)?;
    if journal == Some(JournalMode::WholeMachine) { canary::journal(canary) } else { Ok(()) }
}

/// For operators.
fn say(journal: Option<JournalMode>, result: &Result<(), Failed>) -> String {
    use JournalMode::{Off, Services, WholeMachine};
    let said = match (result, journal) {
        (Err(failed), _) => format!("failed: {failed}"),
        (Ok(()), Some(WholeMachine)) => "verified".into(),
        (Ok(()), Some(Services)) => "verified for exec; of the journal, units with LogNamespace=keyfob only".into(),
        (Ok(()), Some(Off)) => "verified for exec; the journal is not redacted (redact.journal = \"off\")".into(),
        (Ok(()), None) => "verified for exec; there is no journal here".into(),
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
        use JournalMode::{Off, WholeMachine};
        let failed = Err(Failed { way: Way::Syslog, why: Why::Seen });
        for (journal, result, said) in [
            (Some(WholeMachine), Ok(()), "verified"),
            (Some(Off), Ok(()), "verified for exec; the journal is not redacted (redact.journal = \"off\")"),
            (None, Ok(()), "verified for exec; there is no journal here"),
            (Some(WholeMachine), failed.clone(), "failed: syslog is not redacted"),
            (Some(Off), failed, "failed: syslog is not redacted"),
        ] {
            assert_eq!(say(journal, &result), said);
        }
    }
}
