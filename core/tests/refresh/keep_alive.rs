//! What is done for connections that nobody uses (step 10).

use grantry::{
    KeepAlive,
    connection::{Reason, Status},
    event::What,
    id::ConnectionId,
    provider::{Refusal, Verdict},
    testing::{Answer, Fault, Op, Signals},
    time::Timestamp,
};

use crate::support::{SESSION, World, days, pass, seconds};

async fn world_with_idle_limit() -> World {
    let world = World::new().await;
    world.upstream.set(|s| s.idle_limit = Some(days(30)));
    world
}

/// Time for two sweeps.
async fn sweeps() {
    pass(seconds(45)).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_grant_is_used_before_its_limit_and_by_one_process_only() {
    let world = world_with_idle_limit().await;
    let id = world.connect().await;
    let _two = world.process();
    let _three = world.process();
    world.clock.step(days(14));
    sweeps().await;
    assert_eq!(world.presentations(), 0, "not before half of the limit");
    world.clock.step(days(9));
    sweeps().await;
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
    assert_eq!(world.generation(&id).await, 2);
    world.clock.step(days(23));
    sweeps().await;
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
    assert!(world.upstream.lives("refresh-0-2"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_keeps_nothing_alive_leaves_it() {
    let world = world_with_idle_limit().await;
    world.connect().await;
    world.one.broker.shutdown(seconds(1)).await;
    let off = KeepAlive::default().idle_limit(false);
    let _two = world.process_with(|builder| builder.keep_alive(off));
    world.clock.step(days(29));
    sweeps().await;
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn access_tokens_are_refreshed_ahead_where_wanted() {
    let world = World::new().await;
    world.one.broker.shutdown(seconds(1)).await;
    let keep = KeepAlive::default().access_tokens(true);
    let two = world.process_with(|builder| builder.keep_alive(keep));
    let id = world.connect_with(&two.broker).await;
    for generation in 2..5 {
        world.clock.step(SESSION - seconds(360));
        sweeps().await;
        pass(seconds(60)).await;
        assert_eq!(world.generation(&id).await, generation);
        let credentials = two
            .broker
            .connection(&id)
            .peek(|credentials| credentials.version.generation);
        assert_eq!(credentials, Some(generation), "no caller waits");
    }
    assert_eq!(world.presentations(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_resolved_though_nobody_asks() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Dropped);
    let _ = world.credentials(&id).await;
    assert_eq!(world.stands_at(&id).await, "Unknown");
    pass(seconds(150)).await;
    let presented = world.upstream.presented_at();
    assert_eq!(presented.len(), 2);
    assert!(presented[0].0.until(presented[1].0) >= seconds(60));
    assert_eq!(world.generation(&id).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_left_is_resolved_by_another() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let signals = Signals::default();
    let two = world.process_with(|builder| builder.signals(signals.clone()));
    world.upstream.next(Answer::Dropped);
    let killed = async {
        pass(std::time::Duration::from_millis(20)).await;
        signals.kill();
    };
    let (answer, ()) = tokio::join!(signals.clone().run(two.broker.credentials(&id)), killed);
    assert!(answer.is_none());
    assert_eq!(world.stands_at(&id).await, "Turn");
    pass(seconds(180)).await;
    let presented = world.upstream.presented_at();
    assert_eq!(presented.len(), 2);
    assert!(presented[0].0.until(presented[1].0) >= seconds(60));
    assert_eq!(
        (world.generation(&id).await, world.status(&id).await),
        (2, Status::Connected)
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_met_by_a_few_and_marks_nobody_dead() {
    for answer in [
        Answer::Refused(Refusal {
            verdict: Verdict::MayPass,
            reason: Reason::ServerUnavailable,
            retry_after: None,
        }),
        Answer::Dropped,
        Answer::NotSent,
    ] {
        let world = world_with_idle_limit().await;
        let mut ids: Vec<ConnectionId> = Vec::new();
        for _ in 0..60 {
            ids.push(world.connect().await);
        }
        world.upstream.always(Some(answer));
        world.clock.step(days(23));
        sweeps().await;
        let met = world.presentations();
        assert!(met <= 12, "{met} presentations met the outage of {answer:?}");
        world.upstream.always(None);
        // The breaker closes, quarantines and pauses pass.
        for _ in 0..40 {
            world.clock.step(seconds(120));
            sweeps().await;
        }
        for id in &ids {
            assert_eq!(world.generation(id).await, 2, "{answer:?}");
            assert_eq!(world.status(id).await, Status::Connected);
        }
        assert_eq!(world.upstream.overlaps(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_is_no_burst() {
    let world = world_with_idle_limit().await;
    world.upstream.set(|s| s.takes = seconds(1));
    for _ in 0..30 {
        world.connect().await;
    }
    world.clock.step(days(23));
    sweeps().await;
    let times: Vec<Timestamp> = world
        .upstream
        .presented_at()
        .into_iter()
        .map(|(at, _)| at)
        .collect();
    assert_eq!(times.len(), 30);
    // Each takes a second, and four are under way at the most.
    for five in times.windows(5) {
        assert!(five[0].until(five[4]) >= seconds(1), "{five:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_integration_s_grants_live_on() {
    let world = world_with_idle_limit().await;
    let id = world.connect().await;
    let broker = &world.one.broker;
    broker.integration(&world.integration).disable().await.unwrap();
    world.clock.step(days(23));
    sweeps().await;
    assert_eq!(world.generation(&id).await, 2);
    assert!(world.credentials(&id).await.is_err(), "and serve nobody");
    broker.integration(&world.integration).enable().await.unwrap();
    world.access(&id).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_for_a_deleted_integration_is_forgotten() {
    let world = World::new().await;
    let id = world.connect().await;
    world.upstream.set(|s| s.refuses_revocations = true);
    world.one.broker.connection(&id).disconnect().await.unwrap();
    pass(seconds(1)).await;
    world
        .one
        .broker
        .integration(&world.integration)
        .delete()
        .await
        .unwrap();
    let tried = world.upstream.revoked().len();
    world.clock.step(days(1));
    sweeps().await;
    assert!(world.facts(&id).await["owed"].is_null());
    assert_eq!(world.row(&id).await.row.index.due_at, None, "nobody looks again");
    assert_eq!(world.upstream.revoked().len(), tried);
}

#[tokio::test(start_paused = true)]
async fn connect_attempts_that_cannot_be_purged_let_no_grant_die() {
    let world = world_with_idle_limit().await;
    let id = world.connect().await;
    world.one.store.script(Op::Pending, 0, 1000, Fault::Before);
    world.clock.step(days(23));
    sweeps().await;
    assert_eq!(world.generation(&id).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_is_given_up_is_seen() {
    let world = World::new().await;
    let id = world.connect().await;
    world.upstream.set(|s| s.refuses_revocations = true);
    world.one.broker.connection(&id).disconnect().await.unwrap();
    for _ in 0..40 {
        sweeps().await;
        world.clock.step(seconds(3600));
    }
    assert_eq!(world.upstream.revoked().len(), 12);
    assert_eq!(world.one.events.count(&What::RevocationGivenUp), 1);
    let health = world.one.broker.health().await;
    let seen = |i: &grantry::health::Incident| {
        i.what == What::RevocationGivenUp && i.connection.as_ref() == Some(&id)
    };
    assert!(health.incidents.iter().any(seen), "{:?}", health.incidents);
}
