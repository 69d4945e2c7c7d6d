//! Many callers, one presentation (I8, I11).

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_on_a_dead_token_make_one_presentation() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let tokens = join_all((0..1000).map(|_| world.access(&id))).await;
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
    assert!(tokens.iter().all(|token| token == "access-0-1"));
    // And once more, when that one is dead.
    world.clock.step(SESSION);
    join_all((0..1000).map(|_| world.access(&id))).await;
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

#[tokio::test(start_paused = true)]
async fn callers_with_a_living_token_never_wait() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    pass(seconds(1)).await;
    // The provider and the store take for ever; whoever waits for either would see time pass.
    world.upstream.set(|s| s.takes = seconds(3600));
    for _ in 0..3 {
        let begun = tokio::time::Instant::now();
        join_all((0..100).map(|_| world.access(&id))).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        world.clock.step(Duration::from_millis(100));
    }
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn near_its_end_a_token_is_refreshed_behind_the_callers() {
    let world = World::new().await;
    let id = world.connect().await;
    // A second before callers would have to wait.
    world.clock.step(SESSION - seconds(301));
    let begun = tokio::time::Instant::now();
    let old = join_all((0..100).map(|_| world.access(&id))).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited");
    assert!(old.iter().all(|token| token == "access-0-0"));
    pass(seconds(1)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_more_life_waits_and_gets_what_lives_if_there_is_no_more() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION - seconds(1800));
    let connection = world.one.broker.connection(&id);
    let ask = |minimum| connection.credentials_valid_for(minimum);
    assert_eq!(
        ask(seconds(60)).await.unwrap().access_token.expose(),
        "access-0-0"
    );
    assert_eq!(
        ask(seconds(3600)).await.unwrap().access_token.expose(),
        "access-0-1"
    );
    // A session is no longer than it is: this must not refresh at every call.
    for _ in 0..10 {
        ask(seconds(24 * 3600)).await.unwrap();
    }
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_failed_is_not_tried_again_for_every_caller_whose_token_lives() {
    use grantry::{
        connection::Reason,
        provider::{Failure, Refusal, Verdict},
        testing::{Answer, Fault, Op},
    };
    let world = World::new().await;
    let id = world.connect().await;
    let Failure::Refused(refusal) = Failure::refused(Verdict::MayPass, Reason::ServerUnavailable) else {
        unreachable!()
    };
    world.upstream.always(Some(Answer::Refused(Refusal {
        retry_after: Some(seconds(20)),
        ..refusal
    })));
    world.clock.step(SESSION - seconds(250));
    world.access(&id).await;
    pass(seconds(1)).await;
    let writes = world.one.store.writes();
    world.access(&id).await;
    world
        .one
        .store
        .script(Op::Read, 0, u32::MAX, Fault::Slow(seconds(5)));
    for _ in 0..100 {
        let begun = tokio::time::Instant::now();
        assert_eq!(world.access(&id).await, "access-0-0");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
    assert_eq!(world.one.store.writes(), writes);
    assert_eq!(world.presentations(), 1);
    world.one.store.heal();
    pass(seconds(25)).await;
    world.upstream.always(None);
    pass(seconds(30)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
}
