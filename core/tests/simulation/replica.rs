//! The machine that takes over when the store's own is lost: it has what was confirmed, and what happened to reach it.

use grantry::{
    id::ConnectionId,
    store::{ConnectionRow, ConnectionStore as _, Revision, Swap},
};

use crate::{sim::Sim, store::observe, trace::Who};

#[derive(Debug, Default)]
pub struct Replica {
    /// Nothing reaches it.
    pub cut_off: bool,
    /// It takes over before the next call.
    pub takes_over: bool,
    /// The rows that it does not have as they are now, as it has them, and since when.
    behind: Vec<(u64, ConnectionRow)>,
}

impl Replica {
    /// A row is written that stood so before.
    fn falls_behind(&mut self, now: u64, before: ConnectionRow) {
        if self.behind.iter().all(|(_, row)| row.id != before.id) {
            self.behind.push((now, before));
        }
    }

    /// Everything arrives, unless it is cut off.
    fn catch_up(&mut self) {
        if !self.cut_off {
            self.behind.clear();
        }
    }

    /// What was written to this row arrives, whatever becomes of the others.
    pub fn has(&mut self, id: &ConnectionId) {
        self.behind.retain(|(_, row)| row.id != *id);
    }
}

impl Sim {
    /// A row is written that stood so before, and may reach the replica at once.
    pub fn replicate(&self, before: ConnectionRow) {
        let mut state = self.state();
        let now = state.now;
        state.replica.falls_behind(now, before);
        if state.dice.percent(50) {
            state.replica.catch_up();
        }
    }

    /// Whether the row of this revision is there, and the replica has it.
    pub async fn confirm(&self, id: &ConnectionId, revision: Revision) -> bool {
        let (stored, _) = self.memory.connection(id).await.unwrap();
        let is_there = stored.is_some_and(|stored| stored.revision == revision);
        let replica = &mut self.state().replica;
        if !is_there || replica.cut_off {
            return false;
        }
        replica.has(id);
        true
    }

    fn forget(&self, id: &ConnectionId, since: u64) {
        let mut state = self.state();
        if let Some(connection) = state.ids.iter().position(|known| known == id) {
            state.judge.forgotten(connection, since);
        }
    }

    /// The replica takes over, and what it did not have is lost.
    pub async fn fail_over(&self) {
        let behind = {
            let mut state = self.state();
            state.fault(Who::World, "a replica takes over", "");
            state.replica.takes_over = false;
            // It has a replica of its own.
            state.replica.cut_off = false;
            std::mem::take(&mut state.replica.behind)
        };
        for (since, row) in behind {
            let (stored, _) = self.memory.connection(&row.id).await.unwrap();
            let swap = self.memory.swap_connection(&row, stored.unwrap().revision);
            let Swap::Swapped(revision) = swap.await.unwrap() else {
                panic!("nobody writes in between");
            };
            self.forget(&row.id, since);
            observe(self, None, &row, revision).await;
        }
    }
}
