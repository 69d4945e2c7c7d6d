//! An integration is brought to what an application declares, by whichever of its processes comes first.

use std::sync::Arc;

use super::{
    body::Body,
    change::{Editor, NOT_VERIFIED, check_secret},
    limits,
    loaded::Loaded,
};
use crate::{
    error::{Code, Error},
    id::Slug,
    integration::{IntegrationState, NewIntegration},
};

impl Editor {
    /// Creates the integration with this slug, or changes what differs from `new`; nothing is written if nothing does. The
    /// provider is asked about what it must know of if that is new or changed, and about a draft.
    ///
    /// # Errors
    /// `offering_mismatch`; those of [`Editor::create`] and [`Editor::update`].
    pub(crate) async fn ensure(&self, slug: &Slug, new: &NewIntegration) -> Result<Arc<Loaded>, Error> {
        let (offering, _) = self.directory.offering(&new.offering)?;
        check_secret(&new.client_secret)?;
        for _ in 0..limits::UPDATE_TRIES {
            let Some(stored) = self.directory.store.integration_by_slug(slug).await? else {
                match self.create(new).await {
                    Ok(id) => return self.verify(&id).await,
                    // Another process came first.
                    Err(error) if error.code() == Code::SlugTaken => continue,
                    Err(error) => return Err(error),
                }
            };
            let before = self.directory.keep(&stored).await?;
            before.body.ensure_not_migrated()?;
            if before.offering.id != offering.id {
                return Err(Code::OfferingMismatch.into());
            }
            let mut body = before.body.clone();
            body.declare(new, &offering);
            if before.secret != new.client_secret {
                body.secret = self.seal_secret(&before.id, &new.client_secret).await?;
            }
            self.check(&mut body, &offering)?;
            let client = |body: &Body| (body.client_id.clone(), body.secret.clone(), body.options.clone());
            let changed = client(&body) != client(&before.body);
            if changed {
                NOT_VERIFIED.clone_into(&mut body.state_reason);
            }
            let draft = before.body.state() == IntegrationState::Draft;
            let verify = changed || draft || !before.body.state_reason.is_empty();
            let after = if body == before.body {
                before
            } else {
                match self.replace(&stored, &body).await? {
                    Some(after) => after,
                    None => continue,
                }
            };
            return if verify {
                self.verify(&after.id).await
            } else {
                Ok(after)
            };
        }
        Err(Code::IntegrationConflict.into())
    }
}
