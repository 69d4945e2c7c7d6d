//! Freezing: nothing is served, and every grant is revoked, whatever happens meanwhile.

use std::time::Duration;

use grantry::{
    connection::Status,
    error::Code,
    event::What,
    id::{ConnectionId, IntegrationId},
    integration::IntegrationState,
    store::{Inserted, IntegrationRow, IntegrationStore as _},
    testing::{Answer, Fault, Op, Signals},
};

use crate::support::{SESSION, World, days, pass, seconds};

const REASON: &str = "the client secret was found in a public repository";

async fn connected(count: usize) -> (World, Vec<ConnectionId>) {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.connect().await);
    }
    (world, ids)
}

/// Everything is revoked: in the rows, at the provider, and each grant once.
async fn all_is_revoked(world: &World, ids: &[ConnectionId]) {
    for id in ids {
        assert_eq!(world.status(id).await, Status::Revoked);
        assert!(
            world.facts(id).await["owed"].is_null(),
            "nothing is owed any more"
        );
    }
    let mut revoked = world.upstream.revoked();
    revoked.sort();
    let all = revoked.len();
    revoked.dedup();
    assert_eq!((revoked.len(), all), (ids.len(), ids.len()), "each grant once");
    assert!(revoked.iter().all(|token| !world.upstream.lives(token)));
}

/// A row that this process cannot read.
#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_frozen_keeps_no_other_from_it() {
    let (world, ids) = connected(2).await;
    for id in ["int_0", "int_z"] {
        let row = IntegrationRow {
            id: IntegrationId::new(id).unwrap(),
            slug: None,
            body: "damaged".into(),
        };
        let inserted = world.memory.insert_integration(&row).await.unwrap();
        assert!(matches!(inserted, Inserted::Created(_)));
    }
    let error = world.one.broker.freeze_all(REASON).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreCorrupt);
    pass(Duration::from_secs(120)).await;
    all_is_revoked(&world, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn within_a_second_nothing_is_served_and_then_all_is_revoked() {
    let (world, ids) = connected(40).await;
    let two = world.process();
    for id in &ids {
        two.broker.credentials(id).await.unwrap();
    }
    let broker = &world.one.broker;
    let frozen = broker
        .integration(&world.integration)
        .freeze(REASON)
        .await
        .unwrap();
    assert_eq!(
        (frozen.state, frozen.state_reason.as_str()),
        (IntegrationState::Frozen, REASON)
    );
    assert_eq!(world.code(&ids[0]).await, Code::IntegrationFrozen, "here at once");
    pass(seconds(1)).await;
    for id in &ids {
        assert!(two.broker.connection(id).peek(|_| ()).is_none());
        let error = two.broker.credentials(id).await.unwrap_err();
        assert_eq!(error.code(), Code::IntegrationFrozen);
    }
    let early = broker.integration(&world.integration).enable().await.unwrap_err();
    assert_eq!(early.code(), Code::IntegrationFreezing);
    pass(seconds(150)).await;
    all_is_revoked(&world, &ids).await;
    assert_eq!(
        world.one.events.count(&What::FreezeDone) + two.events.count(&What::FreezeDone),
        1
    );
    // Afterwards the users come back.
    broker.integration(&world.integration).enable().await.unwrap();
    assert_eq!(world.code(&ids[0]).await, Code::ConnectionRevoked);
    world.try_connect(Some(&ids[0])).await;
    world.access(&ids[0]).await;
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_s_freeze_is_finished_by_another() {
    let (world, ids) = connected(30).await;
    for after in [0, 1, 3, 10, 100] {
        let signals = Signals::default();
        let two = world.process_with(|builder| builder.signals(signals.clone()));
        two.store
            .script(Op::Swap, 0, 1000, Fault::SlowAnswer(Duration::from_millis(2)));
        two.broker
            .integration(&world.integration)
            .freeze(REASON)
            .await
            .unwrap();
        pass(Duration::from_millis(after)).await;
        signals.kill();
    }
    pass(seconds(150)).await;
    all_is_revoked(&world, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_now_and_then_holds_nothing_up_for_good() {
    let (world, ids) = connected(20).await;
    for (skip, fault) in [
        (0, Fault::Before),
        (3, Fault::After),
        (9, Fault::After),
        (15, Fault::Before),
    ] {
        world.one.store.script(Op::Swap, skip, 1, fault);
        world.one.store.script(Op::List, skip % 4, 1, fault);
    }
    world
        .one
        .broker
        .integration(&world.integration)
        .freeze(REASON)
        .await
        .unwrap();
    pass(seconds(300)).await;
    all_is_revoked(&world, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_that_lands_later_is_revoked_too() {
    let (world, ids) = connected(1).await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(10)));
    let freeze = async {
        pass(seconds(1)).await;
        world
            .one
            .broker
            .integration(&world.integration)
            .freeze(REASON)
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(world.credentials(&ids[0]), freeze);
    assert!(answer.is_err(), "it is not served");
    pass(seconds(150)).await;
    assert_eq!(world.status(&ids[0]).await, Status::Revoked);
    assert!(!world.upstream.lives("refresh-0-1"));
    assert!(world.upstream.revoked().contains(&"refresh-0-1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_connect_attempt_that_was_on_its_way_leaves_nothing() {
    use grantry::connect::Binding;
    let (world, _) = connected(1).await;
    let two = world.process();
    let begin = two
        .broker
        .integration(&world.integration)
        .begin_connect(Binding::new("b"));
    let query = world.upstream.consent(&begin.await.unwrap().url);
    // Its row is written long after the freeze began.
    two.store.next(Op::Insert, Fault::Slow(seconds(12)));
    let binding = Binding::new("b");
    let integration = two.broker.integration(&world.integration);
    let finish = integration.finish_connect(&query, &binding);
    let freeze = async {
        pass(seconds(1)).await;
        world
            .one
            .broker
            .integration(&world.integration)
            .freeze(REASON)
            .await
            .unwrap();
    };
    let _ = tokio::join!(finish, freeze);
    pass(seconds(150)).await;
    let left = world
        .one
        .broker
        .integration(&world.integration)
        .connections()
        .status(Status::Connected);
    assert!(left.await.unwrap().connections.is_empty());
    assert!(!world.upstream.lives("refresh-1-0"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_alive_and_expired_ones_are_revoked_too() {
    let (world, ids) = connected(2).await;
    world.upstream.set(|s| s.idle_limit = Some(days(30)));
    world.clock.step(SESSION);
    world.upstream.end_grant("refresh-0-0");
    assert_eq!(world.code(&ids[0]).await, Code::ConnectionExpired);
    let presented = world.presentations();
    world.one.broker.freeze_all(REASON).await.unwrap();
    world.clock.step(days(29));
    pass(seconds(150)).await;
    assert_eq!(world.status(&ids[0]).await, Status::Revoked);
    assert_eq!(world.status(&ids[1]).await, Status::Revoked);
    assert_eq!(world.presentations(), presented);
    let error = world
        .one
        .broker
        .integration(&world.integration)
        .freeze("")
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::FieldInvalid, Some("reason"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_under_way_presents_nothing_more() {
    let world = World::new().await;
    world.upstream.set(|s| s.idle_limit = Some(days(30)));
    for _ in 0..60 {
        world.connect().await;
    }
    world.upstream.set(|s| s.takes = seconds(5));
    world.clock.step(days(23));
    while world.presentations() == 0 {
        pass(Duration::from_millis(100)).await;
    }
    world
        .one
        .broker
        .integration(&world.integration)
        .freeze(REASON)
        .await
        .unwrap();
    let before = world.presentations();
    assert!(before < 10, "{before}: the page is not over");
    pass(seconds(120)).await;
    assert_eq!(world.presentations(), before);
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_took_long_to_answer_is_not_connected_any_more() {
    use grantry::connect::Binding;
    let (world, _) = connected(0).await;
    let binding = Binding::new("b");
    let broker = &world.one.broker;
    let begin = broker
        .integration(&world.integration)
        .begin_connect(Binding::new("b"));
    let query = world.upstream.consent(&begin.await.unwrap().url);
    world.upstream.set(|s| s.takes = seconds(15));
    let integration = broker.integration(&world.integration);
    let finish = integration.finish_connect(&query, &binding);
    let freeze = async {
        pass(seconds(1)).await;
        broker
            .integration(&world.integration)
            .freeze(REASON)
            .await
            .unwrap();
    };
    let _ = tokio::join!(finish, freeze);
    pass(seconds(200)).await;
    let all = broker
        .integration(&world.integration)
        .connections()
        .await
        .unwrap();
    assert!(all.connections.is_empty(), "nothing was written: {all:?}");
    assert!(!world.upstream.lives("refresh-0-0"));
}
