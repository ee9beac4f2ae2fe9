//! What was masked is told to the agent: which variable, in which form, how often; never the text around it. At once, then once
//! a second at the most, and at the end. It is sent without waiting for anything: what can't be told now is kept for the
//! next time, and a command is neither held up nor harmed by it.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    leaks::{Leak, Ledger},
    local,
};
use crate::domain::redaction::Hits;

const PAUSE: Duration = Duration::from_secs(1);
/// As many kinds as fit into one packet.
const MOST: usize = 100;

pub struct Teller {
    socket: PathBuf,
    unit: String,
    pending: Mutex<Pending>,
}

struct Pending {
    leaks: Ledger,
    next: Instant,
}

impl Teller {
    /// `program` is `exec` or `redact`.
    pub fn new(program: &str, socket: PathBuf) -> Self {
        let unit = match own_unit() {
            Some(unit) => format!("{program}/{unit}"),
            None => program.to_owned(),
        };
        Self { socket, unit, pending: Mutex::new(Pending { leaks: Ledger::default(), next: Instant::now() }) }
    }

    pub fn add(&self, hits: &mut Hits) {
        let mut pending = self.pending();
        for hit in hits.drain() {
            pending.leaks.add(Leak {
                variable: hit.variable,
                version: hit.version,
                form: hit.form.to_owned(),
                unit: self.unit.clone(),
                count: hit.count,
            });
        }
    }

    /// How long until something can be told, if there is anything.
    pub fn due(&self) -> Option<Duration> {
        let pending = self.pending();
        (!pending.leaks.is_empty()).then(|| pending.next.saturating_duration_since(Instant::now()))
    }

    /// Tells what there is, if it is time to.
    pub fn tell(&self) {
        if self.due() == Some(Duration::ZERO) {
            self.finish();
        }
    }

    /// Tells what there is.
    pub fn finish(&self) {
        let mut pending = self.pending();
        while !pending.leaks.is_empty() {
            let leaks = pending.leaks.take(MOST);
            if local::tell(&self.socket, &leaks).is_err() {
                leaks.into_iter().for_each(|leak| pending.leaks.add(leak));
                break;
            }
        }
        pending.next = Instant::now() + PAUSE;
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The systemd unit that this process belongs to.
fn own_unit() -> Option<String> {
    let read: io::Result<String> = fs::read_to_string("/proc/self/cgroup");
    unit_of(&read.ok()?)
}

/// The innermost unit, in the one hierarchy or in systemd's own of several.
fn unit_of(cgroup: &str) -> Option<String> {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    let paths = cgroup.lines().filter_map(|line| {
        line.strip_prefix("0::").or_else(|| line.split_once(":name=systemd:").map(|(_, path)| path))
    });
    paths.filter_map(|path| path.rsplit('/').find(is_unit)).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_log_it_is() {
        for (cgroup, unit) in [
            ("0::/system.slice/nginx.service\n", Some("nginx.service")),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", Some("session-3.scope")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service/sub\n", Some("a.service")),
            ("12:cpu:/x.service\n1:name=systemd:/system.slice/cron.service\n0::/\n", Some("cron.service")),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(cgroup).as_deref(), unit, "{cgroup}");
        }
    }
}
