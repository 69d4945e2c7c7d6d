//! The contract between the broker and a store.
//!
//! A store keeps rows. It needs no cryptography, never sees a plaintext token and never decides anything: every decision
//! is a pure function in core, written back by compare-and-swap on the row's [`Revision`].
//!
//! To be correct, every implementation must keep these rules:
//! 1. A write is atomic. Once its future has resolved to `Ok`, the write is durable as the store promises, and visible to
//!    every other handle.
//! 2. Dropping a future at any await leaves its write wholly applied or wholly unapplied. A write that was in flight may be
//!    applied shortly after the drop, but not after a later write of the same row was acknowledged.
//! 3. An `Err` from a write means *unknown outcome*: the engine reads again. Expected outcomes are `Ok`.
//! 4. An `Err` from a read says nothing about the row. A row that does not exist is `Ok`.
//! 5. Bodies and digests are opaque: never logged, never indexed, never inspected.
//!
//! No method has a default, so that a store around another one cannot forget to pass one on.
//!
//! Row and filter types are exhaustive structs, and a store destructures them: a column that is added here is a compile
//! error there, not lost data. Everything else grows inside the opaque `body`.

mod connection;
mod integration;
mod key;
pub mod memory;
mod pending;
mod usage;

use std::{fmt, sync::Arc};

pub use connection::{
    Change, Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Index, ListEntry,
    Page, Point, StatusFilter, Stored,
};
pub use integration::{IntegrationRow, IntegrationStore, StoredIntegration};
pub use key::{KeyInserted, KeyKind, KeyRevoked, KeyRow, KeyStore};
pub use memory::MemoryStore;
pub use pending::{PendingRow, PendingStore, Put, Taken};
pub use usage::{Charged, DayCount, UsageKey, UsageStore};

use crate::error::{Code, Error};

/// The version of a row: a counter and a random write id, compared whole. The store makes a new one at every swap, so
/// that a store that was rolled back cannot match a snapshot of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Grows by one at every write of the row.
    pub counter: u64,
    /// Random, new at every write.
    pub write: u128,
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Inserted {
    /// The row is stored.
    Created(Revision),
    /// A row with this id exists; nothing was changed.
    Occupied,
}

/// What became of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// The row is replaced.
    Swapped(Revision),
    /// The row has another revision; nothing was changed.
    Conflict,
    /// There is no such row.
    Missing,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Removed {
    /// The row is gone.
    Gone,
    /// The row has another revision; nothing was changed.
    Conflict,
    /// There is no such row.
    Missing,
}

/// What kind of failure a store had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It may pass: the store cannot be reached, is full or is busy.
    Unavailable,
    /// A row does not decode, or the data is damaged.
    Corrupt,
    /// A mistake of the caller or of the schema.
    Invalid,
}

/// What an operator should know of how a store keeps what is written: what it cannot promise, or could not find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Stable, in lower case with underscores, for instance `redis_durability_unknown`.
    pub code: &'static str,
    /// What it means and what to do, with counts where there are some. It holds no secret.
    pub message: String,
}

/// A failure of a store. From a write it means that the outcome is unknown.
#[derive(thiserror::Error)]
#[error("store: {operation} failed: {kind:?}")]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// A failure of `operation`. The source gets into the operator's log, and must not hold bound values.
    pub fn new(
        kind: StoreErrorKind,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            operation,
            source: Some(source.into()),
        }
    }

    /// A failure without a cause of its own.
    pub fn bare(kind: StoreErrorKind, operation: &'static str) -> Self {
        Self {
            kind,
            operation,
            source: None,
        }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({}, {:?})", self.operation, self.kind)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unavailable => Self::new(Code::StoreUnavailable),
            StoreErrorKind::Corrupt | StoreErrorKind::Invalid => Self::new(Code::StoreCorrupt),
        }
        .because(error.operation)
        .caused_by(error)
    }
}

/// The five roles. They may be played by different stores: usage on Redis, connections on SQLite.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Keeps connections.
    pub connections: Arc<dyn ConnectionStore>,
    /// Keeps integrations.
    pub integrations: Arc<dyn IntegrationStore>,
    /// Keeps connect attempts.
    pub pending: Arc<dyn PendingStore>,
    /// Keeps API and public keys.
    pub keys: Arc<dyn KeyStore>,
    /// Counts calls.
    pub usage: Arc<dyn UsageStore>,
}

impl<S> From<S> for Stores
where
    S: ConnectionStore + IntegrationStore + PendingStore + KeyStore + UsageStore + Clone,
{
    fn from(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            connections: store.clone(),
            integrations: store.clone(),
            pending: store.clone(),
            keys: store.clone(),
            usage: store,
        }
    }
}
