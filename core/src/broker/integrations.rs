//! Integrations, as a host handles them.

use super::Broker;
use crate::{
    engine::directory::Switch,
    error::{Code, Error},
    event::What,
    id::IntegrationId,
    integration::{IntegrationUpdate, IntegrationView, NewIntegration},
    secret::Secret,
    usage::Usage,
};

impl Broker {
    /// Creates an integration and verifies its client id and secret with the provider. If they are refused or the
    /// provider cannot be reached, it is a draft, and `state_reason` says why.
    ///
    /// # Errors
    /// `offering_unknown`, `field_invalid`, `scope_invalid`, `redirect_uri_invalid`, `option_invalid`.
    pub async fn create_integration(&self, new: NewIntegration) -> Result<IntegrationView, Error> {
        let id = self.parts.editor.create(new).await?;
        self.verify_integration(&id).await
    }

    /// An integration as it stands.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn integration(&self, id: &IntegrationId) -> Result<IntegrationView, Error> {
        Ok(self.parts.directory.load(id).await?.1.view())
    }

    /// All integrations.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn integrations(&self) -> Result<Vec<IntegrationView>, Error> {
        let directory = &self.parts.directory;
        let mut all = Vec::new();
        for stored in directory.rows().await? {
            all.push(directory.keep(&stored).await?.view());
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
    ) -> Result<IntegrationView, Error> {
        let (changed, verify) = self.parts.editor.update(id, update).await?;
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
    pub async fn set_client_secret(
        &self,
        id: &IntegrationId,
        secret: Secret,
    ) -> Result<IntegrationView, Error> {
        self.parts.editor.set_secret(id, &secret).await?;
        self.verify_integration(id).await
    }

    /// Asks the provider whether client id and secret are right. Wrong ones make a draft of the integration; a provider
    /// that cannot be reached changes nothing but the reason.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn verify_integration(&self, id: &IntegrationId) -> Result<IntegrationView, Error> {
        Ok(self.parts.editor.verify(id).await?.view())
    }

    /// Switches an integration off: within a second no process serves its connections. Running refreshes store their
    /// sets, and keep-alive goes on.
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn disable_integration(&self, id: &IntegrationId) -> Result<IntegrationView, Error> {
        let to = Switch::Disabled;
        let changed = self
            .parts
            .editor
            .switch(id, &to, What::IntegrationDisabled)
            .await?;
        Ok(changed.view())
    }

    /// Switches an integration on again. A frozen one can be once all its connections are revoked.
    ///
    /// # Errors
    /// `integration_not_found`, `integration_freezing`.
    pub async fn enable_integration(&self, id: &IntegrationId) -> Result<IntegrationView, Error> {
        let to = Switch::On;
        let changed = self
            .parts
            .editor
            .switch(id, &to, What::IntegrationEnabled)
            .await?;
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
        let (parts, id) = (self.parts.clone(), id.clone());
        let work = async move {
            let removed = parts.editor.remove(&id, &*parts.stores.connections).await;
            let gone = match &removed {
                Ok(()) => true,
                // Whoever removed it may not have come to its keys.
                Err(error) => error.code() == Code::IntegrationNotFound,
            };
            if gone {
                parts.stores.keys.remove_keys(&id).await?;
            }
            removed
        };
        let aborted = || Error::new(Code::Internal).because("delete_aborted");
        self.parts.tasks.run(work).await.ok_or_else(aborted)?
    }

    /// The calls of the present calendar month (UTC).
    ///
    /// # Errors
    /// `integration_not_found`.
    pub async fn usage(&self, id: &IntegrationId) -> Result<Usage, Error> {
        let limit = self.parts.directory.get(id).await?.body.monthly_limit;
        self.parts.meter.usage(id, limit).await
    }
}
