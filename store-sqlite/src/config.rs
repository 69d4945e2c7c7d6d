//! Opening a store, and the settings for that.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use grantry::time::{Clock, SystemClock};

use crate::{SqliteStore, clock::StoreClock, error::OpenError, file, reader::Readers, writer::Writer};

/// Opens a store with settings other than the defaults.
#[derive(Clone, Debug)]
pub struct SqliteBuilder {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    busy_timeout: Duration,
}

impl SqliteStore {
    /// Opens the file with default settings, and creates it if it does not exist.
    ///
    /// # Errors
    /// As [`SqliteBuilder::open`].
    ///
    /// # Cancel safety
    /// As [`SqliteBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder(path).open().await
    }

    /// Settings for opening the file.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder {
            path: path.as_ref().to_owned(),
            clock: Arc::new(SystemClock),
            busy_timeout: Duration::from_secs(5),
        }
    }
}

impl SqliteBuilder {
    /// The source of the store's own time: the boot clock of `clock`, instead of the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a write waits for writes of other processes; 5 seconds by default. After that it fails, and nothing
    /// was written.
    pub fn busy_timeout(mut self, wait: Duration) -> Self {
        self.busy_timeout = wait;
        self
    }

    /// Opens the file, or creates it with mode 0600. Creates a missing directory with mode 0700.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file and what to do about it. A file that is not a store is not
    /// modified.
    ///
    /// # Cancel safety
    /// A file that was being created is either complete or will be completed by the next opening.
    pub async fn open(self) -> Result<SqliteStore, OpenError> {
        let path = file::prepare(&self.path)?;
        let writer = Writer::start(path.clone(), self.busy_timeout).await?;
        let readers = Readers::new(path, self.busy_timeout);
        Ok(SqliteStore::new(writer, readers, StoreClock::new(self.clock)))
    }
}
