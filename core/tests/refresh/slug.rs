//! Handles by slug reach what handles by id reach: cold, from memory, and while the store is down.

use grantry::{
    ConnectionHandle, IntegrationHandle, NewIntegration,
    connect::{Binding, Outcome},
    error::{Code, Error},
    id::{ConnectionId, IntegrationId, Slug},
    proxy::ApiRequest,
    secret::Secret,
    testing::{Fault, Op},
};

use crate::support::{Process, World, pass, seconds};

/// An integration with this slug.
async fn make(world: &World, slug: &str) -> IntegrationId {
    let new = NewIntegration::new(slug, "fake/production", "client", Secret::new("secret"));
    let slug = Slug::new(slug).unwrap();
    world.one.broker.ensure_integration(&slug, new).await.unwrap().id
}

async fn connect(world: &World, integration: &IntegrationHandle, owner: &str) -> ConnectionId {
    let binding = || Binding::new("the browser");
    let begun = integration.owner(owner).begin_connect(binding()).await.unwrap();
    let query = world.upstream.consent(&begun.url);
    let outcome = integration.finish_connect(&query, &binding()).await;
    let Ok(Outcome::Connected { connection, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    connection
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

async fn all(connection: &ConnectionHandle) -> Vec<Option<Code>> {
    let set = grantry::connection::GrantVersion {
        epoch: 1,
        generation: 1,
    };
    vec![
        code(connection.credentials().await),
        code(connection.view().await),
        code(connection.history().await),
        code(connection.reconnect_link().await),
        code(connection.refused(set).await),
        code(connection.send(ApiRequest::get("/a")).await),
        code(connection.revoke().await),
        code(connection.disconnect().await),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_slug_reaches_its_integration_and_no_other() {
    let world = World::new().await;
    let acme = make(&world, "acme").await;
    make(&world, "other").await;
    let broker = &world.one.broker;
    let id = connect(&world, &broker.integration("acme"), "ann").await;
    world.access(&id).await;
    let row = world.row(&id).await;
    assert_eq!(row.row.index.integration, acme, "the row has the id");
    for (which, expected) in [
        (broker.integration("other"), Code::IntegrationMismatch),
        (broker.integration("none"), Code::IntegrationNotFound),
        (broker.integration("Not a slug"), Code::IntegrationNotFound),
        // A string is a slug, never an id.
        (broker.integration(acme.as_str()), Code::IntegrationNotFound),
    ] {
        let connection = which.connection(&id);
        assert!(connection.peek(|_| ()).is_none());
        assert_eq!(all(&connection).await, vec![Some(expected); 8], "{which:?}");
        let behind = which.owner("ann").connection(&id);
        assert!(behind.peek(|_| ()).is_none());
        assert_eq!(
            all(&behind).await,
            vec![Some(Code::ConnectionNotFound); 8],
            "{which:?}"
        );
    }
    assert_eq!(world.row(&id).await, row);

    let cold = world.process();
    for process in [&world.one, &cold] {
        let acme = process.broker.integration("acme");
        let door = acme.owner("ann").connection(&id);
        door.credentials().await.unwrap();
        pass(seconds(1)).await;
        assert!(door.peek(|_| ()).is_some());
        assert!(acme.connection(&id).peek(|_| ()).is_some());
        let ben = acme.owner("ben").connection(&id);
        assert!(ben.peek(|_| ()).is_none());
        assert_eq!(code(ben.credentials().await), Some(Code::ConnectionNotFound));
    }
    let door = broker.integration("acme").owner("ann").connection(&id);
    door.disconnect().await.unwrap();
    assert_eq!(code(door.credentials().await), Some(Code::ConnectionNotFound));
}

/// A cursor belongs to the integration, in whichever way it is named.
#[tokio::test(start_paused = true)]
async fn lists_and_counts_are_those_of_the_id() {
    let world = World::new().await;
    let id = make(&world, "acme").await;
    let broker = &world.one.broker;
    let acme = broker.integration("acme");
    for owner in ["ann", "ben", "ann"] {
        connect(&world, &acme, owner).await;
    }
    let slug = Slug::new("acme").unwrap();
    for other in [broker.integration(&id), broker.integration(&slug)] {
        let first = acme.connections().limit(2).await.unwrap();
        let cursor = first.next_cursor.unwrap();
        let rest = other.connections().limit(2).cursor(cursor).await.unwrap();
        assert_eq!((first.connections.len(), rest.connections.len()), (2, 1));
        assert_eq!(other.usage().await.unwrap(), acme.usage().await.unwrap());
        assert_eq!(other.view().await.unwrap(), acme.view().await.unwrap());
    }
    assert_eq!(
        acme.owner("ann").connections().await.unwrap().connections.len(),
        2
    );
    assert_eq!(
        code(broker.integration("none").connections().await),
        Some(Code::IntegrationNotFound)
    );
    assert_eq!(
        code(broker.integration("none").usage().await),
        Some(Code::IntegrationNotFound)
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_a_slug_leads_to_living_tokens() {
    let world = World::new().await;
    make(&world, "acme").await;
    let id = connect(&world, &world.one.broker.integration("acme"), "ann").await;
    let door = |process: &Process| process.broker.integration("acme").owner("ann").connection(&id);
    door(&world.one).credentials().await.unwrap();
    for op in [Op::Read, Op::Changes, Op::Integrations] {
        world.one.store.script(op, 0, u32::MAX, Fault::Before);
    }
    pass(seconds(10)).await;
    assert!(door(&world.one).peek(|_| ()).is_none(), "memory is not believed");
    door(&world.one).credentials().await.unwrap();
    assert_eq!(world.presentations(), 0);
}
