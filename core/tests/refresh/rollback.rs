//! A store that lost what it once acknowledged (I4).

use grantry::{connection::Status, error::Code, event::What, id::ConnectionId, testing::Answer};

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_rolled_back_row_is_repaired_from_memory() {
    let world = World::new().await;
    let id = world.connect().await;
    let old = world.row(&id).await;
    world.clock.step(SESSION);
    world.access(&id).await;
    pass(seconds(1)).await;
    world.one.store.roll_back(&old).await;
    assert_eq!(world.generation(&id).await, 1);
    pass(seconds(1)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.generation(&id).await, 2);
    assert_eq!(world.one.events.count(&What::StoreRolledBack), 1);
    world.clock.step(SESSION);
    assert_eq!(world.access(&id).await, "access-0-2");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_spent_token_of_a_rolled_back_row_is_not_presented() {
    let world = World::new().await;
    let id = world.connect().await;
    let old = world.row(&id).await;
    world.clock.step(SESSION);
    world.access(&id).await;
    // It is rolled back just when the new token is dead, and before anybody looked.
    world.clock.step(SESSION);
    pass(seconds(1)).await;
    let other = world.process();
    other.store.roll_back(&old).await;
    assert_eq!(world.access(&id).await, "access-0-2");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
    assert_eq!(world.one.events.count(&What::StoreRolledBack), 1);
}

/// A process holds a set that the store lost, and whose family the next presentation ends.
async fn with_a_lost_set() -> (World, ConnectionId) {
    let world = World::new().await;
    let id = world.connect().await;
    let old = world.row(&id).await;
    world.clock.step(SESSION);
    assert_eq!(world.access(&id).await, "access-0-1");
    world.one.store.roll_back(&old).await;
    (world, id)
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_put_back_over_an_expired_row_is_tried() {
    let (world, id) = with_a_lost_set().await;
    // A process that never saw the newer set cannot know better, and ends the family of both.
    let two = world.process();
    let refused = two.broker.credentials(&id).await.unwrap_err();
    assert_eq!(refused.code(), Code::ConnectionExpired);
    assert!(!world.upstream.lives("refresh-0-1"));
    pass(seconds(1)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    pass(seconds(1)).await;
    assert_eq!(world.status(&id).await, Status::Expired, "visibly");
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-0"]);
}

/// Whoever presented the spent token never heard that it ended the family.
#[tokio::test(start_paused = true)]
async fn a_set_that_is_put_back_over_an_unknown_outcome_is_tried() {
    let (world, id) = with_a_lost_set().await;
    world.upstream.next(Answer::Lost);
    world.process().broker.credentials(&id).await.unwrap_err();
    assert!(!world.upstream.lives("refresh-0-1"));
    assert_eq!(world.stands_at(&id).await, "Unknown");
    pass(seconds(1)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    pass(seconds(1)).await;
    assert_eq!(world.status(&id).await, Status::Expired, "visibly");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_rolled_back_while_its_new_set_was_on_the_way_is_repaired() {
    let world = World::new().await;
    let id = world.connect().await;
    let old = world.row(&id).await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(5)));
    let back = async {
        pass(seconds(2)).await;
        world.one.store.roll_back(&old).await;
    };
    let (token, ()) = tokio::join!(world.access(&id), back);
    assert_eq!(token, "access-0-1");
    assert_eq!(world.generation(&id).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_no_rollback() {
    use grantry::testing::{Fault, Op};
    let world = World::new().await;
    let id = world.connect().await;
    pass(seconds(1)).await;
    world.clock.step(SESSION);
    // It reads the row, and gets the answer after a refresh was stored.
    world.one.store.next(Op::Read, Fault::SlowAnswer(seconds(4)));
    let (slow, quick) = tokio::join!(world.access(&id), async {
        pass(seconds(1)).await;
        world.access(&id).await
    });
    assert_eq!((slow.as_str(), quick.as_str()), ("access-0-1", "access-0-1"));
    assert_eq!(world.one.events.count(&What::StoreRolledBack), 0);
    assert_eq!(world.presentations(), 1);
}
