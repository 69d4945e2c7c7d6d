//! A1–A5: credentials that are in memory.

use std::{hint::black_box, sync::Barrier};

use futures_util::FutureExt as _;
use grantry::{id::ConnectionId, store::MemoryStore};
use huskarl::cache::TokenSource as _;
use tokio::runtime::Runtime;

use crate::{
    measure::{Samples, Scale, Timer, Variant, interleave, shuffled},
    peers,
    report::{Must, Row},
    world::{self, World},
};

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let runtime = world::runtime();
    let world = runtime.block_on(World::new(MemoryStore::default(), world::nowhere(), |b| b));
    let one = runtime.block_on(world.connect(1));
    let mut rows = few(scale, &runtime, &world, &one, "1 connection", ("A1", 0.35));
    rows.extend(two_threads(scale, &runtime, &world, &one[0]));
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
    rows
}

/// Calls in one round: enough that the clock is no matter, and a short stay away from the other variants.
const CALLS: u32 = 20_000;

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
            // The whole public call. It must be ready at once, which is what makes it warm.
            Variant::new("credentials", CALLS, || {
                for id in &order {
                    let _ = black_box(broker.credentials(black_box(id)).now_or_never().unwrap().unwrap());
                }
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
                for id in &order {
                    let token = if one {
                        huskarl.token().now_or_never()
                    } else {
                        // As the hand-written map around it would be: found, cloned, asked.
                        let cache = huskarls.pin().get(black_box(id)).unwrap().clone();
                        cache.token().now_or_never()
                    };
                    let _ = black_box(token.unwrap().unwrap());
                }
            }),
            Variant::new("yup-oauth2", CALLS, || {
                for scopes in &scopes {
                    let _ = black_box(yup.token(black_box(scopes)).now_or_never().unwrap().unwrap());
                }
            }),
            Variant::new("std Mutex", CALLS, || {
                for id in &order {
                    let _ = black_box(locked.lock().unwrap().get(black_box(id)).unwrap().clone());
                }
            }),
            Variant::new("papaya + Arc", CALLS, || {
                for id in &order {
                    let _ = black_box(concurrent.pin().get(black_box(id)).unwrap().clone());
                }
            }),
        ],
    );
    let fastest = if huskarl.median() < yup.median() {
        &huskarl
    } else {
        &yup
    };
    let path = |call: &str| format!("warm {call}, {what}");
    vec![
        Row::times(id, path("credentials()"), &whole, fastest, Must::AtMost(goal)),
        Row::times(id, path("peek()"), &peek, fastest, Must::AtMost(goal)),
        Row::times(id, path("credentials()"), &whole, &huskarl, Must::Nothing),
        Row::times(id, path("credentials()"), &whole, &yup, Must::Nothing),
        Row::times("A5", path("credentials()"), &whole, &locked, Must::AtMost(1.0)),
        Row::times("A5", path("peek()"), &peek, &locked, Must::AtMost(1.0)),
        Row::times(id, path("credentials()"), &whole, &concurrent, Must::Nothing),
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
                for id in &order {
                    let _ = black_box(broker.credentials(black_box(id)).now_or_never().unwrap().unwrap());
                }
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
                for id in &order {
                    let cache = huskarls.pin().get(black_box(id)).unwrap().clone();
                    let _ = black_box(cache.token().now_or_never().unwrap().unwrap());
                }
            }),
        ],
    );
    vec![
        Row::times(
            "A3",
            "warm credentials(), 1,000,000 connections",
            &whole,
            &huskarl,
            Must::AtMost(0.5),
        ),
        Row::times(
            "A3",
            "warm peek(), 1,000,000 connections",
            &peek,
            &huskarl,
            Must::AtMost(0.5),
        ),
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
    let handle = runtime.handle();

    let whole = || {
        drop(black_box(
            broker.credentials(black_box(id)).now_or_never().unwrap().unwrap(),
        ))
    };
    let peek = || {
        black_box(
            broker
                .peek(black_box(id), |c| c.access_token.expose().len())
                .unwrap(),
        );
    };
    let [whole, peek, alone, huskarl, yup, locked] = interleave(
        Timer::Wall,
        scale.pick(9, 31),
        [
            Variant::timed("credentials", calls, || both(calls, &whole)),
            Variant::timed("peek", calls, || both(calls, &peek)),
            Variant::timed("peek on one thread", calls, || alone(calls, &peek)),
            Variant::timed("huskarl", calls, || {
                both(calls, &|| {
                    drop(black_box(huskarl.token().now_or_never().unwrap().unwrap()))
                })
            }),
            Variant::timed("yup-oauth2", calls, || {
                // Its lock makes one of two callers wait.
                both(calls, &|| {
                    drop(black_box(handle.block_on(yup.token(&scopes)).unwrap()))
                })
            }),
            Variant::timed("std Mutex", calls, || {
                both(calls, &|| {
                    drop(black_box(
                        locked.lock().unwrap().get(black_box(id)).unwrap().clone(),
                    ))
                })
            }),
        ],
    );
    let fastest: &Samples = if huskarl.median() < yup.median() {
        &huskarl
    } else {
        &yup
    };
    let rates = |path, ours, other, must| Row::rates("A4", path, ours, other, must);
    vec![
        rates(
            "two threads, one connection, credentials()",
            &whole,
            fastest,
            Must::AtLeast(3.0),
        ),
        rates(
            "two threads, one connection, peek()",
            &peek,
            fastest,
            Must::AtLeast(3.0),
        ),
        rates(
            "two threads, one connection, credentials()",
            &whole,
            &locked,
            Must::Nothing,
        ),
        rates(
            "two threads, one connection, peek()",
            &peek,
            &alone,
            Must::Nothing,
        ),
    ]
}

/// Nanoseconds in which two threads make half of the calls each: from the first one's begin to the last one's end, on
/// their own clocks, since whoever waits for them may be woken late.
fn both(calls: u32, call: &(impl Fn() + Sync)) -> u64 {
    let start = Barrier::new(2);
    let spans = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| {
            scope.spawn(|| {
                start.wait();
                let begun = Timer::Wall.now();
                for _ in 0..calls / 2 {
                    call();
                }
                (begun, Timer::Wall.now())
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    spans[0].1.max(spans[1].1) - spans[0].0.min(spans[1].0)
}

fn alone(calls: u32, call: &impl Fn()) -> u64 {
    let begun = Timer::Wall.now();
    for _ in 0..calls {
        call();
    }
    Timer::Wall.now() - begun
}

/// So many ids, all of them as often as can be, in an order that no cache of the machine foresees.
fn walk(ids: &[ConnectionId], calls: u32) -> Vec<ConnectionId> {
    let order = shuffled(ids.len());
    order
        .iter()
        .cycle()
        .take(calls as usize)
        .map(|&i| ids[i].clone())
        .collect()
}
