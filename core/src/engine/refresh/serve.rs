//! Serves credentials: from memory, after a refresh, or while one runs behind the caller's back.

use std::{sync::Arc, time::Duration};

use super::{
    Context, lead,
    load::load,
    single_flight::{SingleFlight, Waiter},
    verify::verify_behind,
};
use crate::{
    connection::GrantVersion,
    engine::{
        cache::Entry,
        directory::{Cause, Directory, Loaded},
        freshness::Freshness,
        ledger::{Found, record::Record},
        limits,
        scope::Scope,
    },
    error::{Advice, Code, Error},
    id::ConnectionId,
};

/// What a caller asks of a token set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// How much of its life must be left.
    pub(crate) minimum: Duration,
    /// A set that was refused, and is good for nothing.
    pub(crate) not: Option<GrantVersion>,
}

/// Serves credentials, and sees to it that one refresh runs at a time.
#[derive(Debug)]
pub(crate) struct Refresher {
    context: Arc<Context>,
    directory: Arc<Directory>,
    freshness: Arc<Freshness>,
    single_flight: Arc<SingleFlight>,
    /// How long a caller waits for a refresh.
    timeout: Duration,
}

impl Refresher {
    pub(crate) fn new(
        context: Arc<Context>,
        directory: Arc<Directory>,
        freshness: Arc<Freshness>,
        timeout: Duration,
    ) -> Self {
        Self {
            context,
            directory,
            freshness,
            single_flight: Arc::default(),
            timeout,
        }
    }

    /// The connections whose refresh has not ended.
    pub(crate) fn running(&self) -> Vec<ConnectionId> {
        self.single_flight.running()
    }

    /// The entry of a connection, fetched from the store if need be, but never refreshed.
    ///
    /// # Errors
    /// Why the connection serves nothing.
    async fn entry(&self, id: &ConnectionId, scope: Scope<'_>) -> Result<(Arc<Entry>, Arc<Loaded>), Error> {
        let read_at = self.context.ledger.change_epoch();
        let cached = self.context.cache.get(id);
        let fresh = self.freshness.holds();
        if let Some(entry) = &cached
            && fresh
            && !entry.is_stale()
            && entry.knows(scope)
        {
            entry.admit(scope)?;
            let integration = self.directory.get(entry.integration()).await?;
            integration.usable()?;
            return Ok((entry.clone(), integration));
        }
        let living = cached.as_ref().filter(|e| e.alive(self.context.clock.wall()));
        let read = match living {
            // Nobody whose token lives waits for a store that hangs.
            Some(_) => self.context.ledger.stored_soon(id).await,
            None => self.context.ledger.stored(id).await,
        };
        let stored = match read {
            Ok((Some(stored), _)) => stored,
            Ok((None, _)) => {
                self.context.cache.remove(id);
                return Err(Code::ConnectionNotFound.into());
            }
            // The store cannot be reached: what is alive in memory is served on.
            Err(error) => {
                let entry = living.ok_or_else(|| Error::from(error))?;
                entry.admit(scope)?;
                metrics::counter!("grantry_served_stale").increment(1);
                let integration = self.directory.get(entry.integration()).await?;
                integration.usable()?;
                return Ok((entry.clone(), integration));
            }
        };
        scope.admit(&stored.row.index.integration, &stored.row.index.owner)?;
        let integration = self.directory.get(&stored.row.index.integration).await?;
        integration.usable()?;
        if let Some(entry) = cached {
            let current = if let Some(known) = entry.revision() {
                known == stored.revision && !entry.is_stale()
            } else {
                // An unsaved set is newer than anything in the store, as long as the connection stands.
                let row = Record::decode(&stored)?.facts.row;
                row.version.epoch == entry.version().epoch && row.version < entry.version()
            };
            if current {
                return Ok((entry, integration));
            }
        }
        let found = Found::decode(&stored, read_at)?;
        let entry = self.load(&found, &integration).await?;
        Ok((entry, integration))
    }

    /// Credentials that are good enough: from memory, from the store, or by a refresh.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    pub(crate) async fn serve(
        &self,
        id: &ConnectionId,
        scope: Scope<'_>,
        want: Want,
    ) -> Result<Arc<Entry>, Error> {
        let (entry, integration) = self.entry(id, scope).await?;
        let now = self.context.clock.wall();
        self.context.cache.note_use(id, &entry, now);
        if want.not == Some(entry.version()) {
            entry.refuse();
        }
        if !entry.is_refused() {
            let window = entry.window(want.minimum);
            if now < window.soft {
                return Ok(entry);
            }
            // What failed a moment ago is not tried again for everybody whose token lives.
            let backing_off = entry.is_backing_off(now);
            if now < window.hard {
                if !backing_off {
                    // Still good: refreshed behind the caller's back.
                    drop(self.join(id, &entry, &integration, Cause::Caller));
                }
                return Ok(entry);
            }
            if backing_off && entry.alive(now) {
                return Ok(entry);
            }
        }
        match self.await_newer(id, &entry, &integration).await {
            Ok(newer) => self.still_admitted(id, scope, newer).await,
            // What may pass does not matter to a caller whose token still lives.
            Err(error) if may_serve_on(&error) && entry.alive(self.context.clock.wall()) => {
                self.still_admitted(id, scope, entry).await
            }
            Err(error) => Err(error),
        }
    }

    /// Looks once more at who owns the connection, after a wait in which that may have changed. A store that cannot be
    /// reached changes nothing: what was known last counts.
    async fn still_admitted(
        &self,
        id: &ConnectionId,
        scope: Scope<'_>,
        entry: Arc<Entry>,
    ) -> Result<Arc<Entry>, Error> {
        if entry.knows(scope) {
            entry.admit(scope)?;
            return Ok(entry);
        }
        match self.context.ledger.stored_soon(id).await {
            Ok((Some(stored), _)) => scope.admit(&stored.row.index.integration, &stored.row.index.owner)?,
            Ok((None, _)) => return Err(Code::ConnectionNotFound.into()),
            Err(_) => entry.admit(scope)?,
        }
        Ok(entry)
    }

    /// Waits for a newer set than `held`, for as long as a caller is asked to.
    async fn await_newer(
        &self,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
    ) -> Result<Arc<Entry>, Error> {
        let better = |entry: &Entry| {
            let longer = entry.version() == held.version() && entry.expiry.at() > held.expiry.at();
            entry.version() > held.version() || longer
        };
        let wait = async {
            // The refresh may have begun for an older wish; then one more is needed.
            for _ in 0..2 {
                match self.join(id, held, integration, Cause::Caller).outcome().await {
                    Some(Ok(entry)) if better(&entry) => return Ok(entry),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    // The leader ended without an outcome: it panicked, or the runtime is going down.
                    None => return Err(Error::new(Code::Internal).because("refresh_aborted")),
                }
            }
            Err(Error::new(Code::RefreshInProgress))
        };
        tokio::time::timeout(self.timeout, wait)
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::RefreshInProgress).retry_after(limits::COME_BACK)))
    }

    /// Joins the connection's refresh, or starts one.
    fn join(&self, id: &ConnectionId, held: &Arc<Entry>, integration: &Arc<Loaded>, cause: Cause) -> Waiter {
        let (waiter, leader) = self.single_flight.join(id);
        if let Some(leader) = leader {
            if self.context.tasks.closing() {
                leader.finish(Err(Code::ShuttingDown.into()));
                return waiter;
            }
            let (context, id) = (self.context.clone(), id.clone());
            let (held, integration) = (held.clone(), integration.clone());
            self.context
                .tasks
                .spawn(lead::refresh(context, integration, held, cause, leader, id));
        }
        waiter
    }

    /// Refreshes a connection for which nobody asked. One that does not end is not waited for: the sweep has others
    /// to look after.
    pub(crate) async fn keep_alive(
        &self,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
    ) -> Result<Arc<Entry>, Error> {
        let waiter = self.join(id, held, integration, Cause::KeepAlive);
        match tokio::time::timeout(limits::LONGEST_REFRESH, waiter.outcome()).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Error::new(Code::Internal).because("refresh_aborted")),
            Err(_) => Err(Code::RefreshInProgress.into()),
        }
    }

    /// A call was refused with the set `version`: refresh, if that set is still the current one.
    pub(crate) async fn after_refusal(
        &self,
        id: &ConnectionId,
        scope: Scope<'_>,
        version: GrantVersion,
    ) -> Result<Arc<Entry>, Error> {
        // A set that this process has not heard of yet: another one stored it.
        let older = |e: &Arc<Entry>| e.version() < version && e.admit(scope).is_ok();
        if let Some(entry) = self.context.cache.get(id).filter(older) {
            entry.mark_stale();
        }
        let want = Want {
            minimum: Duration::ZERO,
            not: Some(version),
        };
        self.serve(id, scope, want).await
    }

    /// Takes the set of a row into memory.
    ///
    /// # Errors
    /// Why the connection serves nothing.
    pub(crate) async fn load(&self, found: &Found, integration: &Arc<Loaded>) -> Result<Arc<Entry>, Error> {
        let served = load(&self.context, found, integration, None).await?;
        if served.doubtful {
            verify_behind(&self.context, integration, &found.record.id, &served.entry);
        }
        Ok(served.entry)
    }
}

/// Whether an error of a refresh leaves a token that still lives good to serve.
fn may_serve_on(error: &Error) -> bool {
    let ended = matches!(
        error.code(),
        Code::ConnectionNotFound
            | Code::IntegrationDisabled
            | Code::IntegrationFrozen
            | Code::StoreMoved
            | Code::StoreArriving
    );
    !ended && error.advice() != Advice::Reconnect
}
