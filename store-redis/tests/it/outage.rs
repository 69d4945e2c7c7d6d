//! What a server that dies, stops or forgets does to the store: what was acknowledged is there, what was not is an
//! error, and nobody waits for ever.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use grantry::{
    connection::Status,
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    store::{
        ConnectionFilter, ConnectionRow, ConnectionStore as _, Index, Inserted, IntegrationStore as _, Point,
        Revision, StatusFilter, StoreErrorKind, Swap,
    },
    time::Timestamp,
};
use grantry_redis_servers::Server;
use grantry_store_redis::RedisStore;
use tokio::{net::TcpListener, task::JoinSet};

fn integration() -> IntegrationId {
    IntegrationId::new("int").unwrap()
}

pub(crate) fn row(id: &str, turn: u64) -> ConnectionRow {
    ConnectionRow {
        id: ConnectionId::new(id).unwrap(),
        index: Index {
            integration: integration(),
            environment: Environment::PRODUCTION,
            status: Status::Connected,
            attention: None,
            email: format!("{id}@{turn}.example"),
            owner: format!("owner-{}", turn % 3),
            metadata: BTreeMap::new(),
            connected_at: Timestamp(0),
            due_at: Some(Timestamp(i64::try_from(turn).unwrap())),
            sealed_by: format!("key-{}", turn % 2),
        },
        body: Bytes::from(format!("body {turn} of {id}")),
    }
}

pub(crate) async fn insert(store: &RedisStore, id: &str) -> Revision {
    match store.insert_connection(&row(id, 0)).await.unwrap() {
        Inserted::Created(revision) => revision,
        Inserted::Occupied => panic!("{id} is taken"),
    }
}

pub(crate) fn all(email_contains: Option<&str>) -> ConnectionFilter {
    ConnectionFilter {
        email_contains: email_contains.map(str::to_owned),
        ..ConnectionFilter::of(&integration(), StatusFilter::Live)
    }
}

/// Writes one row again and again, and gives how it stood when it was last known: by an acknowledgement, or by reading
/// it after a write of which nobody knows.
async fn write_on(
    store: RedisStore,
    id: String,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> (String, Revision) {
    let mut known = insert(&store, &id).await;
    let mut turn = 0;
    while !over.load(Ordering::SeqCst) {
        turn += 1;
        match store.swap_connection(&row(&id, turn), known).await {
            Ok(Swap::Swapped(revision)) => {
                known = revision;
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Ok(other) => panic!("nobody else writes {id}: {other:?}"),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                known = loop {
                    if let Ok((stored, _)) = store.connection(&row(&id, 0).id).await {
                        let found = stored.unwrap().revision;
                        assert!(
                            found == known || found.counter == known.counter + 1,
                            "an acknowledged write of {id} is lost: {found:?} after {known:?}"
                        );
                        break found;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                };
            }
        }
    }
    (id, known)
}

/// The server is killed in the midst of writes, four times. Lists, search and counts are those of the rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_a_kill() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = RedisStore::open(&server.address()).await.unwrap();
        writers.spawn(write_on(
            store,
            format!("con_{writer}"),
            over.clone(),
            acknowledged.clone(),
        ));
    }
    for round in 0..5 {
        if round > 0 {
            server.kill();
            server.restart();
        }
        let enough = acknowledged.load(Ordering::SeqCst) + 200;
        while acknowledged.load(Ordering::SeqCst) < enough {
            if let Some(ended) = writers.try_join_next() {
                panic!("a writer ended: {ended:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    over.store(true, Ordering::SeqCst);
    let mut known = writers.join_all().await;
    known.sort_by(|a, b| b.0.cmp(&a.0));
    let store = RedisStore::open(&server.address()).await.unwrap();
    let page = store.list_connections(&all(None), None, 100).await.unwrap();
    let found: Vec<_> = page
        .items
        .iter()
        .map(|row| (row.row.id.to_string(), row.revision))
        .collect();
    assert_eq!(found, known);
    let mut counts = BTreeMap::<String, u64>::new();
    for stored in &page.items {
        *counts.entry(stored.row.index.sealed_by.clone()).or_default() += 1;
        let due = store.due_connections(Timestamp::MAX, None, 100).await.unwrap();
        assert_eq!(due.items.iter().filter(|due| due.id == stored.row.id).count(), 1);
        let by_email = store
            .list_connections(&all(Some(&stored.row.index.email)), None, 9)
            .await
            .unwrap();
        assert_eq!(by_email.items, std::slice::from_ref(stored));
    }
    let mut told = store.connections_by_key().await.unwrap();
    told.sort();
    assert_eq!(told, counts.into_iter().collect::<Vec<_>>());
}

/// A server that was started again may have lost what the watcher saw; and its clock is another one.
#[tokio::test]
async fn a_restart_is_a_gap_and_another_clock() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    insert(&store, "con_1").await;
    let id = row("con_1", 0).id;
    let point = store.connection_changes(None).await.unwrap().next;
    let version = store.integrations_version().await.unwrap();
    let before = store.connection(&id).await.unwrap().1;
    assert!(!store.connection_changes(Some(&point)).await.unwrap().gap);
    server.kill();
    server.restart();
    // The first call finds the connection cut, and is made again on a new one.
    let (stored, after) = store.connection(&id).await.unwrap();
    assert!(stored.is_some());
    assert_eq!(after.since(before), None, "times of two runs do not compare");
    assert_ne!(store.integrations_version().await.unwrap(), version);
    let changes = store.connection_changes(Some(&point)).await.unwrap();
    assert!(changes.gap);
    let changes = store.connection_changes(Some(&changes.next)).await.unwrap();
    assert!(!changes.gap, "told once");
}

/// Entries that are no longer kept are a gap, and so is one that is missing.
#[tokio::test]
async fn a_history_with_a_hole_is_a_gap() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    let begin = store.connection_changes(None).await.unwrap().next;
    for id in ["con_1", "con_2", "con_3", "con_4"] {
        insert(&store, id).await;
    }
    let gap = async |entries| {
        // Run and number of the only bucket.
        let point = Point(vec![begin.0[0], begin.0[1] + entries]);
        store.connection_changes(Some(&point)).await.unwrap().gap
    };
    assert!(!gap(0).await);
    server.command(&["XDEL", "grantry:{c0}:history", "1-2"]);
    assert!(gap(0).await);
    assert!(gap(2).await);
    assert!(!gap(3).await);
    server.command(&["DEL", "grantry:{c0}:history"]);
    assert!(gap(4).await, "it does not reach so far any more");
}

/// A server that is stopped costs each call its time limit and no more; when it goes on, so does the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_keeps_nobody_waiting() {
    let server = Server::start(&[]);
    let opened = RedisStore::builder(&server.address())
        .time_limit(Duration::from_millis(300))
        .open();
    let store = opened.await.unwrap();
    let revision = insert(&store, "con_1").await;
    server.signal(grantry_redis_servers::Signal::STOP);
    let mut calls = JoinSet::new();
    for i in 0..40 {
        let store = store.clone();
        calls.spawn(async move {
            match i % 4 {
                0 => store
                    .swap_connection(&row("con_1", i), revision)
                    .await
                    .map(|_| ()),
                1 => store.connection(&row("con_1", 0).id).await.map(|_| ()),
                2 => store
                    .list_connections(&all(Some("con")), None, 10)
                    .await
                    .map(|_| ()),
                _ => store
                    .insert_connection(&row(&format!("con_x{i}"), 0))
                    .await
                    .map(|_| ()),
            }
        });
    }
    let ended = tokio::time::timeout(Duration::from_secs(30), calls.join_all()).await;
    for result in ended.unwrap() {
        assert_eq!(result.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    server.signal(grantry_redis_servers::Signal::CONT);
    let stored = loop {
        if let Ok((stored, _)) = store.connection(&row("con_1", 0).id).await {
            break stored.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(
        stored.revision == revision || stored.revision.counter == revision.counter + 1,
        "one swap or none"
    );
}

/// While a server is away, many calls are not as many attempts to reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_not_stormed() {
    let mut server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    server.kill();
    let away = TcpListener::bind(("127.0.0.1", server.port())).await.unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let counting = async move {
        loop {
            drop(away.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let store = store.clone();
        calls.spawn(async move { store.connection(&row("con_1", 0).id).await.is_err() });
    }
    tokio::select! {
        failed = calls.join_all() => assert!(failed.into_iter().all(|failed| failed)),
        () = counting => {}
    }
    let attempts = attempts.load(Ordering::SeqCst);
    assert!((1..=20).contains(&attempts), "{attempts} attempts for 1000 calls");
}
