//! What is opened, what is refused and with which code; and that a refused file is left as it is.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use grantry::{
    id::IntegrationId,
    store::{Charged, UsageKey, UsageStore as _},
};
use grantry_store_sqlite::{OpenError, SqliteStore};
use rusqlite::{Connection, config::DbConfig};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file that the store made, closed.
async fn made(path: &Path) {
    SqliteStore::open(path).await.unwrap().close().await;
}

/// The file and its log.
fn bytes(path: &Path) -> (Vec<u8>, Option<Vec<u8>>) {
    (
        fs::read(path).unwrap(),
        fs::read(path.with_extension("db-wal")).ok(),
    )
}

/// The code and text with which the file is refused. It is left as it was, and so is its log.
async fn refused(path: &Path) -> (&'static str, String) {
    let before = bytes(path);
    let error = SqliteStore::open(path).await.unwrap_err();
    // Compared without showing them.
    assert!(bytes(path) == before, "a refused file is left as it is");
    (error.code(), error.to_string())
}

fn usage() -> UsageKey {
    UsageKey {
        integration: IntegrationId::new("int").unwrap(),
        month: 202_611,
        day: 1,
    }
}

#[tokio::test]
async fn what_is_created_is_for_its_owner() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a/b/store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let _ = store.charge_usage(&usage(), 1, None).await.unwrap();
    assert_eq!(mode(&directory.path().join("a")), 0o700);
    assert_eq!(mode(&directory.path().join("a/b")), 0o700);
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        assert_eq!(mode(&directory.path().join("a/b").join(name)), 0o600, "{name}");
    }
    store.close().await;
    assert!(
        !directory.path().join("a/b/store.db-wal").exists(),
        "closed and folded in"
    );
}

#[tokio::test]
async fn a_store_is_opened_again() {
    let (_directory, path) = place();
    for round in 1..=3 {
        let store = SqliteStore::open(&path).await.unwrap();
        let charged = store.charge_usage(&usage(), 1, None).await.unwrap();
        assert_eq!(charged, Charged::Counted(round));
        store.close().await;
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let (_directory, path) = place();
    write(&path, b"");
    made(&path).await;
}

#[tokio::test]
async fn many_may_create_it_at_once() {
    let (_directory, path) = place();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        opening.spawn(async move { SqliteStore::open(path).await.map(drop) });
    }
    for result in opening.join_all().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_others_can_reach_is_refused() {
    let (_directory, path) = place();
    made(&path).await;
    for open in [0o640, 0o604, 0o620, 0o644, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let (code, text) = refused(&path).await;
        assert_eq!(code, "sqlite_permissions", "{open:o}");
        assert!(text.contains("chmod 600"), "{text}");
        assert_eq!(mode(&path), open);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    made(&path).await;
}

#[tokio::test]
async fn random_bytes_are_refused() {
    let (_directory, path) = place();
    let random: Vec<u8> = (0..20_000_u32)
        .map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()[3])
        .collect();
    for length in [1, 15, 16, 99, 100, 512, 4096, 20_000] {
        write(&path, &random[..length]);
        let (code, text) = refused(&path).await;
        assert_eq!(code, "store_corrupt", "{length}");
        assert!(text.contains("restore a backup"), "{text}");
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused() {
    let (_directory, path) = place();
    made(&path).await;
    let whole = fs::read(&path).unwrap();
    // The mark stays, the pages behind it do not.
    let mut damaged = whole.clone();
    damaged[100..].fill(0x5a);
    write(&path, &damaged);
    assert_eq!(refused(&path).await.0, "store_corrupt");
    write(&path, &whole[..whole.len() / 2]);
    assert_eq!(refused(&path).await.0, "store_corrupt");
    write(&path, &whole);
    made(&path).await;
}

#[tokio::test]
async fn another_program_s_file_is_refused() {
    let (_directory, path) = place();
    for sql in [
        "CREATE TABLE theirs (x)",
        "PRAGMA application_id = 77",
        "PRAGMA user_version = 1",
        "CREATE TABLE connection (x); PRAGMA journal_mode = WAL",
    ] {
        write(&path, b"");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        assert_eq!(refused(&path).await.0, "sqlite_foreign_file", "{sql}");
        fs::remove_file(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.code(), "sqlite_foreign_file");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_directory, path) = place();
    made(&path).await;
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(db);
    let (code, text) = refused(&path).await;
    assert_eq!(code, "schema_too_new");
    assert!(text.contains("99"), "{text}");
}

/// The newer release was killed before its schema was folded from the log into the file.
#[tokio::test]
async fn a_newer_schema_in_the_log_is_refused() {
    let (_directory, path) = place();
    made(&path).await;
    let db = Connection::open(&path).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    assert!(bytes(&path).1.is_some_and(|log| !log.is_empty()));
    let (code, text) = refused(&path).await;
    assert_eq!(code, "schema_too_new", "{text}");
    let version = |db: Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    assert_eq!(version(Connection::open(&path).unwrap()).unwrap(), 99);
}

#[tokio::test]
async fn a_schema_with_something_missing_is_refused() {
    for sql in [
        "DROP INDEX connection_due",
        "DROP TABLE change",
        "DROP INDEX connection_live; CREATE INDEX connection_live ON connection (integration)",
    ] {
        let (_directory, path) = place();
        made(&path).await;
        let db = Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        drop(db);
        assert_eq!(refused(&path).await.0, "store_corrupt", "{sql}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() {
    let directory = TempDir::new().unwrap();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may write everywhere but where the kernel keeps its own files.
    let superuser = fs::write(closed.join("probe"), b"").is_ok();
    let place = if superuser {
        Path::new("/proc/self")
    } else {
        &closed
    };
    let error = SqliteStore::open(place.join("store.db")).await.unwrap_err();
    assert_eq!(error.code(), "sqlite_not_writable", "{error}");
    let error = SqliteStore::open(place.join("sub/store.db")).await.unwrap_err();
    assert_eq!(error.code(), "sqlite_not_writable", "{error}");
}

#[tokio::test]
async fn a_backup_is_a_store_of_its_own() {
    let (directory, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    let _ = store.charge_usage(&usage(), 5, None).await.unwrap();
    let copy = directory.path().join("copy.db");
    store.backup_to(&copy).await.unwrap();
    let _ = store.charge_usage(&usage(), 5, None).await.unwrap();
    assert_eq!(mode(&copy), 0o600);
    let restored = SqliteStore::open(&copy).await.unwrap();
    let charged = restored.charge_usage(&usage(), 1, None).await.unwrap();
    assert_eq!(charged, Charged::Counted(6));
    restored.close().await;

    let before = fs::read(&copy).unwrap();
    let error = store.backup_to(&copy).await.unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert_eq!(fs::read(&copy).unwrap(), before, "no backup is overwritten");
    let error = store.backup_to(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    let charged = store.charge_usage(&usage(), 1, None).await.unwrap();
    assert_eq!(charged, Charged::Counted(11));
}
