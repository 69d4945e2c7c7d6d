//! Reconnect, revoke and delete, also while a refresh is on its way (epochs, owed revocations).

use grantry::{
    connect::Outcome,
    connection::Status,
    error::Code,
    event::What,
    provider::Rotation,
    testing::{Answer, Fault, Op},
};

use crate::support::{SESSION, World, pass, seconds};

/// A refresh is on its way and comes back after ten seconds; `meanwhile` happens after three.
async fn meanwhile(world: &World, id: &grantry::id::ConnectionId, meanwhile: impl AsyncFnOnce()) -> Code {
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(10)));
    let refresh = world.credentials(id);
    let other = async {
        pass(seconds(3)).await;
        meanwhile().await;
    };
    match tokio::join!(refresh, other).0 {
        Ok(_) => Code::Internal,
        Err(error) => error.code(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_comes_after_the_deletion_is_revoked_and_never_stored() {
    let world = World::new().await;
    let id = world.connect().await;
    let broker = world.one.broker.clone();
    let code = meanwhile(&world, &id, async || {
        broker.connection(&id).disconnect().await.unwrap();
    })
    .await;
    assert_eq!(code, Code::ConnectionNotFound);
    pass(seconds(5)).await;
    assert_eq!(world.status(&id).await, Status::Deleted);
    assert!(!world.upstream.lives("refresh-0-1"));
    assert_eq!(world.upstream.revoked(), ["refresh-0-0", "refresh-0-1"]);
    assert_eq!(world.facts(&id).await["owed"], serde_json::Value::Null);
    assert_eq!(world.code(&id).await, Code::ConnectionNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_comes_after_a_revocation_by_another_process_is_revoked() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    let code = meanwhile(&world, &id, async || {
        two.broker.connection(&id).revoke().await.unwrap();
    })
    .await;
    assert_eq!(code, Code::ConnectionRevoked);
    pass(seconds(5)).await;
    assert_eq!(world.status(&id).await, Status::Revoked);
    assert!(!world.upstream.lives("refresh-0-1"));
}

#[tokio::test(start_paused = true)]
async fn a_set_that_comes_after_a_reconnect_is_revoked_and_the_new_grant_is_served() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(10)));
    let again = async {
        pass(seconds(3)).await;
        world.try_connect(Some(&id)).await
    };
    let (served, again) = tokio::join!(world.access(&id), again);
    assert!(matches!(
        again,
        Outcome::Connected {
            reconnected: true,
            ..
        }
    ));
    assert_eq!(served, "access-1-2", "who waited gets the new grant");
    pass(seconds(5)).await;
    assert!(world.upstream.lives("refresh-1-0"));
    assert!(!world.upstream.lives("refresh-0-1"));
    assert_eq!(world.access(&id).await, "access-1-2");
}

#[tokio::test(start_paused = true)]
async fn the_very_token_that_a_connection_lives_on_is_never_revoked() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.rotation = Rotation::Reusable;
        s.rotates = false;
        s.one_grant_per_user = true;
    });
    let id = world.connect().await;
    // A refresh during the reconnect, and a reconnect that gives the same refresh token again.
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(10)));
    let again = async {
        pass(seconds(3)).await;
        world.try_connect(Some(&id)).await
    };
    let (_, again) = tokio::join!(world.access(&id), again);
    assert!(matches!(again, Outcome::Connected { .. }));
    pass(seconds(60)).await;
    assert!(world.upstream.revoked().is_empty());
    let history = world.one.broker.connection(&id).history().await.unwrap();
    assert!(history.iter().all(|decision| decision.what != "late_set_owed"));
    // Revoked while the provider does not take it, and connected again on the same token.
    world.upstream.set(|s| s.refuses_revocations = true);
    world.one.broker.connection(&id).revoke().await.unwrap();
    pass(seconds(1)).await;
    let tried = world.upstream.revoked().len();
    assert!(matches!(
        world.try_connect(Some(&id)).await,
        Outcome::Connected { .. }
    ));
    world.upstream.set(|s| s.refuses_revocations = false);
    pass(seconds(600)).await;
    assert_eq!(world.upstream.revoked().len(), tried);
    assert!(world.upstream.lives("refresh-0-0"));
    world.clock.step(SESSION);
    world.access(&id).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_set_is_not_revoked_while_it_cannot_be_seen_whose_it_is() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.rotation = Rotation::Reusable;
        s.rotates = false;
        s.one_grant_per_user = true;
    });
    let id = world.connect().await;
    let two = world.process();
    world.clock.step(SESSION);
    // It reads to serve, to take the lease, and to see that the row is not its own any more; then no more.
    two.store.script(Op::Read, 3, 30, Fault::Before);
    world.upstream.next(Answer::Slow(seconds(10)));
    let again = async {
        pass(seconds(3)).await;
        world.try_connect(Some(&id)).await
    };
    let (late, _) = tokio::join!(two.broker.credentials(&id), again);
    assert_eq!(late.unwrap().version.epoch, 2, "who waited gets the new grant");
    assert_eq!(world.presentations(), 1);
    pass(seconds(300)).await;
    assert!(world.upstream.revoked().is_empty());
    assert!(world.upstream.lives("refresh-0-0"));
}

#[tokio::test(start_paused = true)]
async fn an_owed_revocation_survives_until_the_provider_takes_it() {
    let world = World::new().await;
    let id = world.connect().await;
    world.upstream.set(|s| s.refuses_revocations = true);
    let broker = world.process().broker;
    broker.connection(&id).disconnect().await.unwrap();
    pass(seconds(1)).await;
    drop(broker);
    assert!(world.upstream.lives("refresh-0-0"));
    assert_eq!(world.facts(&id).await["owed"].as_array().unwrap().len(), 1);
    world.upstream.set(|s| s.refuses_revocations = false);
    // The sweep of whoever lives finds it.
    pass(seconds(60)).await;
    assert!(!world.upstream.lives("refresh-0-0"));
    assert_eq!(world.facts(&id).await["owed"], serde_json::Value::Null);
    let tries = world.upstream.revoked().len();
    pass(seconds(600)).await;
    assert_eq!(world.upstream.revoked().len(), tries, "it is revoked once");
}

#[tokio::test(start_paused = true)]
async fn an_owed_revocation_is_given_up_visibly() {
    let world = World::new().await;
    let id = world.connect().await;
    world.upstream.set(|s| s.refuses_revocations = true);
    world.one.broker.connection(&id).revoke().await.unwrap();
    pass(seconds(8 * 3600)).await;
    assert_eq!(world.upstream.revoked().len(), 12);
    assert_eq!(world.facts(&id).await["owed"], serde_json::Value::Null);
    let history = world.one.broker.connection(&id).history().await.unwrap();
    assert_eq!(history.last().unwrap().what, "revocation_given_up");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_seen_by_all_within_a_second() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    pass(seconds(2)).await;
    two.broker.credentials(&id).await.unwrap();
    assert!(two.broker.connection(&id).peek(|_| ()).is_some());
    world.one.broker.connection(&id).disconnect().await.unwrap();
    pass(seconds(1)).await;
    assert!(two.broker.connection(&id).peek(|_| ()).is_none());
    let error = two.broker.credentials(&id).await.unwrap_err();
    assert_eq!(error.code(), Code::ConnectionNotFound);
    assert_eq!(two.events.count(&What::Deleted), 0, "told by the one who did it");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_does_not_bring_back_what_was_deleted_meanwhile() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    pass(seconds(2)).await;
    // It reads the row, and gets the answer after the deletion was seen and forgotten.
    two.store.next(Op::Read, Fault::SlowAnswer(seconds(5)));
    let slow = two.broker.credentials(&id);
    let delete = async {
        pass(seconds(1)).await;
        world.one.broker.connection(&id).disconnect().await.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, delete);
    drop(slow);
    assert!(two.broker.credentials(&id).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_during_a_refresh_that_fails_is_seen_too() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION - seconds(200));
    let two = world.process();
    two.broker.credentials(&id).await.unwrap();
    pass(seconds(2)).await;
    world.upstream.next(Answer::Held(seconds(10)));
    world.upstream.end_grant("refresh-0-0");
    let connection = world.one.broker.connection(&id);
    let refresh = connection.credentials_valid_for(seconds(3600));
    let delete = async {
        pass(seconds(3)).await;
        two.broker.connection(&id).disconnect().await.unwrap();
    };
    let _ = tokio::join!(refresh, delete);
    pass(seconds(1)).await;
    assert_eq!(world.code(&id).await, Code::ConnectionNotFound);
}
