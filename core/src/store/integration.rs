//! The role that keeps integrations.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Inserted, Removed, Revision, StoreError, Swap};
use crate::id::IntegrationId;

/// A row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationRow {
    /// The row's id.
    pub id: IntegrationId,
    /// Opaque.
    pub body: Bytes,
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIntegration {
    /// The row.
    pub row: IntegrationRow,
    /// Its version.
    pub revision: Revision,
}

/// Keeps integrations. There are few of them, and they change seldom.
#[async_trait]
pub trait IntegrationStore: fmt::Debug + Send + Sync + 'static {
    /// Creates the row unless the id is taken.
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError>;

    /// Reads a row.
    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError>;

    /// Replaces the row if its revision is `expected`.
    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError>;

    /// Removes the row if its revision is `expected`.
    async fn remove_integration(&self, id: &IntegrationId, expected: Revision)
    -> Result<Removed, StoreError>;

    /// All rows, ascending by id: at most `limit` above `after`.
    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError>;

    /// A number that moves whenever any integration is written. Cheap: every process asks four times a second.
    async fn integrations_version(&self) -> Result<u64, StoreError>;
}
