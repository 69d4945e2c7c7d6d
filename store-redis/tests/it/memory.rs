//! What a connection costs in the server's memory. Run it with `--nocapture` for the figures.

use std::fmt::Write as _;

use bytes::Bytes;
use grantry::store::{ConnectionStore as _, Inserted};
use grantry_redis_servers::Server;
use grantry_store_redis::RedisStore;
use tokio::task::JoinSet;

use crate::outage::row;

const CONNECTIONS: u64 = 10_000;
const WRITERS: u64 = 20;

/// A number of an answer: the one behind `name`, or the answer itself.
fn number(answer: &str, name: &str) -> u64 {
    let behind = answer.split(name).nth(1).unwrap();
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_costs_what_is_said() {
    let server = Server::start(&["--appendfsync", "no"]);
    let store = RedisStore::open(&server.address()).await.unwrap();
    let used = async || number(&server.command(&["INFO", "memory"]), "used_memory:");
    let before = used().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for i in (writer..CONNECTIONS).step_by(usize::try_from(WRITERS).unwrap()) {
                // As long as those that are generated, and in their order.
                let mut row = row(&format!("con_{i:032}"), 0);
                row.index.email = format!("user.{i:05}@customer-{}.example", i % 97);
                row.index.metadata = [("team".to_owned(), format!("team-{}", i % 7))].into();
                row.body = Bytes::from(vec![7; 1000]);
                let inserted = store.insert_connection(&row).await.unwrap();
                assert!(matches!(inserted, Inserted::Created(_)));
            }
        });
    }
    writers.join_all().await;
    let all = (used().await - before) / CONNECTIONS;
    let mut told = format!("{all} bytes for a connection with a body of 1,000 and an address of about 31:");
    let mut parts = Vec::new();
    for name in ["lists", "search", "history"] {
        let key = format!("grantry:{{c0}}:{name}");
        let bytes = number(&server.command(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]), ":") / CONNECTIONS;
        let _ = write!(told, " {name} {bytes}");
        parts.push(bytes);
    }
    println!("{told}");
    assert!(all < 8_000, "{told}");
    assert!(parts[0] < 1_500 && parts[1] < 5_500, "{told}");
}
