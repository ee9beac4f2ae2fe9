//! Drives rollouts: tells the sessions that are connected, as many at once as a rollout allows, and gives those up that stay
//! silent. All it knows stands in the store and in [`Streams`], so a server that is restarted goes on where another stopped.
//!
//! It sleeps until something happens in a rollout; while one is open it also looks once a second for patience that is over.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    error::Error,
    store::{RolloutRow, Store},
    streams::Streams,
};
use crate::domain::{
    name::{Id, OrgName},
    rollout::State,
};

const TICK: Duration = Duration::from_secs(1);
/// Answers that come meanwhile are looked at together.
const BREATH: Duration = Duration::from_millis(20);
/// Sessions of one transaction, so that deliveries do not wait behind all of a large rollout.
const BATCH: usize = 1_000;

pub async fn drive(store: Store, streams: Arc<Streams>) {
    // The time in which the server was down is nobody's silence.
    let started = store.clock().micros();
    let mut driver = Driver { store, streams, started, begun: HashSet::new() };
    let mut changed = driver.streams.rollouts();
    changed.mark_changed(); // what an earlier server left open
    loop {
        if changed.changed().await.is_err() {
            return;
        }
        let mut next = Instant::now();
        loop {
            let all = Instant::now() >= next;
            if all {
                next = Instant::now() + TICK;
            }
            match driver.step(all).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "rollouts"),
            }
            let _ = timeout_at(next, changed.changed()).await;
            sleep(BREATH).await;
        }
    }
}

struct Driver {
    store: Store,
    streams: Arc<Streams>,
    started: i64,
    /// Those whose connected sessions have been told, where all may be told at once: who comes later is told as it comes.
    begun: HashSet<Id>,
}

impl Driver {
    /// Does what can be done now, for all rollouts or for those that may have come on; gives the number that are open.
    async fn step(&mut self, all: bool) -> Result<usize, Error> {
        let open = self.store.read(|tx| tx.open_rollouts()).await?;
        self.begun.retain(|id| open.iter().any(|(_, rollout)| rollout.id == *id));
        let count = open.len();
        for (org, rollout) in open {
            let at_once = rollout.pace.max_in_flight == 0;
            if !all && at_once && self.begun.contains(&rollout.id) {
                continue;
            }
            let connected = self.streams.connected(&org);
            let (of, row, started) = (org.clone(), rollout.clone(), self.started);
            let plan = self.store.read(move |tx| {
                let waiting = tx.sessions_in(&of, &row.id, State::Waiting)?;
                let told = tx.sessions_in(&of, &row.id, State::Told)?;
                Ok(Plan::new(&row, &connected, &waiting, &told, tx.now, started))
            });
            let (plan, id) = (plan.await?, rollout.id.clone());
            carry_out(&self.store, org, rollout, plan).await?;
            self.begun.insert(id);
        }
        Ok(count)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    tell: Vec<Id>,
    /// Never told, and not there.
    absent: Vec<Id>,
    /// Told, and silent since.
    silent: Vec<Id>,
}

impl Plan {
    /// `waiting` and `told` come with the time since when.
    fn new(
        rollout: &RolloutRow,
        connected: &HashSet<Id>,
        waiting: &[(Id, i64)],
        told: &[(Id, i64)],
        now: i64,
        started: i64,
    ) -> Self {
        let patience = i64::from(rollout.pace.patience) * 1_000_000;
        let over = |since: i64| now - since.max(started) > patience;
        let silent: Vec<Id> = told.iter().filter(|(_, since)| over(*since)).map(|(id, _)| id.clone()).collect();
        let places = match rollout.pace.max_in_flight as usize {
            0 => usize::MAX,
            most => most.saturating_sub(told.len() - silent.len()),
        };
        let is_there = |(id, _): &&(Id, i64)| connected.contains(id);
        let tell = waiting.iter().filter(is_there).take(places).map(|(id, _)| id.clone()).collect();
        let absent = waiting.iter().filter(|w| !is_there(w) && over(w.1)).map(|(id, _)| id.clone()).collect();
        Self { tell, absent, silent }
    }
}

async fn carry_out(store: &Store, org: OrgName, rollout: RolloutRow, plan: Plan) -> Result<(), Error> {
    let Plan { tell, absent, silent } = plan;
    for sessions in tell.chunks(BATCH) {
        let (org, rollout, sessions) = (org.clone(), rollout.clone(), sessions.to_vec());
        store.write(move |tx| tx.tell(&org, &rollout, &sessions)).await?;
    }
    for (sessions, from) in [(absent, State::Waiting), (silent, State::Told)] {
        for sessions in sessions.chunks(BATCH) {
            let (org, rollout, sessions) = (org.clone(), rollout.clone(), sessions.to_vec());
            store.write(move |tx| tx.give_up(&org, &rollout, &sessions, from)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::Pace;

    fn rollout(max_in_flight: u32) -> RolloutRow {
        RolloutRow {
            id: Id::from_random([0; 16]),
            sequence: 1,
            reach: "all".into(),
            target: String::new(),
            pace: Pace { max_in_flight, patience: 10 },
            created_by: "user/root".into(),
            created_at: 0,
            ended_at: None,
            revision: 1,
        }
    }

    /// Each row: places, who is connected, who waits and who was told (with the second since when), the time now; then who is
    /// told, who is given up as absent, who as silent.
    #[test]
    fn plans() {
        type Since = &'static [(u8, i64)];
        type Row = (&'static str, u32, &'static [u8], Since, Since, i64, [&'static [u8]; 3]);
        let rows: [Row; 8] = [
            ("nobody is there yet", 0, &[], &[(1, 0)], &[], 5, [&[], &[], &[]]),
            ("all who are there, at once", 0, &[1, 2], &[(1, 0), (2, 0), (3, 0)], &[], 5, [&[1, 2], &[], &[]]),
            ("as many as there are places", 2, &[1, 2, 3], &[(1, 0), (2, 0), (3, 0)], &[], 5, [&[1, 2], &[], &[]]),
            ("places that are taken", 2, &[1, 2], &[(2, 0)], &[(1, 0), (4, 3)], 5, [&[], &[], &[]]),
            ("who is not there takes no place", 1, &[2], &[(1, 0), (2, 0)], &[], 5, [&[2], &[], &[]]),
            ("patience is over", 0, &[], &[(1, 0)], &[(2, 0), (3, 9)], 11, [&[], &[1], &[2]]),
            ("who is there only waits for a place", 1, &[1], &[(1, 0)], &[(3, 9)], 11, [&[], &[], &[]]),
            ("a place comes free", 1, &[1], &[(1, 0)], &[(2, 0)], 11, [&[1], &[], &[2]]),
        ];
        let ids = |list: &[u8]| list.iter().map(|n| Id::from_random([*n; 16])).collect::<Vec<_>>();
        let since =
            |list: Since| list.iter().map(|(n, s)| (Id::from_random([*n; 16]), s * 1_000_000)).collect::<Vec<_>>();
        for (what, places, connected, waiting, told, now, [tell, absent, silent]) in rows {
            let connected = ids(connected).into_iter().collect();
            let plan = Plan::new(&rollout(places), &connected, &since(waiting), &since(told), now * 1_000_000, 0);
            assert_eq!(plan, Plan { tell: ids(tell), absent: ids(absent), silent: ids(silent) }, "{what}");
        }
        let late = Plan::new(&rollout(0), &HashSet::new(), &since(&[(1, 0)]), &[], 15_000_000, 12_000_000);
        assert_eq!(late, Plan::default(), "the server was down meanwhile");
    }
}
