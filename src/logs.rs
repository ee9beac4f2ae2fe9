//! Where our own log lines go: the journal with their fields where systemd runs us, else standard error. `KEYFOB_LOG` sets
//! what is logged: a level, or `target=level` with commas between; `info` by default. Lines hold names and counts, never values; the
//! types that carry values have no `Debug` that would print one.

use std::os::unix::fs::MetadataExt;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Called once, first thing, by a program.
pub fn start() {
    let asked = std::env::var("KEYFOB_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    // A second call (a program inside a program) keeps the first subscriber.
    let _ = match tracing_journald::layer() {
        Ok(journal) if to_journal() => registry.with(journal).try_init(),
        _ => registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false)).try_init(),
    };
}

/// Whether standard error is the journal's stream, as systemd.exec(5) says to find out.
fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}
