//! Proves the connect flow: who may finish an attempt, what is stored, and what is never left behind. The rows C01 to C27
//! that are purely about reading a query are proved beside the reader.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test")]

mod support;

use std::{future::Future as _, pin::pin, task::Poll, time::Duration};

use futures_util::future::join_all;
use grantry::{
    IntegrationUpdate,
    connect::{Binding, NewLink, Outcome},
    connection::{Reason, Status},
    error::{Code, Error},
    event::What,
    store::{PendingStore as _, UsageStore as _},
    testing::{Fault, Op, Request},
};
use support::{RETURN, SESSION, World, pass, seconds};

fn browser() -> Binding {
    Binding::new("the browser")
}

/// The query of an attempt to which the user said yes.
async fn allowed(world: &World) -> String {
    let begin = world
        .one
        .broker
        .integration(&world.integration)
        .begin_connect(browser());
    world
        .upstream
        .consent(&begin.return_to(RETURN).await.unwrap().url)
}

async fn finish(world: &World, query: &str) -> Result<Outcome, Error> {
    world
        .one
        .broker
        .integration(&world.integration)
        .finish_connect(query, &browser())
        .await
}

fn codes(world: &World) -> usize {
    let code = |r: &&Request| matches!(r, Request::Code(_));
    world.upstream.log().iter().filter(code).count()
}

fn failure(outcome: Outcome) -> Error {
    match outcome {
        Outcome::Failed { error, .. } => error,
        Outcome::Connected { .. } => panic!("connected"),
    }
}

fn connected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Connected { .. })
}

fn state(query: &str) -> &str {
    query.split_once("state=").unwrap().1
}

/// C04, C05, C06.
#[tokio::test(start_paused = true)]
async fn an_unknown_an_old_and_a_used_state_are_all_the_same() {
    let world = World::new().await;
    let unknown = format!("code=x&state={}", "A".repeat(43));
    assert_eq!(
        finish(&world, &unknown).await.unwrap_err().code(),
        Code::StateUnknown
    );
    let old = allowed(&world).await;
    world.clock.step(seconds(600));
    assert_eq!(finish(&world, &old).await.unwrap_err().code(), Code::StateUnknown);
    let used = allowed(&world).await;
    assert!(connected(&finish(&world, &used).await.unwrap()));
    assert_eq!(
        finish(&world, &used).await.unwrap_err().code(),
        Code::StateUnknown
    );
    assert_eq!(codes(&world), 1);
}

/// A provider that forgets to look cannot have tokens sent anywhere: core checks, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn an_instance_to_which_no_token_may_be_sent_connects_nothing() {
    let world = World::new().await;
    world
        .upstream
        .set(|s| "https://evil.example".clone_into(&mut s.instance_url));
    let query = allowed(&world).await;
    let error = failure(finish(&world, &query).await.unwrap());
    assert_eq!(error.code(), Code::InstanceUrlRejected);
    assert_eq!(world.upstream.revoked(), ["refresh-0-0"]);
}

/// C08, C09.
#[tokio::test(start_paused = true)]
async fn another_browser_gets_nowhere_and_uses_nothing_up() {
    let world = World::new().await;
    let query = allowed(&world).await;
    for proof in ["", "another browser"] {
        let other = Binding::new(proof);
        let integration = world.one.broker.integration(&world.integration);
        let finish = integration.finish_connect(&query, &other);
        assert_eq!(finish.await.unwrap_err().code(), Code::BrowserMismatch);
    }
    assert_eq!(codes(&world), 0);
    assert!(connected(&finish(&world, &query).await.unwrap()));
}

/// C14, C15, C16.
#[tokio::test(start_paused = true)]
async fn a_denial_and_a_provider_s_error_are_outcomes_with_a_redirect() {
    let world = World::new().await;
    for (error, code, reason, redirect) in [
        ("access_denied", Code::AccessDenied, None, "error=access_denied"),
        ("access-denied", Code::AccessDenied, None, "error=access_denied"),
        (
            "%3Cscript%3E",
            Code::ProviderRejected,
            Some("other"),
            "error=server_error",
        ),
    ] {
        let query = allowed(&world).await;
        let text = "x".repeat(1000);
        let refused = format!("error={error}&error_description={text}&state={}", state(&query));
        let outcome = finish(&world, &refused).await.unwrap();
        let to = outcome.redirect().unwrap();
        assert!(to.starts_with(RETURN) && to.contains(redirect), "{to}");
        assert!(
            !to.contains("<script") && !to.contains("%3C") && !to.contains("xxx"),
            "{to}"
        );
        let error = failure(outcome);
        assert_eq!((error.code(), error.reason()), (code, reason));
        // The attempt is over.
        assert_eq!(
            finish(&world, &query).await.unwrap_err().code(),
            Code::StateUnknown
        );
    }
    assert_eq!(codes(&world), 0);
}

/// C17, C18, C19.
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_issuer_goes_nowhere() {
    let world = World::new().await;
    world
        .upstream
        .set(|s| s.issuer = Some("https://fake.test".to_owned()));
    for issuer in ["https://evil.test", "https://fake.test/", "https://FAKE.test"] {
        let query = format!("{}&iss={issuer}", allowed(&world).await);
        let error = failure(finish(&world, &query).await.unwrap());
        assert_eq!(error.code(), Code::IssuerMismatch, "{issuer}");
        assert_eq!(
            finish(&world, &query).await.unwrap_err().code(),
            Code::StateUnknown
        );
    }
    assert_eq!(codes(&world), 0);
    for issuer in ["", "&iss=https://fake.test"] {
        let query = format!("{}{issuer}", allowed(&world).await);
        assert!(connected(&finish(&world, &query).await.unwrap()));
    }
}

/// C20.
#[tokio::test(start_paused = true)]
async fn an_answer_at_another_integration_s_address_goes_nowhere() {
    let world = World::new().await;
    let new = grantry::NewIntegration::new(
        "Other",
        "fake/production",
        "other",
        grantry::secret::Secret::new("secret"),
    );
    let other = world.one.broker.create_integration(new).await.unwrap().id;
    let query = allowed(&world).await;
    let misled = world
        .one
        .broker
        .integration(&other)
        .finish_connect(&query, &browser())
        .await;
    assert_eq!(misled.unwrap_err().code(), Code::CallbackIntegrationMismatch);
    assert_eq!(
        finish(&world, &query).await.unwrap_err().code(),
        Code::StateUnknown
    );
    assert_eq!(codes(&world), 0);
}

/// C27.
#[tokio::test(start_paused = true)]
async fn of_many_callbacks_at_once_one_wins() {
    let world = World::new().await;
    let query = allowed(&world).await;
    let outcomes = join_all((0..200).map(|_| finish(&world, &query))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 199));
    for error in lost {
        assert_eq!(error.unwrap_err().code(), Code::StateUnknown);
    }
    assert_eq!(codes(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tab_that_is_closed_at_any_moment_still_connects_or_has_used_nothing_up() {
    for polls in 0..30 {
        let world = World::new().await;
        let query = allowed(&world).await;
        {
            let mut call = pin!(finish(&world, &query));
            for _ in 0..polls {
                let once = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context)));
                if once.await.is_ready() {
                    break;
                }
                pass(Duration::from_millis(7)).await;
            }
        }
        pass(seconds(5)).await;
        let page = world
            .one
            .broker
            .integration(&world.integration)
            .connections()
            .await
            .unwrap();
        let again = finish(&world, &query).await;
        let one_connection = page.connections.len() == 1 && again.is_err();
        let untouched = page.connections.is_empty() && again.is_ok_and(|o| connected(&o));
        assert!(one_connection || untouched, "closed after {polls} polls");
        assert_eq!(codes(&world), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_before_anything_is_used_up_can_be_asked_again() {
    let world = World::new().await;
    let query = allowed(&world).await;
    world.clock.step(seconds(2));
    let two = world.process();
    two.store.down(true);
    let first = two
        .broker
        .integration(&world.integration)
        .finish_connect(&query, &browser())
        .await;
    assert_eq!(first.unwrap_err().code(), Code::StoreUnavailable);
    assert!(connected(&finish(&world, &query).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_verifier_of_another_attempt_is_of_no_use() {
    let world = World::new().await;
    let mine = allowed(&world).await;
    let theirs = allowed(&world).await;
    let injected = format!("{}&state={}", theirs.split_once('&').unwrap().0, state(&mine));
    let error = failure(finish(&world, &injected).await.unwrap());
    assert_eq!(
        (error.code(), error.reason()),
        (Code::ProviderRejected, Some("code_rejected"))
    );
    assert_eq!(
        world.one.events.count(&What::ConnectFailed(Reason::CodeRejected)),
        1
    );
}

/// J27.
#[tokio::test(start_paused = true)]
async fn fewer_scopes_than_asked_for_are_told() {
    let world = World::new().await;
    let update = IntegrationUpdate::default().scopes(["api", "web"]);
    world
        .one
        .broker
        .integration(&world.integration)
        .update(update)
        .await
        .unwrap();
    let id = world.connect().await;
    assert_eq!(world.one.events.count(&What::ScopesDiffer), 1);
    assert_eq!(
        world.one.broker.connection(&id).view().await.unwrap().scopes,
        ["api"]
    );
}

/// S16.
#[tokio::test(start_paused = true)]
async fn another_account_does_not_take_a_connection_over() {
    let world = World::new().await;
    let id = world.connect().await;
    world.upstream.set(|s| "org/other".clone_into(&mut s.subject));
    let error = failure(world.try_connect(Some(&id)).await);
    assert_eq!(error.code(), Code::AccountMismatch);
    pass(seconds(5)).await;
    // Its grant is not left behind, and what worked before still works.
    assert_eq!(world.upstream.revoked(), ["refresh-1-0"]);
    assert!(world.upstream.lives("refresh-0-0"));
    assert_eq!(world.access(&id).await, "access-0-0");
    // Unless the host allows it.
    let begin = world
        .one
        .broker
        .integration(&world.integration)
        .begin_connect(browser());
    let started = begin.reconnect(id.clone()).allow_account_change().await.unwrap();
    let query = world.upstream.consent(&started.url);
    assert!(connected(&finish(&world, &query).await.unwrap()));
    pass(seconds(5)).await;
    assert_eq!(world.upstream.revoked(), ["refresh-1-0", "refresh-0-0"]);
    assert!(world.access(&id).await.starts_with("access-2-"));
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_keeps_the_id_and_brings_an_expired_connection_back() {
    let world = World::new().await;
    let id = world.connect().await;
    world.upstream.end_grant("refresh-0-0");
    world.clock.step(SESSION);
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    let outcome = world.try_connect(Some(&id)).await;
    let redirect = outcome.redirect().unwrap();
    assert_eq!(redirect, format!("{RETURN}?connection_id={id}"));
    assert!(matches!(
        outcome,
        Outcome::Connected {
            reconnected: true,
            ..
        }
    ));
    assert_eq!(world.status(&id).await, Status::Connected);
    assert!(world.access(&id).await.starts_with("access-1-"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_perhaps_stored_is_not_revoked() {
    let world = World::new().await;
    let query = allowed(&world).await;
    // Every answer is lost, the row is there.
    world.one.store.script(Op::Insert, 0, 100, Fault::After);
    let outcome = finish(&world, &query).await.unwrap();
    assert!(connected(&outcome), "the second try finds the first one's row");
    let query = allowed(&world).await;
    // And here it cannot be seen, either.
    world.one.store.script(Op::Read, 0, 100, Fault::Before);
    let error = failure(finish(&world, &query).await.unwrap());
    assert_eq!(error.code(), Code::StoreUnavailable);
    pass(seconds(60)).await;
    assert!(world.upstream.revoked().is_empty());
    world.one.store.heal();
    let page = world
        .one
        .broker
        .integration(&world.integration)
        .connections()
        .await
        .unwrap();
    assert_eq!(page.connections.len(), 2);
    for connection in page.connections {
        world.access(&connection.id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_certainly_not_stored_is_not_left_behind() {
    let world = World::new().await;
    let id = world.connect().await;
    let begin = world
        .one
        .broker
        .integration(&world.integration)
        .begin_connect(browser());
    let started = begin.reconnect(id.clone()).await.unwrap();
    let query = world.upstream.consent(&started.url);
    world.one.broker.connection(&id).disconnect().await.unwrap();
    let error = failure(finish(&world, &query).await.unwrap());
    assert_eq!(error.code(), Code::ConnectionNotFound);
    pass(seconds(5)).await;
    assert!(!world.upstream.lives("refresh-1-0"));
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_whose_write_got_no_answer_is_recognised() {
    let world = World::new().await;
    let id = world.connect().await;
    world.one.store.next(Op::Swap, Fault::After);
    assert!(connected(&world.try_connect(Some(&id)).await));
    pass(seconds(30)).await;
    assert_eq!(
        world.one.broker.connection(&id).view().await.unwrap().epoch,
        2,
        "written once"
    );
    assert_eq!(world.upstream.revoked(), ["refresh-0-0"]);
    assert!(world.upstream.lives("refresh-1-0"));
}

#[tokio::test(start_paused = true)]
async fn a_link_works_once_and_for_a_day() {
    let world = World::new().await;
    let broker = &world.one.broker;
    let new = NewLink::default().owner("u-7").redirect_uri(RETURN.to_owned());
    let token = |url: &str| url.split_once("link=").unwrap().1.to_owned();
    let link = broker
        .integration(&world.integration)
        .connect_link(new.clone())
        .await
        .unwrap();
    let uses = (0..50).map(|_| async {
        let token = token(&link.url);
        let begin = broker
            .integration(&world.integration)
            .begin_link(&token, browser())
            .await;
        begin.map(|begin| async { begin.await.unwrap() })
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(uses).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for started in won {
        let url = started.unwrap_or_else(|_| panic!()).await.url;
        let outcome = finish(&world, &world.upstream.consent(&url)).await.unwrap();
        assert!(outcome.redirect().unwrap().starts_with(RETURN));
        let Outcome::Connected { connection, .. } = outcome else {
            panic!()
        };
        assert_eq!(broker.connection(&connection).view().await.unwrap().owner, "u-7");
    }
    let refused = async |url: String| {
        let token = token(&url);
        let begin = broker
            .integration(&world.integration)
            .begin_link(&token, browser())
            .await;
        begin.err().unwrap().code()
    };
    assert_eq!(refused(link.url).await, Code::LinkUsed);
    let mut changed = broker
        .integration(&world.integration)
        .connect_link(new.clone())
        .await
        .unwrap()
        .url;
    changed.replace_range(changed.len() - 4.., "AAAA");
    assert_eq!(refused(changed).await, Code::LinkInvalid);
    let old = broker
        .integration(&world.integration)
        .connect_link(new)
        .await
        .unwrap()
        .url;
    world.clock.step(seconds(24 * 3600));
    assert_eq!(refused(old).await, Code::LinkExpired);
}

#[tokio::test(start_paused = true)]
async fn nothing_readable_of_an_attempt_is_in_the_store() {
    let world = World::new().await;
    let query = allowed(&world).await;
    // Only its digest would find it; and it is gone in time.
    assert_eq!(
        world
            .memory
            .purge_pending(grantry::time::Timestamp(0), 10)
            .await
            .unwrap(),
        0
    );
    world.clock.step(seconds(601));
    pass(seconds(25)).await;
    let later = grantry::time::Timestamp::MAX;
    assert_eq!(
        world.memory.purge_pending(later, 10).await.unwrap(),
        0,
        "it was purged"
    );
    assert!(finish(&world, &query).await.is_err());
    let days = world
        .memory
        .usage_days(&world.integration, 202_601)
        .await
        .unwrap();
    assert!(days.is_empty(), "connecting is no API call");
}
