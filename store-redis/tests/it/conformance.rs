//! The store passes the suite. Every handle has a connection of its own, as another process would.

use grantry::conformance::Fixture;
use grantry_store_redis::{Advice, RedisStore};

use crate::server::Server;

impl Fixture for Server {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        RedisStore::open(&self.address()).await.unwrap()
    }
}

mod usual {
    use super::*;
    grantry::store_conformance!(Server::start(&[]).await);
}

/// A server on which the store may do no more than its documentation lists, and only with keys of its prefix.
struct Strict(Server);

impl Strict {
    async fn start() -> Self {
        let allowed = "+@read +@write +@scripting +@connection -@dangerous +time +info +config|get";
        let user = ["--user", "grantry", "on", ">secret", "~mine:*"];
        let settings: Vec<&str> = user.into_iter().chain(allowed.split(' ')).collect();
        Self(Server::start(&settings).await)
    }
}

impl Fixture for Strict {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        let address = format!("redis://grantry:secret@127.0.0.1:{}/?prefix=mine", self.0.port());
        let store = RedisStore::open(&address).await.unwrap();
        assert_eq!(
            store.advice(),
            [Advice::SyncedEachSecond],
            "everything could be asked"
        );
        store
    }
}

mod strict {
    use super::*;
    grantry::store_conformance!(Strict::start().await);
}
