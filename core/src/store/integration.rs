//! The role that keeps integrations.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Inserted, Removed, Revision, StoreError, Swap};
use crate::id::{IntegrationId, Slug};

/// A row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationRow {
    /// The row's id.
    pub id: IntegrationId,
    /// What the application calls it. Unique; given when the row is created, and kept for as long as the row exists.
    pub slug: Option<Slug>,
    /// Opaque.
    pub body: Bytes,
}

/// A row that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIntegration {
    /// The row.
    pub row: IntegrationRow,
    /// Its version.
    pub revision: Revision,
}

/// Keeps integrations. There are few of them, and they rarely change.
#[async_trait]
pub trait IntegrationStore: fmt::Debug + Send + Sync + 'static {
    /// Creates the row unless its id or its slug is taken. Of any two calls with one slug, in any processes, one creates a
    /// row.
    ///
    /// # Errors
    /// Unknown outcome: the row may have been created. Read it to find out.
    ///
    /// # Cancel safety
    /// The row is created whole or not at all, possibly shortly after the drop.
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError>;

    /// Reads a row.
    ///
    /// # Errors
    /// The row could not be read. Whether it exists is not known; a missing row is `Ok(None)`.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError>;

    /// Reads the row with this slug.
    ///
    /// # Errors
    /// As [`IntegrationStore::integration`].
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn integration_by_slug(&self, slug: &Slug) -> Result<Option<StoredIntegration>, StoreError>;

    /// Replaces the body of the row if its revision is `expected`. The row keeps its slug, whatever `next` says.
    ///
    /// # Errors
    /// Unknown outcome: the row may have been replaced. Read it before trying again.
    ///
    /// # Cancel safety
    /// The row is replaced whole or not at all, possibly shortly after the drop. `expected` fences it: a late swap never
    /// overwrites a newer row.
    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError>;

    /// Removes the row if its revision is `expected`. Its slug is free then.
    ///
    /// # Errors
    /// Unknown outcome: the row may be gone. Trying again reports [`Removed::Missing`] then.
    ///
    /// # Cancel safety
    /// The row is removed whole or not at all, possibly shortly after the drop. `expected` fences it.
    async fn remove_integration(&self, id: &IntegrationId, expected: Revision)
    -> Result<Removed, StoreError>;

    /// All rows, ascending by id: at most `limit` above `after`.
    ///
    /// # Errors
    /// The rows could not be read, or one of them does not decode.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError>;

    /// A number that changes with every write of any integration. Cheap: every process polls it four times a second.
    ///
    /// # Errors
    /// The number could not be read. It says nothing about changes; the caller asks again.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn integrations_version(&self) -> Result<u64, StoreError>;
}
