//! Copies of a store that is in use.

use std::{fs, path::Path};

use rusqlite::Connection;

use crate::{error::OpenError, file};

/// Writes one consistent view of the store as a new file.
pub(crate) fn copy(db: &Connection, to: &Path) -> Result<(), OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        path: to.to_owned(),
        source,
    };
    // Made first, so that the copy is at no moment open to others. SQLite fills an empty file, but overwrites none.
    file::create(to).map_err(not_writable)?;
    let copied = db
        .execute("VACUUM INTO ?1", [to.to_string_lossy()])
        .map_err(|error| OpenError::from_driver(to.to_owned(), &error))
        .and_then(|_| sync(to).map_err(not_writable));
    if copied.is_err() {
        // Half a copy must not be taken for a whole one.
        let _ = fs::remove_file(to);
    }
    copied
}

/// SQLite leaves a copy to the system's cache; a backup is one only on the disk.
fn sync(file: &Path) -> std::io::Result<()> {
    fs::File::open(file)?.sync_all()?;
    match file.parent() {
        #[cfg(unix)]
        Some(directory) => fs::File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}
