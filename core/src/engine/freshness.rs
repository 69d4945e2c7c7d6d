//! How current this process's memory is: until when it may be used without asking the store, and how often changes were
//! applied to it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::limits::FRESH_TICKS;
use crate::time::Clock;

/// Shared by everything that keeps rows in memory.
#[derive(Debug)]
pub(crate) struct Freshness {
    clock: Arc<dyn Clock>,
    until: AtomicU64,
    epoch: AtomicU64,
}

impl Freshness {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            until: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    /// The store's changes as of `tick` are applied.
    pub(crate) fn heard_at(&self, tick: u64) {
        self.until.store(tick + FRESH_TICKS, Ordering::Release);
    }

    /// Whether memory may be used without asking the store.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        self.clock.tick() < self.until.load(Ordering::Acquire)
    }

    /// How often changes were applied. Must be read before a row: if it differs when the row is put into memory, one of the
    /// changes may have been about this row.
    pub(crate) fn change_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Changes are about to be applied.
    pub(crate) fn advance(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}
