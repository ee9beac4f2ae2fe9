//! The store without threads, for the simulation: everything is done by whoever asks, when it is its turn. What turns are, the
//! simulation says; who has to wait for one may be overtaken, and dies if its server does.

use std::{
    mem,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Bench, Error, Hands, Job, Keyring, Listener, Store, connect, migrate, write_group};
use crate::clock::Clock;

/// Waits for a turn.
pub type Turn = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

pub struct Desk {
    bench: Mutex<Bench>,
    waiting: Mutex<Vec<Job>>,
    turn: Turn,
}

impl Desk {
    pub async fn turn(&self) {
        (self.turn)().await;
    }

    /// Does all that waits by then, in one group, as the writer does.
    pub(super) async fn write(&self, job: Job) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        self.turn().await;
        let group = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !group.is_empty() {
            write_group(&self.bench.lock().unwrap_or_else(PoisonError::into_inner), group);
        }
    }
}

impl Store {
    /// As [`Store::open`].
    pub fn in_turn(
        path: &Path,
        keyring: Arc<Keyring>,
        listener: Listener,
        clock: Clock,
        turn: Turn,
    ) -> Result<Self, Error> {
        let connection = connect(path)?;
        migrate(&connection)?;
        let metrics = Arc::default();
        let bench = Bench {
            connection,
            keyring: keyring.clone(),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            listener,
        };
        let desk = Desk { bench: Mutex::new(bench), waiting: Mutex::default(), turn };
        let hands = Hands::InTurn(Arc::new(desk));
        Ok(Self { path: path.to_owned(), keyring, hands, metrics, readers: Arc::default(), clock })
    }
}
