//! Shutdown. Callers who go away are in `core/tests/cancellation`.

use grantry::{
    error::Code,
    testing::{Answer, Fault, Op},
};

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn shutdown_lets_a_refresh_end() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(8)));
    let broker = world.one.broker.clone();
    let caller = world.credentials(&id);
    let shutdown = async {
        pass(seconds(1)).await;
        broker.shutdown(seconds(30)).await
    };
    let (credentials, report) = tokio::join!(caller, shutdown);
    assert!(report.unfinished.is_empty());
    assert_eq!(credentials.unwrap().access_token.expose(), "access-0-1");
    assert_eq!(world.generation(&id).await, 2);
    // Nothing new begins.
    world.clock.step(SESSION);
    assert_eq!(world.code(&id).await, Code::ShuttingDown);
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_says_what_did_not_end() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.script(Op::Swap, 1, 1000, Fault::Before);
    assert_eq!(world.access(&id).await, "access-0-1", "served from memory");
    let report = world.one.broker.shutdown(seconds(10)).await;
    assert_eq!(report.unfinished, [id]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_with_a_store_that_hangs() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    for op in [Op::Touch, Op::Usage, Op::Changes, Op::Integrations] {
        world.one.store.script(op, 0, 1000, Fault::Slow(seconds(100_000)));
    }
    let begun = tokio::time::Instant::now();
    world.one.broker.shutdown(seconds(3)).await;
    assert!(begun.elapsed() <= seconds(6));
}
