//! H2: a caller whose token lives, while many other connections are refreshed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{FutureExt as _, future::join_all};
use grantry_store_sqlite::SqliteStore;

use crate::{
    measure::{Scale, Timer, p99},
    report::{Must, Row},
    world::{self, World},
};

/// Connections that are refreshed at once.
const STORM: usize = 512;
/// How long the token endpoint works on a request.
const LATENCY: std::time::Duration = std::time::Duration::from_millis(20);

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    // The storm has one core, the caller the other.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let upstream = world::upstream(None);
    upstream.take_your_time(LATENCY);
    let (world, mut ids) = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("grantry.db"))
            .await
            .unwrap();
        let world = World::new(store, upstream.origin(), |b| b).await;
        let ids = world.connect(STORM + 1).await;
        (world, ids)
    });
    let living = ids.pop().unwrap();
    runtime.block_on(world.broker.credentials(&living)).unwrap();
    let over = Arc::new(AtomicBool::new(true));
    // Times of single calls, and how many were not answered at once.
    let watch = |calls: usize| {
        let (mut times, mut waited) = (Vec::with_capacity(calls), 0_u32);
        while times.len() < calls || !over.load(Ordering::Acquire) {
            let begun = Timer::Wall.now();
            waited += u32::from(world.broker.credentials(&living).now_or_never().is_none());
            times.push(std::time::Duration::from_nanos(Timer::Wall.now() - begun).as_secs_f64() * 1e9);
            // So that the two are not in lockstep, and the storm is longer than the samples.
            std::hint::black_box((0..200).sum::<u32>());
        }
        (p99(times), waited)
    };
    let rounds = scale.pick(3, 9);
    let (mut ratios, mut stormy, mut still, mut waits) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let (calm, _) = watch(200_000);
        over.store(false, Ordering::Release);
        let (broker, ids, done) = (world.broker.clone(), ids.clone(), over.clone());
        let storm = runtime.spawn(async move {
            let refresh = |id| {
                let broker = broker.clone();
                async move {
                    let set = broker.credentials(&id).await.unwrap().version;
                    broker.connection(&id).refused(set).await.unwrap();
                }
            };
            join_all(ids.into_iter().map(refresh)).await;
            done.store(true, Ordering::Release);
        });
        let (storm_p99, waited) = watch(1000);
        runtime.block_on(storm).unwrap();
        ratios.push(storm_p99 / calm);
        stormy.push(storm_p99);
        still.push(calm);
        waits += waited;
    }
    let middle = crate::measure::median;
    vec![
        Row::figure(
            "H2",
            format!("a living token while {STORM} others are refreshed: calls that had to wait"),
            f64::from(waits),
            "calls",
            format!("in {rounds} storms"),
            Must::AtMost(0.0),
        ),
        Row::figure(
            "H2",
            "p99 of such a call, beside the same with no storm",
            middle(ratios),
            "×",
            format!(
                "{:.0} ns in the storm, {:.0} ns without",
                middle(stormy),
                middle(still)
            ),
            Must::AtMost(2.0),
        ),
    ]
}
