//! What the calendar says, to whoever is handed it: for what is written down, and compared with what others wrote down. Waits
//! are measured by tokio's clock, which does not jump.

use std::{fmt, sync::Arc};

use time::OffsetDateTime;

/// Cheap to clone. The machine's, unless something else is given.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> OffsetDateTime {
        self.0()
    }

    /// Since 1970, as the store writes it.
    #[cfg(feature = "server")]
    pub fn micros(&self) -> i64 {
        (self.now().unix_timestamp_nanos() / 1_000) as i64
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}
