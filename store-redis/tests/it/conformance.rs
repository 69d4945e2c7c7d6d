//! The store passes the suite. Every handle has a connection of its own, as another process would.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use grantry::conformance::Fixture;
use grantry_redis_servers::{Cluster, Sentinels, Server, Shared};
use grantry_store_redis::{RedisStore, ServerWarning};

/// One server for each case.
struct Own(Server);

impl Own {
    fn start() -> Self {
        Self(Server::start(&[]))
    }
}

impl Fixture for Own {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        RedisStore::open(&self.0.address()).await.unwrap()
    }
}

mod usual {
    use super::*;
    grantry::store_conformance!(Own::start());
}

/// Servers that all cases share, each under a prefix of its own.
struct Part<T> {
    _servers: Arc<T>,
    address: String,
}

impl<T> Part<T> {
    fn of(servers: Arc<T>, address: impl Fn(&T) -> String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let address = format!("{}?prefix=case-{number}", address(&servers));
        Self {
            _servers: servers,
            address,
        }
    }
}

impl<T: Send + Sync> Fixture for Part<T> {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        RedisStore::open(&self.address).await.unwrap()
    }
}

fn sentinels() -> Part<Sentinels> {
    static SENTINELS: Shared<Sentinels> = Shared::new();
    Part::of(SENTINELS.get(|| Sentinels::start(&[])), Sentinels::address)
}

mod behind_sentinels {
    use super::*;
    grantry::store_conformance!(sentinels());
}

fn cluster() -> Part<Cluster> {
    static CLUSTER: Shared<Cluster> = Shared::new();
    Part::of(CLUSTER.get(|| Cluster::start(&[])), Cluster::address)
}

mod on_a_cluster {
    use super::*;
    grantry::store_conformance!(cluster());
}

/// A server on which the store may do no more than its documentation lists, and only with keys of its prefix.
struct Strict(Server);

impl Strict {
    fn start() -> Self {
        let allowed =
            "+@read +@write +@scripting +@connection -@dangerous +time +info +config|get +publish +subscribe";
        let user = ["--user", "grantry", "on", ">secret", "~mine:*", "&mine:*"];
        let settings: Vec<&str> = user.into_iter().chain(allowed.split(' ')).collect();
        Self(Server::start(&settings))
    }
}

impl Fixture for Strict {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        let address = format!("redis://grantry:secret@127.0.0.1:{}/?prefix=mine", self.0.port());
        let store = RedisStore::open(&address).await.unwrap();
        assert!(
            !store
                .server_warnings()
                .contains(&ServerWarning::DurabilityUnknown),
            "everything could be asked"
        );
        store
    }
}

mod strict {
    use super::*;
    grantry::store_conformance!(Strict::start());
}
