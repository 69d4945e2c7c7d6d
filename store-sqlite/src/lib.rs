//! Keeps Grantry's connections in one SQLite file, for any number of processes on one machine.
//!
//! ```no_run
//! use grantry_store_sqlite::SqliteStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("grantry.db").await?;
//! let stores = grantry::store::Stores::from(store.clone());
//! // … give them to the broker, and at the end:
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//! - An acknowledged write survives a crash of the process and a power failure. The exceptions are usage and the
//!   facts of `touch`: they survive a crash, but a power failure may undo the latest of them.
//! - Writes of one process are committed in groups, so that concurrent refreshes share one sync of the disk.
//! - Reads run inline, and no write ever blocks them.
//! - Reading a page takes time in proportion to the page, not to the table, for every list.
//! - A file that is not a store, is damaged, was written by a newer release, is readable by other users or is on a
//!   network file system is refused with a stable code, and is not modified.
//!
//! # Time
//! A lease runs on the machine's boot clock, named after the boot; see [`StoreInstant`]. All processes that share the
//! file must run on one machine.

mod backup;
mod changes;
mod clock;
mod config;
mod connection;
mod error;
mod file;
mod hash;
mod integration;
mod key;
mod list;
mod pending;
mod position;
mod reader;
mod row;
mod schema;
mod search;
mod usage;
mod writer;

use std::{fmt, path::Path, sync::Arc};

use grantry::{store::StoreError, time::StoreInstant};
use rusqlite::Connection;

pub use config::SqliteBuilder;
pub use error::OpenError;

use clock::StoreClock;
use reader::Readers;
use writer::{Durability, Writer};

/// A store in a SQLite file. It plays all five roles; clones share it.
///
/// When the last clone is dropped, its thread finishes what is queued and ends; [`SqliteStore::close`] waits for
/// that.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Writer,
    readers: Readers,
    clock: StoreClock,
}

impl SqliteStore {
    pub(crate) fn new(writer: Writer, readers: Readers, clock: StoreClock) -> Self {
        Self {
            shared: Arc::new(Shared {
                writer,
                readers,
                clock,
            }),
        }
    }

    /// Copies the store as of now to a new file with mode 0600, while it is in use. Copying the file by other means
    /// loses what is in SQLite's write-ahead log. Keep the copy apart from the keys that open its sealed data.
    ///
    /// Refresh tokens in a backup may have been spent by the time it is restored.
    ///
    /// # Errors
    /// [`OpenError::NotWritable`] if the file exists or cannot be created; other variants if copying fails.
    ///
    /// # Cancel safety
    /// Copying continues to its end.
    pub async fn backup_to(&self, path: impl AsRef<Path>) -> Result<(), OpenError> {
        let path = path.as_ref().to_owned();
        let shared = self.shared.clone();
        let target = path.clone();
        let copied = tokio::task::spawn_blocking(move || shared.readers.copy_to(&target));
        copied.await.unwrap_or_else(|_| {
            Err(OpenError::Unavailable {
                path,
                detail: "the copy was given up".to_owned(),
            })
        })
    }

    /// Finishes queued writes and closes the file. Later writes of other clones fail.
    ///
    /// # Cancel safety
    /// The file is closed all the same, provided the future was polled once.
    pub async fn close(self) {
        self.shared.readers.close();
        self.shared.writer.close().await;
    }

    fn now(&self) -> StoreInstant {
        self.shared.clock.now()
    }

    fn read<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.shared.readers.run(operation, read)
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shared.writer.run(operation, durability, work).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("clock", &self.shared.clock)
            .finish_non_exhaustive()
    }
}
