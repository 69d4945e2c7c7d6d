//! A store that acknowledges writes before its replicas have them, and loses them with a machine. What it is asked for in
//! between decides what is sent, and what is kept at hand.

use grantry::{
    connect::Outcome,
    error::Code,
    event::What,
    id::ConnectionId,
    store::Stored,
    testing::{Answer, Fault, Op},
};

use crate::support::{Process, SESSION, World, pass, seconds};

const FOREVER: u32 = u32::MAX;

/// A world with a connection whose access token has ended.
async fn with_a_dead_token() -> (World, ConnectionId) {
    let world = World::new().await;
    let id = world.connect().await;
    pass(seconds(1)).await;
    world.clock.step(SESSION);
    (world, id)
}

async fn access(process: &Process, id: &ConnectionId) -> String {
    let credentials = process.broker.credentials(id).await.unwrap();
    credentials.access_token.expose().to_owned()
}

/// The row, once somebody has the lease.
async fn the_lease(world: &World, id: &ConnectionId) -> Stored {
    while world.stands_at(id).await != "Turn" {
        pass(std::time::Duration::from_millis(1)).await;
    }
    world.row(id).await
}

/// A refresh whose set is served, and whose lease alone is confirmed; and the row as the replicas have it.
async fn with_a_set_at_risk() -> (World, ConnectionId, Stored) {
    let (world, id) = with_a_dead_token().await;
    world.one.store.unconfirmed(1, FOREVER);
    world.upstream.next(Answer::Slow(seconds(1)));
    let (token, lease) = tokio::join!(world.access(&id), the_lease(&world, &id));
    assert_eq!(token, "access-0-1");
    pass(seconds(1)).await;
    (world, id, lease)
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_confirmed_sends_nothing_and_is_given_back() {
    let (world, id) = with_a_dead_token().await;
    world.one.store.unconfirmed(0, 1);
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::StoreUnavailable, Some("not_confirmed"))
    );
    assert!(error.is_retryable());
    assert_eq!(world.presentations(), 0);
    assert_eq!(world.stands_at(&id).await, "Idle");
    pass(seconds(3)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_or_no_answer_is_no_confirmation() {
    for fault in [Fault::Before, Fault::After, Fault::Slow(seconds(100_000))] {
        let (world, id) = with_a_dead_token().await;
        world.one.store.next(Op::Confirm, fault);
        let error = world.credentials(&id).await.unwrap_err();
        assert_eq!(error.reason(), Some("not_confirmed"));
        assert_eq!(world.presentations(), 0);
        assert_eq!(world.stands_at(&id).await, "Idle");
    }
}

/// Confirming takes time, and the gate is asked afterwards.
#[tokio::test(start_paused = true)]
async fn a_lease_that_took_too_long_to_confirm_is_not_used() {
    let (world, id) = with_a_dead_token().await;
    world.one.store.next(Op::Swap, Fault::SlowAnswer(seconds(3)));
    world.one.store.next(Op::Confirm, Fault::Slow(seconds(3)));
    assert_eq!(world.code(&id).await, Code::RefreshNotSent);
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_replicas_living_tokens_are_served_and_writes_are_few() {
    let world = World::new().await;
    let id = world.connect().await;
    pass(seconds(1)).await;
    world.one.store.unconfirmed(0, FOREVER);
    world.clock.step(SESSION - seconds(60));
    let before = world.one.store.writes();
    for _ in 0..1000 {
        assert_eq!(world.access(&id).await, "access-0-0");
    }
    assert_eq!(
        world.one.store.writes(),
        before + 2,
        "a lease, and it is given back"
    );
    world.clock.step(seconds(60));
    for _ in 0..1000 {
        assert_eq!(world.code(&id).await, Code::StoreUnavailable);
    }
    assert!(world.one.store.writes() <= before + 4);
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_is_not_confirmed_leaves_the_outcome_unknown() {
    let (world, id) = with_a_dead_token().await;
    world.upstream.next(Answer::Dropped);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    world.one.store.unconfirmed(0, FOREVER);
    pass(seconds(70)).await;
    assert_eq!(world.code(&id).await, Code::StoreUnavailable);
    assert_eq!(world.stands_at(&id).await, "Unknown");
    assert_eq!(world.presentations(), 1);
    world.one.store.heal();
    pass(seconds(3)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    let [(first, _), (second, _)] = world.upstream.presented_at()[..] else {
        panic!("{:?}", world.upstream.presented());
    };
    assert!(first.until(second) >= seconds(60));
}

/// The machine with the lease is lost before a replica has it. On the one that took over another process takes it, while
/// the first one still waits to be told that it has it.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_lost_before_it_was_confirmed_presents_nothing() {
    let (world, id) = with_a_dead_token().await;
    let two = world.process();
    let old = world.row(&id).await;
    world.one.store.next(Op::Confirm, Fault::Slow(seconds(2)));
    world.upstream.next(Answer::Slow(seconds(4)));
    let fails_over = async {
        the_lease(&world, &id).await;
        world.one.store.roll_back(&old).await;
        access(&two, &id).await
    };
    let (one, there) = tokio::join!(world.credentials(&id), fails_over);
    assert_eq!(one.unwrap_err().reason(), Some("not_confirmed"));
    assert_eq!(there, "access-0-1");
    pass(seconds(10)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
    assert_eq!(world.upstream.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_not_confirmed_is_served_at_once_and_visible_until_it_is() {
    let (world, id, _) = with_a_set_at_risk().await;
    assert_eq!(world.one.events.count(&What::Unsaved), 1);
    let health = world.one.broker.health().await;
    assert!(!health.is_well());
    assert_eq!(
        (&health.unsaved[0].connection, health.unsaved[0].spent.generation),
        (&id, 1)
    );
    // It is stored, for all that.
    assert_eq!(access(&world.process(), &id).await, "access-0-1");
    world.one.store.heal();
    pass(seconds(6)).await;
    assert!(world.one.broker.health().await.is_well());
    assert_eq!(world.one.events.count(&What::Saved), 1);
    assert_eq!(world.one.events.count(&What::StoreRolledBack), 0);
    assert_eq!(world.presentations(), 1);
}

/// The replicas are away for hours: the token of the set ends, and nothing is risked. Once they are back, all goes on.
#[tokio::test(start_paused = true)]
async fn a_set_at_risk_does_not_hold_up_later_refreshes() {
    let (world, id, _) = with_a_set_at_risk().await;
    for _ in 0..3 {
        world.clock.step(SESSION);
        pass(seconds(10)).await;
        assert_eq!(world.code(&id).await, Code::StoreUnavailable);
    }
    assert_eq!(world.presentations(), 1);
    world.one.store.heal();
    pass(seconds(3)).await;
    assert_eq!(world.access(&id).await, "access-0-2");
    pass(seconds(6)).await;
    assert!(world.one.broker.health().await.unsaved.is_empty());
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

/// Nobody asks for the connection meanwhile, so nobody else repairs it.
#[tokio::test(start_paused = true)]
async fn a_set_that_was_lost_before_it_was_confirmed_is_stored_again() {
    let (world, id, lease) = with_a_set_at_risk().await;
    world.one.store.roll_back(&lease).await;
    assert_eq!(world.generation(&id).await, 1);
    pass(seconds(6)).await;
    assert_eq!(world.generation(&id).await, 2);
    assert_eq!(world.one.events.count(&What::StoreRolledBack), 1);
    assert_eq!(
        world.one.broker.health().await.unsaved.len(),
        1,
        "still not confirmed"
    );
    world.one.store.heal();
    pass(seconds(6)).await;
    assert!(world.one.broker.health().await.unsaved.is_empty());
    world.clock.step(SESSION);
    assert_eq!(access(&world.process(), &id).await, "access-0-2");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

/// The set is lost while it is being confirmed.
#[tokio::test(start_paused = true)]
async fn a_set_that_is_lost_while_it_is_being_confirmed_is_stored_again() {
    let (world, id) = with_a_dead_token().await;
    world.one.store.script(Op::Confirm, 1, 1, Fault::Slow(seconds(2)));
    world.upstream.next(Answer::Slow(seconds(1)));
    let (_, lease) = tokio::join!(world.access(&id), the_lease(&world, &id));
    world.one.store.roll_back(&lease).await;
    pass(seconds(4)).await;
    assert_eq!(world.generation(&id).await, 2);
    world.clock.step(SESSION);
    assert_eq!(access(&world.process(), &id).await, "access-0-2");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_at_risk_of_a_connection_that_ended_is_let_go() {
    let (world, id, _) = with_a_set_at_risk().await;
    world.process().broker.connection(&id).disconnect().await.unwrap();
    pass(seconds(10)).await;
    assert!(world.one.broker.health().await.unsaved.is_empty());
    assert!(!world.upstream.lives("refresh-0-1"));
}

/// Whoever ends it sees the older set, and can have only that one revoked.
#[tokio::test(start_paused = true)]
async fn a_set_that_was_lost_before_its_connection_ended_is_revoked() {
    let (world, id, lease) = with_a_set_at_risk().await;
    world.one.store.roll_back(&lease).await;
    world.process().broker.connection(&id).disconnect().await.unwrap();
    pass(seconds(10)).await;
    assert_eq!(world.generation(&id).await, 1, "it is not brought back");
    assert!(world.upstream.revoked().contains(&"refresh-0-1".to_owned()));
    assert!(world.one.broker.health().await.unsaved.is_empty());
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_set_at_risk_and_says_so() {
    let (world, id, _) = with_a_set_at_risk().await;
    let report = world.one.broker.shutdown(seconds(10)).await;
    assert_eq!(report.unfinished, [id]);
    let (world, _, _) = with_a_set_at_risk().await;
    let back = async {
        pass(seconds(5)).await;
        world.one.store.heal();
    };
    let (report, ()) = tokio::join!(world.one.broker.shutdown(seconds(30)), back);
    assert!(report.unfinished.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_is_connected_all_the_same() {
    let world = World::new().await;
    world.one.store.unconfirmed(0, 2);
    let id = world.connect().await;
    let again = world.try_connect(Some(&id)).await;
    assert!(matches!(again, Outcome::Connected { .. }));
    pass(seconds(1)).await;
    world.clock.step(SESSION);
    assert_eq!(world.access(&id).await, "access-1-2");
    assert_eq!(world.upstream.presented(), ["refresh-1-0"]);
}

/// Should a failover lose the reconnect, the old grant must be there.
#[tokio::test(start_paused = true)]
async fn an_old_grant_is_revoked_once_the_new_one_is_safe() {
    let world = World::new().await;
    let id = world.connect().await;
    let before = world.row(&id).await;
    world.one.store.unconfirmed(0, FOREVER);
    let again = world.try_connect(Some(&id)).await;
    assert!(matches!(again, Outcome::Connected { .. }));
    pass(seconds(60)).await;
    assert!(world.upstream.revoked().is_empty());
    world.one.store.roll_back(&before).await;
    world.one.store.heal();
    world.clock.step(SESSION);
    assert_eq!(access(&world.process(), &id).await, "access-0-2");

    let again = world.try_connect(Some(&id)).await;
    assert!(matches!(again, Outcome::Connected { .. }));
    pass(seconds(60)).await;
    assert_eq!(world.upstream.revoked(), ["refresh-0-1"]);
}

/// A failover loses the reconnect, too: then the connection lives on what it had before.
#[tokio::test(start_paused = true)]
async fn a_set_at_risk_is_kept_until_the_reconnect_that_replaced_it_is_safe() {
    let (world, id, lease) = with_a_set_at_risk().await;
    let again = world.try_connect(Some(&id)).await;
    assert!(matches!(again, Outcome::Connected { .. }));
    pass(seconds(30)).await;
    assert_eq!(world.one.broker.health().await.unsaved.len(), 1);
    world.one.store.roll_back(&lease).await;
    pass(seconds(30)).await;
    world.one.store.heal();
    pass(seconds(30)).await;
    world.clock.step(SESSION);
    assert_eq!(access(&world.process(), &id).await, "access-0-3");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
    assert!(world.upstream.revoked().is_empty());
}

/// It comes while the reconnect stands, which is lost afterwards.
#[tokio::test(start_paused = true)]
async fn a_set_that_comes_after_a_reconnect_is_kept_until_that_is_safe() {
    let (world, id) = with_a_dead_token().await;
    world.one.store.unconfirmed(1, FOREVER);
    world.upstream.next(Answer::Slow(seconds(5)));
    let between = async {
        let lease = the_lease(&world, &id).await;
        let again = world.try_connect(Some(&id)).await;
        assert!(matches!(again, Outcome::Connected { .. }));
        lease
    };
    let (served, lease) = tokio::join!(world.access(&id), between);
    assert_eq!(served, "access-1-2", "callers do not wait for certainty");
    pass(seconds(30)).await;
    assert_eq!(world.one.broker.health().await.unsaved.len(), 1);
    assert!(world.upstream.revoked().is_empty());
    world.one.store.roll_back(&lease).await;
    pass(seconds(30)).await;
    world.one.store.heal();
    pass(seconds(30)).await;
    assert_eq!(access(&world.process(), &id).await, "access-0-1");
    world.clock.step(SESSION);
    assert_eq!(access(&world.process(), &id).await, "access-0-3");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

/// Somebody writes the row for a reason of his own while it is being confirmed, first with the lease and then with the set.
#[tokio::test(start_paused = true)]
async fn an_unrelated_write_is_no_doubt() {
    let (world, id) = with_a_dead_token().await;
    let two = world.process();
    for skip in [0, 1] {
        // The first time that the lease is asked about, and after the second one the set.
        world
            .one
            .store
            .script(Op::Confirm, skip, 1, Fault::Slow(seconds(1)));
    }
    let relabel = async {
        for owner in ["ann", "ben"] {
            pass(std::time::Duration::from_millis(900)).await;
            let update = grantry::ConnectionUpdate::default().owner(owner.to_owned());
            two.broker.connection(&id).update(update).await.unwrap();
        }
    };
    let (token, ()) = tokio::join!(world.access(&id), relabel);
    assert_eq!(token, "access-0-1");
    pass(seconds(5)).await;
    assert_eq!(world.one.events.count(&What::Unsaved), 0);
    assert_eq!(two.broker.connection(&id).view().await.unwrap().owner, "ben");
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
}
