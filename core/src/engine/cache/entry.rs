//! One connection's token set in memory.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::{
    connection::{Credentials, GrantVersion},
    engine::{directory::ServingState, protocol::schedule::Window, scope::Scope},
    error::Error,
    id::IntegrationId,
    provider::Expiry,
    store::Revision,
    time::Timestamp,
};

/// One connection's token set in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    integration: IntegrationId,
    /// As the row that it was made from has it.
    owner: String,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) serving: Arc<ServingState>,
    pub(crate) expiry: Expiry,
    pub(crate) obtained_at: Timestamp,
    /// Until then callers who ask for the usual minimum are served.
    pub(super) soft: AtomicI64,
    /// Until then callers who ask for the usual minimum need not wait.
    hard: i64,
    jitter: u8,
    /// The provider refused a call with this token.
    refused: AtomicBool,
    /// The row may have changed: it is read before the set is served again.
    stale: AtomicBool,
    tried: AtomicBool,
    /// The set was not stored when the entry was made: its row may have another owner by now.
    unsaved: bool,
    /// A refresh failed, and is not worth another try before then.
    backoff_until: AtomicI64,
    /// The row's revision when the entry was made; `None` while the set is not stored yet.
    revision: Mutex<Option<Revision>>,
    /// The sealed set as stored, to repair a store that was rolled back.
    pub(crate) sealed: Bytes,
    pub(crate) sealed_by: String,
    pub(crate) write_id: u128,
    /// Last use, and whether the flusher has been told.
    pub(super) used_at: AtomicI64,
    pub(super) told: AtomicBool,
    /// The account's API usage from the latest response, used and allowed in 32 bits each; zero means nothing new.
    pub(super) api_usage: AtomicU64,
    /// The provider's limit is reached, and that was reported.
    limited: AtomicBool,
}

impl Entry {
    #[expect(clippy::too_many_arguments, reason = "each is a column of the entry")]
    pub(crate) fn new(
        integration: IntegrationId,
        owner: String,
        credentials: Credentials,
        serving: Arc<ServingState>,
        expiry: Expiry,
        obtained_at: Timestamp,
        revision: Option<Revision>,
        sealed: Bytes,
        sealed_by: String,
        write_id: u128,
        minimum: Duration,
        jitter: u8,
    ) -> Self {
        let window = Window::new(obtained_at, expiry.at(), minimum, jitter);
        Self {
            integration,
            owner,
            credentials: Arc::new(credentials),
            serving,
            expiry,
            obtained_at,
            soft: AtomicI64::new(window.soft.0),
            hard: window.hard.0,
            jitter,
            refused: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            tried: AtomicBool::new(false),
            unsaved: revision.is_none(),
            backoff_until: AtomicI64::new(i64::MIN),
            revision: Mutex::new(revision),
            sealed,
            sealed_by,
            write_id,
            used_at: AtomicI64::new(0),
            told: AtomicBool::new(false),
            api_usage: AtomicU64::new(0),
            limited: AtomicBool::new(false),
        }
    }

    pub(crate) fn version(&self) -> GrantVersion {
        self.credentials.version
    }

    pub(crate) fn integration(&self) -> &IntegrationId {
        &self.integration
    }

    /// Whether `scope` reaches the connection, as far as the entry knows.
    ///
    /// # Errors
    /// As [`Scope::admit`].
    pub(crate) fn admit(&self, scope: Scope<'_>) -> Result<(), Error> {
        scope.admit(&self.integration, &self.owner)
    }

    /// Whether the entry knows who owns the connection. Changes of a row mark its entry as stale; but an entry of a set
    /// that is not stored yet may be made after its row was changed, from what was read before.
    pub(crate) fn knows(&self, scope: Scope<'_>) -> bool {
        scope.owner.is_none() || !(self.unsaved || self.is_stale())
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    pub(crate) fn window(&self, minimum: Duration) -> Window {
        Window::new(self.obtained_at, self.expiry.at(), minimum, self.jitter)
    }

    /// The row's revision when the set was read or stored; `None` while it is not stored yet.
    pub(crate) fn revision(&self) -> Option<Revision> {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stored_as(&self, revision: Revision) {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
    }

    /// Marks the token as refused, so that it is not served any more.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
        self.soft.store(i64::MIN, Ordering::Release);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// The row may have changed: it is read before the set is served again. The set itself stays, since it may be all
    /// that is left of one that the store lost.
    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Ordering::Release);
        self.soft.store(i64::MIN, Ordering::Release);
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Whether the set should be tried, for a doubt that many may come upon; `true` once.
    pub(crate) fn take_trial(&self) -> bool {
        !self.tried.swap(true, Ordering::AcqRel)
    }

    /// A refresh failed: those whose token lives are served without another try until then.
    pub(crate) fn back_off_until(&self, until: Timestamp) {
        self.backoff_until.fetch_max(until.0, Ordering::AcqRel);
        let later = until.0.min(self.hard);
        // The lowest value means that the set is refused or stale, and is kept.
        let raise = |soft: i64| (soft != i64::MIN && soft < later).then_some(later);
        let _ = self.soft.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
    }

    pub(crate) fn is_backing_off(&self, now: Timestamp) -> bool {
        now.0 < self.backoff_until.load(Ordering::Acquire)
    }

    /// Keeps what was learnt about the same set before it was read again.
    pub(super) fn learn_from(&self, old: &Self) {
        if old.is_refused() {
            self.refuse();
        }
        self.back_off_until(Timestamp(old.backoff_until.load(Ordering::Acquire)));
    }

    /// Notes that the provider's limit is reached; `true` if that is news since the last call that got through.
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
