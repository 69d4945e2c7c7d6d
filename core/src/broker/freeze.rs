//! The switch for bad days.

use super::Broker;
use crate::{
    error::{Code, Error},
    id::IntegrationId,
    integration::IntegrationView,
};

impl Broker {
    /// Freezes an integration, after a suspected leak say: within a second no process serves or refreshes its
    /// connections, and every connection is revoked, here and then at the provider. The revocations survive a crash, are
    /// sent at the sweep's pace ([`KeepAlive::at_once`](super::KeepAlive::at_once)) and go on in whichever process runs.
    /// A token set that comes back later is revoked, too.
    ///
    /// [`Broker::enable_integration`] ends a freeze once all connections are revoked; their users then connect again.
    /// `reason` is shown as the integration's `state_reason`: 1 to 200 visible characters.
    ///
    /// # Errors
    /// `integration_not_found`, `field_invalid`.
    ///
    /// # Cancel safety
    /// Dropped before it is answered, the integration is frozen wholly or not at all.
    pub async fn freeze_integration(
        &self,
        id: &IntegrationId,
        reason: &str,
    ) -> Result<IntegrationView, Error> {
        check_reason(reason)?;
        let now = self.parts.clock.wall();
        let frozen = self.parts.editor.freeze(id, reason, now).await?;
        self.parts.sweep_soon.notify_one();
        Ok(frozen.view())
    }

    /// Freezes every integration. If it fails some may be frozen and others not: repeat it.
    ///
    /// # Errors
    /// `field_invalid`; those of the store.
    ///
    /// # Cancel safety
    /// Dropped before it is answered, some integrations may be frozen and others not.
    pub async fn freeze_all(&self, reason: &str) -> Result<Vec<IntegrationView>, Error> {
        check_reason(reason)?;
        let mut frozen = Vec::new();
        for integration in self.integrations().await? {
            match self.freeze_integration(&integration.id, reason).await {
                Ok(integration) => frozen.push(integration),
                Err(error) if error.code() == Code::IntegrationNotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(frozen)
    }
}

fn check_reason(reason: &str) -> Result<(), Error> {
    if (1..=200).contains(&reason.chars().count()) && !reason.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Error::new(Code::FieldInvalid).because("reason"))
    }
}
