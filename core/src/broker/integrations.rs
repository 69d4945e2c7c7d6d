//! Integrations: made, verified, changed, switched off and on, removed.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::Broker;
use crate::{
    engine::Engine,
    error::{Code, Error},
    event::What,
    id::IntegrationId,
    integration::{Integration, Offering, Options},
    integrations::{Body, Loaded, Switch, secret_context},
    oauth::RedirectUri,
    provider::{Failure, Verdict},
    secret::Secret,
    store::{Inserted, Removed, StoredIntegration, Swap},
    usage::Usage,
};

/// How long a verification may take.
const VERIFY_LIMIT: Duration = Duration::from_secs(9);
const ROUNDS: u32 = 16;
/// How long a freeze takes at the least.
const FREEZING: Duration = Duration::from_secs(60);

/// An integration to create.
#[derive(Debug)]
pub struct NewIntegration {
    /// What people call it: 1 to 200 characters.
    pub name: String,
    /// The offering's id, such as `salesforce/production`.
    pub offering: String,
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret. It can be replaced, never read back.
    pub client_secret: Secret,
    /// Scopes to ask for; the offering's required ones must be among them. Empty asks for the required ones.
    pub scopes: Vec<String>,
    /// Where browsers may be sent after connecting.
    pub redirect_uris: Vec<String>,
    /// Calls allowed per calendar month (UTC).
    pub monthly_limit: Option<u64>,
    /// Options for the provider.
    pub options: Options,
}

/// What to change of an integration. The client secret has a method of its own.
#[derive(Clone, Debug, Default)]
pub struct IntegrationUpdate {
    /// A new name.
    pub name: Option<String>,
    /// A new client id; it is verified.
    pub client_id: Option<String>,
    /// New scopes, for connections to come.
    pub scopes: Option<Vec<String>>,
    /// New redirect URIs, in place of all old ones.
    pub redirect_uris: Option<Vec<String>>,
    /// A new limit; `Some(None)` takes it away.
    pub monthly_limit: Option<Option<u64>>,
    /// New options, in place of all old ones; they are verified.
    pub options: Option<Options>,
}

impl Broker {
    /// Creates an integration and verifies its client id and secret with the provider. If they are refused or the
    /// provider cannot be reached, it is a draft, and `state_reason` says why.
    ///
    /// # Errors
    /// `offering_unknown`, `field_invalid`, `scope_invalid`, `redirect_uri_invalid`, `option_invalid`.
    pub async fn create_integration(&self, new: NewIntegration) -> Result<Integration, Error> {
        let engine = &self.engine;
        let (offering, _) = engine.offering(&new.offering)?;
        engine.integrations.not_moved(engine).await?;
        let NewIntegration {
            name,
            client_id,
            client_secret,
            scopes,
            redirect_uris,
            monthly_limit,
            options,
            ..
        } = new;
        check_secret(&client_secret)?;
        let id = IntegrationId::generate();
        let mut body = Body {
            name,
            offering: offering.id.clone(),
            client_id,
            secret: engine.seal_secret(&id, &client_secret).await?,
            scopes: if scopes.is_empty() {
                offering.required_scopes.clone()
            } else {
                scopes
            },
            redirect_uris,
            monthly_limit,
            options,
            verified: false,
            state_reason: "not_verified".to_owned(),
            switch: Switch::On,
            created_at: engine.clock.wall(),
            mark: None,
        };
        self.check(&mut body, &offering)?;
        match engine
            .stores
            .integrations
            .insert_integration(&body.encode(&id))
            .await?
        {
            Inserted::Created(_) => self.verify_integration(&id).await,
            Inserted::Occupied => Err(Code::IntegrationConflict.into()),
        }
    }

    /// An integration as it stands.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn integration(&self, id: &IntegrationId) -> Result<Integration, Error> {
        Ok(self.loaded(id).await?.1.view())
    }

    /// All integrations.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn integrations(&self) -> Result<Vec<Integration>, Error> {
        let engine = &self.engine;
        let mut all = Vec::new();
        for stored in engine.integrations.rows(engine).await? {
            all.push(engine.integrations.keep(engine, &stored).await?.view());
        }
        Ok(all)
    }

    /// Changes an integration. What the provider must know of is verified again.
    ///
    /// # Errors
    /// As [`Broker::create_integration`]; `integration_not_found`.
    pub async fn update_integration(
        &self,
        id: &IntegrationId,
        update: IntegrationUpdate,
    ) -> Result<Integration, Error> {
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
                self.check(body, offering)
            })
            .await?;
        if verify {
            self.verify_integration(id).await
        } else {
            Ok(changed.view())
        }
    }

    /// Replaces the client secret and verifies it.
    ///
    /// # Errors
    /// `integration_not_found`, `field_invalid`.
    pub async fn set_client_secret(&self, id: &IntegrationId, secret: Secret) -> Result<Integration, Error> {
        check_secret(&secret)?;
        let sealed = self.engine.seal_secret(id, &secret).await?;
        self.change(id, |body, _| {
            body.secret.clone_from(&sealed);
            Ok(())
        })
        .await?;
        self.verify_integration(id).await
    }

    /// Asks the provider whether client id and secret are right. Wrong ones make a draft of the integration; a provider
    /// that cannot be reached changes nothing but the reason.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn verify_integration(&self, id: &IntegrationId) -> Result<Integration, Error> {
        let engine = &self.engine;
        let (stored, integration) = self.loaded(id).await?;
        let (http, client) = (engine.http(), integration.client());
        let verify = integration.provider.verify_client(&http, &client);
        let answer = tokio::time::timeout(VERIFY_LIMIT, verify)
            .await
            .unwrap_or(Err(Failure::Unknown(crate::connection::Reason::AnswerLost)));
        let (verified, reason) = match &answer {
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
                // Somebody changed it while the provider was asked: that change is verified by whoever made it.
                if revision == checked {
                    body.verified = verified;
                    reason.clone_into(&mut body.state_reason);
                }
                Ok(())
            })
            .await?;
        if verified && !integration.body.verified {
            engine.emit(id, None, What::IntegrationConfigured);
        }
        Ok(changed.view())
    }

    /// Switches an integration off: within a second no process serves its connections. Running refreshes store their
    /// sets, and keep-alive goes on.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn disable_integration(&self, id: &IntegrationId) -> Result<Integration, Error> {
        self.switch(id, Switch::Disabled, What::IntegrationDisabled).await
    }

    /// Switches an integration on again. A frozen one can be once all its connections are revoked.
    ///
    /// # Errors
    /// `integration_not_found`, `integration_freezing`.
    pub async fn enable_integration(&self, id: &IntegrationId) -> Result<Integration, Error> {
        self.switch(id, Switch::On, What::IntegrationEnabled).await
    }

    async fn switch(&self, id: &IntegrationId, to: Switch, what: What) -> Result<Integration, Error> {
        let changed = self
            .change(id, |body, _| {
                if matches!(&body.switch, Switch::Frozen(freeze) if !freeze.done) {
                    return Err(Error::new(Code::IntegrationFreezing).retry_after(FREEZING));
                }
                body.switch = to.clone();
                Ok(())
            })
            .await?;
        self.engine.emit(id, None, what);
        Ok(changed.view())
    }

    /// Removes an integration that has no connections, and its keys.
    ///
    /// # Errors
    /// `integration_in_use`, `integration_not_found`; `store_unavailable`, after which the call may be repeated.
    ///
    /// # Cancel safety
    /// It runs in a task of the broker's own: no key outlives its integration because a caller went away.
    pub async fn delete_integration(&self, id: &IntegrationId) -> Result<(), Error> {
        let (broker, id) = (self.clone(), id.clone());
        let work = async move { broker.remove(&id).await };
        let aborted = || Error::new(Code::Internal).because("delete_aborted");
        self.engine.tasks.run(work).await.ok_or_else(aborted)?
    }

    async fn remove(&self, id: &IntegrationId) -> Result<(), Error> {
        let stores = &self.engine.stores;
        for _ in 0..ROUNDS {
            let Some(stored) = stores.integrations.integration(id).await? else {
                // Whoever removed it may not have come to its keys.
                stores.keys.remove_keys(id).await?;
                return Err(Code::IntegrationNotFound.into());
            };
            if let Ok(body) = Body::decode(&stored) {
                body.here()?;
            }
            if stores.connections.has_connections(id).await? {
                return Err(Code::IntegrationInUse.into());
            }
            let removed = stores.integrations.remove_integration(id, stored.revision).await;
            match removed {
                Ok(Removed::Gone) => {
                    self.engine.integrations.forget(id);
                    return Ok(stores.keys.remove_keys(id).await?);
                }
                Ok(Removed::Missing | Removed::Conflict) => {}
                // It may be gone all the same.
                Err(_) if matches!(stores.integrations.integration(id).await, Ok(None)) => {
                    self.engine.integrations.forget(id);
                    return Ok(stores.keys.remove_keys(id).await?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Code::IntegrationConflict.into())
    }

    /// The calls of the present calendar month (UTC).
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn usage(&self, id: &IntegrationId) -> Result<Usage, Error> {
        let engine = &self.engine;
        let limit = engine.integrations.get(engine, id).await?.body.monthly_limit;
        engine
            .meter
            .usage(&engine.tasks, &engine.stores, &*engine.clock, id, limit)
            .await
    }

    /// Read from the store, not from memory.
    pub(super) async fn loaded(&self, id: &IntegrationId) -> Result<(StoredIntegration, Arc<Loaded>), Error> {
        let engine = &self.engine;
        let stored = engine
            .stores
            .integrations
            .integration(id)
            .await?
            .ok_or(Code::IntegrationNotFound)?;
        let loaded = engine.integrations.keep(engine, &stored).await?;
        Ok((stored, loaded))
    }

    pub(super) async fn change(
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
        change: impl Fn(&mut Body, crate::store::Revision, &Offering) -> Result<(), Error>,
    ) -> Result<Arc<Loaded>, Error> {
        let engine = &self.engine;
        for _ in 0..ROUNDS {
            let (stored, loaded) = self.loaded(id).await?;
            loaded.body.here()?;
            let mut body = loaded.body.clone();
            change(&mut body, stored.revision, &loaded.offering)?;
            let row = body.encode(id);
            match engine
                .stores
                .integrations
                .swap_integration(&row, stored.revision)
                .await?
            {
                Swap::Swapped(revision) => {
                    return engine
                        .integrations
                        .keep(engine, &StoredIntegration { row, revision })
                        .await;
                }
                Swap::Conflict => {}
                Swap::Missing => return Err(Code::IntegrationNotFound.into()),
            }
        }
        Err(Code::IntegrationConflict.into())
    }

    /// Checks everything that can be checked without asking the provider.
    fn check(&self, body: &mut Body, offering: &Offering) -> Result<(), Error> {
        let invalid = |field| Error::new(Code::FieldInvalid).because(field);
        let visible = |text: &str| text.chars().all(|c| !c.is_control());
        if !(1..=200).contains(&body.name.chars().count()) || !visible(&body.name) {
            return Err(invalid("name"));
        }
        if !(1..=512).contains(&body.client_id.len()) || !body.client_id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(invalid("client_id"));
        }
        // RFC 6749 section 3.3.
        let token = |s: &String| {
            !s.is_empty()
                && s.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
                && s.len() <= 128
        };
        if body.scopes.len() > 64 || !body.scopes.iter().all(token) {
            return Err(Error::new(Code::ScopeInvalid).because("syntax"));
        }
        if offering.required_scopes.iter().any(|s| !body.scopes.contains(s)) {
            return Err(Error::new(Code::ScopeInvalid).because("required_scope_missing"));
        }
        if body.redirect_uris.len() > 50 {
            return Err(invalid("redirect_uris"));
        }
        for uri in &body.redirect_uris {
            RedirectUri::register(uri)?;
        }
        let (_, provider) = self.engine.offering(&offering.id)?;
        let loopback = self.engine.settings.allow_loopback;
        provider
            .check_options(offering, &body.options, loopback)
            .map_err(|error| Error::new(Code::OptionInvalid).because(error.name))
    }
}

fn check_secret(secret: &Secret) -> Result<(), Error> {
    let text = secret.expose();
    if (1..=2048).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Error::new(Code::FieldInvalid).because("client_secret"))
    }
}

impl Engine {
    async fn seal_secret(&self, id: &IntegrationId, secret: &Secret) -> Result<String, Error> {
        let sealed = self
            .vault
            .seal(&secret_context(id), secret.expose().as_bytes())
            .await?;
        Ok(BASE64_STANDARD_NO_PAD.encode(sealed))
    }
}
