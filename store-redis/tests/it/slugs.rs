//! Slugs of integrations beside releases that know none.

use bytes::Bytes;
use grantry::{
    id::{IntegrationId, Slug},
    store::{Inserted, IntegrationRow, IntegrationStore as _},
};
use grantry_redis_servers::Server;
use grantry_store_redis::RedisStore;

fn row(id: &str, slug: Option<&str>) -> IntegrationRow {
    IntegrationRow {
        id: IntegrationId::new(id).unwrap(),
        slug: slug.map(|slug| Slug::new(slug).unwrap()),
        body: Bytes::from_static(b"body"),
    }
}

async fn insert(store: &RedisStore, row: &IntegrationRow) -> bool {
    let inserted = store.insert_integration(row).await.unwrap();
    matches!(inserted, Inserted::Created(_))
}

async fn holder(store: &RedisStore, slug: &str) -> Option<String> {
    let slug = Slug::new(slug).unwrap();
    let stored = store.integration_by_slug(&slug).await.unwrap()?;
    Some(stored.row.id.to_string())
}

fn format(server: &Server) -> String {
    let answer = server.command(&["HGET", "grantry:{s}:store", "format"]);
    answer.lines().nth(1).unwrap().to_owned()
}

/// A release that reads only the first format may use a store until it has a slug, and must not copy it without.
#[tokio::test]
async fn the_first_slug_raises_the_format() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    assert!(insert(&store, &row("int_1", None)).await);
    assert_eq!(format(&server), "1");
    assert!(insert(&store, &row("int_2", Some("acme"))).await);
    assert_eq!(format(&server), "2");
    let again = RedisStore::open(&server.address()).await.unwrap();
    assert_eq!(holder(&again, "acme").await.as_deref(), Some("int_2"));
    // A newer release's is not lowered.
    server.command(&["HSET", "grantry:{s}:store", "format", "3"]);
    assert!(insert(&store, &row("int_3", Some("other"))).await);
    assert_eq!(format(&server), "3");
}

/// A process of an older release that still runs removes a row, and leaves what it does not know of.
#[tokio::test]
async fn what_an_older_release_removed_has_no_slug() {
    let server = Server::start(&[]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    assert!(insert(&store, &row("int_1", Some("acme"))).await);
    let older = |script: &str| {
        let answer = server.command(&["EVAL", script, "2", "grantry:{i}:rows", "grantry:{i}:ids"]);
        assert_eq!(answer, ":1\r\n");
    };
    older(
        "redis.call('SET', 'removed', redis.call('HGET', KEYS[1], 'int_1'))
         redis.call('ZREM', KEYS[2], 'int_1')
         return redis.call('HDEL', KEYS[1], 'int_1')",
    );
    assert_eq!(holder(&store, "acme").await, None);
    assert!(insert(&store, &row("int_2", Some("acme"))).await);
    assert_eq!(holder(&store, "acme").await.as_deref(), Some("int_2"));
    // It inserts the row again, for instance as the target of a copy.
    older(
        "redis.call('ZADD', KEYS[2], 0, 'int_1')
         return redis.call('HSET', KEYS[1], 'int_1', redis.call('GET', 'removed'))",
    );
    let rows = store.list_integrations(None, 10).await.unwrap();
    let slugs: Vec<_> = rows.iter().map(|stored| stored.row.slug.as_ref()).collect();
    assert_eq!(slugs, [None, Some(&Slug::new("acme").unwrap())]);
    let stored = store.integration(&rows[0].row.id).await.unwrap().unwrap();
    assert_eq!(stored.row.slug, None);
}
