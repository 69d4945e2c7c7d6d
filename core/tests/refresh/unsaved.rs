//! A new token set that the store does not take at once (I3).

use grantry::{
    error::Code,
    event::What,
    testing::{Fault, Op},
};

use crate::support::{SESSION, World, pass, seconds};

async fn served_and_stored(fault: Fault, times: u32) -> World {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    // The lease is written; what comes after it is not.
    world.one.store.script(Op::Swap, 1, times, fault);
    assert_eq!(world.access(&id).await, "access-0-1");
    pass(seconds(60)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.generation(&id).await, 2);
    assert_eq!(world.stands_at(&id).await, "Idle");
    // Another process can read what was written.
    let other = world.process().broker.credentials(&id).await.unwrap();
    assert_eq!(other.access_token.expose(), "access-0-1");
    // And its refresh token is the living one.
    world.clock.step(SESSION);
    assert_eq!(world.access(&id).await, "access-0-2");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
    world
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_commit_is_repeated() {
    let world = served_and_stored(Fault::Before, 1).await;
    assert_eq!(world.one.events.count(&What::Unsaved), 0);
    let world = served_and_stored(Fault::Before, 4).await;
    assert_eq!(world.one.events.count(&What::Unsaved), 1);
    assert_eq!(world.one.events.count(&What::Saved), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_commit_is_recognised_as_one_s_own_write() {
    let world = served_and_stored(Fault::After, 1).await;
    let refreshed = |w: &&What| matches!(w, What::Refreshed(_));
    assert_eq!(world.one.events.all().iter().filter(refreshed).count(), 2);
    assert_eq!(world.one.events.count(&What::Superseded), 0);
}

#[tokio::test(start_paused = true)]
async fn a_set_of_a_second_attempt_is_tried_also_if_the_write_s_answer_was_lost() {
    use grantry::testing::{Answer, Request};
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Dropped);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    pass(seconds(70)).await;
    world.one.store.script(Op::Swap, 1, 1, Fault::After);
    world.access(&id).await;
    assert!(
        world
            .upstream
            .log()
            .contains(&Request::Life("access-0-1".to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn for_as_long_as_the_store_is_down_callers_are_served() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let down = async {
        while world.presentations() == 0 {
            pass(std::time::Duration::from_millis(1)).await;
        }
        world.one.store.down(true);
    };
    let (token, ()) = tokio::join!(world.access(&id), down);
    assert_eq!(token, "access-0-1");
    for _ in 0..100 {
        pass(seconds(10)).await;
        assert_eq!(world.access(&id).await, "access-0-1");
    }
    assert_eq!(world.one.events.count(&What::Unsaved), 1);
    assert_eq!(world.generation(&id).await, 1);
    world.one.store.down(false);
    pass(seconds(10)).await;
    assert_eq!(world.generation(&id).await, 2);
    assert_eq!(world.one.events.count(&What::Saved), 1);
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unsaved_set_of_a_connection_that_somebody_deleted_is_not_served_on() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.script(Op::Swap, 1, u32::MAX, Fault::Before);
    assert_eq!(world.access(&id).await, "access-0-1");
    // By then it is written every five seconds only; the deletion must be seen before.
    pass(seconds(60)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    world.process().broker.connection(&id).disconnect().await.unwrap();
    // Within the time that another process needs to hear of it, long before the next write.
    pass(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.code(&id).await, Code::ConnectionNotFound);
    world.one.store.heal();
    pass(seconds(30)).await;
    assert_eq!(world.upstream.revoked(), ["refresh-0-0", "refresh-0-1"]);
    assert!(!world.upstream.lives("refresh-0-1"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_reads_and_does_not_write_costs_no_token_and_ends_the_wait() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.script(Op::Swap, 0, u32::MAX, Fault::Before);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.code(&id).await, Code::StoreUnavailable);
    assert!(begun.elapsed() < seconds(20));
    assert!(world.one.store.writes() < 50, "it is not tried without a pause");
    assert_eq!(world.presentations(), 0);
    world.one.store.heal();
    assert_eq!(world.access(&id).await, "access-0-1");
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_write_got_no_answer_is_recognised() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.next(Op::Swap, Fault::After);
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_took_too_long_to_write_is_not_used() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.next(Op::Swap, Fault::SlowAnswer(seconds(6)));
    assert_eq!(world.code(&id).await, Code::RefreshNotSent);
    assert_eq!(world.presentations(), 0);
    assert_eq!(world.stands_at(&id).await, "Idle");
}

/// The time to send counts from before the write that got no answer, whenever it is found to stand.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_recognised_too_late_is_not_used() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.next(Op::Swap, Fault::After);
    // The caller reads, and whoever takes the lease; then it cannot be read for six seconds.
    world.one.store.script(Op::Read, 2, 7, Fault::Before);
    assert_eq!(world.code(&id).await, Code::RefreshNotSent);
    assert_eq!(world.presentations(), 0);
    assert_eq!(world.stands_at(&id).await, "Idle");
}

/// Somebody writes the same row for a reason of his own while the answer is on its way: both changes are kept.
#[tokio::test(start_paused = true)]
async fn an_unrelated_write_of_the_row_costs_no_set() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let two = world.process();
    world.upstream.next(grantry::testing::Answer::Slow(seconds(10)));
    let relabel = async {
        for n in 0..20 {
            pass(std::time::Duration::from_millis(600)).await;
            let update = grantry::ConnectionUpdate::default().owner(format!("owner {n}"));
            two.broker.connection(&id).update(update).await.unwrap();
        }
    };
    let (token, ()) = tokio::join!(world.access(&id), relabel);
    assert_eq!(token, "access-0-1");
    assert_eq!(world.generation(&id).await, 2);
    assert_eq!(two.broker.connection(&id).view().await.unwrap().owner, "owner 19");
    world.clock.step(SESSION);
    assert_eq!(
        two.broker.credentials(&id).await.unwrap().access_token.expose(),
        "access-0-2"
    );
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}
