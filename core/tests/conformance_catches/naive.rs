//! A history numbered by a sequence: a write takes its number, and is visible only a moment later. Whoever read a later
//! number meanwhile is never told of it.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::FutureExt as _;
use grantry::{
    conformance::changes,
    id::ConnectionId,
    store::{Change, Changes, ConnectionStore as _, Point, Revision, StoreError},
};

use crate::{Broken, Fault};

#[derive(Debug, Default)]
pub(crate) struct Sequence {
    last: AtomicU64,
    visible: Mutex<BTreeMap<u64, Change>>,
    /// The furthest point that anybody was given.
    read: AtomicU64,
}

impl Broken {
    fn counts(&self) -> bool {
        self.has(Fault::NumberBeforeCommit) || self.has(Fault::SlowCommitter)
    }

    /// Takes the next number, and is slow to commit.
    pub(crate) async fn take_number(&self) -> u64 {
        let number = self.shared.sequence.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.dawdle(Fault::NumberBeforeCommit).await;
        if self.has(Fault::SlowCommitter) && number.is_multiple_of(4) {
            // Until somebody has read past it; if nobody else writes any more, nobody does.
            for _ in 0..10_000 {
                if self.shared.sequence.read.load(Ordering::SeqCst) > number {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        number
    }

    /// The commit: from now on the change of this number can be read.
    pub(crate) async fn commit_number(&self, number: u64, id: &ConnectionId) -> Result<(), StoreError> {
        if self.counts() {
            // What is gone has a revision that it never had.
            let gone = Revision {
                counter: u64::MAX,
                write: number.into(),
            };
            let stored = self.inner.connection(id).await?.0;
            let revision = stored.map_or(gone, |stored| stored.revision);
            let change = Change {
                id: id.clone(),
                revision,
            };
            self.shared
                .sequence
                .visible
                .lock()
                .unwrap()
                .insert(number, change);
        }
        Ok(())
    }

    /// What stands behind the point `since`, if this store counts.
    pub(crate) fn by_number(&self, since: Option<&Point>) -> Option<Changes> {
        let visible = self.shared.sequence.visible.lock().unwrap();
        let next = visible.last_key_value().map_or(0, |(number, _)| *number);
        let from = since.map_or(next, |point| point.number().unwrap());
        let last: BTreeMap<ConnectionId, Change> = visible
            .range(from + 1..)
            .map(|(_, change)| (change.id.clone(), change.clone()))
            .collect();
        self.shared.sequence.read.fetch_max(next, Ordering::SeqCst);
        self.counts().then(|| Changes {
            changed: last.into_values().collect(),
            next: next.into(),
            gap: from > next,
        })
    }
}

/// It does not depend on luck: a write that is held up in its own future, and one that is slow in the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_is_caught_every_time() {
    for _ in 0..30 {
        let broken = Broken::new(Fault::NumberBeforeCommit);
        let late = AssertUnwindSafe(changes::a_write_that_is_late_is_told(&broken));
        assert!(late.catch_unwind().await.is_err());
        let broken = Broken::new(Fault::SlowCommitter);
        let watcher = AssertUnwindSafe(changes::a_watcher_misses_nothing(&broken));
        assert!(watcher.catch_unwind().await.is_err());
    }
}
