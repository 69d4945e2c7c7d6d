//! Users who connect while the store is copied.

use grantry::{
    connect::{Binding, Outcome},
    error::Code,
    testing::{Fault, Op},
};

use crate::{
    support::{RETURN, World, pass, seconds},
    two::{Two, owners, rows},
};

#[track_caller]
fn refused(outcome: Outcome) {
    match outcome {
        Outcome::Failed { error, .. } => assert_eq!(error.code(), Code::StoreMoved),
        Outcome::Connected { connection, .. } => panic!("{connection} is connected"),
    }
}

/// The insert is on its way when the integration is marked, and arrives when all rows were listed.
#[tokio::test(start_paused = true)]
async fn who_comes_too_late_is_told_and_leaves_nothing_behind() {
    let two = Two::new().await;
    let world = &two.world;
    world.connect().await;
    world.one.store.next(Op::Insert, Fault::Slow(seconds(5)));
    let copy = async {
        pass(seconds(2)).await;
        two.copied().await
    };
    let (outcome, report) = tokio::join!(world.try_connect(None), copy);
    refused(outcome);
    assert_eq!(report.connections, 1);
    assert_eq!(rows(world, &world.memory).await.len(), 1);
    pass(seconds(1)).await;
    assert_eq!(world.upstream.revoked(), ["refresh-1-0"]);
}

/// The insert is applied before the rows are listed: it goes along, whatever its process reads then.
#[tokio::test(start_paused = true)]
async fn who_comes_in_time_goes_along() {
    let two = Two::new().await;
    let world = &two.world;
    world.one.store.next(Op::Insert, Fault::SlowAnswer(seconds(5)));
    let copy = async {
        pass(seconds(2)).await;
        two.copied().await
    };
    let (outcome, report) = tokio::join!(world.try_connect(None), copy);
    assert!(matches!(outcome, Outcome::Connected { .. }));
    assert_eq!(report.connections, 1);
    assert!(
        owners(world, [&world.memory, &two.target])
            .await
            .values()
            .all(|n| *n == 1)
    );
    assert_eq!(world.upstream.revoked(), [""; 0]);
}

/// The new grant may be of the family that the connection lives on in the target, by now with other tokens: nothing is
/// revoked.
#[tokio::test(start_paused = true)]
async fn who_reconnects_too_late_is_told_and_nothing_is_revoked() {
    for one_grant_per_user in [true, false] {
        let two = Two::new().await;
        let world = &two.world;
        world
            .upstream
            .set(|settings| settings.one_grant_per_user = one_grant_per_user);
        let id = world.connect().await;
        world.one.store.next(Op::Swap, Fault::Slow(seconds(5)));
        let copy = async {
            pass(seconds(2)).await;
            two.copied().await
        };
        let (outcome, _) = tokio::join!(world.try_connect(Some(&id)), copy);
        refused(outcome);
        pass(seconds(5)).await;
        assert_eq!(world.upstream.revoked(), [""; 0]);
        let there = world.process_on(&two.target);
        there.broker.credentials(&id).await.unwrap();
    }
}

/// Attempts are not copied: who was at the provider's pages begins again.
#[tokio::test(start_paused = true)]
async fn who_was_at_the_provider_s_pages_begins_again() {
    let two = Two::of(World::new().await);
    let world = &two.world;
    let begin = world
        .one
        .broker
        .integration(&world.integration)
        .begin_connect(Binding::new("the browser"));
    let query = world
        .upstream
        .consent(&begin.return_to(RETURN).await.unwrap().url);
    two.copied().await;
    pass(seconds(2)).await;
    let binding = Binding::new("the browser");
    let integration = world.one.broker.integration(&world.integration);
    let here = integration.finish_connect(&query, &binding);
    refused(here.await.unwrap());
    let there = world.process_on(&two.target);
    let there = there
        .broker
        .integration(&world.integration)
        .finish_connect(&query, &binding)
        .await;
    assert_eq!(there.unwrap_err().code(), Code::StateUnknown);
    let begin = world
        .one
        .broker
        .integration(&world.integration)
        .begin_connect(Binding::new("the browser"));
    assert_eq!(begin.await.unwrap_err().code(), Code::StoreMoved);
}
