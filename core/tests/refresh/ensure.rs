//! An integration that an application declares by its slug: made once, and brought to what is declared.

use futures_util::future::join3;
use grantry::{
    IntegrationUpdate, NewIntegration,
    connect::{Binding, NewLink},
    error::{Code, Error},
    id::Slug,
    integration::{IntegrationState, IntegrationView},
    secret::Secret,
    store::IntegrationStore as _,
    testing::{Fault, Op, Request},
};

use crate::support::{Process, World, pass, seconds};

fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

fn declared(secret: &str) -> NewIntegration {
    NewIntegration::new("Acme", "fake/production", "client", Secret::new(secret))
}

async fn ensure(process: &Process, new: NewIntegration) -> Result<IntegrationView, Error> {
    process.broker.ensure_integration(&slug("acme"), new).await
}

fn verifications(world: &World) -> usize {
    let log = world.upstream.log();
    log.iter()
        .filter(|request| matches!(request, Request::Verify))
        .count()
}

async fn version(world: &World) -> u64 {
    world.memory.integrations_version().await.unwrap()
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

#[tokio::test(start_paused = true)]
async fn processes_that_start_at_once_make_one_integration() {
    let world = World::new().await;
    let (two, three) = (world.process(), world.process());
    for process in [&world.one, &two, &three] {
        // Each hears that there is none before one of them makes it.
        let slow = Fault::SlowAnswer(seconds(1));
        process.store.script(Op::Integrations, 0, u32::MAX, slow);
    }
    let before = verifications(&world);
    let made = join3(
        ensure(&world.one, declared("secret")),
        ensure(&two, declared("secret")),
        ensure(&three, declared("secret")),
    );
    let (a, b, c) = made.await;
    let all = [a, b, c].map(Result::unwrap);
    for made in &all {
        assert_eq!((&made.id, &made.slug), (&all[0].id, &Some(slug("acme"))));
        assert_eq!(made.state, IntegrationState::Configured);
    }
    let rows = world.memory.list_integrations(None, 10).await.unwrap();
    let with_slug = rows.iter().filter(|stored| stored.row.slug == Some(slug("acme")));
    assert_eq!((with_slug.count(), rows.len()), (1, 2));
    assert!((1..=3).contains(&(verifications(&world) - before)));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_differ_is_not_written_and_not_verified() {
    let world = World::new().await;
    let new = || {
        declared("secret")
            .redirect_uris(["https://app.example/a"])
            .monthly_limit(7)
    };
    let made = ensure(&world.one, new()).await.unwrap();
    assert_eq!(made.callback_url, world.one.broker.callback_url(&slug("acme")));
    assert_eq!(
        made.callback_url,
        "https://app.example/integrations/callback/acme"
    );
    let before = (version(&world).await, verifications(&world));
    let restarted = world.process();
    for process in [&world.one, &restarted] {
        assert_eq!(ensure(process, new()).await.unwrap(), made);
    }
    assert_eq!((version(&world).await, verifications(&world)), before);
}

#[tokio::test(start_paused = true)]
async fn what_differs_becomes_what_is_declared() {
    let world = World::new().await;
    let made = ensure(&world.one, declared("secret").monthly_limit(7))
        .await
        .unwrap();
    let restarted = world.process();
    let before = verifications(&world);
    let new = NewIntegration::new("Renamed", "fake/production", "client", Secret::new("secret"))
        .redirect_uris(["https://app.example/b"]);
    let changed = ensure(&restarted, new).await.unwrap();
    assert_eq!((&changed.id, &changed.slug), (&made.id, &made.slug));
    assert_eq!((&*changed.name, changed.monthly_limit), ("Renamed", None));
    assert_eq!(changed.redirect_uris, ["https://app.example/b"]);
    assert_eq!(
        verifications(&world),
        before,
        "the provider knows of none of this"
    );

    world
        .upstream
        .set(|settings| "second".clone_into(&mut settings.client_secret));
    let wrong = ensure(&restarted, declared("first")).await.unwrap();
    assert_eq!(
        (wrong.state, &*wrong.state_reason),
        (IntegrationState::Draft, "client_secret_invalid")
    );
    let still = ensure(&restarted, declared("first")).await.unwrap();
    assert_eq!(still.state, IntegrationState::Draft);
    assert_eq!(verifications(&world), before + 2, "a draft is tried again");
    let right = ensure(&restarted, declared("second")).await.unwrap();
    assert_eq!((right.state, right.id), (IntegrationState::Configured, made.id));
    // The other process has the new secret, too.
    pass(seconds(1)).await;
    let verified = world.one.broker.integration("acme").verify().await.unwrap();
    assert_eq!(verified.state, IntegrationState::Configured);
}

/// The process ends between the change and the provider's word on it.
#[tokio::test(start_paused = true)]
async fn a_change_that_was_not_verified_is_verified_by_who_declares_it_next() {
    let world = World::new().await;
    world
        .upstream
        .set(|settings| "secret".clone_into(&mut settings.client_secret));
    ensure(&world.one, declared("secret")).await.unwrap();
    let ends = world.process();
    // It reads the row by its slug, and swaps it.
    ends.store.script(Op::Integrations, 2, u32::MAX, Fault::Before);
    assert!(ensure(&ends, declared("wrong")).await.is_err());
    let before = verifications(&world);
    let next = ensure(&world.process(), declared("wrong")).await.unwrap();
    assert_eq!(verifications(&world), before + 1);
    assert_eq!(
        (next.state, &*next.state_reason),
        (IntegrationState::Draft, "client_secret_invalid")
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let made = ensure(&world.one, declared("secret")).await.unwrap();
    let before = (version(&world).await, verifications(&world));
    let elsewhere = NewIntegration::new("Acme", "fake/sandbox", "client", Secret::new("secret"));
    assert_eq!(
        code(ensure(&world.one, elsewhere).await),
        Some(Code::OfferingMismatch)
    );
    let other = declared("secret").slug(slug("other"));
    let error = ensure(&world.one, other).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FieldInvalid, Some("slug")));
    let unknown = NewIntegration::new("Acme", "fake/none", "client", Secret::new("secret"));
    assert_eq!(
        code(ensure(&world.one, unknown).await),
        Some(Code::OfferingUnknown)
    );
    let taken = declared("secret").slug(slug("acme"));
    let taken = world.one.broker.create_integration(taken).await;
    assert_eq!(code(taken), Some(Code::SlugTaken));
    assert_eq!((version(&world).await, verifications(&world)), before);
    assert_eq!(world.one.broker.integration("acme").view().await.unwrap(), made);
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_or_frozen_stays_so() {
    for state in [IntegrationState::Disabled, IntegrationState::Frozen] {
        let world = World::new().await;
        ensure(&world.one, declared("secret")).await.unwrap();
        let acme = world.one.broker.integration("acme");
        let off = if state == IntegrationState::Disabled {
            acme.disable().await
        } else {
            acme.freeze("a leak").await
        };
        assert_eq!(off.unwrap().state, state);
        let restarted = world.process();
        assert_eq!(ensure(&restarted, declared("secret")).await.unwrap().state, state);
        let changed = ensure(&restarted, declared("another")).await.unwrap();
        assert_eq!(changed.state, state);
        let begun = restarted
            .broker
            .integration("acme")
            .begin_connect(Binding::new("b"));
        assert!(begun.await.is_err());
    }
}

/// Another process removes an integration and makes it again: what was sealed for the first one does not open for the second.
#[tokio::test(start_paused = true)]
async fn made_again_it_is_another_one() {
    let world = World::new().await;
    let first = ensure(&world.one, declared("secret")).await.unwrap();
    let acme = world.one.broker.integration("acme");
    let begun = acme.begin_connect(Binding::new("b")).await.unwrap();
    let query = world.upstream.consent(&begun.url);
    let link = acme.connect_link(NewLink::default()).await.unwrap();
    let token = link.url.split_once("link=").unwrap().1;

    let two = world.process();
    two.broker.integration("acme").delete().await.unwrap();
    assert_eq!(
        code(two.broker.integration("acme").view().await),
        Some(Code::IntegrationNotFound)
    );
    let second = ensure(&two, declared("secret")).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(second.callback_url, first.callback_url);
    assert_eq!(
        acme.id().await.unwrap(),
        second.id,
        "at once where the store is asked"
    );
    assert_eq!(acme.view().await.unwrap(), second);
    pass(seconds(1)).await;
    for process in [&world.one, &two] {
        let acme = process.broker.integration("acme");
        let late = acme.finish_connect(&query, &Binding::new("b")).await;
        let expected = [Code::CallbackIntegrationMismatch, Code::StateUnknown];
        assert!(expected.contains(&code(late).unwrap()));
        let link = acme.begin_link(token, Binding::new("b")).await;
        assert_eq!(link.unwrap_err().code(), Code::LinkInvalid);
        assert!(acme.connections().await.unwrap().connections.is_empty());
        let update = IntegrationUpdate::default().name("Again");
        assert_eq!(acme.update(update).await.unwrap().id, second.id);
    }
    assert_eq!(
        code(world.one.broker.integration(&first.id).view().await),
        Some(Code::IntegrationNotFound)
    );
}
