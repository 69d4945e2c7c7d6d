//! Token sets in memory: what makes a warm fetch cheap.
//!
//! A hit takes no lock, allocates nothing and reads two coarse clocks. It is a hit only if the store's changes were seen
//! within the last second, the integration serves, the token was not refused, and more of its life is left than the caller
//! asks for.

mod entry;
mod upsert;

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

pub(crate) use entry::Entry;
use upsert::upsert;

use super::{freshness::Freshness, scope::Reach};
use crate::{
    connection::Credentials,
    id::ConnectionId,
    store::{Changes, HotFacts},
    time::{Clock, Timestamp},
};

/// All entries of this process.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: papaya::HashMap<ConnectionId, Arc<Entry>, foldhash::fast::RandomState>,
    clock: Arc<dyn Clock>,
    freshness: Arc<Freshness>,
    capacity: usize,
    /// Connections that were used since the flusher looked.
    used: Mutex<Vec<(ConnectionId, Arc<Entry>)>>,
}

impl Cache {
    pub(crate) fn new(capacity: usize, clock: Arc<dyn Clock>, freshness: Arc<Freshness>) -> Self {
        Self {
            entries: papaya::HashMap::with_hasher(foldhash::fast::RandomState::default()),
            clock,
            freshness,
            capacity,
            used: Mutex::new(Vec::new()),
        }
    }

    /// The warm path: the credentials, if nothing prevents serving them.
    #[inline]
    pub(crate) fn hit<T>(
        &self,
        id: &ConnectionId,
        reach: Reach<'_>,
        read: impl FnOnce(&Arc<Credentials>) -> T,
    ) -> Option<T> {
        let entries = self.entries.pin();
        let entry = entries.get(id)?;
        let now = self.clock.wall_coarse();
        if now.0 >= entry.soft.load(Ordering::Relaxed) || !entry.serving.serves() || !self.freshness.holds() {
            return None;
        }
        let scope = reach.inside(entry.integration(), entry.serving.slug())?;
        if !entry.knows(scope) || entry.admit(scope).is_err() {
            return None;
        }
        entry.used_at.store(now.0, Ordering::Relaxed);
        if !entry.told.load(Ordering::Relaxed) {
            self.tell(id, entry);
        }
        Some(read(&entry.credentials))
    }

    #[cold]
    fn tell(&self, id: &ConnectionId, entry: &Arc<Entry>) {
        if !entry.told.swap(true, Ordering::AcqRel) {
            self.used
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((id.clone(), entry.clone()));
        }
    }

    /// Notes a use that was not a hit.
    pub(crate) fn note_use(&self, id: &ConnectionId, entry: &Arc<Entry>, now: Timestamp) {
        entry.used_at.store(now.0, Ordering::Relaxed);
        self.tell(id, entry);
    }

    /// Notes the account's API usage, used and allowed, for the flusher; the latest value wins.
    pub(crate) fn note_api_usage(&self, id: &ConnectionId, entry: &Arc<Entry>, (used, allowed): (u64, u64)) {
        let half = |n: u64| u64::from(u32::try_from(n).unwrap_or(u32::MAX));
        entry
            .api_usage
            .store(half(used) << 32 | half(allowed), Ordering::Relaxed);
        if !entry.told.load(Ordering::Relaxed) {
            self.tell(id, entry);
        }
    }

    /// Uses and API usage since the last call.
    pub(crate) fn drain_uses(&self) -> Vec<(ConnectionId, HotFacts)> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        used.into_iter()
            .map(|(id, entry)| {
                entry.told.store(false, Ordering::Release);
                let usage = entry.api_usage.swap(0, Ordering::Relaxed);
                let facts = HotFacts {
                    last_active_at: Some(Timestamp(entry.used_at.load(Ordering::Relaxed))),
                    api_usage: (usage != 0).then_some((usage >> 32, usage & u64::from(u32::MAX))),
                };
                (id, facts)
            })
            .collect()
    }

    pub(crate) fn get(&self, id: &ConnectionId) -> Option<Arc<Entry>> {
        self.entries.pin().get(id).cloned()
    }

    /// Puts an entry in, unless a newer set is there: a slow reader must not bring an older one back. `read_at` is the change
    /// epoch from before its row was read or written. If changes were applied since, one of them may have been about this row, and
    /// found no entry to mark.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an entry is handed over to the cache"
    )]
    pub(crate) fn put(&self, id: &ConnectionId, entry: Arc<Entry>, read_at: u64) -> Arc<Entry> {
        let entries = self.entries.pin();
        let kept = upsert(&entries, id, &entry, |old| {
            if old.version() > entry.version() {
                return old.clone();
            }
            if old.version() == entry.version() {
                entry.learn_from(old);
            }
            entry.clone()
        });
        if self.freshness.change_epoch() != read_at {
            kept.mark_stale();
        }
        if entries.len() > self.capacity {
            self.evict();
        }
        kept
    }

    pub(crate) fn remove(&self, id: &ConnectionId) {
        self.entries.pin().remove(id);
    }

    /// Applies the store's changes. With a gap anything may have changed.
    pub(crate) fn apply(&self, changes: &Changes, gap: bool) {
        // Advanced before the entries are marked: a `put` that comes later notices that it missed this.
        self.freshness.advance();
        let entries = self.entries.pin();
        if gap {
            entries.values().for_each(|entry| entry.mark_stale());
        }
        for change in &changes.changed {
            if let Some(entry) = entries.get(&change.id)
                && entry.revision() != Some(change.revision)
            {
                entry.mark_stale();
            }
        }
    }

    /// Makes room: drops the least recently used eighth of the entries. Unsaved sets are kept.
    #[cold]
    fn evict(&self) {
        let entries = self.entries.pin();
        let mut ages: Vec<_> = entries
            .iter()
            .filter(|(_, e)| e.revision().is_some())
            .map(|(id, e)| (e.used_at.load(Ordering::Relaxed), id.clone()))
            .collect();
        let drop = (self.capacity / 8).max(1).min(ages.len());
        if drop == 0 {
            return;
        }
        ages.select_nth_unstable(drop - 1);
        for (_, id) in &ages[..drop] {
            entries.remove(id);
        }
    }
}
