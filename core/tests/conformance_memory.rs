//! The store in memory passes the suite.
#![cfg(feature = "conformance")]
#![allow(missing_docs, reason = "the cases are documented where they are defined")]

use grantry::{conformance::Fixture, store::MemoryStore};

#[derive(Default)]
struct Memory(MemoryStore);

impl Fixture for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

grantry::store_conformance!(Memory::default());
