//! A store in memory, for tests and for hosts that may forget. It is also the example that authors of stores copy: one
//! file for each role, and every rule of the [contract](super) named where it is kept.
//!
//! All roles share one lock, so every call is atomic, and no lock is held at an await, so a dropped future has either
//! not begun or is done.

mod connection;
mod connections;
mod integration;
mod integrations;
mod key;
mod pending;
mod store;
mod usage;

pub use store::MemoryStore;
