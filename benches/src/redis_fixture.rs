//! What the rows about Redis stand on: a server, a broker on it, and the bare driver.

use std::time::Duration;

use grantry::id::ConnectionId;
use grantry_redis_servers::Server;
use grantry_store_redis::RedisStore;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, aio::MultiplexedConnection};

use crate::world::{self, World};

/// The limit: the same driver, without a store.
#[derive(Clone)]
pub struct Bare(MultiplexedConnection);

impl std::fmt::Debug for Bare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bare")
    }
}

impl Bare {
    /// A connection of its own.
    pub async fn connect(server: &Server) -> Self {
        let client = redis::Client::open(server.address()).unwrap();
        // To count the bytes of a long set takes a while.
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let connection = client
            .get_multiplexed_async_connection_with_config(&patient)
            .await;
        Self(connection.unwrap())
    }

    /// What a command answers.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.0.clone()).await.unwrap()
    }

    /// What stands under a key.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        self.ask(redis::cmd("GET").arg(key)).await
    }
}

/// The name of a connection's row in a store with one bucket.
pub fn key(id: &ConnectionId) -> String {
    format!("grantry:{{c0}}:c:{id}")
}

/// Whether there is something to measure; says so if not.
pub fn is_there() -> bool {
    let asked = std::process::Command::new("redis-server")
        .arg("--version")
        .output();
    if asked.is_err() {
        eprintln!("redis-server is not on the path, and its rows are left out");
    }
    asked.is_ok()
}

/// A server that syncs its log so, and does not write it anew meanwhile.
pub fn server(sync: &str) -> Server {
    Server::start(&["--appendfsync", sync, "--auto-aof-rewrite-percentage", "0"])
}

/// A broker on this server.
pub async fn world(server: &Server) -> World {
    let store = RedisStore::open(&server.address()).await.unwrap();
    World::new(store, world::nowhere(), |b| b).await
}
