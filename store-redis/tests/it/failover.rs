//! Primaries that die, stand still or lose a slot: what was confirmed stays, and the store goes on by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grantry::{
    store::{ConnectionStore as _, IntegrationStore as _, Revision, Swap},
    time::StoreInstant,
};
use grantry_redis_servers::{Cluster, Sentinels, Signal};
use grantry_store_redis::{RedisBuilder, RedisStore};
use tokio::task::JoinSet;

use crate::outage::{all, insert, row};

fn at(address: &str) -> RedisBuilder {
    RedisStore::builder(address)
        .time_limit(Duration::from_secs(1))
        .confirm_within(Duration::from_millis(500))
}

/// Rows that are swapped as fast as they can be, one writer for each.
struct Writers {
    tasks: JoinSet<(String, Revision)>,
    over: Arc<AtomicBool>,
}

impl Writers {
    fn start(store: &RedisStore, count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..count {
            tasks.spawn(write(store.clone(), format!("con_{writer}"), over.clone()));
        }
        Self { tasks, over }
    }

    /// The last revision of each row that was confirmed.
    async fn end(self) -> Vec<(String, Revision)> {
        self.over.store(true, Ordering::SeqCst);
        self.tasks.join_all().await
    }
}

/// Swaps a row until it is over, and says which revision was confirmed last. Nobody else writes the row, so that every
/// revision found must be one of this task's, and none from before the last one that was confirmed.
async fn write(store: RedisStore, id: String, over: Arc<AtomicBool>) -> (String, Revision) {
    let connection = row(&id, 0).id;
    let mut revision = insert(&store, &id).await;
    let mut confirmed = revision;
    let mut turn = 1;
    loop {
        if let Ok(true) = store.confirm_connection(&connection, revision).await {
            confirmed = revision;
            if over.load(Ordering::SeqCst) {
                return (id, confirmed);
            }
        }
        match store.swap_connection(&row(&id, turn), revision).await {
            Ok(Swap::Swapped(next)) => {
                revision = next;
                turn += 1;
            }
            // No answer, or what was not confirmed is lost, or stands there though it was not answered: the row tells.
            Ok(Swap::Conflict) | Err(_) => {
                if let Ok((Some(stored), _)) = store.connection(&connection).await {
                    assert!(
                        stored.revision.counter >= confirmed.counter,
                        "{id}: {} is back, {} was confirmed",
                        stored.revision.counter,
                        confirmed.counter
                    );
                    revision = stored.revision;
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Ok(Swap::Missing) => {
                panic!("{id} is gone, which was confirmed as {}", confirmed.counter)
            }
        }
    }
}

/// Reads a row that is there, and the time; servers that change their roles cut connections more than once.
async fn read(store: &RedisStore, id: &str) -> (Revision, StoreInstant) {
    for _ in 0..100 {
        if let Ok((stored, now)) = store.connection(&row(id, 0).id).await {
            return (stored.unwrap().revision, now);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} cannot be read");
}

async fn check(store: &RedisStore, confirmed: Vec<(String, Revision)>) {
    for (id, revision) in &confirmed {
        assert_eq!(read(store, id).await.0, *revision, "{id}");
    }
    let listed = store.list_connections(&all(None), None, 100).await.unwrap();
    assert_eq!(listed.items.len(), confirmed.len(), "lists have what rows have");
}

/// Waits until a write is confirmed again, which needs a primary with a replica.
async fn is_confirmed(store: &RedisStore, id: &str) {
    let mut waits = 0;
    loop {
        if let Ok((Some(stored), _)) = store.connection(&row(id, 0).id).await
            && let Ok(true) = store.confirm_connection(&stored.row.id, stored.revision).await
        {
            return;
        }
        waits += 1;
        assert!(waits < 600, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The primary is killed while rows are written; a replica takes over, and nothing that was confirmed is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_primary_that_died() {
    let mut servers = Sentinels::start(&[]);
    let store = at(&servers.address()).open().await.unwrap();
    let version = store.integrations_version().await.unwrap();
    insert(&store, "con_x").await;
    let (_, before) = read(&store, "con_x").await;
    let writers = Writers::start(&store, 8);
    is_confirmed(&store, "con_x").await;
    let first = servers.primary().unwrap();
    servers.servers[first].kill();
    is_confirmed(&store, "con_x").await;
    let mut confirmed = writers.end().await;
    assert_ne!(servers.primary(), Some(first));
    let (revision, after) = read(&store, "con_x").await;
    confirmed.push(("con_x".to_owned(), revision));
    check(&store, confirmed.clone()).await;
    assert_eq!(after.since(before), None, "times of two servers do not compare");
    assert_ne!(store.integrations_version().await.unwrap(), version);
    // The old one comes back, and is made a replica.
    servers.servers[first].restart();
    check(&at(&servers.address()).open().await.unwrap(), confirmed).await;
}

/// The primary stands still until it was replaced, and goes on as if nothing had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_slept_has_lost_its_place() {
    let servers = Sentinels::start(&[]);
    let store = at(&servers.address()).open().await.unwrap();
    let writers = Writers::start(&store, 8);
    insert(&store, "con_x").await;
    is_confirmed(&store, "con_x").await;
    let first = servers.primary().unwrap();
    servers.servers[first].signal(Signal::STOP);
    let mut waits = 0;
    while servers.primary().is_none_or(|primary| primary == first) {
        waits += 1;
        assert!(waits < 600, "another one takes over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    is_confirmed(&store, "con_x").await;
    servers.servers[first].signal(Signal::CONT);
    is_confirmed(&store, "con_x").await;
    let mut confirmed = writers.end().await;
    confirmed.push(("con_x".to_owned(), read(&store, "con_x").await.0));
    check(&store, confirmed).await;
}

/// One of a Cluster's primaries is killed while rows in all of them are written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_replaces_a_primary_that_died() {
    let mut cluster = Cluster::start(&[]);
    let store = at(&cluster.address()).open().await.unwrap();
    let writers = Writers::start(&store, 24);
    insert(&store, "con_x").await;
    is_confirmed(&store, "con_x").await;
    cluster.nodes[1].kill();
    for number in 0..24 {
        is_confirmed(&store, &format!("con_{number}")).await;
    }
    let mut confirmed = writers.end().await;
    confirmed.push(("con_x".to_owned(), read(&store, "con_x").await.0));
    check(&store, confirmed.clone()).await;
    cluster.nodes[1].restart();
    cluster.wait_until_whole();
    check(&at(&cluster.address()).open().await.unwrap(), confirmed).await;
}

/// Slots move to another node while their rows are read, listed and written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_under_writers() {
    let cluster = Cluster::start(&[]);
    let store = at(&cluster.address())
        .time_limit(Duration::from_secs(10))
        .open()
        .await
        .unwrap();
    let writers = Writers::start(&store, 24);
    insert(&store, "con_x").await;
    is_confirmed(&store, "con_x").await;
    let owner = |slot| cluster.primary_of(slot).unwrap().port();
    let slots: Vec<u16> = cluster.slots_with_keys();
    assert!(slots.len() > 10);
    for slot in slots.into_iter().step_by(3) {
        let from = owner(slot);
        let to = cluster
            .nodes
            .iter()
            .take(3)
            .find(|node| node.port() != from)
            .unwrap();
        let store = store.clone();
        tokio::task::block_in_place(|| {
            cluster.move_slot(slot, to, || {
                tokio::runtime::Handle::current().block_on(async {
                    let stored = store.connection(&row("con_x", 0).id).await.unwrap().0;
                    assert!(stored.is_some());
                });
            });
        });
        assert_eq!(owner(slot), to.port());
    }
    for number in 0..24 {
        is_confirmed(&store, &format!("con_{number}")).await;
    }
    let mut confirmed = writers.end().await;
    confirmed.push(("con_x".to_owned(), read(&store, "con_x").await.0));
    check(&store, confirmed).await;
}
