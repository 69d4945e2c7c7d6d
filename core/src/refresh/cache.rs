//! Token sets in memory: what makes a warm fetch cheap.
//!
//! A hit takes no lock, allocates nothing and reads two coarse clocks. It is a hit only if the store was heard of within
//! the last second ([`Freshness`]), the integration serves, nobody reported the token as refused, and more of the token's
//! life is left than the caller asks for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::protocol::schedule::Window;
use crate::{
    connection::{Credentials, SetName},
    id::{ConnectionId, IntegrationId},
    integrations::Gate,
    provider::Expiry,
    store::{Changes, HotFacts, Revision},
    time::{Clock, Timestamp},
};

/// One connection's token set in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    integration: IntegrationId,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) expiry: Expiry,
    pub(crate) obtained_at: Timestamp,
    /// Good for callers who ask for the usual minimum, until then.
    soft: AtomicI64,
    /// Until then callers who ask for the usual minimum need not wait.
    hard: i64,
    spread: u8,
    /// Somebody's call was refused with this token.
    refused: AtomicBool,
    /// The row may have changed: it is read before the set is served again.
    doubted: AtomicBool,
    tried: AtomicBool,
    /// A refresh failed, and is not worth another try before then.
    rests_until: AtomicI64,
    /// The row's revision when the entry was made; `None` while the set is not stored yet.
    revision: Mutex<Option<Revision>>,
    /// The sealed set as it stands in the row, to repair a store that was rolled back.
    pub(crate) sealed: Bytes,
    pub(crate) sealed_by: String,
    pub(crate) set: u128,
    /// Last use, and whether the flusher has been told.
    used_at: AtomicI64,
    told: AtomicBool,
    /// The org's API usage as an answer last told it, used and allowed in 32 bits each; zero is nothing new.
    api_usage: AtomicU64,
    /// The provider's limit is reached, and that was told.
    limited: AtomicBool,
}

impl Entry {
    #[expect(clippy::too_many_arguments, reason = "each is a column of the entry")]
    pub(crate) fn new(
        integration: IntegrationId,
        credentials: Credentials,
        gate: Arc<Gate>,
        expiry: Expiry,
        obtained_at: Timestamp,
        revision: Option<Revision>,
        sealed: Bytes,
        sealed_by: String,
        set: u128,
        minimum: Duration,
        spread: u8,
    ) -> Self {
        let window = Window::new(obtained_at, expiry.at(), minimum, spread);
        Self {
            integration,
            credentials: Arc::new(credentials),
            gate,
            expiry,
            obtained_at,
            soft: AtomicI64::new(window.soft.0),
            hard: window.hard.0,
            spread,
            refused: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            tried: AtomicBool::new(false),
            rests_until: AtomicI64::new(i64::MIN),
            revision: Mutex::new(revision),
            sealed,
            sealed_by,
            set,
            used_at: AtomicI64::new(0),
            told: AtomicBool::new(false),
            api_usage: AtomicU64::new(0),
            limited: AtomicBool::new(false),
        }
    }

    pub(crate) fn name(&self) -> SetName {
        self.credentials.set
    }

    pub(crate) fn integration(&self) -> &IntegrationId {
        &self.integration
    }

    pub(crate) fn window(&self, minimum: Duration) -> Window {
        Window::new(self.obtained_at, self.expiry.at(), minimum, self.spread)
    }

    /// The row's revision when the set was read or stored; `None` while it is not stored yet.
    pub(crate) fn revision(&self) -> Option<Revision> {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stored_as(&self, revision: Revision) {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
    }

    /// Marks the token as refused, so that nobody is served from here.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
        self.soft.store(i64::MIN, Ordering::Release);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// The row may have changed: it is read before the set is served again. The set itself stays, since it may be all
    /// that is left of one that the store lost.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
        self.soft.store(i64::MIN, Ordering::Release);
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire)
    }

    /// Whether the set should be tried, for a doubt that many may come upon; `true` once.
    pub(crate) fn take_trial(&self) -> bool {
        !self.tried.swap(true, Ordering::AcqRel)
    }

    /// A refresh failed: those whose token lives are served without another try until then.
    pub(crate) fn rest_until(&self, until: Timestamp) {
        self.rests_until.fetch_max(until.0, Ordering::AcqRel);
        let later = until.0.min(self.hard);
        // The lowest value says that the set is refused or doubted, and stays.
        let raise = |soft: i64| (soft != i64::MIN && soft < later).then_some(later);
        let _ = self.soft.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
    }

    pub(crate) fn rests(&self, now: Timestamp) -> bool {
        now.0 < self.rests_until.load(Ordering::Acquire)
    }

    /// What was learnt about the same set before it was read again still holds.
    fn learn_from(&self, old: &Self) {
        if old.is_refused() {
            self.refuse();
        }
        self.rest_until(Timestamp(old.rests_until.load(Ordering::Acquire)));
    }

    /// The provider's limit is reached; `true` if nobody said so since the last call that got through.
    pub(crate) fn limit_is_news(&self) -> bool {
        !self.limited.swap(true, Ordering::AcqRel)
    }

    /// A call got through.
    pub(crate) fn limit_is_over(&self) {
        if self.limited.load(Ordering::Relaxed) {
            self.limited.store(false, Ordering::Release);
        }
    }

    /// Whether the token can still be used at all.
    pub(crate) fn alive(&self, now: Timestamp) -> bool {
        !self.is_refused() && now < self.expiry.at()
    }
}

/// Until when the cache may be believed without asking the store.
#[derive(Debug, Default)]
pub(crate) struct Freshness(AtomicU64);

impl Freshness {
    /// How long a look at the store's changes counts.
    pub(crate) const SPAN: u64 = 1000;

    pub(crate) fn heard_at(&self, tick: u64) {
        self.0.store(tick + Self::SPAN, Ordering::Release);
    }

    pub(crate) fn holds(&self, clock: &dyn Clock) -> bool {
        clock.tick() < self.0.load(Ordering::Acquire)
    }
}

/// All entries of this process.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: papaya::HashMap<ConnectionId, Arc<Entry>, foldhash::fast::RandomState>,
    pub(crate) freshness: Freshness,
    capacity: usize,
    /// How often the store's changes were applied.
    looks: AtomicU64,
    /// Connections that were used since the flusher looked.
    used: Mutex<Vec<(ConnectionId, Arc<Entry>)>>,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: papaya::HashMap::with_hasher(foldhash::fast::RandomState::default()),
            freshness: Freshness::default(),
            capacity,
            looks: AtomicU64::new(0),
            used: Mutex::new(Vec::new()),
        }
    }

    /// The warm path: the credentials, if nothing at all stands against serving them.
    #[inline]
    pub(crate) fn hit<T>(
        &self,
        id: &ConnectionId,
        within: Option<&IntegrationId>,
        clock: &dyn Clock,
        read: impl FnOnce(&Arc<Credentials>) -> T,
    ) -> Option<T> {
        let entries = self.entries.pin();
        let entry = entries.get(id)?;
        let now = clock.wall_coarse();
        if now.0 >= entry.soft.load(Ordering::Relaxed) || !entry.gate.serves() || !self.freshness.holds(clock)
        {
            return None;
        }
        if within.is_some_and(|integration| *integration != entry.integration) {
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

    /// Notes the org's API usage, used and allowed, for the flusher; only the last word counts.
    pub(crate) fn note_api_usage(&self, id: &ConnectionId, entry: &Arc<Entry>, (used, allowed): (u64, u64)) {
        let half = |n: u64| u64::from(u32::try_from(n).unwrap_or(u32::MAX));
        entry
            .api_usage
            .store(half(used) << 32 | half(allowed), Ordering::Relaxed);
        if !entry.told.load(Ordering::Relaxed) {
            self.tell(id, entry);
        }
    }

    /// What was used since the last call, when, and what the provider said about usage.
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

    /// To be asked before a row is read that [`Cache::put`] then takes in.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Acquire)
    }

    /// Puts an entry in, unless a newer set is there: a slow reader must not bring an older one back. `looks` is from
    /// before its row was read or written. If changes were applied since, one of them may have been about this row, and
    /// found no entry to doubt.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an entry is handed over to the cache"
    )]
    pub(crate) fn put(&self, id: &ConnectionId, entry: Arc<Entry>, looks: u64) -> Arc<Entry> {
        let entries = self.entries.pin();
        let kept = entries.update_or_insert_with(
            id.clone(),
            |old| {
                if old.name() > entry.name() {
                    return old.clone();
                }
                if old.name() == entry.name() {
                    entry.learn_from(old);
                }
                entry.clone()
            },
            || entry.clone(),
        );
        let kept = kept.clone();
        if self.looks() != looks {
            kept.doubt();
        }
        if entries.len() > self.capacity {
            self.evict();
        }
        kept
    }

    pub(crate) fn remove(&self, id: &ConnectionId) {
        self.entries.pin().remove(id);
    }

    /// Applies what was written to the store. With a gap anything may have been.
    pub(crate) fn apply(&self, changes: &Changes, gap: bool) {
        // Counted before the entries are looked at: whoever puts one in later sees that it came too late for this.
        self.looks.fetch_add(1, Ordering::AcqRel);
        let entries = self.entries.pin();
        if gap {
            entries.values().for_each(|entry| entry.doubt());
        }
        for change in &changes.changed {
            if let Some(entry) = entries.get(&change.id)
                && entry.revision() != Some(change.revision)
            {
                entry.doubt();
            }
        }
    }

    /// Makes room: drops an eighth of the entries, those first that were not used of late. Unsaved sets stay.
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
