//! What systemd is told: phases in STATUS=, READY=1 when the files are in place and read back, and that the process is alive.
//! Without systemd, all of it goes nowhere.

use std::time::Duration;

use sd_notify::NotifyState;

/// One line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(&one_line(text))]);
}

pub fn ready(text: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(text))]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("wiping the files")]);
}

/// Asks for as long as the agent means to try, and a little more to say why it gives up.
pub fn patience(left: Duration) {
    let longest = (left + Duration::from_secs(15)).as_micros();
    tell(&[NotifyState::ExtendTimeoutUsec(u32::try_from(longest).unwrap_or(u32::MAX))]);
}

/// Each message is a list of lines: a line end in one would begin another.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Tells for ever that the process is alive, twice in each of the unit's `WatchdogSec=`. From the same thread that does
/// the work: one that hangs falls silent.
pub async fn watchdog() {
    let Some(every) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut beat = tokio::time::interval((every / 2).max(Duration::from_millis(100)));
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
