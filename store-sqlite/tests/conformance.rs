//! The store passes the suite. Every handle opens the file anew, as another process would.
#![allow(missing_docs, reason = "the cases are documented where they are defined")]
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use grantry::conformance::Fixture;
use grantry_store_sqlite::SqliteStore;
use tempfile::TempDir;

struct File(TempDir);

impl File {
    fn fresh() -> Self {
        Self(TempDir::new().unwrap())
    }
}

impl Fixture for File {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.0.path().join("store.db")).await.unwrap()
    }
}

grantry::store_conformance!(File::fresh());
