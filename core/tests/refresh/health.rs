//! What needs somebody's eyes is seen after one attempt, from any process (I9).

use grantry::{
    KeepAlive,
    connection::Reason,
    error::Code,
    event::What,
    health::TrapKind,
    provider::{Refusal, Verdict},
    secret::Secret,
    testing::{Answer, Fault, Op, Signals},
    vault::Keyring,
};

use crate::support::{SESSION, World, days, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_sound_broker_says_so() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    let health = world.one.broker.health().await;
    assert!(health.is_well(), "{health:?}");
    assert_eq!((health.expired.items.len(), health.cooling.items.len()), (0, 0));
    assert!(health.incidents.is_empty() && health.integrations.is_empty());
    assert_eq!(health.keys.len(), 1);
    assert_eq!((health.keys[0].connections, health.keys[0].at_hand), (1, true));
}

/// Also while it cannot be reached, and a broker is as well as before.
#[tokio::test(start_paused = true)]
async fn what_the_store_says_of_itself_is_shown() {
    let world = World::new().await;
    assert_eq!(world.one.broker.health().await.store, []);
    let warning = grantry::store::Warning {
        code: "replicas_away",
        message: "7 writes were not confirmed".to_owned(),
    };
    world.one.store.warn(warning.clone());
    let health = world.one.broker.health().await;
    assert_eq!(health.store, std::slice::from_ref(&warning));
    assert!(health.is_well());
    world.one.store.down(true);
    assert_eq!(world.one.broker.health().await.store, [warning]);
}

#[tokio::test(start_paused = true)]
async fn an_unsaved_set_is_seen_until_it_is_saved_and_while_the_store_is_down() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.script(Op::Swap, 1, 1000, Fault::Before);
    world.access(&id).await;
    let health = world.one.broker.health().await;
    assert!(!health.is_well());
    assert_eq!(health.unsaved.len(), 1);
    assert_eq!(
        (&health.unsaved[0].connection, health.unsaved[0].spent.generation),
        (&id, 1)
    );
    assert!(
        health
            .incidents
            .iter()
            .any(|i| i.what == What::Unsaved && i.connection.as_ref() == Some(&id))
    );
    world.one.store.down(true);
    let health = world.one.broker.health().await;
    assert_eq!(
        (health.store_error, health.unsaved.len()),
        (Some(Code::StoreUnavailable), 1)
    );
    world.one.store.heal();
    pass(seconds(10)).await;
    let health = world.one.broker.health().await;
    assert!(health.is_well() && health.unsaved.is_empty());
    assert_eq!(world.generation(&id).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_seen_from_every_process() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    world.clock.step(SESSION);
    world.upstream.next(Answer::Lost);
    let _ = world.credentials(&id).await;
    for broker in [&world.one.broker, &two.broker] {
        let health = broker.health().await;
        assert!(!health.is_well());
        let found = &health.outcome_unknown.items;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].connection, found[0].reason),
            (&id, Some(Reason::AnswerLost))
        );
        assert!(found[0].next.is_some(), "it says when it is tried again");
    }
    // The answer had spent it.
    pass(seconds(150)).await;
    let health = two.broker.health().await;
    assert!(health.outcome_unknown.items.is_empty());
    let found = &health.expired.items;
    assert_eq!(
        (&found[0].connection, found[0].reason),
        (&id, Some(Reason::OutcomeUnknown))
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_killed_process_is_seen_when_it_lapses() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let signals = Signals::default();
    let two = world.process_with(|builder| builder.signals(signals.clone()));
    world.upstream.next(Answer::Lost);
    let kill = async {
        pass(std::time::Duration::from_millis(20)).await;
        signals.kill();
    };
    let _ = tokio::join!(signals.clone().run(two.broker.credentials(&id)), kill);
    assert!(
        world.one.broker.health().await.outcome_unknown.items.is_empty(),
        "it is on its way"
    );
    pass(seconds(31)).await;
    let health = world.one.broker.health().await;
    assert_eq!(health.outcome_unknown.items[0].connection, id);
}

#[tokio::test(start_paused = true)]
async fn what_cools_is_seen_with_its_reason() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Refused(Refusal {
        verdict: Verdict::MayPass,
        reason: Reason::IpRestricted,
        retry_after: Some(seconds(600)),
    }));
    assert_eq!(world.code(&id).await, Code::RefreshCooling);
    let health = world.one.broker.health().await;
    let found = &health.cooling.items;
    assert_eq!(
        (&found[0].connection, found[0].reason),
        (&id, Some(Reason::IpRestricted))
    );
    let traps = world.one.broker.diagnose().await.unwrap();
    assert!(
        traps
            .iter()
            .any(|t| t.kind == TrapKind::IpRestricted && t.connections == [id.clone()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollback_and_a_late_presenter_are_incidents() {
    let world = World::new().await;
    let id = world.connect().await;
    let old = world.row(&id).await;
    world.clock.step(SESSION);
    world.access(&id).await;
    pass(seconds(1)).await;
    world.one.store.roll_back(&old).await;
    pass(seconds(1)).await;
    world.access(&id).await;
    let health = world.one.broker.health().await;
    assert!(health.incidents.iter().any(|i| i.what == What::StoreRolledBack));

    // A process sleeps with the answer in hand for longer than its lease and the quarantine.
    world.clock.step(SESSION);
    let signals = Signals::default();
    let two = world.process_with(|builder| builder.signals(signals.clone()));
    world.upstream.next(Answer::Slow(seconds(1)));
    let sleep = async {
        pass(seconds(1)).await;
        signals.stop();
        pass(seconds(40)).await;
        signals.cont();
    };
    let (answer, ()) = tokio::join!(signals.clone().run(two.broker.credentials(&id)), sleep);
    answer.unwrap().unwrap();
    pass(seconds(5)).await;
    let health = two.broker.health().await;
    assert!(
        health.incidents.iter().any(|i| i.what == What::LatePresenter),
        "{:?}",
        health.incidents
    );
    assert_eq!(world.generation(&id).await, 3, "its set is stored all the same");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_at_hand_is_named() {
    let world = World::new().await;
    world.connect().await;
    let other: Secret = Keyring::generate().unwrap();
    let two = world.process_with_keys(&other);
    let health = two.broker.health().await;
    assert!(!health.is_well());
    assert_eq!((health.keys.len(), health.keys[0].at_hand), (1, false));
    let traps = two.broker.diagnose().await.unwrap();
    assert!(
        traps
            .iter()
            .any(|t| t.kind == TrapKind::KeyMissing && t.count == 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_usual_traps_are_named() {
    let world = World::new().await;
    world.upstream.set(|s| s.idle_limit = Some(days(30)));
    let id = world.connect().await;
    assert_eq!(world.one.broker.diagnose().await.unwrap(), []);
    let off = KeepAlive::default().idle_limit(false);
    let careless = world.process_with(|builder| builder.keep_alive(off).without_background_tasks());
    world.upstream.set(|s| s.client_secret = "another".to_owned());
    let kinds = |traps: Vec<grantry::health::Trap>| traps.into_iter().map(|t| t.kind).collect::<Vec<_>>();
    assert_eq!(
        kinds(careless.broker.diagnose().await.unwrap()),
        [TrapKind::IdleLimitWithoutKeepAlive, TrapKind::ClientRefused]
    );
    world.upstream.set(|s| s.client_secret.clear());
    world.one.broker.shutdown(seconds(1)).await;
    world.clock.step(days(29));
    let traps = careless.broker.diagnose().await.unwrap();
    let near = traps.iter().find(|t| t.kind == TrapKind::IdleLimitNear).unwrap();
    assert_eq!((near.count, &near.connections[..]), (1, &[id][..]));
    assert!(traps.iter().any(|t| t.kind == TrapKind::NobodySweeps));
    assert_eq!(world.presentations(), 0, "looking changes nothing");
}
