//! A1–A5: credentials that are in memory.

use std::{hint::black_box, sync::Barrier};

use grantry::id::ConnectionId;
use grantry_store_sqlite::SqliteStore;
use huskarl::cache::TokenSource as _;
use tokio::runtime::Runtime;

use crate::{
    measure::{Scale, Timer, Variant, interleave, shuffled},
    peers,
    report::{Must, Row},
    world::{self, World},
};

/// Calls in one round: enough that the clock is no matter, and a short stay away from the other variants.
const CALLS: u32 = 20_000;

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let runtime = world::runtime();
    // Rows in a file, as a host has them.
    let directory = tempfile::tempdir().unwrap();
    let world = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("grantry.db"))
            .await
            .unwrap();
        World::new(store, world::nowhere(), |b| b).await
    });
    let one = runtime.block_on(world.connect(1));
    let mut rows = few(scale, &runtime, &world, &one, "1 connection", ("A1", 0.35));
    let many = runtime.block_on(world.connect(10_000));
    rows.extend(few(
        scale,
        &runtime,
        &world,
        &many,
        "10,000 connections",
        ("A2", 0.30),
    ));
    if scale.million {
        let million = runtime.block_on(world.connect(1_000_000));
        rows.extend(vast(&runtime, &world, &million));
    }
    rows.extend(two_threads(scale, &runtime, &world, &one[0]));
    rows
}

/// A1, A2 and A5.
fn few(
    scale: Scale,
    runtime: &Runtime,
    world: &World,
    ids: &[ConnectionId],
    what: &str,
    (id, goal): (&'static str, f64),
) -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let (locked, concurrent, huskarls) = (peers::locked(ids), peers::concurrent(ids), peers::huskarls(ids));
    let huskarl = peers::huskarl();
    let yup = runtime.block_on(peers::yup(directory.path(), ids));
    let broker = &world.broker;
    let order = walk(ids, CALLS);
    let scopes: Vec<[&str; 1]> = order.iter().map(|id| [id.as_str()]).collect();
    for id in ids {
        runtime.block_on(broker.credentials(id)).unwrap();
        runtime
            .block_on(huskarls.pin_owned().get(id).unwrap().token())
            .unwrap();
    }
    runtime.block_on(huskarl.token()).unwrap();
    let one = ids.len() == 1;

    let [whole, peek, huskarl, yup, locked, concurrent] = interleave(
        Timer::Cpu,
        scale.pick(31, 101),
        [
            // The whole public call.
            Variant::new("credentials", CALLS, || {
                run(runtime, async {
                    for id in &order {
                        drop(black_box(broker.credentials(black_box(id)).await.unwrap()));
                    }
                });
            }),
            Variant::new("peek", CALLS, || {
                for id in &order {
                    black_box(
                        broker
                            .peek(black_box(id), |c| c.access_token.expose().len())
                            .unwrap(),
                    );
                }
            }),
            Variant::new("huskarl", CALLS, || {
                run(runtime, async {
                    for id in &order {
                        if one {
                            drop(black_box(huskarl.token().await.unwrap()));
                        } else {
                            // As one would write it: found, cloned, asked.
                            let cache = huskarls.pin().get(black_box(id)).unwrap().clone();
                            drop(black_box(cache.token().await.unwrap()));
                        }
                    }
                });
            }),
            Variant::new("yup-oauth2", CALLS, || {
                run(runtime, async {
                    for scopes in &scopes {
                        drop(black_box(yup.token(black_box(scopes)).await.unwrap()));
                    }
                });
            }),
            Variant::new("std Mutex", CALLS, || {
                for id in &order {
                    drop(black_box(
                        locked.lock().unwrap().get(black_box(id)).unwrap().clone(),
                    ));
                }
            }),
            Variant::new("papaya + Arc", CALLS, || {
                for id in &order {
                    drop(black_box(concurrent.pin().get(black_box(id)).unwrap().clone()));
                }
            }),
        ],
    );
    let fastest = if huskarl.median() < yup.median() {
        &huskarl
    } else {
        &yup
    };
    let slower = if huskarl.median() < yup.median() {
        &yup
    } else {
        &huskarl
    };
    let path = |call: &str| format!("warm {call}, {what}");
    vec![
        Row::times(id, path("credentials()"), &whole, fastest, Must::AtMost(goal)),
        Row::times(id, path("credentials()"), &whole, slower, Must::Nothing),
        Row::times(id, path("credentials()"), &whole, &concurrent, Must::Nothing),
        Row::times("A5", path("credentials()"), &whole, &locked, Must::AtMost(1.0)),
        Row::times(id, path("peek()"), &peek, fastest, Must::AtMost(goal)),
        Row::times("A5", path("peek()"), &peek, &locked, Must::AtMost(1.0)),
    ]
}

/// A3.
fn vast(runtime: &Runtime, world: &World, ids: &[ConnectionId]) -> Vec<Row> {
    let huskarls = peers::huskarls(ids);
    let broker = &world.broker;
    for id in ids {
        runtime.block_on(broker.credentials(id)).unwrap();
        runtime
            .block_on(huskarls.pin_owned().get(id).unwrap().token())
            .unwrap();
    }
    let calls = 200_000;
    let order = walk(ids, calls);
    let [whole, peek, huskarl] = interleave(
        Timer::Cpu,
        15,
        [
            Variant::new("credentials", calls, || {
                run(runtime, async {
                    for id in &order {
                        drop(black_box(broker.credentials(black_box(id)).await.unwrap()));
                    }
                });
            }),
            Variant::new("peek", calls, || {
                for id in &order {
                    black_box(
                        broker
                            .peek(black_box(id), |c| c.access_token.expose().len())
                            .unwrap(),
                    );
                }
            }),
            Variant::new("huskarl", calls, || {
                run(runtime, async {
                    for id in &order {
                        let cache = huskarls.pin().get(black_box(id)).unwrap().clone();
                        drop(black_box(cache.token().await.unwrap()));
                    }
                });
            }),
        ],
    );
    let path = |call: &str| format!("warm {call}, 1,000,000 connections");
    vec![
        Row::times("A3", path("credentials()"), &whole, &huskarl, Must::AtMost(0.5)),
        Row::times("A3", path("peek()"), &peek, &huskarl, Must::AtMost(0.5)),
    ]
}

/// A4: the wall clock of two threads that use one connection, because waiting for each other is what costs here.
fn two_threads(scale: Scale, runtime: &Runtime, world: &World, id: &ConnectionId) -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let ids = [id.clone()];
    let (huskarl, locked) = (peers::huskarl(), peers::locked(&ids));
    let yup = runtime.block_on(peers::yup(directory.path(), &ids));
    runtime.block_on(huskarl.token()).unwrap();
    let (broker, scopes) = (&world.broker, [id.as_str()]);
    let calls: u32 = 200_000;
    let whole = || async { drop(black_box(broker.credentials(black_box(id)).await.unwrap())) };
    let peek = || async {
        black_box(
            broker
                .peek(black_box(id), |c| c.access_token.expose().len())
                .unwrap(),
        );
    };
    let of_huskarl = || async { drop(black_box(huskarl.token().await.unwrap())) };
    let of_yup = || async { drop(black_box(yup.token(&scopes).await.unwrap())) };
    let of_locked = || async {
        drop(black_box(
            locked.lock().unwrap().get(black_box(id)).unwrap().clone(),
        ));
    };
    let [whole, peek, alone, huskarl, yup, locked] = interleave(
        Timer::Wall,
        scale.pick(9, 31),
        [
            Variant::timed("credentials", calls, || threads::<2, _>(runtime, calls, &whole)),
            Variant::timed("peek", calls, || threads::<2, _>(runtime, calls, &peek)),
            Variant::timed("peek on one thread", calls, || {
                threads::<1, _>(runtime, calls, &peek)
            }),
            Variant::timed("huskarl", calls, || threads::<2, _>(runtime, calls, &of_huskarl)),
            Variant::timed("yup-oauth2", calls, || threads::<2, _>(runtime, calls, &of_yup)),
            Variant::timed("std Mutex", calls, || threads::<2, _>(runtime, calls, &of_locked)),
        ],
    );
    let fastest = if huskarl.median() < yup.median() {
        &huskarl
    } else {
        &yup
    };
    let row = |call, ours, other, must| {
        Row::rates(
            "A4",
            format!("two threads, one connection, {call}"),
            ours,
            other,
            must,
        )
    };
    vec![
        row("credentials()", &whole, fastest, Must::AtLeast(3.0)),
        row("credentials()", &whole, &locked, Must::Nothing),
        row("peek()", &peek, fastest, Must::AtLeast(3.0)),
        row("peek()", &peek, &alone, Must::Nothing),
    ]
}

/// Nanoseconds in which so many threads make an equal part of the calls each: from the first one's begin to the last
/// one's end, on their own clocks, since whoever waits for them may be woken late.
fn threads<const N: usize, F: Future>(runtime: &Runtime, calls: u32, call: &(impl Fn() -> F + Sync)) -> u64 {
    let start = Barrier::new(N);
    let each = calls as usize / N;
    let spans = std::thread::scope(|scope| {
        let threads = [(); N].map(|()| {
            scope.spawn(|| {
                start.wait();
                let begun = Timer::Wall.now();
                run(runtime, async {
                    for _ in 0..each {
                        call().await;
                    }
                });
                (begun, Timer::Wall.now())
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let begun = spans.iter().map(|span| span.0).min().unwrap_or(0);
    let ended = spans.iter().map(|span| span.1).max().unwrap_or(0);
    ended - begun
}

/// Runs calls on this thread, without the breaks that tokio orders for tasks that use its locks.
fn run<F: Future>(runtime: &Runtime, calls: F) -> F::Output {
    runtime.block_on(tokio::task::unconstrained(calls))
}

/// So many ids, all of them as often as can be, in an order that no cache of the machine foresees. Each is a text of its
/// own, as a caller has just read it from somewhere.
fn walk(ids: &[ConnectionId], calls: u32) -> Vec<ConnectionId> {
    let order = shuffled(ids.len());
    order
        .iter()
        .cycle()
        .take(calls as usize)
        .map(|&i| peers::own(&ids[i]))
        .collect()
}
