//! Reads, inline in the caller, on pooled connections. A read takes microseconds; handing it to another thread would
//! cost more than that.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use grantry::store::StoreError;
use rusqlite::Connection;

use crate::{
    backup,
    error::{OpenError, store_error},
    schema,
};

/// How many connections stay open. There are more only while more threads than this read at once.
const KEPT: usize = 16;

#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    busy: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, busy: Duration) -> Self {
        let idle = Mutex::default();
        Self { path, busy, idle }
    }

    /// Runs `read` on a connection that nothing else uses meanwhile.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let db = match self.idle().pop() {
            Some(db) => db,
            None => self.connect().map_err(|e| store_error(operation, &e))?,
        };
        // A connection is not reused after an error: it might keep a damaged snapshot.
        let value = read(&db).map_err(|e| store_error(operation, &e))?;
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(db);
        }
        Ok(value)
    }

    /// Closes idle connections.
    pub(crate) fn close(&self) {
        self.idle().clear();
    }

    /// Writes the store as of now to a new file.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), OpenError> {
        let db = schema::connect(&self.path, self.busy)
            .map_err(|error| OpenError::from_driver(self.path.clone(), &error))?;
        backup::copy(&db, path)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let db = schema::connect(&self.path, self.busy)?;
        db.execute_batch("PRAGMA query_only = ON")?;
        Ok(db)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
