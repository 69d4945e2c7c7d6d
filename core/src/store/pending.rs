//! The role that keeps connect attempts and other single-use items.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::time::Timestamp;

/// A single-use item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// The digest of what its user presents, which itself is never stored.
    pub key: [u8; 32],
    /// The digest of who may use it.
    pub guard: [u8; 32],
    /// From then on it counts as missing.
    pub expires_at: Timestamp,
    /// Opaque.
    pub body: Bytes,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// The row is stored.
    Stored,
    /// A row with this key exists; nothing was changed.
    Occupied,
}

/// What became of a take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// The row, which no one else ever gets.
    Row(Bytes),
    /// The row exists, but its guard differs; it was not removed.
    Guarded,
    /// There is no such row, or it has expired.
    Missing,
}

/// Keeps single-use items.
#[async_trait]
pub trait PendingStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the row unless its key is taken.
    ///
    /// # Errors
    /// Unknown outcome: the row may have been stored. Keys are digests of random values, so an unknown row is never taken,
    /// and is purged once it has expired.
    ///
    /// # Cancel safety
    /// The row is stored whole or not at all, possibly shortly after the drop.
    async fn put_pending(&self, row: &PendingRow) -> Result<Put, StoreError>;

    /// Gives the row to exactly one caller, over all processes, and removes it: but only if `guard` is its guard and
    /// `now` is before its expiry.
    ///
    /// # Errors
    /// Unknown outcome: the row may be gone without anyone having it. Its user begins again.
    ///
    /// # Cancel safety
    /// The row is still there for one other caller, or is gone; it is never given twice.
    async fn take_pending(
        &self,
        key: &[u8; 32],
        guard: &[u8; 32],
        now: Timestamp,
    ) -> Result<Taken, StoreError>;

    /// Removes at most `limit` expired rows and returns how many.
    ///
    /// # Errors
    /// Unknown outcome: some expired rows may have been removed. They cannot be taken anyway.
    ///
    /// # Cancel safety
    /// Some of the expired rows may have been removed.
    async fn purge_pending(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError>;
}
