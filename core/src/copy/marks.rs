//! Integrations are closed in the source and, at the end, opened in the target.

use super::{CopyError, Run};
use crate::{
    engine::directory::{Body, Mark, Role},
    id::{IntegrationId, Slug},
    store::{Inserted, Removed, StoredIntegration, Swap},
};

impl Run<'_> {
    /// Puts an integration into the target, closed, and closes it in the source: `Some(true)` if it was opened in the target
    /// before, `None` if there is nothing to do for it. They are marked in the order of their ids, so that of two copies of
    /// one source to two targets the second one stops at the first integration.
    pub(super) async fn mark(&self, id: &IntegrationId) -> Result<Option<bool>, CopyError> {
        loop {
            let source = self.from.integrations.integration(id);
            let Some(source) = source.await.map_err(CopyError::source)? else {
                // Removed since it was listed; the target's copy from an earlier run is removed, too.
                self.take_back(id).await?;
                return Ok(None);
            };
            let body = read(&source)?;
            let went = body.mark.filter(|mark| mark.role == Role::Moved);
            if went.is_some_and(|mark| mark.copy != self.copy) {
                return Err(CopyError::OtherTarget);
            }
            let target = self.to.integrations.integration(id);
            let target = target.await.map_err(CopyError::target)?;
            let marked = match &target {
                Some(stored) => read(stored)?.mark,
                None => None,
            };
            match (went, marked) {
                // The target is written first, so someone removed it there.
                (Some(_), None) => return Ok(None),
                (Some(_), Some(Mark { copy, role })) if copy == self.copy => {
                    return Ok(Some(role == Role::Arrived));
                }
                (Some(_), Some(_)) => return Err(CopyError::OtherTarget),
                (None, _) => {}
            }
            if !self.put_closed(&source, &body, target.as_ref(), marked).await? {
                continue;
            }
            let closed = self.with_mark(&body, Role::Moved).encode(id, slug_of(&source))?;
            let swap = self.from.integrations.swap_integration(&closed, source.revision);
            match swap.await.map_err(CopyError::source)? {
                Swap::Swapped(_) => return Ok(Some(false)),
                // It was changed meanwhile: the target gets the new version.
                Swap::Conflict | Swap::Missing => {}
            }
        }
    }

    /// `false` if it was changed meanwhile.
    async fn put_closed(
        &self,
        source: &StoredIntegration,
        body: &Body,
        target: Option<&StoredIntegration>,
        marked: Option<Mark>,
    ) -> Result<bool, CopyError> {
        let slug = slug_of(source);
        let row = self
            .with_mark(body, Role::Arriving)
            .encode(&source.row.id, slug)?;
        let Some(there) = target else {
            let insert = self.to.integrations.insert_integration(&row);
            if let Inserted::Created(_) = insert.await.map_err(CopyError::target)? {
                return Ok(true);
            }
            if let Some(slug) = slug {
                let holder = self.to.integrations.integration_by_slug(slug);
                let holder = holder.await.map_err(CopyError::target)?;
                if holder.is_some_and(|holder| holder.row.id != row.id) {
                    let what = format!("another integration has the slug {slug} in the target");
                    return Err(CopyError::Mismatch(what));
                }
            }
            return Ok(false);
        };
        let before = body.mark.map(|mark| mark.copy);
        let ours = marked.is_some_and(|mark| match mark.role {
            Role::Arriving => mark.copy == self.copy,
            // It returns to where it was before.
            Role::Moved => Some(mark.copy) == before,
            Role::Arrived => false,
        });
        if !ours {
            return Err(CopyError::TargetNotEmpty);
        }
        if there.row == row {
            return Ok(true);
        }
        let swap = self.to.integrations.swap_integration(&row, there.revision);
        Ok(matches!(swap.await.map_err(CopyError::target)?, Swap::Swapped(_)))
    }

    /// Opens an integration in the target.
    pub(super) async fn open(&self, id: &IntegrationId) -> Result<(), CopyError> {
        loop {
            let stored = self.to.integrations.integration(id);
            let Some(stored) = stored.await.map_err(CopyError::target)? else {
                return Ok(());
            };
            let body = read(&stored)?;
            let arriving = body
                .mark
                .is_some_and(|mark| mark.copy == self.copy && mark.role == Role::Arriving);
            if !arriving {
                return Ok(());
            }
            let row = self
                .with_mark(&body, Role::Arrived)
                .encode(id, slug_of(&stored))?;
            let swap = self.to.integrations.swap_integration(&row, stored.revision);
            if let Swap::Swapped(_) = swap.await.map_err(CopyError::target)? {
                return Ok(());
            }
        }
    }

    /// Removes integrations from the target that the source had from there, and that were removed in the source.
    pub(super) async fn remove_left_over(&self, ids: &[IntegrationId]) -> Result<(), CopyError> {
        for id in ids {
            self.remove(id, |role| role == Role::Moved).await?;
        }
        Ok(())
    }

    async fn take_back(&self, id: &IntegrationId) -> Result<(), CopyError> {
        self.remove(id, |role| role == Role::Arriving).await
    }

    async fn remove(&self, id: &IntegrationId, which: impl Fn(Role) -> bool) -> Result<(), CopyError> {
        let stored = self.to.integrations.integration(id);
        let Some(stored) = stored.await.map_err(CopyError::target)? else {
            return Ok(());
        };
        if !read(&stored)?.mark.is_some_and(|mark| which(mark.role)) {
            return Ok(());
        }
        self.to.keys.remove_keys(id).await.map_err(CopyError::target)?;
        let removed = self.to.integrations.remove_integration(id, stored.revision);
        match removed.await.map_err(CopyError::target)? {
            Removed::Gone | Removed::Missing => Ok(()),
            Removed::Conflict => Err(CopyError::Mismatch(format!(
                "integration {id} is written in the target"
            ))),
        }
    }

    fn with_mark(&self, body: &Body, role: Role) -> Body {
        let mark = Mark {
            copy: self.copy,
            role,
        };
        Body {
            mark: Some(mark),
            ..body.clone()
        }
    }
}

fn slug_of(stored: &StoredIntegration) -> Option<&Slug> {
    stored.row.slug.as_ref()
}

fn read(stored: &StoredIntegration) -> Result<Body, CopyError> {
    Body::decode(stored).map_err(|_| CopyError::Unreadable(stored.row.id.clone()))
}
