//! Waiting for replicas. A primary acknowledges a write before any replica has it; one that dies then takes the write with
//! it. So a store that is told to waits until replicas have what it wrote.
//!
//! Redis counts for each connection what replicas still lack, and lets the connection wait; others must not wait with it,
//! so this is a connection of its own. A small write on it comes after all writes that were acknowledged before, and the
//! replicas that have it have them too: one round serves all who came before it began.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{layout::Layout, link::Link};

pub(crate) struct Confirm {
    link: Link,
    replicas: u32,
    within: Duration,
    /// Rounds that were begun.
    begun: AtomicU64,
    /// The last round that has ended, and whether enough replicas had all.
    ended: tokio::sync::Mutex<(u64, bool)>,
}

impl Confirm {
    /// `link` is for this alone, and its time limit is longer than `within`.
    pub(crate) fn new(link: Link, replicas: u32, within: Duration) -> Self {
        Self {
            link,
            replicas,
            within,
            begun: AtomicU64::new(0),
            ended: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until enough replicas have what was written before; `false` if they did not in time.
    pub(crate) async fn wait(&self, layout: &Layout) -> bool {
        let arrived = self.begun.load(Ordering::SeqCst);
        let mut ended = self.ended.lock().await;
        if ended.0 > arrived {
            return ended.1;
        }
        let round = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let millis = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut pipe = redis::pipe();
        pipe.cmd("INCR").arg(layout.confirmed()).ignore();
        pipe.cmd("WAIT").arg(self.replicas).arg(millis);
        let reached = self.link.once(|mut session| async move {
            let (reached,): (u32,) = pipe.query_async(&mut session.connection).await?;
            Ok(reached)
        });
        let enough = reached.await.is_ok_and(|reached| reached >= self.replicas);
        *ended = (round, enough);
        enough
    }
}
