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

use std::{sync::Arc, time::Duration};

use cache::Entry;
pub(crate) use turn::open as open_grant;

use crate::{
    connection::{Credentials, SetName, Status},
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::{Grant, tokens_context},
    id::{ConnectionId, IntegrationId},
    integrations::Loaded,
    random,
    record::Record,
    store::Stored,
};

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
        let cached = self.cache.get(id);
        let fresh = self.cache.freshness.holds(&*self.clock);
        if let Some(entry) = &cached
            && fresh
        {
            let integration = self.integrations.get(self, entry.integration()).await?;
            within_check(within, &integration.id)?;
            integration.usable()?;
            return Ok((entry.clone(), integration));
        }
        let stored = match self.stores.connections.connection(id).await {
            Ok((Some(stored), _)) => stored,
            Ok((None, _)) => {
                self.cache.remove(id);
                return Err(Code::ConnectionNotFound.into());
            }
            // The store cannot be reached: what is alive in memory is served on.
            Err(error) => {
                let entry = cached
                    .filter(|e| e.alive(self.clock.wall()))
                    .ok_or_else(|| Error::from(error))?;
                metrics::counter!("grantry_served_stale").increment(1);
                let integration = self.integrations.get(self, entry.integration()).await?;
                within_check(within, &integration.id)?;
                integration.usable()?;
                return Ok((entry, integration));
            }
        };
        within_check(within, &stored.row.index.integration)?;
        let integration = self.integrations.get(self, &stored.row.index.integration).await?;
        integration.usable()?;
        if let Some(entry) = cached {
            // An unsaved set is newer than anything in the store.
            let known = *entry
                .revision
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if known.is_none() || known == Some(stored.revision) {
                return Ok((entry, integration));
            }
        }
        let entry = self.load(&stored, &integration).await?;
        Ok((entry, integration))
    }

    /// Opens a stored row's token set and takes it into memory.
    pub(crate) async fn load(&self, stored: &Stored, integration: &Loaded) -> Result<Arc<Entry>, Error> {
        let record = Record::decode(stored)?;
        status_check(&record)?;
        if let Some(newer) = self
            .cache
            .get(&record.id)
            .filter(|e| e.name() > record.facts.row.name)
        {
            return self
                .rolled_back(record, stored.revision, newer, integration)
                .await;
        }
        let context = tokens_context(&record.integration, &record.id, record.facts.row.name);
        let opened = self.vault.open(&context, &record.sealed).await?;
        let grant = Grant::decode(opened.expose())?;
        let entry = self.make_entry(&record, grant, Some(stored.revision), integration)?;
        Ok(self.cache.put(&record.id, entry))
    }

    pub(crate) fn make_entry(
        &self,
        record: &Record,
        grant: Grant,
        revision: Option<crate::store::Revision>,
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
        let window = entry.window(want.minimum);
        let refused =
            want.not == Some(entry.name()) || entry.refused.load(std::sync::atomic::Ordering::Acquire);
        if !refused && now < window.hard {
            if now >= window.soft {
                // Still good: refreshed behind the caller's back.
                drop(self.depart(id, entry.name(), &integration));
            }
            return Ok(entry);
        }
        match self.await_newer(id, entry.name(), &integration).await {
            Ok(newer) => Ok(newer),
            // What may pass does not matter to a caller whose token still lives.
            Err(error) if !refused && entry.alive(now) && error.code() != Code::ConnectionNotFound => {
                match error.advice() {
                    crate::error::Advice::Reconnect => Err(error),
                    _ => Ok(entry),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for a newer set than `seen`, for as long as a caller is asked to.
    async fn await_newer(
        self: &Arc<Self>,
        id: &ConnectionId,
        seen: SetName,
        integration: &Arc<Loaded>,
    ) -> Result<Arc<Entry>, Error> {
        let wait = async {
            // A flight may have been in the air for an older wish; then one more is flown.
            for _ in 0..2 {
                let mut landing = self.depart(id, seen, integration);
                let landed = landing.wait_for(Option::is_some).await;
                match landed.as_deref() {
                    Ok(Some(Ok(entry))) if entry.name() > seen => return Ok(entry.clone()),
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
        seen: SetName,
        integration: &Arc<Loaded>,
    ) -> tokio::sync::watch::Receiver<Option<flight::Landing>> {
        let (landing, pilot) = self.flights.join(id);
        if let Some(pilot) = pilot {
            if self.tasks.closing() {
                pilot.land(Err(Code::ShuttingDown.into()));
                return landing;
            }
            let (engine, id, integration) = (self.clone(), id.clone(), integration.clone());
            self.tasks
                .spawn(async move { turn::fly(&engine, &id, seen, &integration, pilot).await });
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
        if let Some(entry) = self.cache.get(id).filter(|e| e.name() == name) {
            entry.refuse();
        }
        self.serve(
            id,
            within,
            Want {
                minimum: Duration::ZERO,
                not: Some(name),
            },
        )
        .await
    }

    /// The store shows an older set than this process holds: it was rolled back. Ours is written again.
    async fn rolled_back(
        &self,
        mut record: Record,
        revision: crate::store::Revision,
        held: Arc<Entry>,
        integration: &Loaded,
    ) -> Result<Arc<Entry>, Error> {
        let Some(row) = protocol::repair(&record.facts.row, held.name(), held.set) else {
            // Another epoch: the connection was reconnected or ended since; what we hold is history.
            self.cache.remove(&record.id);
            let context = tokens_context(&record.integration, &record.id, record.facts.row.name);
            let opened = self.vault.open(&context, &record.sealed).await?;
            let entry = self.make_entry(
                &record,
                Grant::decode(opened.expose())?,
                Some(revision),
                integration,
            )?;
            return Ok(self.cache.put(&record.id, entry));
        };
        self.emit(&record.integration, Some(&record.id), What::StoreRolledBack);
        record.facts.row = row;
        record.facts.access_ends = held.expiry.at();
        record.facts.access_end_known = matches!(held.expiry, crate::provider::Expiry::Known(_));
        record.facts.obtained_at = held.obtained_at;
        record.sealed = held.sealed.clone();
        record.sealed_by = held.sealed_by.clone();
        self.note(&mut record, "store_rolled_back", None, None);
        if let crate::store::Swap::Swapped(revision) = self
            .stores
            .connections
            .swap_connection(&record.encode(), revision)
            .await?
        {
            *held
                .revision
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(revision);
        }
        Ok(held)
    }
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
