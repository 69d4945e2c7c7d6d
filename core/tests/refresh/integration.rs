//! Switching an integration off, and a store that cannot be reached (I8, I10).

use grantry::{
    error::Code,
    testing::{Answer, Fault, Op},
};

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn a_disabled_integration_serves_nothing_anywhere_after_a_second() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    two.broker.credentials(&id).await.unwrap();
    pass(seconds(2)).await;
    two.broker.credentials(&id).await.unwrap();
    assert!(two.broker.connection(&id).peek(|_| ()).is_some());
    world
        .one
        .broker
        .integration(&world.integration)
        .disable()
        .await
        .unwrap();
    assert_eq!(world.code(&id).await, Code::IntegrationDisabled, "here at once");
    pass(seconds(1)).await;
    assert!(two.broker.connection(&id).peek(|_| ()).is_none());
    let error = two.broker.credentials(&id).await.unwrap_err();
    assert_eq!(error.code(), Code::IntegrationDisabled);
    world
        .one
        .broker
        .integration(&world.integration)
        .enable()
        .await
        .unwrap();
    pass(seconds(1)).await;
    two.broker.credentials(&id).await.unwrap();
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_on_its_way_stores_its_set_and_serves_nobody() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    two.broker.credentials(&id).await.unwrap();
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(10)));
    let disable = async {
        pass(seconds(3)).await;
        world
            .one
            .broker
            .integration(&world.integration)
            .disable()
            .await
            .unwrap();
    };
    let _ = tokio::join!(two.broker.credentials(&id), disable);
    pass(seconds(1)).await;
    assert_eq!(world.generation(&id).await, 2);
    let error = two.broker.credentials(&id).await.unwrap_err();
    assert_eq!(error.code(), Code::IntegrationDisabled);
    // No new lease begins.
    world.clock.step(SESSION);
    assert_eq!(world.code(&id).await, Code::IntegrationDisabled);
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_living_tokens_are_served_to_their_end() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    pass(seconds(2)).await;
    world.one.store.down(true);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < SESSION - seconds(60) {
        pass(seconds(120)).await;
        if begun.elapsed() < SESSION - seconds(60) {
            assert_eq!(world.access(&id).await, "access-0-0");
        }
    }
    pass(seconds(120)).await;
    assert_eq!(world.code(&id).await, Code::StoreUnavailable);
    assert_eq!(
        world.presentations(),
        0,
        "no token is spent that could not be stored"
    );
    world.one.store.down(false);
    assert_eq!(world.access(&id).await, "access-0-1");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_nobody_up_whose_token_lives() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    pass(seconds(2)).await;
    for op in [Op::Read, Op::Changes, Op::Integrations] {
        world
            .one
            .store
            .script(op, 0, u32::MAX, Fault::Slow(seconds(100_000)));
    }
    pass(seconds(10)).await;
    let call = tokio::time::timeout(seconds(10), world.access(&id));
    assert_eq!(call.await.unwrap(), "access-0-0");
}

#[tokio::test(start_paused = true)]
async fn one_integration_that_cannot_be_read_stands_in_nobody_s_way() {
    use grantry::store::{IntegrationRow, IntegrationStore as _};
    let world = World::new().await;
    let id = world.connect().await;
    let new = grantry::NewIntegration::new(
        "Other",
        "fake/production",
        "other",
        grantry::secret::Secret::new("secret"),
    );
    let other = world.one.broker.create_integration(new).await.unwrap().id;
    world.access(&id).await;
    let stored = world.memory.integration(&other).await.unwrap().unwrap();
    let broken = IntegrationRow {
        id: other,
        slug: None,
        body: b"{}"[..].into(),
    };
    let _ = world
        .memory
        .swap_integration(&broken, stored.revision)
        .await
        .unwrap();
    pass(seconds(3)).await;
    assert!(
        world.one.broker.connection(&id).peek(|_| ()).is_some(),
        "still served from memory"
    );
}
