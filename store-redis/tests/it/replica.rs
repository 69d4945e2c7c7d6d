//! A primary with a replica: what was acknowledged is on both, if the host wants that.

use std::time::Duration;

use grantry::store::{ConnectionStore as _, Swap};
use grantry_store_redis::RedisStore;
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::{
    outage::{insert, row},
    server::Server,
};

/// A primary, and a replica that has caught up with it.
async fn pair() -> (Server, Server) {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]).await;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]).await;
    let mut waits = 0;
    while !replica
        .command(&["INFO", "replication"])
        .await
        .contains("master_link_status:up")
    {
        waits += 1;
        assert!(waits < 1000, "the replica does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (primary, replica)
}

async fn open(server: &Server, within: Duration) -> RedisStore {
    let builder = RedisStore::builder(&server.address());
    builder.wait_for_replicas(1, within).open().await.unwrap()
}

/// The primary is killed as soon as the writers were answered, and the replica takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_on_the_replica() {
    let (mut primary, replica) = pair().await;
    let store = open(&primary, Duration::from_secs(20)).await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            let id = format!("con_{writer}");
            let mut revision = insert(&store, &id).await;
            for turn in 1..50 {
                revision = match store.swap_connection(&row(&id, turn), revision).await.unwrap() {
                    Swap::Swapped(revision) => revision,
                    other => panic!("nobody else writes {id}: {other:?}"),
                };
            }
            (id, revision)
        });
    }
    // The replica hears of the last writes only after they were written.
    let known = writers.join_all().await;
    primary.end();
    assert_eq!(store.unconfirmed(), 0);
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    let promoted = RedisStore::open(&replica.address()).await.unwrap();
    for (id, revision) in known {
        let (stored, _) = promoted.connection(&row(&id, 0).id).await.unwrap();
        assert_eq!(stored.unwrap().revision, revision, "{id}");
    }
}

/// While the replica has not got a write, it is not acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_the_replica() {
    let (primary, replica) = pair().await;
    let store = open(&primary, Duration::from_secs(20)).await;
    let revision = insert(&store, "con_1").await;
    replica.signal(Signal::STOP);
    let next = row("con_1", 1);
    let mut swap = std::pin::pin!(store.swap_connection(&next, revision));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut swap).await;
    assert!(early.is_err(), "the replica cannot have it");
    replica.signal(Signal::CONT);
    assert!(matches!(swap.await.unwrap(), Swap::Swapped(_)));
    assert_eq!(store.unconfirmed(), 0);
}

/// A replica that has stopped delays writes, fails none of them, and is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stopped_is_counted() {
    let (primary, replica) = pair().await;
    let store = open(&primary, Duration::from_millis(200)).await;
    let revision = insert(&store, "con_1").await;
    replica.signal(Signal::STOP);
    let swapped = store.swap_connection(&row("con_1", 1), revision).await.unwrap();
    assert!(matches!(swapped, Swap::Swapped(_)));
    assert!(store.unconfirmed() >= 1);
    let stored = store.connection(&row("con_1", 0).id).await.unwrap().0.unwrap();
    assert_eq!(stored.row, row("con_1", 1));
    replica.signal(Signal::CONT);
}
