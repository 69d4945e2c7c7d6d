//! Backups of a store that is in use.

use std::{fs, path::Path};

use rusqlite::Connection;

use crate::{error::OpenError, file};

/// Writes one consistent snapshot of the store to a new file.
pub(crate) fn copy(db: &Connection, to: &Path) -> Result<(), OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        path: to.to_owned(),
        source,
    };
    // Created first, so that the copy is never accessible to others. SQLite fills an empty file, but refuses to
    // overwrite one.
    file::create(to).map_err(not_writable)?;
    let copied = db
        .execute("VACUUM INTO ?1", [to.to_string_lossy()])
        .map_err(|error| OpenError::from_driver(to.to_owned(), &error))
        .and_then(|_| sync(to).map_err(not_writable));
    if copied.is_err() {
        // An incomplete copy must not be mistaken for a backup.
        let _ = fs::remove_file(to);
    }
    copied
}

/// SQLite leaves the copy in the system's cache; it is a backup only once it is on disk.
fn sync(file: &Path) -> std::io::Result<()> {
    fs::File::open(file)?.sync_all()?;
    match file.parent() {
        #[cfg(unix)]
        Some(directory) => fs::File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}
