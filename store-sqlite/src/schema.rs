//! Opening a file: whether it is ours, intact and of a known schema, and migrating older schemas.

use std::{fs, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use crate::{error::OpenError, file};

/// "GrnT", where SQLite lets applications mark their files.
const APPLICATION_ID: i64 = 0x4772_6e54;

/// The first SQLite without the bug that could corrupt a file when its write-ahead log restarts.
const OLDEST_SQLITE: i32 = 3_051_003;

/// The migrations from each schema version to the next. Only ever appended to.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

/// Notes on the tables:
/// - `connection.n` is the row's place in the order of ids (see `position.rs`). Every index ends in it implicitly, so
///   that a list by any index is in the order of ids.
/// - `activity` holds what changes with every call: small rows, so that writing many of them touches few pages.
/// - `search` finds rows by e-mail address, labels and owner (see `search.rs`). It stores no text and no positions.
/// - `sealing_key` counts rows by the key that sealed them.
/// - `change` is the recent history of `connection`, for watchers (see `changes.rs`).
const VERSION_1: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    integrations INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0);

CREATE TABLE connection (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    counter INTEGER NOT NULL,
    write BLOB NOT NULL CHECK (length(write) = 16),
    integration TEXT NOT NULL,
    environment TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('connected', 'expired', 'revoked', 'deleted')),
    email TEXT NOT NULL,
    owner TEXT NOT NULL,
    metadata TEXT NOT NULL,
    connected_at INTEGER NOT NULL,
    due_at INTEGER,
    sealed_by TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX connection_live ON connection (integration) WHERE status <> 'deleted';
CREATE INDEX connection_live_environment ON connection (integration, environment) WHERE status <> 'deleted';
CREATE INDEX connection_live_owner ON connection (integration, owner) WHERE status <> 'deleted';
CREATE INDEX connection_status ON connection (integration, status);
CREATE INDEX connection_status_environment ON connection (integration, status, environment);
CREATE INDEX connection_due ON connection (due_at, id) WHERE due_at IS NOT NULL;

CREATE TABLE activity (
    n INTEGER PRIMARY KEY REFERENCES connection (n) ON UPDATE CASCADE ON DELETE CASCADE,
    last_active_at INTEGER,
    used INTEGER,
    allowed INTEGER
) STRICT;

CREATE VIRTUAL TABLE search USING fts5 (
    terms, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);

CREATE TABLE sealing_key (
    id TEXT PRIMARY KEY,
    connections INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE change (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    counter INTEGER NOT NULL,
    write BLOB NOT NULL CHECK (length(write) = 16)
) STRICT;

CREATE TABLE integration (
    id TEXT PRIMARY KEY,
    counter INTEGER NOT NULL,
    write BLOB NOT NULL CHECK (length(write) = 16),
    body BLOB NOT NULL
) STRICT;

CREATE TABLE pending (
    key BLOB PRIMARY KEY CHECK (length(key) = 32),
    guard BLOB NOT NULL CHECK (length(guard) = 32),
    expires_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_expires_at ON pending (expires_at);

CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('api', 'public', 'admin')),
    integration TEXT,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    digest_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_integration ON api_key (integration, id);

CREATE TABLE usage (
    integration TEXT NOT NULL,
    month INTEGER NOT NULL,
    day INTEGER NOT NULL CHECK (day BETWEEN 1 AND 31),
    calls INTEGER NOT NULL CHECK (calls >= 0),
    PRIMARY KEY (integration, month, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_month ON usage (month);
";

/// What may need a person's attention, so that nobody has to scan for it.
const VERSION_2: &str = "
ALTER TABLE connection ADD COLUMN concern TEXT
    CHECK (concern IN ('refreshing', 'outcome_unknown', 'cooling', 'expired'));
UPDATE connection SET concern = 'expired' WHERE status = 'expired';
CREATE INDEX connection_concern ON connection (concern) WHERE concern IS NOT NULL;
";

/// What applications call their integrations.
const VERSION_3: &str = "
ALTER TABLE integration ADD COLUMN slug TEXT;
CREATE UNIQUE INDEX integration_slug ON integration (slug) WHERE slug IS NOT NULL;
";

/// Opens the file, checks that it is ours and migrates its schema. A file that is not ours, is damaged or was written
/// by a newer release is not modified.
pub(crate) fn open(path: &Path, busy: Duration) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = rusqlite::version();
        return Err(OpenError::SqliteTooOld { found });
    }
    let failed = |error| OpenError::from_driver(path.to_owned(), &error);
    // The last connection to close folds the log into the file; a file that is refused must keep it.
    let leave_log = fs::metadata(file::log(path)).is_ok_and(|log| log.len() > 0);
    let mut db = connect(path, busy).map_err(failed)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave_log)
        .map_err(failed)?;
    let found = identify(&mut db).map_err(failed)?;
    if !found.ours {
        let path = path.to_owned();
        return Err(OpenError::ForeignFile { path });
    }
    check_version(path, found.version)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(failed)?;
    let mode: String = db
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::Unavailable {
            path: path.to_owned(),
            detail: "SQLite did not switch to its write-ahead log".to_owned(),
        });
    }
    if found.version < newest() {
        migrate(&mut db, path)?;
    }
    match missing(&db).map_err(failed)? {
        None => Ok(db),
        Some(name) => Err(OpenError::Corrupt {
            path: path.to_owned(),
            detail: format!("the schema lacks {name} as this release made it"),
        }),
    }
}

/// A connection to a file that was checked before. Never creates one.
pub(crate) fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(busy)?;
    configure(&db)?;
    Ok(db)
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    // Memory-mapped reads stay off: they turn disk errors into signals, and spread corruption.
    db.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA mmap_size = 0;
         PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;",
    )?;
    // Otherwise SQLite would plan a partial index's query anew for every new value, which costs more than the query.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

struct Found {
    ours: bool,
    version: i64,
}

/// Reads in one transaction, since another process may be creating the schema right now.
fn identify(db: &mut Connection) -> rusqlite::Result<Found> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let objects: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i64 = tx.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = version(&tx)?;
    Ok(Found {
        ours: application == APPLICATION_ID || (application == 0 && version == 0 && objects == 0),
        version,
    })
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn check_version(path: &Path, found: i64) -> Result<(), OpenError> {
    if found > newest() {
        return Err(OpenError::SchemaTooNew {
            path: path.to_owned(),
            found,
            known: newest(),
        });
    }
    Ok(())
}

/// All steps in one transaction: other processes, and a crash, see either the old schema or the new one.
fn migrate(db: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_driver(path.to_owned(), &error);
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    // Read again under the lock: another process may have been first.
    let from = version(&tx).map_err(failed)?;
    check_version(path, from)?;
    upgrade(&tx, usize::try_from(from).unwrap_or(0)).map_err(failed)?;
    tx.commit().map_err(failed)
}

fn upgrade(db: &Connection, from: usize) -> rusqlite::Result<()> {
    for step in MIGRATIONS.iter().skip(from) {
        db.execute_batch(step)?;
    }
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", newest())
}

/// The first schema object that the file lacks or that differs: without a unique index, for example, two rows could
/// have the same id. Additional objects do not matter.
fn missing(db: &Connection) -> rusqlite::Result<Option<String>> {
    let wanted = Connection::open_in_memory()?;
    upgrade(&wanted, 0)?;
    let mut all = wanted.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema")?;
    let mut same =
        db.prepare("SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND coalesce(sql, '') = ?3")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !same.exists([&kind, &name, &sql])? {
            return Ok(Some(format!("the {kind} {name}")));
        }
    }
    Ok(None)
}

/// A connection like those of [`connect`], to an empty schema.
#[cfg(test)]
pub(crate) fn in_memory() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    configure(&db).unwrap();
    upgrade(&db, 0).unwrap();
    db
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn the_bundled_sqlite_is_new_enough() {
        assert!(rusqlite::version_number() >= OLDEST_SQLITE);
        assert_eq!(rusqlite::version_number(), ffi::SQLITE_VERSION_NUMBER);
    }

    #[test]
    fn a_schema_is_whole_or_names_what_it_lacks() {
        let db = in_memory();
        assert_eq!(missing(&db).unwrap(), None);
        db.execute_batch("CREATE INDEX of_somebody ON usage (calls)")
            .unwrap();
        assert_eq!(missing(&db).unwrap(), None);
        db.execute_batch("DROP INDEX connection_due").unwrap();
        assert_eq!(missing(&db).unwrap().as_deref(), Some("the index connection_due"));
    }
}
