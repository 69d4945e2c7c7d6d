//! Rows and files that somebody or something damaged. Cases are named after bad inputs (`core/tests/README.md`).
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use grantry::{
    connection::Status,
    id::{ConnectionId, IntegrationId, KeyId},
    integration::Environment,
    store::{
        ConnectionRow, ConnectionStore as _, Index, Inserted, KeyInserted, KeyKind, KeyRow, KeyStore as _,
        StoreError, StoreErrorKind, Stored,
    },
    time::Timestamp,
};
use grantry_store_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

fn id(text: &str) -> ConnectionId {
    ConnectionId::new(text).unwrap()
}

fn row(name: &str, size: usize) -> ConnectionRow {
    ConnectionRow {
        id: id(name),
        index: Index {
            integration: IntegrationId::new("int").unwrap(),
            environment: Environment::PRODUCTION,
            status: Status::Connected,
            attention: None,
            email: "ann@acme.example".to_owned(),
            owner: String::new(),
            metadata: [("team".to_owned(), "red".to_owned())].into(),
            connected_at: Timestamp(5),
            due_at: None,
            sealed_by: "k1".to_owned(),
        },
        body: vec![7; size].into(),
    }
}

async fn insert(store: &SqliteStore, row: &ConnectionRow) {
    let inserted = store.insert_connection(row).await.unwrap();
    assert!(matches!(inserted, Inserted::Created(_)));
}

async fn read(store: &SqliteStore, name: &str) -> Result<Option<Stored>, StoreError> {
    Ok(store.connection(&id(name)).await?.0)
}

/// A second way into the file, past the rules that the schema sets.
fn outside(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    db
}

#[tokio::test]
async fn rows_that_do_not_read() {
    let rows = [
        ("W08 negative", "counter = -1"),
        ("W09 status", "status = 'gone'"),
        ("W09 status in capitals", "status = 'CONNECTED'"),
        ("W09 environment", "environment = 'The Moon'"),
        ("W09 labels", "metadata = '{'"),
        ("W09 integration", "integration = 'a/b'"),
        ("W08 write id", "write = x'00'"),
    ];
    for (name, change) in rows {
        let (_directory, path) = place();
        let store = SqliteStore::open(&path).await.unwrap();
        for name in ["con_a", "con_b"] {
            insert(&store, &row(name, 9)).await;
        }
        let before = read(&store, "con_a").await.unwrap().unwrap();
        let db = outside(&path);
        db.execute(&format!("UPDATE connection SET {change} WHERE id = 'con_a'"), [])
            .unwrap();
        let error = read(&store, "con_a").await.expect_err(name);
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{name}");
        // Nothing is written over it, and the other row works.
        let swapped = store.swap_connection(&before.row, before.revision).await;
        assert_eq!(swapped.expect_err(name).kind(), StoreErrorKind::Corrupt, "{name}");
        let still = format!("SELECT count(*) FROM connection WHERE id = 'con_a' AND {change}");
        let count: i64 = db.query_row(&still, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1, "{name}: the row is left as it is");
        let other = read(&store, "con_b").await.unwrap().unwrap();
        let swapped = store.swap_connection(&other.row, other.revision).await;
        assert!(swapped.is_ok(), "{name}");
        store.close().await;
        // It is no reason not to start.
        SqliteStore::open(&path).await.unwrap().close().await;
    }
}

/// W01, W08, W12 and W18: what the schema does not let in, whoever writes it.
#[tokio::test]
async fn what_cannot_be_written_at_all() {
    let (_directory, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    for name in ["con_a", "con_b"] {
        insert(&store, &row(name, 9)).await;
    }
    let key = KeyRow {
        id: KeyId::new("key").unwrap(),
        kind: KeyKind::Admin,
        integration: None,
        digest: [1; 32],
        digest_key: "k1".to_owned(),
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    };
    assert_eq!(
        store.insert_key(&key, 2, Timestamp(0)).await.unwrap(),
        KeyInserted::Created
    );
    let db = Connection::open(&path).unwrap();
    let rows = [
        ("W01 NULL", "UPDATE connection SET body = NULL"),
        ("W01 a text", "UPDATE connection SET body = 'text'"),
        ("W08 2^63", "UPDATE connection SET counter = 9223372036854775808"),
        ("W09 status", "UPDATE connection SET status = 'gone'"),
        ("W12 one id twice", "UPDATE connection SET id = 'con_a'"),
        ("W18 empty digest", "UPDATE api_key SET digest = x''"),
        ("W18 short digest", "UPDATE api_key SET digest = x'00'"),
    ];
    for (name, sql) in rows {
        assert!(db.execute(sql, []).is_err(), "{name}");
    }
    // An empty digest that got in all the same does not read.
    outside(&path)
        .execute("UPDATE api_key SET digest = x''", [])
        .unwrap();
    let error = store.key(&key.id).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "W18");
    // An empty body does: what is in it is not for the store to judge.
    db.execute("UPDATE connection SET body = x'' WHERE id = 'con_a'", [])
        .unwrap();
    let empty = read(&store, "con_a").await.unwrap().unwrap();
    assert_eq!(empty.row.body, Bytes::new(), "W01");
}

/// W11: odd times come back as they are; the broker makes sense of them.
#[tokio::test]
async fn times_without_sense() {
    let (_directory, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    insert(&store, &row("con_a", 9)).await;
    let db = Connection::open(&path).unwrap();
    for millis in [i64::MIN, -62_135_596_800_000, 253_402_300_799_999, i64::MAX] {
        db.execute("UPDATE connection SET connected_at = ?1, due_at = ?1", [millis])
            .unwrap();
        let index = read(&store, "con_a").await.unwrap().unwrap().row.index;
        assert_eq!(
            (index.connected_at, index.due_at),
            (Timestamp(millis), Some(Timestamp(millis))),
            "W11"
        );
        let due = store.due_connections(Timestamp(i64::MAX), None, 5).await.unwrap();
        assert_eq!(due.items.len(), 1, "W11");
    }
}

/// W12: the rule that an id is unique got lost, and two rows have one.
#[tokio::test]
async fn a_lost_unique_rule() {
    let (_directory, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    insert(&store, &row("con_a", 9)).await;
    store.close().await;
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'id TEXT NOT NULL UNIQUE', 'id TEXT NOT NULL')
         WHERE name = 'connection';
         DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_connection_1';
         PRAGMA writable_schema = RESET;",
    )
    .unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.code(), "store_corrupt", "W12");
    assert!(error.to_string().contains("restore a backup"), "W12: {error}");
    assert_eq!(fs::read(&path).unwrap(), before, "W12");
}

/// Copies some files of a store to a new place.
fn copy(path: &Path, to: &Path, suffixes: &[&str]) {
    for suffix in suffixes {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(name(path), name(to)).unwrap();
        fs::set_permissions(name(to), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// W14: the log or its index is gone, stale or of no sense.
#[tokio::test]
async fn the_files_beside_it() {
    let (directory, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    insert(&store, &row("con_a", 9)).await;
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    insert(&store, &row("con_b", 9)).await;
    let at = |name: &str| directory.path().join(name);
    let beside = |path: &Path, suffix: &str, bytes: &[u8]| {
        let name = PathBuf::from(format!("{}{suffix}", path.display()));
        fs::write(name, bytes).unwrap();
    };

    // Without its log the file is what it was when the log was folded in last.
    copy(&path, &at("no-log.db"), &[""]);
    // Its index is made anew.
    copy(&path, &at("no-index.db"), &["", "-wal"]);
    copy(&path, &at("stale-index.db"), &["", "-wal"]);
    beside(&at("stale-index.db"), "-shm", &vec![0x5a; 32_768]);
    // What is no log counts for nothing.
    copy(&path, &at("foreign-log.db"), &[""]);
    beside(&at("foreign-log.db"), "-wal", &vec![0x5a; 20_000]);
    let rows = [
        ("no-log.db", false),
        ("no-index.db", true),
        ("stale-index.db", true),
        ("foreign-log.db", false),
    ];
    for (name, has_both) in rows {
        let copied = SqliteStore::open(at(name)).await.unwrap();
        assert!(read(&copied, "con_a").await.unwrap().is_some(), "W14 {name}");
        assert_eq!(
            read(&copied, "con_b").await.unwrap().is_some(),
            has_both,
            "W14 {name}"
        );
        insert(&copied, &row("con_c", 9)).await;
        copied.close().await;
    }
    assert!(read(&store, "con_b").await.unwrap().is_some());
}

/// W14: the header is good and pages behind it are not. What can be read is read; nothing is deleted or repaired.
#[tokio::test]
async fn pages_that_are_damaged() {
    let (_directory, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    let names: Vec<String> = (0..60).map(|n| format!("con_{n:03}")).collect();
    for name in &names {
        insert(&store, &row(name, 3000)).await;
    }
    store.close().await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 60);
    let mut spoilt = 0;
    for page in (1..pages).step_by(3) {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0x5a);
        fs::write(&path, &damaged).unwrap();
        match SqliteStore::open(&path).await {
            Err(error) => {
                assert_eq!(error.code(), "store_corrupt", "W14 page {page}");
                assert!(error.to_string().contains("restore a backup"), "{error}");
                spoilt += 1;
            }
            Ok(store) => {
                for name in &names {
                    match read(&store, name).await {
                        Ok(found) => {
                            let body = found.unwrap().row.body;
                            assert_eq!(body.len(), 3000, "W14 page {page}: a whole row");
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "W14 page {page}");
                            spoilt += 1;
                        }
                    }
                }
                store.close().await;
            }
        }
        assert_eq!(
            fs::read(&path).unwrap(),
            damaged,
            "W14 page {page}: left as it is"
        );
    }
    assert!(spoilt > 10, "{spoilt}");
}
