//! An owner's door: behind it only that owner's connections exist, for reads, for writes and on the warm path.

use grantry::{
    Connection, ConnectionHandle, ConnectionQuery, ConnectionUpdate, Integration, OwnerHandle,
    connect::{Binding, NewLink, Outcome},
    connection::{GrantVersion, Status},
    error::{Code, Error},
    id::ConnectionId,
    proxy::ApiRequest,
    testing::{Answer, Fault, Op},
};

use crate::support::{Process, SESSION, World, pass, seconds};

fn door(world: &World, process: &Process, owner: &str) -> OwnerHandle {
    process.broker.integration(&world.integration).owner(owner)
}

/// A new connection of this owner.
async fn connect(world: &World, owner: &str) -> ConnectionId {
    let id = world.connect().await;
    give(world, &id, owner).await;
    id
}

async fn give(world: &World, id: &ConnectionId, owner: &str) {
    let connection = world.one.broker.connection(id);
    connection
        .update(ConnectionUpdate::default().owner(owner))
        .await
        .unwrap();
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

/// What each operation says, by way of the trait.
async fn all(connection: &dyn Connection) -> Vec<Option<Code>> {
    let set = GrantVersion {
        epoch: 1,
        generation: 1,
    };
    vec![
        code(connection.credentials().await),
        code(connection.credentials_valid_for(seconds(60)).await),
        code(connection.view().await),
        code(connection.history().await),
        code(connection.reconnect_link().await),
        code(connection.refused(set).await),
        code(connection.send(ApiRequest::get("/a")).await),
        code(connection.update(ConnectionUpdate::default().owner("eve")).await),
        code(connection.disconnect().await),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_others_is_not_found_and_not_touched() {
    let world = World::new().await;
    let (ann, ben, nobody) = (
        connect(&world, "ann").await,
        connect(&world, "ben").await,
        world.connect().await,
    );
    for id in [&ann, &ben, &nobody] {
        world.access(id).await;
    }
    let rows = [world.row(&ann).await, world.row(&nobody).await];
    for (owner, id) in [
        ("ben", &ann),
        ("Ann", &ann),
        ("", &ann),
        ("ben", &nobody),
        ("", &nobody),
    ] {
        let door = door(&world, &world.one, owner);
        let connection: ConnectionHandle = door.connection(id);
        assert!(connection.peek(|_| ()).is_none(), "{owner:?}");
        for code in all(&connection).await {
            assert_eq!(code, Some(Code::ConnectionNotFound), "{owner:?}");
        }
        assert_eq!(code(connection.revoke().await), Some(Code::ConnectionNotFound));
        let begin = door.begin_connect(Binding::new("b")).reconnect(id.clone());
        let expected = if owner.is_empty() {
            Code::FieldInvalid
        } else {
            Code::ConnectionNotFound
        };
        assert_eq!(code(begin.await), Some(expected), "{owner:?}");
    }
    let elsewhere = world
        .one
        .broker
        .integration(grantry::id::IntegrationId::generate());
    let stranger = elsewhere.owner("ann").connection(&ann);
    assert_eq!(all(&stranger).await, vec![Some(Code::ConnectionNotFound); 9]);
    assert_eq!([world.row(&ann).await, world.row(&nobody).await], rows);
    assert_eq!((world.presentations(), world.upstream.revoked().len()), (0, 0));

    let open = door(&world, &world.one, "ann").connection(&ann);
    assert!(open.peek(|_| ()).is_some());
    let codes = all(&open).await;
    // The last change gave it away.
    assert_eq!(codes.last(), Some(&Some(Code::ConnectionNotFound)));
    assert_eq!(world.status(&ann).await, Status::Connected);
    let eve = door(&world, &world.one, "eve").connection(&ann);
    eve.disconnect().await.unwrap();
    assert_eq!(world.status(&ann).await, Status::Deleted);
}

#[tokio::test(start_paused = true)]
async fn a_list_has_what_belongs_to_the_owner() {
    let world = World::new().await;
    let mut of_ann = Vec::new();
    for owner in ["ann", "ben", "ann", "", "ann"] {
        let id = connect(&world, owner).await;
        if owner == "ann" {
            of_ann.push(id);
        }
    }
    of_ann.sort();
    let seen = async |owner: &str, narrowed: Option<&str>| {
        let mut list = door(&world, &world.one, owner).connections().limit(2);
        if let Some(narrowed) = narrowed {
            list = list.owner(narrowed);
        }
        let mut stream = list.stream();
        let mut ids = Vec::new();
        while let Some(connection) = stream.next().await {
            ids.push(connection.unwrap().id);
        }
        ids.sort();
        ids
    };
    assert_eq!(seen("ann", None).await, of_ann);
    assert_eq!(seen("ann", Some("ann")).await, of_ann);
    for (owner, narrowed) in [
        ("ann", Some("ben")),
        ("ann", Some("")),
        ("", None),
        ("", Some("ann")),
    ] {
        assert!(seen(owner, narrowed).await.is_empty(), "{owner:?} {narrowed:?}");
    }
    // The same by way of the trait, and a door within a door is no way out.
    let integration = world.one.broker.integration(&world.integration);
    let all: &dyn Integration = &integration;
    let listed = async |of: &dyn Integration| {
        let page = of.connections(ConnectionQuery::default()).await.unwrap();
        page.connections.len()
    };
    assert_eq!(listed(all).await, 5);
    let ann = all.owner("ann");
    assert_eq!(listed(&*ann).await, 3);
    assert_eq!(listed(&*ann.owner("ann")).await, 3);
    let ben = ann.owner("ben");
    assert_eq!(listed(&*ben).await, 0);
    assert_eq!(
        code(ben.connection(&of_ann[0]).view().await),
        Some(Code::ConnectionNotFound)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_connected_behind_a_door_belongs_to_the_owner() {
    let world = World::new().await;
    let ann = door(&world, &world.one, "ann");
    let integration = world.one.broker.integration(&world.integration);
    let begin = ann.begin_connect(Binding::new("b")).await.unwrap();
    let query = world.upstream.consent(&begin.url);
    let done = integration.finish_connect(&query, &Binding::new("b")).await;
    let Ok(Outcome::Connected { connection, .. }) = done else {
        panic!("{done:?}")
    };
    assert_eq!(ann.connection(&connection).view().await.unwrap().owner, "ann");

    let other = ann.begin_connect(Binding::new("b")).owner("ben");
    assert_eq!(code(other.await), Some(Code::FieldInvalid));
    let other = NewLink::default().owner("ben");
    assert_eq!(code(ann.connect_link(other).await), Some(Code::FieldInvalid));
    let nobody = door(&world, &world.one, "");
    assert_eq!(
        code(nobody.begin_connect(Binding::new("b")).await),
        Some(Code::FieldInvalid)
    );
    assert_eq!(
        code(nobody.connect_link(NewLink::default()).await),
        Some(Code::FieldInvalid)
    );

    let link = ann.connect_link(NewLink::default()).await.unwrap();
    let token = link.url.split_once("link=").unwrap().1;
    let begin = integration.begin_link(token, Binding::new("b")).await.unwrap();
    let query = world.upstream.consent(&begin.await.unwrap().url);
    integration
        .finish_connect(&query, &Binding::new("b"))
        .await
        .unwrap();
    assert_eq!(ann.connections().await.unwrap().connections.len(), 2);
}

/// The owner changes between the two halves, or while a link is under way.
#[tokio::test(start_paused = true)]
async fn a_reconnect_takes_nothing_over() {
    let world = World::new().await;
    let id = connect(&world, "ann").await;
    let ann = door(&world, &world.one, "ann");
    let integration = world.one.broker.integration(&world.integration);
    let binding = || Binding::new("b");
    let begin = ann.begin_connect(binding()).reconnect(id.clone()).await.unwrap();
    let link = ann.connection(&id).reconnect_link().await.unwrap();
    let query = world.upstream.consent(&begin.url);
    give(&world, &id, "ben").await;
    let before = world.row(&id).await;
    match integration.finish_connect(&query, &binding()).await.unwrap() {
        Outcome::Failed { error, .. } => assert_eq!(error.code(), Code::ConnectionNotFound),
        other @ Outcome::Connected { .. } => panic!("{other:?}"),
    }
    let token = link.url.split_once("link=").unwrap().1;
    let begin = integration.begin_link(token, binding()).await.unwrap();
    assert_eq!(code(begin.await), Some(Code::ConnectionNotFound));
    pass(seconds(5)).await;
    assert_eq!(world.row(&id).await, before);
    // The grant that came is nobody's.
    assert_eq!(world.upstream.revoked().len(), 1);
    assert!(world.upstream.lives("refresh-0-0"));
}

/// Without a door, too: neither at once, nor if the owner changes between the halves, nor by a link from before.
#[tokio::test(start_paused = true)]
async fn a_reconnect_for_another_owner_is_refused() {
    let world = World::new().await;
    let ann = connect(&world, "ann").await;
    let nobodys = world.connect().await;
    let integration = world.one.broker.integration(&world.integration);
    let binding = || Binding::new("b");
    let tokens = world.upstream.presented().len();
    let before = (world.row(&ann).await, world.row(&nobodys).await);
    for (id, owner) in [(&ann, "bob"), (&ann, ""), (&nobodys, "bob")] {
        let begin = || {
            integration
                .begin_connect(binding())
                .owner(owner)
                .reconnect(id.clone())
        };
        assert_eq!(code(begin().await), Some(Code::OwnerMismatch), "{owner:?}");
        let changed = begin().allow_account_change().await;
        assert_eq!(code(changed), Some(Code::OwnerMismatch), "{owner:?}");
    }
    assert_eq!((world.row(&ann).await, world.row(&nobodys).await), before);
    assert_eq!(world.upstream.presented().len(), tokens);

    let begin = |owner: Option<&str>| {
        let begin = integration.begin_connect(binding()).reconnect(ann.clone());
        match owner {
            Some(owner) => begin.owner(owner),
            None => begin,
        }
    };
    let link = world.one.broker.connection(&ann).reconnect_link().await.unwrap();
    let [named, unnamed] = [begin(Some("ann")).await.unwrap(), begin(None).await.unwrap()];
    give(&world, &ann, "ben").await;
    let before = world.row(&ann).await;
    for begun in [named, unnamed] {
        let query = world.upstream.consent(&begun.url);
        match integration.finish_connect(&query, &binding()).await.unwrap() {
            Outcome::Failed { error, .. } => assert_eq!(error.code(), Code::OwnerMismatch),
            other @ Outcome::Connected { .. } => panic!("{other:?}"),
        }
    }
    let token = link.url.split_once("link=").unwrap().1;
    let begin = integration.begin_link(token, binding()).await.unwrap();
    assert_eq!(code(begin.await), Some(Code::OwnerMismatch));
    pass(seconds(5)).await;
    assert_eq!(world.row(&ann).await, before);
    // The two grants that came are nobody's.
    assert_eq!(world.upstream.revoked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_owner_is_in_force_in_every_process_after_a_second() {
    let world = World::new().await;
    let id = connect(&world, "ann").await;
    let two = world.process();
    let of = |process: &Process, owner: &str| door(&world, process, owner).connection(&id);
    pass(seconds(1)).await;
    for process in [&world.one, &two] {
        of(process, "ann").credentials().await.unwrap();
        assert!(of(process, "ann").peek(|_| ()).is_some());
    }
    give(&world, &id, "ben").await;
    assert!(
        of(&world.one, "ann").peek(|_| ()).is_none(),
        "at once where it was changed"
    );
    pass(seconds(1)).await;
    for process in [&world.one, &two] {
        assert!(of(process, "ann").peek(|_| ()).is_none());
        assert_eq!(
            code(of(process, "ann").credentials().await),
            Some(Code::ConnectionNotFound)
        );
        of(process, "ben").credentials().await.unwrap();
        assert!(of(process, "ben").peek(|_| ()).is_some());
    }
    assert_eq!(world.presentations(), 0);
}

/// Somebody gives the connection away between the read of its row and the write: decided again, nothing is done.
#[tokio::test(start_paused = true)]
async fn a_write_looks_at_the_owner_of_the_row_that_it_replaces() {
    for ends in [false, true] {
        let world = World::new().await;
        let id = connect(&world, "ann").await;
        let two = world.process();
        let connection = door(&world, &world.one, "ann").connection(&id);
        world.one.store.next(Op::Swap, Fault::Slow(seconds(1)));
        let write = async {
            if ends {
                connection.disconnect().await
            } else {
                let update = ConnectionUpdate::default().owner("eve");
                connection.update(update).await.map(drop)
            }
        };
        let give = async {
            pass(seconds(1) / 2).await;
            let update = ConnectionUpdate::default().owner("ben");
            two.broker.connection(&id).update(update).await.unwrap();
        };
        let (written, ()) = tokio::join!(write, give);
        assert_eq!(code(written), Some(Code::ConnectionNotFound));
        let index = world.row(&id).await.row.index;
        assert_eq!((&*index.owner, index.status), ("ben", Status::Connected));
    }
}

/// The connection is given away while its refresh is under way, or its new set cannot be stored.
#[tokio::test(start_paused = true)]
async fn a_refresh_serves_the_owner_that_the_row_has_then() {
    for stored in [true, false] {
        let world = World::new().await;
        let id = connect(&world, "ann").await;
        world.access(&id).await;
        world.clock.step(SESSION);
        let two = world.process();
        world.upstream.next(Answer::Slow(seconds(5)));
        let connection = door(&world, &world.one, "ann").connection(&id);
        let give = async {
            pass(seconds(3)).await;
            let update = ConnectionUpdate::default().owner("ben");
            two.broker.connection(&id).update(update).await.unwrap();
            if !stored {
                // Nothing is written; and for a moment nothing is read, so that it is kept as it was read before.
                world.one.store.script(Op::Swap, 0, 1000, Fault::Before);
                world.one.store.script(Op::Read, 0, 1, Fault::Before);
            }
        };
        let (served, ()) = tokio::join!(connection.credentials(), give);
        assert_eq!(code(served), Some(Code::ConnectionNotFound), "stored: {stored}");
        let unsaved = world.one.broker.health().await.unsaved.len();
        assert_eq!(unsaved, usize::from(!stored));
        assert!(connection.peek(|_| ()).is_none());
        assert_eq!(
            code(connection.credentials().await),
            Some(Code::ConnectionNotFound)
        );
        let of_ben = door(&world, &world.one, "ben").connection(&id);
        let served = of_ben.credentials().await.unwrap();
        assert_eq!(served.access_token.expose(), "access-0-1");
        assert_eq!(world.presentations(), 1);
    }
}
