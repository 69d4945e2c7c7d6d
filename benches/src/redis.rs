//! D1 and D2: credentials from Redis.

use std::hint::black_box;

use futures_util::future::join_all;
use grantry::{
    Broker,
    id::ConnectionId,
    vault::{Keyring, TokenVault as _},
};
use grantry_store_sqlite::SqliteStore;
use tokio::runtime::Runtime;

use crate::{
    measure::{Scale, Timer, Variant, interleave, shuffled},
    redis_fixture::{Bare, is_there, key, server, world},
    redis_write,
    report::{Must, Row},
    vault::context,
    world::{self, World},
};

/// Bytes of a token set under the seal.
const SET: usize = 287;
/// Reads that are under way at the same time in the wide row.
const WIDE: u32 = 50;

/// All rows of this file, and compare-and-set.
pub fn rows(scale: Scale) -> Vec<Row> {
    if !is_there() {
        return Vec::new();
    }
    let runtime = world::runtime();
    let servers = ["everysec", "always"].map(server);
    let [world, strict] = servers.each_ref().map(|server| runtime.block_on(world(server)));
    let [bare, strict_bare] = servers
        .each_ref()
        .map(|server| runtime.block_on(Bare::connect(server)));
    let ids = runtime.block_on(world.connect(scale.pick(5_000, 20_000)));
    let mut rows = vec![warm(scale, &runtime, &world, &ids[0])];
    rows.extend(cold(scale, &runtime, &world, &ids, &bare));
    let on = |world, bare, what| redis_write::rows(scale, &runtime, world, bare, what);
    rows.extend(on(&world, &bare, "appendfsync everysec"));
    rows.extend(on(&strict, &strict_bare, "appendfsync always"));
    rows
}

/// D1: what is in memory does not come from the store, whichever it is.
fn warm(scale: Scale, runtime: &Runtime, world: &World, id: &ConnectionId) -> Row {
    let directory = tempfile::tempdir().unwrap();
    let (sqlite, in_sqlite) = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("grantry.db")).await;
        let sqlite = World::new(store.unwrap(), world::nowhere(), |b| b).await;
        let id = sqlite.connect(1).await.remove(0);
        (sqlite, id)
    });
    let calls: u32 = 20_000;
    let credentials = |broker: &Broker, id: &ConnectionId| {
        runtime.block_on(tokio::task::unconstrained(async {
            for _ in 0..calls {
                drop(black_box(broker.credentials(black_box(id)).await.unwrap()));
            }
        }));
    };
    let [redis, sqlite] = interleave(
        Timer::Cpu,
        scale.pick(31, 101),
        [
            Variant::new("on Redis", calls, || credentials(&world.broker, id)),
            Variant::new("on SQLite", calls, || credentials(&sqlite.broker, &in_sqlite)),
        ],
    );
    Row::times(
        "D1",
        "warm credentials(), store on Redis",
        &redis,
        &sqlite,
        Must::AtMost(1.1),
    )
}

/// D2.
fn cold(scale: Scale, runtime: &Runtime, world: &World, ids: &[ConnectionId], bare: &Bare) -> Vec<Row> {
    let keyring = Keyring::parse(&world::keyring()).unwrap();
    let sealed = runtime.block_on(keyring.seal(&context(), &[b'x'; SET])).unwrap();
    let get_and_open = async |key: &String| {
        black_box(bare.get(key).await);
        let _ = black_box(keyring.open(&context(), &sealed).await.unwrap());
    };
    // It has seen none of these connections, only their integration.
    let fresh: Broker = {
        let _inside = runtime.enter();
        world::broker(&world.stores, &world::keyring(), world::nowhere(), |b| b)
    };
    let integration = fresh.integration(&world.integration);
    runtime.block_on(integration.view()).unwrap();
    let rounds = scale.pick(21, 101);
    let order: Vec<&ConnectionId> = shuffled(ids.len()).into_iter().map(|i| &ids[i]).collect();
    let (one_by_one, at_once) = order.split_at(order.len() / 2);
    let calls = |of: &[&ConnectionId]| of.len() / (rounds + 1);
    let count = u32::try_from(calls(one_by_one)).unwrap();
    let mut batches = one_by_one.chunks_exact(calls(one_by_one));
    let keys: Vec<String> = one_by_one.iter().take(count as usize).map(|id| key(id)).collect();
    let [whole, bare_whole, read, get] = interleave(
        Timer::Wall,
        rounds,
        [
            Variant::new("credentials", count, || {
                let batch = batches.next().unwrap();
                runtime.block_on(async {
                    for id in batch {
                        drop(black_box(fresh.credentials(id).await.unwrap()));
                    }
                });
            }),
            Variant::new("GET + open", count, || {
                runtime.block_on(async {
                    for key in &keys {
                        get_and_open(key).await;
                    }
                });
            }),
            Variant::new("store.connection", count, || {
                runtime.block_on(async {
                    for id in &one_by_one[..count as usize] {
                        let _ = black_box(world.stores.connections.connection(id).await.unwrap());
                    }
                });
            }),
            Variant::new("GET", count, || {
                runtime.block_on(async {
                    for key in &keys {
                        black_box(bare.get(key).await);
                    }
                });
            }),
        ],
    );
    let mut batches = at_once.chunks_exact(WIDE as usize);
    let rounds = (at_once.len() / WIDE as usize - 1).min(rounds * 2);
    let [wide, bare_wide] = interleave(
        Timer::Wall,
        rounds,
        [
            Variant::new("credentials", WIDE, || {
                let batch = batches.next().unwrap();
                runtime.block_on(join_all(batch.iter().map(|id| fresh.credentials(id))));
            }),
            Variant::new("GET + open", WIDE, || {
                runtime.block_on(join_all(
                    keys.iter().cycle().take(WIDE as usize).map(&get_and_open),
                ));
            }),
        ],
    );
    vec![
        Row::times(
            "D2",
            "cold credentials() from Redis",
            &whole,
            &bare_whole,
            Must::AtMost(1.3),
        ),
        Row::times("D2", "of which: the store's read", &read, &get, Must::Nothing),
        Row::times(
            "D2",
            "cold credentials() from Redis, 50 at a time",
            &wide,
            &bare_wide,
            Must::Nothing,
        ),
    ]
}
