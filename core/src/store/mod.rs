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
//! 4. An `Err` from a read tells nothing about the row. A row that does not exist is `Ok`.
//! 5. Bodies and digests are opaque: never logged, never indexed, never inspected.
//!
//! No method has a default, so that a store around another one cannot forget to pass one on.
//!
//! Row and filter types are exhaustive structs, and a store destructures them: a column that is added here is a compile
//! error there, not lost data. Everything else grows inside the opaque `body`.

mod connection;
mod failure;
mod integration;
mod key;
pub mod memory;
mod outcome;
mod pending;
mod roles;
mod usage;

pub use connection::{
    Change, Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Index, ListEntry,
    Page, Point, StatusFilter, Stored,
};
pub use failure::{StoreError, StoreErrorKind};
pub use integration::{IntegrationRow, IntegrationStore, StoredIntegration};
pub use key::{KeyInserted, KeyKind, KeyRevoked, KeyRow, KeyStore};
pub use memory::MemoryStore;
pub use outcome::{Inserted, Removed, Revision, Swap, Warning};
pub use pending::{PendingRow, PendingStore, Put, Taken};
pub use roles::Stores;
pub use usage::{Charged, DayCount, UsageKey, UsageStore};
