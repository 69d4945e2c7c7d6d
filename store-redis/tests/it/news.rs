//! What other handles should see at once is heard of; what they need not is not.

use std::time::Duration;

use bytes::Bytes;
use grantry::{
    connection::Status,
    id::IntegrationId,
    store::{ConnectionStore as _, IntegrationRow, IntegrationStore as _, Swap},
};
use grantry_redis_servers::{Cluster, Sentinels, Server};
use grantry_store_redis::RedisStore;

use crate::outage::{insert, row};

/// Whether a word comes within two seconds.
async fn hears(store: &RedisStore) -> bool {
    let word = store.connection_news();
    tokio::time::timeout(Duration::from_secs(2), word).await.is_ok()
}

/// Listens, and hears nothing yet.
async fn listener(address: &str) -> RedisStore {
    let store = RedisStore::open(address).await.unwrap();
    assert!(hears(&store).await, "it says when it begins to listen");
    store
}

async fn tells_what_matters(address: &str) {
    let listener = listener(address).await;
    let store = RedisStore::open(address).await.unwrap();
    let first = insert(&store, "con_1").await;
    let Swap::Swapped(second) = store.swap_connection(&row("con_1", 1), first).await.unwrap() else {
        panic!("it was the present revision");
    };
    assert!(!hears(&listener).await, "a refresh concerns nobody else at once");

    let mut ended = row("con_1", 2);
    ended.index.status = Status::Deleted;
    assert!(matches!(
        store.swap_connection(&ended, second).await.unwrap(),
        Swap::Swapped(_)
    ));
    assert!(hears(&listener).await, "a connection ended");

    let integration = IntegrationRow {
        id: IntegrationId::new("int_1").unwrap(),
        slug: None,
        body: Bytes::from_static(b"body"),
    };
    let _ = store.insert_integration(&integration).await.unwrap();
    assert!(hears(&listener).await, "an integration is there");
    assert!(!hears(&listener).await, "told once");
}

#[tokio::test]
async fn one_server_tells() {
    let server = Server::start(&[]);
    tells_what_matters(&server.address()).await;
}

#[tokio::test]
async fn sentinels_tell() {
    let servers = Sentinels::start(&[]);
    tells_what_matters(&servers.address()).await;
}

#[tokio::test]
async fn a_cluster_tells() {
    let cluster = Cluster::start(&[]);
    tells_what_matters(&cluster.address()).await;
}

/// A listener whose server went away says so, and listens again.
#[tokio::test]
async fn a_listener_survives_its_server() {
    let mut server = Server::start(&[]);
    let listener = listener(&server.address()).await;
    server.kill();
    assert!(hears(&listener).await, "words may have been missed");
    server.restart();
    let mut waits = 0;
    while !hears(&listener).await {
        waits += 1;
        assert!(waits < 20, "it listens again");
    }
    let store = RedisStore::open(&server.address()).await.unwrap();
    let integration = IntegrationRow {
        id: IntegrationId::new("int_1").unwrap(),
        slug: None,
        body: Bytes::new(),
    };
    let _ = store.insert_integration(&integration).await.unwrap();
    assert!(hears(&listener).await);
}

/// A user that may neither publish nor listen: the writes are done all the same.
#[tokio::test]
async fn a_silent_user_writes() {
    let user = [
        "--user",
        "grantry",
        "on",
        ">secret",
        "~*",
        "resetchannels",
        "+@all",
        "-@pubsub",
    ];
    let server = Server::start(&user);
    let address = format!("redis://grantry:secret@127.0.0.1:{}", server.port());
    let store = RedisStore::open(&address).await.unwrap();
    let revision = insert(&store, "con_1").await;
    let mut ended = row("con_1", 2);
    ended.index.status = Status::Deleted;
    let swapped = store.swap_connection(&ended, revision).await.unwrap();
    assert!(matches!(swapped, Swap::Swapped(_)));
    assert!(!hears(&store).await);
}
