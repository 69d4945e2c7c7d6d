//! A primary with a replica: what was confirmed is on both.

use std::time::Duration;

use grantry::{
    id::ConnectionId,
    store::{ConnectionStore as _, Inserted, Revision, Swap},
};
use grantry_redis_servers::{Server, Signal};
use grantry_store_redis::{RedisBuilder, RedisStore};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use crate::{
    opening::refused,
    outage::{insert, row},
};

/// A primary, and a replica that has caught up with it.
async fn pair() -> (Server, Server) {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    wait_for_link(&replica).await;
    let mut waits = 0;
    while !primary.command(&["INFO", "replication"]).contains("state=online") {
        waits += 1;
        assert!(waits < 3000, "the primary does not see its replica");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (primary, replica)
}

async fn wait_for_link(replica: &Server) {
    let mut waits = 0;
    while !replica
        .command(&["INFO", "replication"])
        .contains("master_link_status:up")
    {
        waits += 1;
        assert!(waits < 3000, "the replica does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Without a word about replicas: that there are some is seen.
fn at(server: &Server, within: Duration) -> RedisBuilder {
    RedisStore::builder(&server.address()).confirm_within(within)
}

/// The replica goes on, in its own time.
async fn is_confirmed_at_last(store: &RedisStore, id: &ConnectionId, revision: Revision) {
    let mut waits = 0;
    while !store.confirm_connection(id, revision).await.unwrap() {
        waits += 1;
        assert!(waits < 300, "the replica does not go on");
    }
}

/// The primary is killed as soon as the writers were told that their writes would outlive it, and the replica takes its
/// place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_is_on_the_replica() {
    let (mut primary, replica) = pair().await;
    let store = at(&primary, Duration::from_secs(20)).open().await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            let id = format!("con_{writer}");
            let mut revision = insert(&store, &id).await;
            for turn in 1..50 {
                let next = row(&id, turn);
                revision = match store.swap_connection(&next, revision).await.unwrap() {
                    Swap::Swapped(revision) => revision,
                    other => panic!("nobody else writes {id}: {other:?}"),
                };
                assert!(store.confirm_connection(&next.id, revision).await.unwrap());
            }
            (id, revision)
        });
    }
    // The replica hears of the last writes only after they were written.
    let known = writers.join_all().await;
    primary.kill();
    assert_eq!(store.unconfirmed(), 0);
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let promoted = RedisStore::open(&replica.address()).await.unwrap();
    for (id, revision) in known {
        let (stored, _) = promoted.connection(&row(&id, 0).id).await.unwrap();
        assert_eq!(stored.unwrap().revision, revision, "{id}");
        let id = row(&id, 0).id;
        let confirmed = promoted.confirm_connection(&id, revision).await;
        assert!(
            confirmed.unwrap(),
            "a primary without replicas keeps nobody waiting"
        );
    }
}

/// While the replica has not got a write, it is not confirmed; and a replica that has stopped costs the time for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_confirmed_by_the_replica() {
    let (primary, replica) = pair().await;
    let store = at(&primary, Duration::from_millis(200)).open().await.unwrap();
    let revision = insert(&store, "con_1").await;
    let id = row("con_1", 0).id;
    is_confirmed_at_last(&store, &id, revision).await;
    let before = store.unconfirmed();
    replica.signal(Signal::STOP);
    let swapped = store.swap_connection(&row("con_1", 1), revision).await.unwrap();
    let Swap::Swapped(second) = swapped else {
        panic!("it was the present revision");
    };
    assert!(!store.confirm_connection(&id, second).await.unwrap());
    assert_eq!(store.unconfirmed(), before + 1);
    let codes: Vec<&str> = store.warnings().iter().map(|warning| warning.code).collect();
    assert!(codes.contains(&"redis_no_min_replicas"), "{codes:?}");
    assert!(codes.contains(&"redis_unconfirmed"), "{codes:?}");
    let stored = store.connection(&id).await.unwrap().0.unwrap();
    assert_eq!(stored.row, row("con_1", 1), "it is written all the same");
    replica.signal(Signal::CONT);
    is_confirmed_at_last(&store, &id, second).await;
    assert!(
        !store.confirm_connection(&id, revision).await.unwrap(),
        "the row has another revision by now"
    );
}

/// A primary that had a replica and has none any more may be cut off: nothing is confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lost_its_replica_confirms_nothing() {
    let (primary, mut replica) = pair().await;
    let store = at(&primary, Duration::from_millis(200)).open().await.unwrap();
    let careless = at(&primary, Duration::from_millis(200)).wait_for_replicas(0);
    let careless = careless.open().await.unwrap();
    replica.kill();
    let mut waits = 0;
    while primary.command(&["INFO", "replication"]).contains("state=online") {
        waits += 1;
        assert!(waits < 1000, "the primary sees that its replica is gone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let revision = insert(&store, "con_1").await;
    let id = row("con_1", 0).id;
    assert!(!store.confirm_connection(&id, revision).await.unwrap());
    assert!(careless.confirm_connection(&id, revision).await.unwrap());
    replica.restart();
    wait_for_link(&replica).await;
    is_confirmed_at_last(&store, &id, revision).await;
}

/// With a replica more to wait for than there are, nothing is confirmed; the address says how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_says_how_many_replicas() {
    let (primary, _replica) = pair().await;
    let open = async |query: &str| {
        let address = format!("{}{query}", primary.address());
        let builder = RedisStore::builder(&address).confirm_within(Duration::from_millis(500));
        builder.open().await.unwrap()
    };
    let two = open("?wait_for_replicas=2").await;
    let revision = insert(&two, "con_1").await;
    let id = row("con_1", 0).id;
    assert!(!two.confirm_connection(&id, revision).await.unwrap());
    is_confirmed_at_last(&open("?wait_for_replicas=1").await, &id, revision).await;
    let none = open("?wait_for_replicas=0").await;
    assert!(none.confirm_connection(&id, revision).await.unwrap());
}

/// Its replica was there a moment ago and is not back yet: if it died now, the replica would know nothing of this write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_came_back_alone_is_given_time() {
    let (mut primary, mut replica) = pair().await;
    let store = at(&primary, Duration::from_millis(100)).open().await.unwrap();
    replica.kill();
    primary.kill();
    primary.restart();
    let mut waits = 0;
    let revision = loop {
        match store.insert_connection(&row("con_1", 0)).await {
            Ok(Inserted::Created(revision)) => break revision,
            other => assert!(waits < 500, "the primary does not come back: {other:?}"),
        }
        waits += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let id = row("con_1", 0).id;
    assert!(!store.confirm_connection(&id, revision).await.unwrap());
    // It may be the last one for good.
    is_confirmed_at_last(&store, &id, revision).await;
}

/// A backup over the network looks like a replica for a while, and never says that it has anything.
#[tokio::test]
async fn who_takes_a_backup_is_no_replica() {
    let server = Server::start(&[]);
    let mut backup = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    backup.write_all(b"SYNC\r\n").await.unwrap();
    let mut waits = 0;
    while !server.command(&["INFO", "replication"]).contains("state=online") {
        waits += 1;
        assert!(waits < 3000, "the backup is not sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let store = RedisStore::open(&server.address()).await.unwrap();
    let revision = insert(&store, "con_1").await;
    let id = row("con_1", 0).id;
    assert!(store.confirm_connection(&id, revision).await.unwrap());
    server.command(&["CONFIG", "SET", "appendonly", "no"]);
    assert_eq!(refused(&server.address()).await, "redis_keeps_nothing");
}

/// The connection that waits for replicas rests between refreshes, until something on the way cuts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_cut_while_it_rested_costs_nothing() {
    let (primary, _replica) = pair().await;
    let store = at(&primary, Duration::from_secs(20)).open().await.unwrap();
    let revision = insert(&store, "con_1").await;
    let id = row("con_1", 0).id;
    for _ in 0..3 {
        assert!(store.confirm_connection(&id, revision).await.unwrap());
        primary.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    assert_eq!(store.unconfirmed(), 0);
}
