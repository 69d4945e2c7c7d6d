//! Opens stores in older formats and goes on with them; `tests/old/README.md` lists what they contain. Everything that these
//! tests use of the broker's API is in `broker.rs`.

mod broker;
mod go_on;
mod known;
mod newer;
mod stores;

use broker::Opened;
use known::Known;
use stores::{on_redis, on_sqlite};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_on_sqlite_go_on() {
    for (store, known) in on_sqlite().await {
        go_on::judge(Opened::new(store.clone(), known).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_on_redis_go_on() {
    for (store, known) in on_redis().await {
        go_on::judge(Opened::new(store.clone(), known).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_newer_version_are_left_alone_on_sqlite() {
    for (store, known) in on_sqlite().await {
        newer::judge(store.clone().into(), known).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_newer_version_are_left_alone_on_redis() {
    for (store, known) in on_redis().await {
        newer::judge(store.clone().into(), known).await;
    }
}
