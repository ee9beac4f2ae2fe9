//! Trying again: capped exponential backoff with full jitter, so that a thousand VMs do not return in one second.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::machine::Chance;
use crate::client::Error;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// Repeats `attempt` while it fails transiently and `deadline`, if there is one, has not passed; gives the last error then.
/// An attempt in progress does not outlive the deadline either.
pub async fn until<T>(
    chance: &Chance,
    deadline: Option<Instant>,
    doing: &'static str,
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let (mut ceiling, mut last) = (FIRST, Error::Late { doing });
    loop {
        let attempted = match deadline {
            Some(deadline) => timeout_at(deadline, attempt()).await,
            None => Ok(attempt().await),
        };
        last = match attempted {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) if error.is_transient() => error,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(last),
        };
        let wait = chance.below(ceiling);
        if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(last);
        }
        tracing::warn!(error = %last, retry_in_ms = wait.as_millis() as u64, "{doing}");
        tokio::time::sleep(wait).await;
        ceiling = (ceiling * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(5))
    }

    fn refused() -> Error {
        Error::Unreachable { address: "a:1".into(), cause: "refused".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn how_it_ends() {
        let (started, chance) = (Instant::now(), Chance::default());
        let hung: Result<(), _> = until(&chance, soon(), "asking", async || std::future::pending().await).await;
        assert!(matches!(hung, Err(Error::Late { doing: "asking" })));
        assert_eq!(started.elapsed(), Duration::from_secs(5), "an attempt in progress ends with the deadline");

        let refusing: Result<(), _> = until(&chance, soon(), "asking", async || Err(refused())).await;
        assert!(matches!(refusing, Err(Error::Unreachable { .. })));

        let mut tries = 0;
        let third = until(&chance, None, "asking", async || {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err(refused()) }
        });
        assert_eq!(third.await.unwrap(), 3);

        let mut tries = 0;
        let never: Result<(), _> = until(&chance, soon(), "asking", async || {
            tries += 1;
            Err(Error::Local("no".into()))
        })
        .await;
        assert!(matches!(never, Err(Error::Local(_))) && tries == 1);
    }
}
