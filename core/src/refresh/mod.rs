//! Refresh: hands out access tokens that work, and presents each refresh token once.
//!
//! | step | where |
//! |---|---|
//! | serve from memory | [`cache`] |
//! | serve, wait or refresh behind | this file |
//! | one flight per connection and process | [`flight`] |
//! | take the turn, gate | [`turn`] |
//! | present once | [`present`] |
//! | store what came back | [`settle`] |
//! | what all of them decide | [`protocol`] |
//! | see other processes' changes | [`watch`] |
//! | revoke upstream | [`revoke`] |

pub(crate) mod cache;
pub(crate) mod flight;
mod present;
pub mod protocol;
pub(crate) mod revoke;
pub(crate) mod schedule;
pub(crate) mod settle;
mod turn;
pub(crate) mod watch;

use std::{future::Future, sync::Arc, time::Duration};

use cache::Entry;
pub(crate) use turn::open as open_grant;

use crate::{
    connection::{Credentials, SetName, Status},
    engine::Engine,
    error::{Advice, Code, Error},
    event::What,
    grant::Grant,
    id::{ConnectionId, IntegrationId},
    integrations::Loaded,
    provider::Expiry,
    random,
    record::Record,
    store::{Revision, StoreError, StoreErrorKind, Stored, Swap},
};

/// How long somebody whose token lives waits for the store.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// What a caller asks of a token set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// How much of its life must be left.
    pub(crate) minimum: Duration,
    /// A set that was refused, and is good for nothing.
    pub(crate) not: Option<SetName>,
}

impl Engine {
    /// The entry of a connection, fetched from the store if need be, but never refreshed.
    ///
    /// # Errors
    /// Why the connection serves nothing.
    pub(crate) async fn entry(
        &self,
        id: &ConnectionId,
        within: Option<&IntegrationId>,
    ) -> Result<(Arc<Entry>, Arc<Loaded>), Error> {
        let looks = self.cache.looks();
        let cached = self.cache.get(id);
        let fresh = self.cache.freshness.holds(&*self.clock);
        if let Some(entry) = &cached
            && fresh
            && !entry.is_doubted()
        {
            let integration = self.integrations.get(self, entry.integration()).await?;
            within_check(within, &integration.id)?;
            integration.usable()?;
            return Ok((entry.clone(), integration));
        }
        let living = cached.as_ref().filter(|e| e.alive(self.clock.wall()));
        let read = self.stores.connections.connection(id);
        let read = match living {
            // Nobody whose token lives waits for a store that hangs.
            Some(_) => in_time("connection", read).await,
            None => read.await,
        };
        let stored = match read {
            Ok((Some(stored), _)) => stored,
            Ok((None, _)) => {
                self.cache.remove(id);
                return Err(Code::ConnectionNotFound.into());
            }
            // The store cannot be reached: what is alive in memory is served on.
            Err(error) => {
                let entry = living.ok_or_else(|| Error::from(error))?;
                metrics::counter!("grantry_served_stale").increment(1);
                let integration = self.integrations.get(self, entry.integration()).await?;
                within_check(within, &integration.id)?;
                integration.usable()?;
                return Ok((entry.clone(), integration));
            }
        };
        within_check(within, &stored.row.index.integration)?;
        let integration = self.integrations.get(self, &stored.row.index.integration).await?;
        integration.usable()?;
        if let Some(entry) = cached {
            let current = if let Some(known) = entry.revision() {
                known == stored.revision && !entry.is_doubted()
            } else {
                // An unsaved set is newer than anything in the store, as long as the connection stands.
                let row = Record::decode(&stored)?.facts.row;
                row.name.epoch == entry.name().epoch && row.name < entry.name()
            };
            if current {
                return Ok((entry, integration));
            }
        }
        let entry = self.load(&stored, &integration, looks).await?;
        Ok((entry, integration))
    }

    /// Opens a stored row's token set and takes it into memory. `looks` is from before the row was read.
    pub(crate) async fn load(
        &self,
        stored: &Stored,
        integration: &Loaded,
        looks: u64,
    ) -> Result<Arc<Entry>, Error> {
        self.load_until(stored, integration, looks, None).await
    }

    /// [`Engine::load`], with an end that was found out about the access token.
    pub(crate) async fn load_until(
        &self,
        stored: &Stored,
        integration: &Loaded,
        looks: u64,
        end: Option<Expiry>,
    ) -> Result<Arc<Entry>, Error> {
        let record = Record::decode(stored)?;
        let newer = |e: &Arc<Entry>| e.name() > record.facts.row.name;
        if let Some(held) = self.cache.get(&record.id).filter(newer) {
            if self.repair(&record.id, &held, integration).await? {
                return Ok(held);
            }
            // Who it belonged to is forgotten; the store's word counts.
            self.cache.remove(&record.id);
        }
        if let Err(ended) = status_check(&record) {
            self.cache.remove(&record.id);
            return Err(ended);
        }
        let mut grant = turn::open(self, &record).await?;
        grant.expiry = end.unwrap_or(grant.expiry);
        let entry = self.make_entry(&record, grant, Some(stored.revision), integration)?;
        Ok(self.cache.put(&record.id, entry, looks))
    }

    pub(crate) fn make_entry(
        &self,
        record: &Record,
        grant: Grant,
        revision: Option<Revision>,
        integration: &Loaded,
    ) -> Result<Arc<Entry>, Error> {
        let mut authorization =
            http::HeaderValue::from_str(&format!("Bearer {}", grant.access_token.expose()))
                .map_err(|_| Error::new(Code::ConnectionCorrupt).because("access_token"))?;
        authorization.set_sensitive(true);
        let credentials = Credentials {
            access_token: grant.access_token,
            instance_url: grant.instance_url,
            environment: record.facts.environment,
            region: record.facts.profile.region.clone(),
            token_type: "Bearer",
            expires_at: grant.expiry.at(),
            set: record.facts.row.name,
            authorization,
        };
        Ok(Arc::new(Entry::new(
            integration.id.clone(),
            credentials,
            integration.gate.clone(),
            grant.expiry,
            grant.obtained_at,
            revision,
            record.sealed.clone(),
            record.sealed_by.clone(),
            record.facts.row.set,
            self.settings.minimum,
            random::spread(),
        )))
    }

    /// Credentials that are good enough: from memory, from the store, or by a refresh.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        id: &ConnectionId,
        within: Option<&IntegrationId>,
        want: Want,
    ) -> Result<Arc<Entry>, Error> {
        let (entry, integration) = self.entry(id, within).await?;
        let now = self.clock.wall();
        self.cache.note_use(id, &entry, now);
        if want.not == Some(entry.name()) {
            entry.refuse();
        }
        if !entry.is_refused() {
            let window = entry.window(want.minimum);
            if now < window.soft {
                return Ok(entry);
            }
            // What failed a moment ago is not tried again for everybody whose token lives.
            let rests = entry.rests(now);
            if now < window.hard {
                if !rests {
                    // Still good: refreshed behind the caller's back.
                    drop(self.depart(id, &entry, &integration));
                }
                return Ok(entry);
            }
            if rests && entry.alive(now) {
                return Ok(entry);
            }
        }
        match self.await_newer(id, &entry, &integration).await {
            Ok(newer) => Ok(newer),
            // What may pass does not matter to a caller whose token still lives.
            Err(error) if may_serve_on(&error) && entry.alive(self.clock.wall()) => Ok(entry),
            Err(error) => Err(error),
        }
    }

    /// Waits for a newer set than `held`, for as long as a caller is asked to.
    async fn await_newer(
        self: &Arc<Self>,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
    ) -> Result<Arc<Entry>, Error> {
        let better = |entry: &Entry| {
            let longer = entry.name() == held.name() && entry.expiry.at() > held.expiry.at();
            entry.name() > held.name() || longer
        };
        let wait = async {
            // A flight may have been in the air for an older wish; then one more is flown.
            for _ in 0..2 {
                let mut landing = self.depart(id, held, integration);
                let landed = landing.wait_for(Option::is_some).await;
                match landed.as_deref() {
                    Ok(Some(Ok(entry))) if better(entry) => return Ok(entry.clone()),
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(error))) => return Err(error.clone()),
                    // The flight ended without a word: it panicked, or the runtime is going down.
                    Ok(None) | Err(_) => return Err(Error::new(Code::Internal).because("refresh_aborted")),
                }
            }
            Err(Error::new(Code::RefreshInProgress))
        };
        tokio::time::timeout(self.settings.patience, wait)
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::RefreshInProgress).retry_after(Duration::from_secs(2))))
    }

    /// Joins the connection's flight, or starts one.
    fn depart(
        self: &Arc<Self>,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
    ) -> tokio::sync::watch::Receiver<Option<flight::Landing>> {
        let (landing, pilot) = self.flights.join(id);
        if let Some(pilot) = pilot {
            if self.tasks.closing() {
                pilot.land(Err(Code::ShuttingDown.into()));
                return landing;
            }
            let (engine, id) = (self.clone(), id.clone());
            let (held, integration) = (held.clone(), integration.clone());
            self.tasks
                .spawn(async move { turn::fly(&engine, &id, &held, &integration, pilot).await });
        }
        landing
    }

    /// A call was refused with the set `name`: refresh, if that set is still the current one.
    pub(crate) async fn after_refusal(
        self: &Arc<Self>,
        id: &ConnectionId,
        within: Option<&IntegrationId>,
        name: SetName,
    ) -> Result<Arc<Entry>, Error> {
        // A set that this process has not heard of yet: another one stored it.
        if let Some(entry) = self.cache.get(id).filter(|e| e.name() < name) {
            entry.doubt();
        }
        let want = Want {
            minimum: Duration::ZERO,
            not: Some(name),
        };
        self.serve(id, within, want).await
    }

    /// The store showed an older set than this process holds. If it still does, it was rolled back, and ours is written
    /// again; while the store does not take it, it is served from memory. `false` if it may not be written.
    async fn repair(
        &self,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Loaded,
    ) -> Result<bool, Error> {
        if held.sealed.is_empty() {
            // On its way into the store already.
            return Ok(true);
        }
        // What was seen may have been read before our own write.
        let (Some(stored), _) = self.stores.connections.connection(id).await? else {
            return Ok(false);
        };
        let mut record = Record::decode(&stored)?;
        if record.facts.row.name >= held.name() {
            return Ok(true);
        }
        let Some(row) = protocol::repair(&record.facts.row, held.name(), held.set) else {
            self.rolled_back(&record);
            return Ok(false);
        };
        record.facts.row = row;
        record.facts.access_ends = held.expiry.at();
        record.facts.access_end_known = matches!(held.expiry, Expiry::Known(_));
        record.facts.obtained_at = held.obtained_at;
        let idle = integration.provider.idle_limit(&integration.client());
        record.facts.refresh_by = idle.map(|limit| held.obtained_at + limit);
        record.sealed = held.sealed.clone();
        record.sealed_by.clone_from(&held.sealed_by);
        self.note(&mut record, "store_rolled_back", None, None);
        let next = record.encode();
        // If it is not taken, whoever comes next tries again.
        if let Ok(Swap::Swapped(revision)) = self
            .stores
            .connections
            .swap_connection(&next, stored.revision)
            .await
        {
            held.stored_as(revision);
            self.rolled_back(&record);
        }
        Ok(true)
    }

    fn rolled_back(&self, record: &Record) {
        self.emit(&record.integration, Some(&record.id), What::StoreRolledBack);
        metrics::counter!("grantry_store_rolled_back").increment(1);
    }
}

/// What a store answers, if it does so soon.
pub(crate) async fn in_time<T>(
    operation: &'static str,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_PATIENCE, read)
        .await
        .unwrap_or_else(|_| Err(StoreError::bare(StoreErrorKind::Unavailable, operation)))
}

/// Whether an error of a refresh leaves a token that still lives good to serve.
fn may_serve_on(error: &Error) -> bool {
    let ended = matches!(error.code(), Code::ConnectionNotFound | Code::IntegrationDisabled);
    !ended && error.advice() != Advice::Reconnect
}

fn within_check(within: Option<&IntegrationId>, actual: &IntegrationId) -> Result<(), Error> {
    match within {
        Some(wanted) if wanted != actual => Err(Code::IntegrationMismatch.into()),
        _ => Ok(()),
    }
}

/// Whether the connection serves tokens at all.
pub(crate) fn status_check(record: &Record) -> Result<(), Error> {
    let row = &record.facts.row;
    let error = match row.status {
        Status::Connected => return Ok(()),
        Status::Expired => Code::ConnectionExpired,
        Status::Revoked => Code::ConnectionRevoked,
        Status::Deleted => Code::ConnectionNotFound,
    };
    let error = Error::new(error);
    Err(row
        .reason
        .map_or(error.clone(), |reason| error.because(reason.as_str())))
}
