//! Integrations in memory: decoded, with their secret opened and their provider at hand.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    engine::Engine,
    error::{Code, Error},
    id::IntegrationId,
    integration::{Client, Integration, IntegrationState, Offering, Options},
    provider::Provider,
    refresh::{Cause, breaker::Breaker},
    secret::Secret,
    store::{IntegrationRow, Revision, StoredIntegration},
    time::Timestamp,
    vault::{Purpose, SealContext},
};

/// What stands in the body of an integration's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) offering: String,
    pub(crate) client_id: String,
    /// Sealed client secret, base64.
    pub(crate) secret: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) monthly_limit: Option<u64>,
    pub(crate) options: Options,
    /// Client id and secret were verified with the provider.
    pub(crate) verified: bool,
    pub(crate) state_reason: String,
    pub(crate) switch: Switch,
    pub(crate) created_at: Timestamp,
    /// What a copy from store to store has to do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<Mark>,
}

/// A copy of the whole store, as it stands in both of its stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Random; the same in both stores, so that no third one is taken for one of them.
    pub(crate) copy: u128,
    pub(crate) side: Side,
}

/// Which end of a copy a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// The source: nothing is served or begun here any more.
    Moved,
    /// The target, while the copy runs: nothing is served or begun here yet.
    Arriving,
    /// The target, once everything is here.
    Arrived,
}

/// Whether an integration was switched off by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Switch {
    On,
    Disabled,
    Frozen(Freeze),
}

/// A freeze: nothing is served, nothing is refreshed, and every connection is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Freeze {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
    /// Every connection is revoked here. What is owed to the provider stands in their rows.
    pub(crate) done: bool,
}

impl Body {
    pub(crate) fn state(&self) -> IntegrationState {
        match self.switch {
            Switch::Disabled => IntegrationState::Disabled,
            Switch::Frozen(_) => IntegrationState::Frozen,
            Switch::On if self.verified => IntegrationState::Configured,
            Switch::On => IntegrationState::Draft,
        }
    }

    /// Why this store is not the one to use it in, if it is not.
    pub(crate) fn away(&self) -> Option<Code> {
        match self.mark?.side {
            Side::Moved => Some(Code::StoreMoved),
            Side::Arriving => Some(Code::StoreArriving),
            Side::Arrived => None,
        }
    }

    /// [`Body::away`] as an error.
    pub(crate) fn here(&self) -> Result<(), Error> {
        self.away().map_or(Ok(()), |code| Err(code.into()))
    }

    pub(crate) fn encode(&self, id: &IntegrationId) -> IntegrationRow {
        IntegrationRow {
            id: id.clone(),
            body: serde_json::to_vec(self).unwrap_or_default().into(),
        }
    }

    pub(crate) fn decode(stored: &StoredIntegration) -> Result<Self, Error> {
        serde_json::from_slice(&stored.row.body)
            .map_err(|_| Error::new(Code::StoreCorrupt).because("row_corrupt"))
    }
}

/// What a client secret is bound to.
pub(crate) fn secret_context(id: &IntegrationId) -> SealContext<'_> {
    SealContext {
        purpose: Purpose::ClientSecret,
        integration: id.as_str(),
        subject: "",
        epoch: 0,
        generation: 0,
    }
}

/// What the warm path needs to know of an integration. It outlives reloads, so that cached tokens see a change at once.
#[derive(Debug)]
pub(crate) struct Gate {
    serves: AtomicBool,
    /// Nothing is refreshed, either.
    frozen: AtomicBool,
    /// Another store is the one to use it in.
    away: AtomicBool,
    /// Opens when the provider refuses the client, so that 10,000 connections do not each ask.
    pub(crate) client: Breaker,
}

impl Gate {
    fn new() -> Self {
        Self {
            serves: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            away: AtomicBool::new(false),
            client: Breaker::new(1),
        }
    }

    #[inline]
    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }
}

/// An integration, ready to be used.
pub(crate) struct Loaded {
    pub(crate) id: IntegrationId,
    pub(crate) body: Body,
    pub(crate) revision: Revision,
    pub(crate) secret: Secret,
    pub(crate) offering: Offering,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) callback_url: String,
    pub(crate) gate: Arc<Gate>,
    pub(crate) allow_loopback: bool,
    /// How many had been taken into memory before.
    kept: u64,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("id", &self.id)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// The integration as its provider sees it.
    pub(crate) fn client(&self) -> Client<'_> {
        Client {
            integration: &self.id,
            offering: &self.offering,
            client_id: &self.body.client_id,
            client_secret: &self.secret,
            scopes: &self.body.scopes,
            callback_url: &self.callback_url,
            options: &self.body.options,
            allow_loopback: self.allow_loopback,
        }
    }

    /// The integration as the broker shows it.
    pub(crate) fn view(&self) -> Integration {
        let body = &self.body;
        Integration {
            id: self.id.clone(),
            name: body.name.clone(),
            offering: body.offering.clone(),
            client_id: body.client_id.clone(),
            scopes: body.scopes.clone(),
            redirect_uris: body.redirect_uris.clone(),
            monthly_limit: body.monthly_limit,
            options: body.options.clone(),
            state: body.state(),
            state_reason: match (&body.switch, body.away()) {
                (_, Some(away)) => away.as_str().to_owned(),
                (Switch::Frozen(freeze), None) => freeze.reason.clone(),
                (Switch::On | Switch::Disabled, None) => body.state_reason.clone(),
            },
            callback_url: self.callback_url.clone(),
            created_at: body.created_at,
        }
    }

    /// Whether its connections may be used.
    ///
    /// # Errors
    /// `store_moved`, `store_arriving`, `integration_disabled`, `integration_frozen`.
    pub(crate) fn usable(&self) -> Result<(), Error> {
        self.body.here()?;
        match self.body.switch {
            Switch::On => Ok(()),
            Switch::Disabled => Err(Code::IntegrationDisabled.into()),
            Switch::Frozen(_) => Err(Code::IntegrationFrozen.into()),
        }
    }

    /// Whether its refresh tokens may be presented: those of a disabled one are kept alive. The gate is asked, since this
    /// is what was read when the flight or the sweep's page began, and somebody may have switched it off since.
    ///
    /// # Errors
    /// As [`Loaded::usable`].
    pub(crate) fn may_refresh(&self, cause: Cause) -> Result<(), Error> {
        if self.gate.away.load(Ordering::Acquire) {
            return Err(self.body.away().unwrap_or(Code::StoreMoved).into());
        }
        if self.gate.frozen.load(Ordering::Acquire) {
            return Err(Code::IntegrationFrozen.into());
        }
        if cause == Cause::Caller && !self.gate.serves() {
            return Err(Code::IntegrationDisabled.into());
        }
        Ok(())
    }
}

/// The integrations that this process has used.
#[derive(Debug, Default)]
pub(crate) struct Integrations {
    loaded: Mutex<BTreeMap<IntegrationId, Arc<Loaded>>>,
    /// How many were taken into memory.
    kept: AtomicU64,
}

impl Integrations {
    /// Forgets an integration that was removed.
    pub(crate) fn forget(&self, id: &IntegrationId) {
        if let Some(gone) = self
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
        {
            gone.gate.serves.store(false, Ordering::Release);
        }
    }

    fn cached(&self, id: &IntegrationId) -> Option<Arc<Loaded>> {
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// The integration, from memory if the store was heard of within the last second, else from the store.
    pub(crate) async fn get(&self, engine: &Engine, id: &IntegrationId) -> Result<Arc<Loaded>, Error> {
        let cached = self.cached(id);
        if let Some(loaded) = &cached
            && engine.cache.freshness.holds(&*engine.clock)
        {
            return Ok(loaded.clone());
        }
        let read = engine.stores.integrations.integration(id);
        let read = match cached {
            Some(_) => crate::refresh::in_time("integration", read).await,
            None => read.await,
        };
        match read {
            Ok(Some(stored)) => self.keep(engine, &stored).await,
            Ok(None) => {
                self.forget(id);
                Err(Code::IntegrationNotFound.into())
            }
            // The store cannot be reached: what was known last still holds.
            Err(error) => cached.ok_or_else(|| error.into()),
        }
    }

    /// Takes a row that was read or written into memory, unless a newer one is there: a slow reader must not switch on again
    /// what somebody switched off meanwhile.
    pub(crate) async fn keep(
        &self,
        engine: &Engine,
        stored: &StoredIntegration,
    ) -> Result<Arc<Loaded>, Error> {
        let newer = |old: &Loaded| old.revision.counter > stored.revision.counter;
        self.take(engine, stored, newer).await
    }

    /// [`Integrations::keep`], unless what is there is one to `prefer`.
    async fn take(
        &self,
        engine: &Engine,
        stored: &StoredIntegration,
        prefer: impl Fn(&Loaded) -> bool,
    ) -> Result<Arc<Loaded>, Error> {
        let id = &stored.row.id;
        let stands = |old: &Arc<Loaded>| old.revision == stored.revision || prefer(old);
        if let Some(loaded) = self.cached(id).filter(stands) {
            return Ok(loaded);
        }
        let body = Body::decode(stored)?;
        let (offering, provider) = engine.offering(&body.offering)?;
        let sealed = BASE64_STANDARD_NO_PAD
            .decode(&body.secret)
            .map_err(|_| Error::new(Code::StoreCorrupt))?;
        let opened = engine.vault.open(&secret_context(id), &sealed).await?;
        let secret = Secret::new(String::from_utf8_lossy(opened.expose()));
        let away = body.away().is_some();
        let serves = body.switch == Switch::On && !away;
        let mut map = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = map.get(id);
        if let Some(loaded) = cached.filter(|old| stands(old)) {
            return Ok(loaded.clone());
        }
        let gate = cached.map_or_else(|| Arc::new(Gate::new()), |old| old.gate.clone());
        gate.serves.store(serves, Ordering::Release);
        let frozen = matches!(body.switch, Switch::Frozen(_));
        gate.frozen.store(frozen, Ordering::Release);
        gate.away.store(away, Ordering::Release);
        // A new secret or option may cure what the provider refused.
        gate.client.mend();
        let loaded = Arc::new(Loaded {
            id: id.clone(),
            callback_url: engine.callback_url(id),
            body,
            revision: stored.revision,
            secret,
            offering,
            provider,
            gate,
            allow_loopback: engine.settings.allow_loopback,
            kept: self.kept.fetch_add(1, Ordering::AcqRel),
        });
        map.insert(id.clone(), loaded.clone());
        Ok(loaded)
    }

    /// Every row of the store, by id; there are few of them.
    pub(crate) async fn rows(&self, engine: &Engine) -> Result<Vec<StoredIntegration>, Error> {
        const PAGE: u32 = 100;
        let mut rows: Vec<StoredIntegration> = Vec::new();
        loop {
            let after = rows.last().map(|stored| stored.row.id.clone());
            let integrations = &engine.stores.integrations;
            let page = integrations.list_integrations(after.as_ref(), PAGE).await?;
            let more = page.len() >= PAGE as usize;
            rows.extend(page);
            if !more {
                return Ok(rows);
            }
        }
    }

    /// Whether new integrations may be made: what is made after a copy would stay behind.
    ///
    /// # Errors
    /// `store_moved`, `store_arriving`.
    pub(crate) async fn not_moved(&self, engine: &Engine) -> Result<(), Error> {
        for stored in self.rows(engine).await? {
            // What cannot be read says nothing.
            if let Ok(body) = Body::decode(&stored) {
                body.here()?;
            }
        }
        Ok(())
    }

    /// Reads every known integration again, because the store says that one of them changed.
    pub(crate) async fn reload(&self, engine: &Engine) -> Result<(), Error> {
        let known: Vec<_> = self
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect();
        for id in known {
            let begun = self.kept.load(Ordering::Acquire);
            match engine.stores.integrations.integration(&id).await? {
                // The store's word counts, also if it was rolled back, but for what was written while it was read. One that
                // this process cannot read serves nothing here, and stands in nobody else's way.
                Some(stored) => match self
                    .take(engine, &stored, |old| {
                        old.kept >= begun && old.revision.counter > stored.revision.counter
                    })
                    .await
                {
                    Err(error) if !error.is_retryable() => {
                        tracing::error!(integration = %id, code = error.code().as_str(), "an integration cannot be read");
                        self.forget(&id);
                    }
                    kept => drop(kept?),
                },
                None => self.forget(&id),
            }
        }
        Ok(())
    }
}
