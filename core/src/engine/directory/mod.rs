//! Integrations: the one place that reads and changes their rows, and keeps them in memory.
//!
//! [`Directory`] finds them, [`Editor`] changes them.

mod body;
mod change;
mod ensure;
mod loaded;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::{freshness::Freshness, limits, pages};
use crate::{
    error::{Code, Error},
    id::{IntegrationId, IntegrationRef, Named, Slug},
    integration::Offering,
    provider::Provider,
    secret::Secret,
    store::{IntegrationStore, StoreError, StoreErrorKind, StoredIntegration},
    vault::TokenVault,
};
use body::secret_context;
pub(crate) use body::{Body, Freeze, Mark, Role, Switch};
pub(crate) use change::Editor;
pub(crate) use loaded::{Cause, Loaded, ServingState};

/// Finds integrations, and keeps them in memory.
#[derive(Debug)]
pub(crate) struct Directory {
    store: Arc<dyn IntegrationStore>,
    vault: Arc<dyn TokenVault>,
    providers: Vec<Arc<dyn Provider>>,
    freshness: Arc<Freshness>,
    urls: Urls,
    loaded: Mutex<BTreeMap<IntegrationId, Arc<Loaded>>>,
    /// How many were taken into memory.
    kept: AtomicU64,
}

/// Where the host is reached, and what may stand for a provider.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    /// The URL under which the host serves the callback; no trailing slash.
    pub(crate) public: String,
    /// Whether http on a loopback address may stand for a provider. Only for tests.
    pub(crate) allow_loopback: bool,
}

impl Directory {
    pub(crate) fn new(
        store: Arc<dyn IntegrationStore>,
        vault: Arc<dyn TokenVault>,
        providers: Vec<Arc<dyn Provider>>,
        freshness: Arc<Freshness>,
        urls: Urls,
    ) -> Self {
        Self {
            store,
            vault,
            providers,
            freshness,
            urls,
            loaded: Mutex::default(),
            kept: AtomicU64::new(0),
        }
    }

    /// What can be integrated.
    pub(crate) fn offerings(&self) -> impl Iterator<Item = &Offering> {
        self.providers
            .iter()
            .flat_map(|provider| &provider.facts().offerings)
    }

    /// The offering and its provider.
    ///
    /// # Errors
    /// `offering_unknown`.
    pub(crate) fn offering(&self, id: &str) -> Result<(Offering, Arc<dyn Provider>), Error> {
        self.providers
            .iter()
            .flat_map(|p| p.facts().offerings.iter().map(move |o| (o, p)))
            .find(|(offering, _)| offering.id == id)
            .map(|(offering, provider)| (offering.clone(), provider.clone()))
            .ok_or_else(|| Error::new(Code::OfferingUnknown))
    }

    /// Where the provider sends the browser back to, for an integration by its slug if it has one, else by its id.
    pub(crate) fn callback_url(&self, integration: impl fmt::Display) -> String {
        format!("{}/callback/{integration}", self.urls.public)
    }

    /// Forgets an integration that was removed.
    pub(crate) fn forget(&self, id: &IntegrationId) {
        if let Some(gone) = self
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
        {
            gone.serving.serves.store(false, Ordering::Release);
        }
    }

    fn cached(&self, id: &IntegrationId) -> Option<Arc<Loaded>> {
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// The one with this slug. More than one is in memory if the integration was removed and made again, and this process
    /// has not heard of all that yet: then only the store can tell.
    fn cached_as(&self, slug: &Slug) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = loaded
            .values()
            .filter(|loaded| loaded.serving.slug() == Some(slug));
        let only = found.next()?;
        found.next().is_none().then(|| only.clone())
    }

    /// The integration, from memory if the store was heard of within the last second, else from the store.
    pub(crate) async fn get(&self, id: &IntegrationId) -> Result<Arc<Loaded>, Error> {
        let cached = self.cached(id);
        if let Some(loaded) = &cached
            && self.freshness.holds()
        {
            return Ok(loaded.clone());
        }
        self.or_read(cached, self.store.integration(id)).await
    }

    /// [`Directory::get`], for whatever a handle was made of.
    pub(crate) async fn find(&self, which: &IntegrationRef) -> Result<Arc<Loaded>, Error> {
        let slug = match &which.0 {
            Named::Id(id) => return self.get(id).await,
            Named::Slug(slug) => slug,
            Named::Nothing => return Err(Code::IntegrationNotFound.into()),
        };
        let cached = self.cached_as(slug);
        if let Some(loaded) = &cached
            && self.freshness.holds()
        {
            return Ok(loaded.clone());
        }
        self.or_read(cached, self.store.integration_by_slug(slug)).await
    }

    /// The id that connections know the integration by: looked up, by a slug, as [`Directory::find`] does.
    pub(crate) async fn id_of(&self, which: &IntegrationRef) -> Result<IntegrationId, Error> {
        match &which.0 {
            Named::Id(id) => Ok(id.clone()),
            Named::Slug(_) | Named::Nothing => Ok(self.find(which).await?.id.clone()),
        }
    }

    /// The same, but a slug is looked up in the store.
    pub(crate) async fn stored_id_of(&self, which: &IntegrationRef) -> Result<IntegrationId, Error> {
        let found = match &which.0 {
            Named::Id(id) => return Ok(id.clone()),
            Named::Slug(slug) => self.store.integration_by_slug(slug).await?,
            Named::Nothing => None,
        };
        Ok(found.ok_or(Code::IntegrationNotFound)?.row.id)
    }

    /// What the store says, or what was known last if it cannot be reached.
    async fn or_read(
        &self,
        cached: Option<Arc<Loaded>>,
        read: impl Future<Output = Result<Option<StoredIntegration>, StoreError>>,
    ) -> Result<Arc<Loaded>, Error> {
        let read = match cached {
            Some(_) => soon(read).await,
            None => read.await,
        };
        if let (Some(old), Ok(found)) = (&cached, &read)
            && found.as_ref().is_none_or(|stored| stored.row.id != old.id)
        {
            self.forget(&old.id);
        }
        match read {
            Ok(Some(stored)) => self.keep(&stored).await,
            Ok(None) => Err(Code::IntegrationNotFound.into()),
            Err(error) => cached.ok_or_else(|| error.into()),
        }
    }

    /// Takes a row that was read or written into memory, unless a newer one is there: a slow reader must not switch on again
    /// what somebody switched off meanwhile.
    pub(crate) async fn keep(&self, stored: &StoredIntegration) -> Result<Arc<Loaded>, Error> {
        let newer = |old: &Loaded| old.revision.counter > stored.revision.counter;
        self.take(stored, newer).await
    }

    /// [`Directory::keep`], unless what is there is one to `prefer`.
    async fn take(
        &self,
        stored: &StoredIntegration,
        prefer: impl Fn(&Loaded) -> bool,
    ) -> Result<Arc<Loaded>, Error> {
        let id = &stored.row.id;
        let stands = |old: &Arc<Loaded>| old.revision == stored.revision || prefer(old);
        if let Some(loaded) = self.cached(id).filter(stands) {
            return Ok(loaded);
        }
        let body = Body::decode(stored)?;
        let (offering, provider) = self.offering(&body.offering)?;
        let sealed = BASE64_STANDARD_NO_PAD
            .decode(&body.secret)
            .map_err(|_| Error::new(Code::StoreCorrupt))?;
        let opened = self.vault.open(&secret_context(id), &sealed).await?;
        let secret = Secret::new(String::from_utf8_lossy(opened.expose()));
        let migrated = body.migrated().is_some();
        let serves = body.switch == Switch::On && !migrated;
        let mut map = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = map.get(id);
        if let Some(loaded) = cached.filter(|old| stands(old)) {
            return Ok(loaded.clone());
        }
        let serving = cached.map_or_else(
            || Arc::new(ServingState::new(stored.row.slug.clone())),
            |old| old.serving.clone(),
        );
        serving.serves.store(serves, Ordering::Release);
        let frozen = matches!(body.switch, Switch::Frozen(_));
        serving.frozen.store(frozen, Ordering::Release);
        serving.migrated.store(migrated, Ordering::Release);
        // A new secret or option may cure what the provider refused.
        serving.client.mend();
        let loaded = Arc::new(Loaded {
            id: id.clone(),
            callback_url: match &stored.row.slug {
                Some(slug) => self.callback_url(slug),
                None => self.callback_url(id),
            },
            body,
            revision: stored.revision,
            secret,
            offering,
            provider,
            serving,
            allow_loopback: self.urls.allow_loopback,
            kept: self.kept.fetch_add(1, Ordering::AcqRel),
        });
        map.insert(id.clone(), loaded.clone());
        Ok(loaded)
    }

    /// Every row of the store, by id; there are few of them.
    pub(crate) async fn rows(&self) -> Result<Vec<StoredIntegration>, Error> {
        Ok(pages::integrations(&*self.store).await?)
    }

    /// Whether the store says now that the integration is used in another one. An unreadable row tells nothing.
    pub(crate) async fn is_migrated(&self, id: &IntegrationId) -> bool {
        let stored = self.store.integration(id).await;
        let body = stored.map(|stored| stored.map(|stored| Body::decode(&stored)));
        matches!(body, Ok(Some(body)) if body.as_ref().map_or(true, |body| body.migrated().is_some()))
    }

    /// Read from the store, not from memory.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub(crate) async fn load(&self, id: &IntegrationId) -> Result<(StoredIntegration, Arc<Loaded>), Error> {
        let stored = self
            .store
            .integration(id)
            .await?
            .ok_or(Code::IntegrationNotFound)?;
        let loaded = self.keep(&stored).await?;
        Ok((stored, loaded))
    }

    /// Changes whenever any integration does.
    pub(crate) async fn version(&self) -> Result<u64, Error> {
        Ok(self.store.integrations_version().await?)
    }

    /// Whether new integrations may be created: one created after a copy would be left behind.
    ///
    /// # Errors
    /// `store_moved`, `store_arriving`.
    pub(crate) async fn ensure_none_migrated(&self) -> Result<(), Error> {
        for stored in self.rows().await? {
            // An unreadable row tells nothing.
            if let Ok(body) = Body::decode(&stored) {
                body.ensure_not_migrated()?;
            }
        }
        Ok(())
    }

    /// Reads every known integration again, because one of them changed.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let known: Vec<_> = self
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect();
        for id in known {
            let begun = self.kept.load(Ordering::Acquire);
            match self.store.integration(&id).await? {
                // The store's word counts, also if it was rolled back, but for what was written while it was read. One that
                // this process cannot read serves nothing here, and does not affect the others.
                Some(stored) => match self
                    .take(&stored, |old| {
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

/// The store's result, if it comes soon.
async fn soon<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(limits::STORE_WAIT, read)
        .await
        .unwrap_or_else(|_| Err(StoreError::bare(StoreErrorKind::Unavailable, "integration")))
}
