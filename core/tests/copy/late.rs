//! A token set that comes back to the source after its connection was copied.

use grantry::{
    error::Code,
    event::What,
    testing::{Answer, Fault, Op},
};

use crate::{
    support::{SESSION, pass, seconds},
    two::{Two, is_migrated},
};

/// The process has new tokens, and its way to the store is cut for so long that its lease lapses.
async fn with_tokens_in_hand(two: &Two) -> grantry::id::ConnectionId {
    let world = &two.world;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(1)));
    world.one.store.script(Op::Swap, 1, u32::MAX, Fault::Before);
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(two.copied().await.outcome_unknown, 1);
    id
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_where_it_came_back_and_goes_along_with_the_next_run() {
    let two = Two::new().await;
    let world = &two.world;
    let id = with_tokens_in_hand(&two).await;
    world.one.store.heal();
    pass(seconds(10)).await;
    assert_eq!(world.one.events.count(&What::CameAfterCopy), 1);
    let health = world.one.broker.health().await;
    assert!(health.unsaved.is_empty());
    assert!(health.incidents.iter().any(|i| i.what == What::CameAfterCopy));
    assert_eq!(world.code(&id).await, Code::StoreMoved);
    let stayed = world.row(&id).await;
    assert!(is_migrated(&stayed) && stayed.row.index.due_at.is_none());
    // The target does not know of it yet, and nobody revoked it.
    assert_eq!(world.seen(&two.there(&id).await).await.refresh, "refresh-0-0");
    let report = two.copied().await;
    assert_eq!((report.late, report.moved), (1, 0));
    let seen = world.seen(&two.there(&id).await).await;
    assert_eq!((&*seen.refresh, &*seen.last), ("refresh-0-1", "came_after_copy"));
    let there = world.process_on(&two.target);
    assert_eq!(
        there.broker.credentials(&id).await.unwrap().access_token.expose(),
        "access-0-1"
    );
    world.clock.step(SESSION);
    there.broker.credentials(&id).await.unwrap();
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
    assert_eq!(world.upstream.revoked(), [""; 0]);
    assert_eq!(two.copied().await.late, 0);
}

/// The target has a newer set by then: the late one is dropped, and never revoked.
#[tokio::test(start_paused = true)]
async fn it_does_not_replace_a_newer_one_and_is_never_revoked() {
    let two = Two::new().await;
    let world = &two.world;
    world.upstream.set(|settings| {
        settings.rotates = false;
        settings.revokes_families = false;
    });
    let id = with_tokens_in_hand(&two).await;
    let there = world.process_on(&two.target);
    pass(seconds(90)).await;
    let served = there.broker.credentials(&id).await.unwrap();
    world.one.store.heal();
    pass(seconds(10)).await;
    assert_eq!(two.copied().await.late, 0);
    assert_eq!(
        there.broker.credentials(&id).await.unwrap().version,
        served.version
    );
    assert_eq!(world.upstream.revoked(), [""; 0]);
    assert!(world.one.broker.health().await.unsaved.is_empty());
}

/// The user deleted the connection at the source while its tokens were in hand there. Nothing is revoked by the late
/// presenter, since the connection may have been connected again in the target.
#[tokio::test(start_paused = true)]
async fn for_an_ended_connection_it_is_dropped() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(1)));
    world.one.store.script(Op::Swap, 1, u32::MAX, Fault::Before);
    assert_eq!(world.access(&id).await, "access-0-1");
    let beside = world.process();
    world.upstream.set(|settings| settings.refuses_revocations = true);
    beside.broker.connection(&id).disconnect().await.unwrap();
    pass(seconds(1)).await;
    beside.broker.shutdown(seconds(1)).await;
    let tried = world.upstream.revoked().len();
    two.copied().await;
    world.one.store.heal();
    pass(seconds(20)).await;
    assert_eq!(world.upstream.revoked().len(), tried);
    assert!(world.one.broker.health().await.unsaved.is_empty());
    assert_eq!(world.seen(&two.there(&id).await).await.owed.len(), 1);
}
