//! Integrations are made, verified, changed, switched off and on, and removed.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::{
    Directory,
    body::{Body, Freeze, Switch, secret_context},
    limits,
    loaded::Loaded,
};
use crate::{
    engine::{journal::Journal, upstream::Upstream},
    error::{Code, Error},
    event::What,
    id::IntegrationId,
    integration::{IntegrationUpdate, NewIntegration, Offering, Options},
    oauth::RedirectUri,
    provider::{Failure, Verdict},
    secret::Secret,
    store::{ConnectionStore, Inserted, Removed, Revision, StoredIntegration, Swap},
    time::{Clock, Timestamp},
};

/// Changes integrations, and has the provider asked about their clients.
#[derive(Debug)]
pub(crate) struct Editor {
    pub(crate) directory: Arc<Directory>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The reason of a state that was not asked about since the client changed. Whoever changes it asks next; if it did not come
/// to that, the next one who declares the integration does.
pub(super) const NOT_VERIFIED: &str = "not_verified";

impl Editor {
    /// Creates an integration, not verified yet.
    ///
    /// # Errors
    /// `slug_taken`, `offering_unknown`, `field_invalid`, `scope_invalid`, `redirect_uri_invalid`, `option_invalid`;
    /// `store_moved`, `store_arriving`.
    pub(crate) async fn create(&self, new: &NewIntegration) -> Result<IntegrationId, Error> {
        let (offering, _) = self.directory.offering(&new.offering)?;
        self.directory.ensure_none_migrated().await?;
        check_secret(&new.client_secret)?;
        let id = IntegrationId::generate();
        let mut body = Body {
            name: String::new(),
            offering: offering.id.clone(),
            client_id: String::new(),
            secret: self.seal_secret(&id, &new.client_secret).await?,
            scopes: Vec::new(),
            redirect_uris: Vec::new(),
            monthly_limit: None,
            options: Options::new(),
            verified: false,
            state_reason: "not_verified".to_owned(),
            switch: Switch::On,
            created_at: self.clock.wall(),
            mark: None,
        };
        body.declare(new, &offering);
        self.check(&mut body, &offering)?;
        let row = body.encode(&id, new.slug.as_ref())?;
        match self.directory.store.insert_integration(&row).await? {
            Inserted::Created(_) => Ok(id),
            // The id is random.
            Inserted::Occupied if new.slug.is_some() => Err(Code::SlugTaken.into()),
            Inserted::Occupied => Err(Code::IntegrationConflict.into()),
        }
    }

    /// Changes an integration; `true` if it should be verified again.
    pub(crate) async fn update(
        &self,
        id: &IntegrationId,
        update: IntegrationUpdate,
    ) -> Result<(Arc<Loaded>, bool), Error> {
        let verify = update.client_id.is_some() || update.options.is_some();
        let changed = self
            .change(id, |body, offering| {
                let IntegrationUpdate {
                    name,
                    client_id,
                    scopes,
                    redirect_uris,
                    monthly_limit,
                    options,
                } = update.clone();
                body.name = name.unwrap_or_else(|| body.name.clone());
                body.client_id = client_id.unwrap_or_else(|| body.client_id.clone());
                body.scopes = scopes.unwrap_or_else(|| body.scopes.clone());
                body.redirect_uris = redirect_uris.unwrap_or_else(|| body.redirect_uris.clone());
                body.monthly_limit = monthly_limit.unwrap_or(body.monthly_limit);
                body.options = options.unwrap_or_else(|| body.options.clone());
                if verify {
                    NOT_VERIFIED.clone_into(&mut body.state_reason);
                }
                self.check(body, offering)
            })
            .await?;
        Ok((changed, verify))
    }

    /// Replaces the client secret.
    pub(crate) async fn set_secret(&self, id: &IntegrationId, secret: &Secret) -> Result<(), Error> {
        check_secret(secret)?;
        let sealed = self.seal_secret(id, secret).await?;
        self.change(id, |body, _| {
            body.secret.clone_from(&sealed);
            NOT_VERIFIED.clone_into(&mut body.state_reason);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Asks the provider whether client id and secret are right, and writes down what it says.
    pub(crate) async fn verify(&self, id: &IntegrationId) -> Result<Arc<Loaded>, Error> {
        let (stored, integration) = self.directory.load(id).await?;
        let asked = self.upstream.verify_client(&integration.target()).await;
        let (verified, reason) = match asked.map_err(|failed| failed.failure) {
            Ok(()) => (true, ""),
            Err(Failure::Refused(refusal)) if refusal.verdict == Verdict::ClientMisconfigured => {
                (false, refusal.reason.as_str())
            }
            Err(Failure::NotSent | Failure::Unknown(_)) => {
                (integration.body.verified, "provider_unreachable")
            }
            Err(failure) => (integration.body.verified, failure.reason().as_str()),
        };
        let checked = stored.revision;
        let changed = self
            .change_if(id, |body, revision, _| {
                // It was changed while the provider was asked: whoever made that change verifies it.
                if revision == checked {
                    body.verified = verified;
                    reason.clone_into(&mut body.state_reason);
                }
                Ok(())
            })
            .await?;
        if verified && !integration.body.verified {
            self.journal.emit(id, None, What::IntegrationConfigured);
        }
        Ok(changed)
    }

    /// Switches an integration off or on. A frozen one can be once all its connections are revoked.
    pub(crate) async fn switch(
        &self,
        id: &IntegrationId,
        to: &Switch,
        what: What,
    ) -> Result<Arc<Loaded>, Error> {
        let changed = self
            .change(id, |body, _| {
                if matches!(&body.switch, Switch::Frozen(freeze) if !freeze.done) {
                    return Err(Error::new(Code::IntegrationFreezing).retry_after(limits::FREEZE_SETTLES));
                }
                body.switch = to.clone();
                Ok(())
            })
            .await?;
        self.journal.emit(id, None, what);
        Ok(changed)
    }

    /// Freezes an integration; the background does the rest.
    pub(crate) async fn freeze(
        &self,
        id: &IntegrationId,
        reason: &str,
        since: Timestamp,
    ) -> Result<Arc<Loaded>, Error> {
        let changed = self
            .change(id, |body, _| {
                // Frozen again it begins again: something may have been connected meanwhile.
                body.switch = Switch::Frozen(Freeze {
                    since,
                    reason: reason.to_owned(),
                    done: false,
                });
                Ok(())
            })
            .await?;
        self.journal.emit(id, None, What::IntegrationFrozen);
        Ok(changed)
    }

    /// Every connection of a frozen integration is revoked. On a conflict nothing is written.
    pub(crate) async fn freeze_is_done(
        &self,
        stored: &StoredIntegration,
        body: &Body,
        freeze: &Freeze,
    ) -> Result<(), Error> {
        let id = &stored.row.id;
        let freeze = Freeze {
            done: true,
            ..freeze.clone()
        };
        let body = Body {
            switch: Switch::Frozen(freeze),
            ..body.clone()
        };
        if let Swap::Swapped(_) = self
            .directory
            .store
            .swap_integration(&body.encode(id, stored.row.slug.as_ref())?, stored.revision)
            .await?
        {
            self.journal.emit(id, None, What::FreezeDone);
        }
        Ok(())
    }

    /// Removes an integration that has no connections.
    ///
    /// # Errors
    /// `integration_in_use`, `integration_not_found`; `store_moved`, `store_arriving`.
    pub(crate) async fn remove(
        &self,
        id: &IntegrationId,
        connections: &dyn ConnectionStore,
    ) -> Result<(), Error> {
        for _ in 0..limits::UPDATE_TRIES {
            let Some(stored) = self.directory.store.integration(id).await? else {
                return Err(Code::IntegrationNotFound.into());
            };
            if let Ok(body) = Body::decode(&stored) {
                body.ensure_not_migrated()?;
            }
            if connections.has_connections(id).await? {
                return Err(Code::IntegrationInUse.into());
            }
            match self.directory.store.remove_integration(id, stored.revision).await {
                // Missing: by an earlier try of this very call, or somebody else's. It is gone.
                Ok(Removed::Gone | Removed::Missing) => {
                    self.directory.forget(id);
                    return Ok(());
                }
                Ok(Removed::Conflict) => {}
                // It may be gone all the same.
                Err(_) if matches!(self.directory.store.integration(id).await, Ok(None)) => {
                    self.directory.forget(id);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Code::IntegrationConflict.into())
    }

    async fn change(
        &self,
        id: &IntegrationId,
        change: impl Fn(&mut Body, &Offering) -> Result<(), Error>,
    ) -> Result<Arc<Loaded>, Error> {
        self.change_if(id, |body, _, offering| change(body, offering))
            .await
    }

    async fn change_if(
        &self,
        id: &IntegrationId,
        change: impl Fn(&mut Body, Revision, &Offering) -> Result<(), Error>,
    ) -> Result<Arc<Loaded>, Error> {
        for _ in 0..limits::UPDATE_TRIES {
            let (stored, loaded) = self.directory.load(id).await?;
            loaded.body.ensure_not_migrated()?;
            let mut body = loaded.body.clone();
            change(&mut body, stored.revision, &loaded.offering)?;
            if let Some(changed) = self.replace(&stored, &body).await? {
                return Ok(changed);
            }
        }
        Err(Code::IntegrationConflict.into())
    }

    /// Puts another body in place of the one that was read; `None` if the row is another one by now, or gone.
    pub(super) async fn replace(
        &self,
        stored: &StoredIntegration,
        body: &Body,
    ) -> Result<Option<Arc<Loaded>>, Error> {
        let row = body.encode(&stored.row.id, stored.row.slug.as_ref())?;
        match self
            .directory
            .store
            .swap_integration(&row, stored.revision)
            .await?
        {
            Swap::Swapped(revision) => {
                let kept = self.directory.keep(&StoredIntegration { row, revision }).await?;
                Ok(Some(kept))
            }
            Swap::Conflict | Swap::Missing => Ok(None),
        }
    }

    /// Checks everything that can be checked without asking the provider.
    pub(super) fn check(&self, body: &mut Body, offering: &Offering) -> Result<(), Error> {
        let invalid = |field| Error::new(Code::FieldInvalid).because(field);
        let visible = |text: &str| text.chars().all(|c| !c.is_control());
        if !(1..=limits::NAME).contains(&body.name.chars().count()) || !visible(&body.name) {
            return Err(invalid("name"));
        }
        if !(1..=limits::CLIENT_ID).contains(&body.client_id.len())
            || !body.client_id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(invalid("client_id"));
        }
        // RFC 6749 section 3.3.
        let token = |s: &String| {
            !s.is_empty()
                && s.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
                && s.len() <= limits::SCOPE
        };
        if body.scopes.len() > limits::SCOPES || !body.scopes.iter().all(token) {
            return Err(Error::new(Code::ScopeInvalid).because("syntax"));
        }
        if offering.required_scopes.iter().any(|s| !body.scopes.contains(s)) {
            return Err(Error::new(Code::ScopeInvalid).because("required_scope_missing"));
        }
        if body.redirect_uris.len() > limits::REDIRECT_URIS {
            return Err(invalid("redirect_uris"));
        }
        for uri in &body.redirect_uris {
            RedirectUri::register(uri)?;
        }
        let (_, provider) = self.directory.offering(&offering.id)?;
        let loopback = self.directory.urls.allow_loopback;
        provider
            .check_options(offering, &body.options, loopback)
            .map_err(|error| Error::new(Code::OptionInvalid).because(error.name))
    }

    pub(super) async fn seal_secret(&self, id: &IntegrationId, secret: &Secret) -> Result<String, Error> {
        let sealed = self
            .directory
            .vault
            .seal(&secret_context(id), secret.expose().as_bytes())
            .await?;
        Ok(BASE64_STANDARD_NO_PAD.encode(sealed))
    }
}

pub(super) fn check_secret(secret: &Secret) -> Result<(), Error> {
    let text = secret.expose();
    if (1..=limits::CLIENT_SECRET).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Error::new(Code::FieldInvalid).because("client_secret"))
    }
}
