//! A token host's endpoints fail apart: what becomes of revocations says nothing about refreshes, and the other way round.

use grantry::{
    connect::Outcome,
    connection::Reason,
    error::Code,
    provider::{Refusal, Verdict},
    testing::Answer,
};

use crate::support::{SESSION, World, days, pass, seconds};

/// More failures in a row than a breaker lets pass.
const MANY: usize = 8;

const OUTAGE: Answer = Answer::Refused(Refusal {
    verdict: Verdict::MayPass,
    reason: Reason::ServerUnavailable,
    retry_after: None,
});

/// Ends that many connections, each of which is revoked at once.
async fn disconnect(world: &World, many: usize) {
    for _ in 0..many {
        let id = world.connect().await;
        world.one.broker.connection(&id).disconnect().await.unwrap();
        pass(seconds(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_presented_again_though_revocations_fail() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Dropped);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    pass(seconds(45)).await;
    world.upstream.set(|s| s.refuses_revocations = true);
    disconnect(&world, MANY).await;
    assert_eq!(world.upstream.revoked().len(), MANY);
    // The quarantine is over.
    pass(seconds(8)).await;
    world.access(&id).await;
    assert_eq!((world.generation(&id).await, world.presentations()), (2, 2));
    assert!(world.one.broker.health().await.token_hosts_down.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_grant_is_kept_alive_though_revocations_fail() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.idle_limit = Some(days(30));
        s.refuses_revocations = true;
    });
    let id = world.connect().await;
    disconnect(&world, 40).await;
    let tried = world.upstream.revoked().len();
    world.clock.step(days(23));
    pass(seconds(45)).await;
    assert_eq!(world.generation(&id).await, 2);
    let met = world.upstream.revoked().len() - tried;
    assert!((1..=12).contains(&met), "{met} revocations met the outage");
    world.upstream.set(|s| s.refuses_revocations = false);
    for _ in 0..20 {
        world.clock.step(seconds(600));
        pass(seconds(45)).await;
    }
    assert!((1..=40).all(|family| !world.upstream.lives(&format!("refresh-{family}-0"))));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_succeeds_does_not_call_a_dead_token_endpoint_back() {
    let world = World::new().await;
    world.upstream.set(|s| s.idle_limit = Some(days(30)));
    for _ in 0..MANY {
        world.connect().await;
    }
    world.upstream.always(Some(OUTAGE));
    world.clock.step(days(23));
    pass(seconds(25)).await;
    assert_eq!(world.one.broker.health().await.token_hosts_down.len(), 1);
    disconnect(&world, 1).await;
    assert!(!world.upstream.lives(&format!("refresh-{MANY}-0")));
    assert_eq!(world.one.broker.health().await.token_hosts_down.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_revoked_though_the_token_endpoint_fails() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.idle_limit = Some(days(30));
        s.refuses_revocations = true;
    });
    disconnect(&world, 1).await;
    for _ in 0..MANY {
        world.connect().await;
    }
    world.upstream.always(Some(OUTAGE));
    world.clock.step(days(23));
    pass(seconds(45)).await;
    assert_eq!(world.one.broker.health().await.token_hosts_down.len(), 1);
    world.upstream.set(|s| s.refuses_revocations = false);
    // One more sweep, while the token endpoint is left alone.
    world.clock.step(seconds(60));
    pass(seconds(25)).await;
    assert!(!world.upstream.lives("refresh-0-0"));
}

/// A row that owes a revocation, too.
#[tokio::test(start_paused = true)]
async fn a_reconnected_grant_is_kept_alive_though_its_old_one_cannot_be_revoked() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.idle_limit = Some(days(30));
        s.refuses_revocations = true;
    });
    let mut reconnected = Vec::new();
    for _ in 0..MANY {
        let id = world.connect().await;
        assert!(matches!(
            world.try_connect(Some(&id)).await,
            Outcome::Connected { .. }
        ));
        reconnected.push(id);
    }
    pass(seconds(45)).await;
    world.clock.step(days(23));
    for _ in 0..6 {
        pass(seconds(45)).await;
        world.clock.step(seconds(30));
    }
    for id in &reconnected {
        assert_eq!(world.generation(id).await, 3);
    }
}
