//! Integrations in memory.

use std::ops::Bound;

use async_trait::async_trait;

use super::store::{MemoryStore, next_revision};
use crate::{
    id::{IntegrationId, Slug},
    store::{
        Inserted, IntegrationRow, IntegrationStore, Removed, Revision, StoreError, StoredIntegration, Swap,
    },
};

#[async_trait]
impl IntegrationStore for MemoryStore {
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError> {
        let revision = next_revision(0, "insert_integration")?;
        let integrations = &mut self.state().integrations;
        let slug_taken = row
            .slug
            .as_ref()
            .is_some_and(|slug| integrations.named(slug).is_some());
        if slug_taken || integrations.rows.contains_key(&row.id) {
            return Ok(Inserted::Occupied);
        }
        integrations.put(row, revision);
        Ok(Inserted::Created(revision))
    }

    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError> {
        Ok(self.state().integrations.rows.get(id).cloned())
    }

    async fn integration_by_slug(&self, slug: &Slug) -> Result<Option<StoredIntegration>, StoreError> {
        Ok(self.state().integrations.named(slug).cloned())
    }

    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = next_revision(expected.counter, "swap_integration")?;
        let integrations = &mut self.state().integrations;
        match integrations.rows.get(&next.id) {
            None => Ok(Swap::Missing),
            Some(stored) if stored.revision != expected => Ok(Swap::Conflict),
            Some(stored) => {
                let slug = stored.row.slug.clone();
                integrations.put(&IntegrationRow { slug, ..next.clone() }, revision);
                Ok(Swap::Swapped(revision))
            }
        }
    }

    async fn remove_integration(
        &self,
        id: &IntegrationId,
        expected: Revision,
    ) -> Result<Removed, StoreError> {
        let integrations = &mut self.state().integrations;
        match integrations.rows.get(id) {
            None => Ok(Removed::Missing),
            Some(stored) if stored.revision != expected => Ok(Removed::Conflict),
            Some(_) => {
                integrations.rows.remove(id);
                integrations.version += 1;
                Ok(Removed::Gone)
            }
        }
    }

    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let state = self.state();
        let rows = state
            .integrations
            .rows
            .range::<IntegrationId, _>((above, Bound::Unbounded));
        Ok(rows.take(limit).map(|(_, stored)| stored.clone()).collect())
    }

    async fn integrations_version(&self) -> Result<u64, StoreError> {
        Ok(self.state().integrations.version)
    }
}
