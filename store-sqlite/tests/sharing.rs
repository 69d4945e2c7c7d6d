//! The store alone, with several processes on one file, and processes that are killed.
//!
//! The processes are this very test program: it starts itself to run one test, [`child`], and says in the environment
//! what is to be done there. A child tells on its output what was acknowledged to it; that is what is judged by.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use bytes::Bytes;
use grantry::{
    connection::Status,
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    store::{
        Charged, ConnectionFilter, ConnectionRow, ConnectionStore as _, Index, Inserted, PendingRow,
        PendingStore as _, Put, Revision, StatusFilter, Swap, Taken, UsageKey, UsageStore as _,
    },
    time::Timestamp,
};
use grantry_store_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

const TASK: &str = "GRANTRY_TEST_TASK";
const FILE: &str = "GRANTRY_TEST_FILE";
const NAME: &str = "GRANTRY_TEST_NAME";

fn start(task: &str, file: &Path, name: usize) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, task)
        .env(FILE, file)
        .env(NAME, name.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, output)
}

/// Writes a line at once, so that it is out before whatever comes next.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\ntold {line}").unwrap();
    out.flush().unwrap();
}

fn told(output: impl Iterator<Item = std::io::Result<String>>) -> impl Iterator<Item = String> {
    output.filter_map(|line| line.ok()?.strip_prefix("told ").map(str::to_owned))
}

/// What a child does; nothing in the test program that starts the children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let store = SqliteStore::open(std::env::var(FILE).unwrap()).await.unwrap();
    let name: usize = std::env::var(NAME).unwrap().parse().unwrap();
    match task.as_str() {
        "compete" => compete(&store).await,
        "write" => write_for_ever(&store, name).await,
        other => panic!("no such task: {other}"),
    }
    store.close().await;
}

fn row(id: &str, number: u64) -> ConnectionRow {
    ConnectionRow {
        id: ConnectionId::new(id).unwrap(),
        index: Index {
            integration: IntegrationId::new("int").unwrap(),
            environment: Environment::PRODUCTION,
            status: Status::Connected,
            attention: None,
            email: format!("user{number}@example.com"),
            owner: format!("owner-{number}"),
            metadata: BTreeMap::new(),
            connected_at: Timestamp(0),
            due_at: Some(Timestamp(i64::try_from(number).unwrap())),
            sealed_by: "key".to_owned(),
        },
        body: Bytes::from(number.to_string().repeat(500)),
    }
}

fn number(row: &ConnectionRow) -> u64 {
    row.index.owner.strip_prefix("owner-").unwrap().parse().unwrap()
}

fn usage() -> UsageKey {
    UsageKey {
        integration: IntegrationId::new("int").unwrap(),
        month: 202_611,
        day: 1,
    }
}

const TURNS: u64 = 50;
const PROCESSES: u64 = 4;

/// Counts one row up, takes what is there to take, and charges.
async fn compete(store: &SqliteStore) {
    let id = ConnectionId::new("con_shared").unwrap();
    for turn in 0..TURNS {
        loop {
            let stored = store.connection(&id).await.unwrap().0.unwrap();
            let next = row("con_shared", number(&stored.row) + 1);
            match store.swap_connection(&next, stored.revision).await.unwrap() {
                Swap::Swapped(_) => break,
                Swap::Conflict => {}
                Swap::Missing => panic!("the row is gone"),
            }
        }
        let key = [u8::try_from(turn).unwrap(); 32];
        if let Taken::Row(_) = store.take_pending(&key, &[1; 32], Timestamp(0)).await.unwrap() {
            tell(&format!("took {turn}"));
        }
        if let Charged::Counted(total) = store.charge_usage(&usage(), 1, Some(120)).await.unwrap() {
            tell(&format!("charged {total}"));
        }
    }
}

#[tokio::test]
async fn processes_share_a_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("store.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let _ = store.insert_connection(&row("con_shared", 0)).await.unwrap();
    for turn in 0..TURNS {
        let pending = PendingRow {
            key: [u8::try_from(turn).unwrap(); 32],
            guard: [1; 32],
            expires_at: Timestamp(1),
            body: Bytes::new(),
        };
        assert_eq!(store.put_pending(&pending).await.unwrap(), Put::Stored);
    }
    let begin = store.connection_changes(None).await.unwrap().next;
    let children: Vec<_> = (0..PROCESSES)
        .map(|name| start("compete", &file, usize::try_from(name).unwrap()))
        .collect();
    let mut lines: Vec<String> = Vec::new();
    for (mut child, output) in children {
        lines.extend(told(output));
        assert!(child.wait().unwrap().success());
    }
    let stored = store
        .connection(&ConnectionId::new("con_shared").unwrap())
        .await
        .unwrap()
        .0
        .unwrap();
    assert_eq!(number(&stored.row), TURNS * PROCESSES, "no swap was lost");
    assert_eq!(stored.revision.counter, 1 + TURNS * PROCESSES);
    lines.sort();
    let mut expected: Vec<String> = (0..TURNS).map(|turn| format!("took {turn}")).collect();
    expected.extend((1..=120).map(|total| format!("charged {total}")));
    expected.sort();
    assert_eq!(lines, expected, "each thing was taken once, each total told once");
    let changes = store.connection_changes(Some(&begin)).await.unwrap();
    assert!(!changes.gap);
    let told: Vec<Revision> = changes.changed.iter().map(|change| change.revision).collect();
    assert_eq!(
        told,
        [stored.revision],
        "the handle here was told of the others' writes"
    );
}

/// Inserts and swaps rows from several tasks at once, so that commits are groups, and tells each acknowledged write.
async fn write_for_ever(store: &SqliteStore, name: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for turn in 0_u64.. {
                let id = format!("con_{name}_{task}_{turn:05}");
                let Inserted::Created(mut revision) = store.insert_connection(&row(&id, 1)).await.unwrap()
                else {
                    panic!("nobody else writes {id}");
                };
                tell(&format!("{id} 1"));
                for number in 2..6 {
                    match store.swap_connection(&row(&id, number), revision).await.unwrap() {
                        Swap::Swapped(next) => revision = next,
                        other => panic!("{other:?}"),
                    }
                    tell(&format!("{id} {number}"));
                }
            }
        });
    }
    tasks.join_all().await;
}

/// After a kill every acknowledged write is there, every row is whole, and all indexes agree.
#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_was_told() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("store.db");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for (round, lines) in [1, 7, 40, 150, 400].into_iter().enumerate() {
        let (mut child, output) = start("write", &file, round);
        let mut output = told(output);
        for line in output.by_ref().take(lines) {
            take_down(&mut acknowledged, &line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it could still tell before it died counts, too.
        output.for_each(|line| take_down(&mut acknowledged, &line));

        let store = SqliteStore::open(&file).await.unwrap();
        let filter = ConnectionFilter {
            integration: IntegrationId::new("int").unwrap(),
            status: StatusFilter::Live,
            environment: None,
            email_contains: None,
            owner: None,
            metadata: BTreeMap::new(),
        };
        let page = store.list_connections(&filter, None, u32::MAX).await.unwrap();
        let mut found = BTreeMap::new();
        for stored in page.items {
            let number = number(&stored.row);
            assert_eq!(
                stored.row,
                row(stored.row.id.as_str(), number),
                "each row is whole"
            );
            assert_eq!(stored.revision.counter, number);
            found.insert(stored.row.id.to_string(), number);
        }
        for (id, number) in &acknowledged {
            let there = found.get(id).copied().unwrap_or(0);
            assert!(
                there >= *number,
                "{id} was acknowledged as {number} and is {there}"
            );
        }
        let searched = ConnectionFilter {
            email_contains: Some("@example".to_owned()),
            ..filter
        };
        let page = store.list_connections(&searched, None, u32::MAX).await.unwrap();
        let by_email: BTreeSet<String> = page
            .items
            .iter()
            .map(|stored| stored.row.id.to_string())
            .collect();
        assert_eq!(
            by_email,
            found.keys().cloned().collect(),
            "the search index has every row"
        );
        let counts = store.connections_by_key().await.unwrap();
        assert_eq!(counts, [("key".to_owned(), u64::try_from(found.len()).unwrap())]);
        store.close().await;

        let db = Connection::open(&file).unwrap();
        let sound: String = db
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
        db.execute("INSERT INTO search (search) VALUES ('integrity-check')", [])
            .unwrap();
    }
    assert!(acknowledged.len() > 100, "{} rows", acknowledged.len());
}

fn take_down(acknowledged: &mut BTreeMap<String, u64>, line: &str) {
    // The last line of a killed process may be cut.
    if let Some((id, number)) = line.split_once(' ')
        && let Ok(number) = number.parse::<u64>()
    {
        let last = acknowledged.entry(id.to_owned()).or_default();
        *last = number.max(*last);
    }
}
