//! The store passes the suite. Every handle has a connection of its own, as another process would.

use grantry::conformance::Fixture;
use grantry_store_redis::RedisStore;

use crate::server::Server;

impl Fixture for Server {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        RedisStore::open(&self.address()).await.unwrap()
    }
}

grantry::store_conformance!(Server::start(&[]).await);
