//! Integrations as a whole: created, listed, and frozen all at once.

use super::{Broker, parts::Shared};
use crate::{
    error::{Code, Error},
    id::{IntegrationId, Slug},
    integration::{IntegrationView, NewIntegration},
};

impl Broker {
    /// Creates an integration and verifies its client id and secret with the provider. If they are refused or the
    /// provider cannot be reached, it is a draft, and `state_reason` says why.
    ///
    /// # Errors
    /// `slug_taken`, `offering_unknown`, `field_invalid`, `scope_invalid`, `redirect_uri_invalid`, `option_invalid`.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, there may be an unverified draft.
    pub async fn create_integration(&self, new: NewIntegration) -> Result<IntegrationView, Error> {
        let editor = &self.shared.parts.editor;
        let id = editor.create(&new).await?;
        Ok(editor.verify(&id).await?.view())
    }

    /// The integration that the application calls `slug`, as it is declared: created if there is none, else changed where it
    /// differs, and left alone if it does not differ. For every process to call when it starts: of many that do so at once,
    /// one makes the integration.
    ///
    /// What is not declared is taken away, such as a limit that was set in another way. One that is switched off or frozen
    /// stays so. The client id and secret are verified with the provider when it is created, when they or an option changed,
    /// and for as long as it is a draft; a draft is no error, and its `state_reason` says why.
    ///
    /// # Errors
    /// `offering_mismatch` if it is of another offering; `field_invalid` with the reason `slug` if `new` has another slug; as
    /// [`Broker::create_integration`]. `integration_conflict` if others keep changing it.
    ///
    /// # Cancel safety
    /// Dropped before it is answered, it is created or changed wholly or not at all, and may not be verified. Call it again.
    pub async fn ensure_integration(
        &self,
        slug: &Slug,
        mut new: NewIntegration,
    ) -> Result<IntegrationView, Error> {
        if new.slug.get_or_insert_with(|| slug.clone()) != slug {
            return Err(Error::new(Code::FieldInvalid).because("slug"));
        }
        Ok(self.shared.parts.editor.ensure(slug, &new).await?.view())
    }

    /// All integrations.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn integrations(&self) -> Result<Vec<IntegrationView>, Error> {
        let directory = &self.shared.parts.directory;
        let mut all = Vec::new();
        for stored in directory.rows().await? {
            all.push(directory.keep(&stored).await?.view());
        }
        Ok(all)
    }

    /// Freezes every integration, as [`IntegrationHandle::freeze`](super::IntegrationHandle::freeze) does one. One that cannot be
    /// frozen does not keep the others from it: the first error is returned once all have been tried.
    ///
    /// # Errors
    /// `field_invalid`; those of the store.
    ///
    /// # Cancel safety
    /// If dropped before it resolves, some integrations may be frozen and others not.
    pub async fn freeze_all(&self, reason: &str) -> Result<Vec<IntegrationView>, Error> {
        check_reason(reason)?;
        let (mut frozen, mut failed) = (Vec::new(), None);
        for stored in self.shared.parts.directory.rows().await? {
            match self.shared.freeze(&stored.row.id, reason).await {
                Ok(integration) => frozen.push(integration),
                Err(error) if error.code() == Code::IntegrationNotFound => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(frozen), Err)
    }
}

impl Shared {
    pub(super) async fn freeze(&self, id: &IntegrationId, reason: &str) -> Result<IntegrationView, Error> {
        check_reason(reason)?;
        let now = self.parts.clock.wall();
        let frozen = self.parts.editor.freeze(id, reason, now).await?;
        self.parts.sweep_soon.notify_one();
        Ok(frozen.view())
    }
}

fn check_reason(reason: &str) -> Result<(), Error> {
    if (1..=200).contains(&reason.chars().count()) && !reason.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Error::new(Code::FieldInvalid).because("reason"))
    }
}
