//! Waits until a write would survive the loss of the machine. A primary acknowledges a write before any replica has
//! it, and usually before its disk has it; if it dies then, the write is gone.
//!
//! Redis tracks per connection what replicas and disk still lack, and blocks that connection while it waits; so this
//! is a separate connection that nothing else uses. A small write on it comes after all writes acknowledged before,
//! and a replica that has it has those too: one round serves every waiter that arrived before it started.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{layout::Layout, link::Link, place::Place, run::Run};

pub(crate) struct Confirm {
    link: Link,
    /// How many replicas; `None` means one, if the primary has or had any.
    replicas: Option<u32>,
    within: Duration,
    /// The rounds of each server run.
    rounds: Mutex<HashMap<u64, Arc<Rounds>>>,
}

#[derive(Default)]
struct Rounds {
    begun: AtomicU64,
    /// The last finished round, and whether enough servers confirmed it.
    ended: tokio::sync::Mutex<(u64, bool)>,
}

impl Confirm {
    /// `link` must not be shared, and its time limit must exceed twice `within`.
    pub(crate) fn new(link: Link, replicas: Option<u32>, within: Duration) -> Self {
        Self {
            link,
            replicas,
            within,
            rounds: Mutex::default(),
        }
    }

    /// How many replicas must hold a write on this server run.
    fn replicas(&self, run: &Run) -> u32 {
        self.replicas.unwrap_or_else(|| u32::from(run.is_replicated()))
    }

    /// Whether there is anything to wait for.
    pub(crate) fn waits(&self, run: &Run) -> bool {
        run.tells_of_disk() || self.replicas(run) > 0
    }

    /// Waits until enough replicas, and the disk, hold everything written to this server run so far. `false` if they
    /// do not in time, or if another run replies.
    pub(crate) async fn wait(&self, layout: &Layout, place: Place, run: &Run) -> bool {
        let rounds = self.rounds(run.clock_id);
        let arrived = rounds.begun.load(Ordering::SeqCst);
        let mut ended = rounds.ended.lock().await;
        if ended.0 > arrived {
            return ended.1;
        }
        let round = rounds.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let replicas = self.replicas(run);
        let millis = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut marker = redis::cmd("INCR");
        marker.arg(layout.confirmed(place));
        let mut waits = redis::pipe();
        waits.cmd("WAIT").arg(replicas).arg(millis);
        if run.tells_of_disk() {
            waits.cmd("WAITAOF").arg(1).arg(0).arg(millis);
        }
        let (marker, waits) = (&marker, &waits);
        // Nothing else uses this connection, so it may have been closed while idle.
        let asked = self.link.again(
            place,
            |mut session| async move {
                session.command::<i64>(marker).await?;
                let answers: Vec<redis::Value> = waits.query_async(&mut session.connection).await?;
                Ok((session.run.clock_id, answers))
            },
            |_| true,
        );
        let enough = asked.await.is_ok_and(|(clock_id, answers)| {
            clock_id == run.clock_id
                && answers
                    .first()
                    .is_some_and(|reached| count(reached) >= Some(i64::from(replicas)))
                && answers.get(1).is_none_or(|synced| match synced {
                    redis::Value::Array(counts) => counts.first().and_then(count) >= Some(1),
                    _ => false,
                })
        });
        *ended = (round, enough);
        enough
    }

    fn rounds(&self, clock_id: u64) -> Arc<Rounds> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // Drops the rounds of runs that have ended.
        if rounds.len() > 64 {
            rounds.retain(|_, rounds| Arc::strong_count(rounds) > 1);
        }
        rounds.entry(clock_id).or_default().clone()
    }
}

fn count(value: &redis::Value) -> Option<i64> {
    match value {
        redis::Value::Int(count) => Some(*count),
        _ => None,
    }
}
