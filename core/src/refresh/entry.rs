//! From a row to an entry in memory: read, opened, and repaired if the store lost what this process still holds.

use std::sync::Arc;

use super::{
    cache::Entry,
    hand::Held,
    in_time, open,
    protocol::{self, Repair},
    status_check, verify, within_check,
};
use crate::{
    connection::Credentials,
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::Grant,
    id::{ConnectionId, IntegrationId},
    integrations::Loaded,
    provider::Expiry,
    random,
    record::Record,
    store::{Revision, Swap},
};

impl Engine {
    /// The entry of a connection, fetched from the store if need be, but never refreshed.
    ///
    /// # Errors
    /// Why the connection serves nothing.
    pub(crate) async fn entry(
        self: &Arc<Self>,
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
        let held = Held::decode(&stored, looks)?;
        let entry = self.load(&held, &integration, None).await?;
        Ok((entry, integration))
    }

    /// Opens the token set of a row and takes it into memory, with an end that was found out about its access token.
    pub(super) async fn load(
        self: &Arc<Self>,
        held: &Held,
        integration: &Arc<Loaded>,
        end: Option<Expiry>,
    ) -> Result<Arc<Entry>, Error> {
        let Held {
            record,
            revision,
            looks,
        } = held;
        let newer = |e: &Arc<Entry>| e.name() > record.facts.row.name;
        if let Some(held) = self.cache.get(&record.id).filter(newer) {
            if self.repair(&record.id, &held, integration).await? {
                return Ok(held);
            }
            // Who it belonged to is forgotten; the store's word counts.
            self.cache.remove(&record.id);
        }
        if let Err(ended) = status_check(record) {
            self.cache.remove(&record.id);
            return Err(ended);
        }
        let mut grant = open(&*self.vault, record).await?;
        grant.expiry = end.unwrap_or(grant.expiry);
        let entry = self.make_entry(record, grant, Some(*revision), integration)?;
        Ok(self.cache.put(&record.id, entry, *looks))
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

    /// The store showed an older set than this process holds. If it still does, it was rolled back, and ours is written
    /// again; while the store does not take it, it is served from memory. `false` if it may not be written.
    pub(super) async fn repair(
        self: &Arc<Self>,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
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
        if record.facts.moved.is_some() {
            return Ok(false);
        }
        let policy = self.policy(integration);
        let Some(Repair { row, verify }) =
            protocol::repair(&record.facts.row, held.name(), held.set, &policy)
        else {
            self.rolled_back(&record.integration, id);
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
        let next = self.row(&record);
        // If it is not taken, whoever comes next tries again.
        let swapped = self
            .stores
            .connections
            .swap_connection(&next, stored.revision)
            .await;
        let tried = match swapped {
            Ok(Swap::Swapped(revision)) => {
                held.stored_as(revision);
                self.rolled_back(&record.integration, id);
                verify
            }
            Ok(Swap::Conflict | Swap::Missing) => false,
            // It may stand, though its answer was lost; or the store takes no writes, and each call comes here.
            Err(_) => verify && held.take_trial(),
        };
        if tried {
            self.verify_behind(id, held, integration);
        }
        Ok(true)
    }

    /// Whoever refreshed from the row while it was rolled back may have ended the family of what was put back. Callers
    /// are served meanwhile, and one who goes away does not keep it from being found out.
    fn verify_behind(self: &Arc<Self>, id: &ConnectionId, held: &Arc<Entry>, integration: &Arc<Loaded>) {
        let (engine, id) = (self.clone(), id.clone());
        let (held, integration) = (held.clone(), integration.clone());
        let ends = verify::ends_by_the_clock(self, &held);
        self.tasks.spawn(async move {
            let policy = engine.policy(&integration);
            // Callers meet what comes of it by themselves.
            let _ = Box::pin(verify::verify(&engine, &integration, &policy, &id, held, ends)).await;
        });
    }

    pub(super) fn rolled_back(&self, integration: &IntegrationId, id: &ConnectionId) {
        self.emit(integration, Some(id), What::StoreRolledBack);
        metrics::counter!("grantry_store_rolled_back").increment(1);
    }
}
