//! Slugs go along, there and back: an application that declares its integrations finds them in whichever store it uses.

use grantry::{Broker, NewIntegration, copy::Copy, error::Code, id::Slug, secret::Secret};

use crate::{
    support::{Process, pass, seconds},
    two::Two,
};

async fn ensure(broker: &Broker) -> Result<grantry::integration::IntegrationView, grantry::error::Error> {
    let new = NewIntegration::new("Acme", "fake/production", "client", Secret::new("secret"));
    broker.ensure_integration(&Slug::new("acme").unwrap(), new).await
}

#[tokio::test(start_paused = true)]
async fn slugs_go_along() {
    let two = Two::new().await;
    let world = &two.world;
    let here = &world.one.broker;
    let made = ensure(here).await.unwrap();
    two.copied().await;
    pass(seconds(2)).await;
    assert_eq!(ensure(here).await.unwrap_err().code(), Code::StoreMoved);
    let Process { broker: there, .. } = world.process_on(&two.target);
    assert_eq!(ensure(&there).await.unwrap(), made);

    // It is made again where it lives now, and comes back under the slug of what it replaces.
    there.integration("acme").delete().await.unwrap();
    let again = ensure(&there).await.unwrap();
    assert_ne!(again.id, made.id);
    let back = Copy::new(two.target.clone(), world.memory.clone()).clock(world.clock.clone());
    back.run(|_| {}).await.unwrap();
    pass(seconds(2)).await;
    assert_eq!(ensure(here).await.unwrap().id, again.id);
    let gone = here.integration(&made.id).view().await.unwrap_err();
    assert_eq!(gone.code(), Code::IntegrationNotFound);
}
