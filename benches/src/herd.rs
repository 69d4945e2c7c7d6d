//! H1: ten thousand callers of one connection whose access token is dead.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use grantry_store_sqlite::SqliteStore;
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::{
    measure::{Scale, Timer, Variant, interleave},
    proxy, refresh,
    report::{Must, Row},
    upstream::{TOKEN_PATH, Upstream},
    world::{self, Forward, World},
};

const CALLERS: u32 = 10_000;
/// How long the token endpoint works on a request.
const LATENCY: Duration = Duration::from_millis(50);
/// By then every access token is dead.
const LATER: Duration = Duration::from_hours(3);

/// All rows of this file.
pub fn rows(scale: Scale) -> Vec<Row> {
    let runtime = world::runtime();
    let directory = tempfile::tempdir().unwrap();
    let upstream = world::upstream(None);
    upstream.take_your_time(LATENCY);
    let clock = Forward::default();
    let (world, id) = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("grantry.db"))
            .await
            .unwrap();
        let of_broker = clock.clone();
        let world = World::new(store, upstream.origin(), |b| b.clock(of_broker)).await;
        let id = world.connect(1).await.remove(0);
        world.broker.credentials(&id).await.unwrap();
        (world, id)
    });
    let id = Arc::new(id);
    let client = proxy::client(false);
    let url: Arc<str> = format!("{}{TOKEN_PATH}", upstream.origin()).into();
    let mut most = 0;
    let rounds = scale.pick(7, 21);
    let [ours, cell] = interleave(
        Timer::Wall,
        rounds,
        [
            Variant::timed("credentials()", 1, || {
                clock.by(LATER);
                let (spent, exchanges) = herd(&runtime, &upstream, || {
                    let (broker, id) = (world.broker.clone(), id.clone());
                    async move { drop(broker.credentials(&id).await.unwrap()) }
                });
                most = most.max(exchanges);
                spent
            }),
            Variant::timed("tokio OnceCell", 1, || {
                let cell = Arc::new(OnceCell::<Arc<str>>::new());
                let (spent, _) = herd(&runtime, &upstream, || {
                    let (cell, client, url) = (cell.clone(), client.clone(), url.clone());
                    async move {
                        let get = cell.get_or_init(|| async { refresh::raw(&client, &url).await.into() });
                        drop(get.await.clone());
                    }
                });
                spent
            }),
        ],
    );
    let most = u32::try_from(most).unwrap_or(u32::MAX).into();
    vec![
        Row::figure(
            "H1",
            "herd of 10,000 on a dead credential: calls at the endpoint",
            most,
            "calls",
            format!("the most of {rounds} herds"),
            Must::AtMost(1.0),
        ),
        Row::times(
            "H1",
            "herd of 10,000 on a dead credential: until all have it",
            &ours,
            &cell,
            Must::AtMost(1.25),
        ),
    ]
}

/// Nanoseconds until the last of all callers is served, and how many exchanges that took.
fn herd<F>(runtime: &Runtime, upstream: &Upstream, caller: impl Fn() -> F) -> (u64, u64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let before = upstream.exchanges();
    let callers: Vec<F> = (0..CALLERS).map(|_| caller()).collect();
    let begun = Timer::Wall.now();
    let tasks: Vec<_> = callers.into_iter().map(|caller| runtime.spawn(caller)).collect();
    for task in runtime.block_on(join_all(tasks)) {
        task.unwrap();
    }
    (Timer::Wall.now() - begun, upstream.exchanges() - before)
}
