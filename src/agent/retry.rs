//! Trying again: capped exponential backoff with full jitter, so that a thousand VMs do not return in one second.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::Error;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// Repeats `attempt` while it fails transiently and `deadline`, if there is one, has not passed; gives the last error then.
pub async fn until<T>(
    deadline: Option<Instant>,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut ceiling = FIRST;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        let wait = jitter(ceiling);
        if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(error);
        }
        tracing::warn!(%error, retry_in_ms = wait.as_millis() as u64, "{what}");
        tokio::time::sleep(wait).await;
        ceiling = (ceiling * 2).min(LONGEST);
    }
}

/// Anywhere between nothing and the ceiling.
fn jitter(ceiling: Duration) -> Duration {
    let mut random = [0; 4];
    match getrandom::fill(&mut random) {
        Ok(()) => ceiling.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)),
        Err(_) => ceiling,
    }
}
