//! What a refresh answer holds, and what it leaves out.

use grantry::{connection::Status, error::Code, event::What, provider::Rotation};

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn what_an_answer_leaves_out_stays() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.omits = true;
        s.rotates = false;
        s.rotation = Rotation::Reusable;
    });
    let id = world.connect().await;
    for round in 1..4 {
        world.clock.step(SESSION);
        let credentials = world.credentials(&id).await.unwrap();
        assert_eq!(credentials.access_token.expose(), format!("access-0-{round}"));
        assert_eq!(credentials.instance_url, "https://acme.api.test");
    }
    assert_eq!(world.upstream.presented(), ["refresh-0-0"; 3]);
    assert_eq!(
        world.one.broker.connection(&id).view().await.unwrap().scopes,
        ["api"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_refresh_token_and_a_new_instance_replace_the_old() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    world
        .upstream
        .set(|s| "https://moved.api.test".clone_into(&mut s.instance_url));
    world.clock.step(SESSION);
    assert_eq!(
        world.credentials(&id).await.unwrap().instance_url,
        "https://moved.api.test"
    );
    assert_eq!(world.one.events.count(&What::InstanceChanged), 1);
    world.clock.step(SESSION);
    world.access(&id).await;
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
    assert_eq!(world.one.events.count(&What::InstanceChanged), 1);
}

/// A provider that forgets to look cannot have tokens sent anywhere: core checks, and the refresh loses nothing over it.
#[tokio::test(start_paused = true)]
async fn an_instance_to_which_no_token_may_be_sent_is_not_taken_over() {
    let world = World::new().await;
    let id = world.connect().await;
    world.access(&id).await;
    world
        .upstream
        .set(|s| "https://evil.example".clone_into(&mut s.instance_url));
    world.clock.step(SESSION);
    let credentials = world.credentials(&id).await.unwrap();
    assert_eq!(credentials.access_token.expose(), "access-0-1");
    assert_eq!(credentials.instance_url, "https://acme.api.test");
    assert_eq!(world.one.events.count(&What::InstanceChanged), 0);
}

/// J28.
#[tokio::test(start_paused = true)]
async fn tokens_of_another_user_are_revoked_and_nobody_s() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world
        .upstream
        .set(|s| "other-org/user".clone_into(&mut s.subject));
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::ConnectionExpired, Some("identity_changed"))
    );
    assert_eq!(world.upstream.revoked(), ["refresh-0-1"]);
    assert_eq!(world.status(&id).await, Status::Expired);
    assert_eq!(world.generation(&id).await, 1);
    pass(seconds(60)).await;
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_the_access_token_is_served_to_its_end() {
    let world = World::new().await;
    world.upstream.set(|s| s.no_refresh_token = true);
    let id = world.connect().await;
    world.clock.step(SESSION - seconds(100));
    for _ in 0..9 {
        assert_eq!(world.access(&id).await, "access-0-0");
        pass(seconds(10)).await;
    }
    pass(seconds(11)).await;
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    assert_eq!(world.status(&id).await, Status::Expired);
    assert_eq!(world.presentations(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_what_can_be_printed() {
    let world = World::new().await;
    let id = world.connect().await;
    let credentials = world.credentials(&id).await.unwrap();
    let begin = || {
        let binding = grantry::connect::Binding::new("the browser");
        world
            .one
            .broker
            .integration(&world.integration)
            .begin_connect(binding)
    };
    let started = begin().await.unwrap();
    let link = world.one.broker.connection(&id).reconnect_link().await.unwrap();
    let state = started.url.split_once("state=").unwrap().1;
    let token = link.url.split_once("link=").unwrap().1;
    let printed = format!(
        "{credentials:?} {started:?} {link:?} {:?} {:?} {:?} {:?} {:?}",
        begin(),
        world.one.broker,
        world.row(&id).await,
        world.one.events.all(),
        world.one.broker.connection(&id).history().await.unwrap(),
    );
    for secret in ["access-0", "refresh-0", "the browser", &state[..43], token] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

/// Whatever else is asked or done after the exchange, the tokens that came are kept.
#[tokio::test(start_paused = true)]
async fn what_fails_after_the_exchange_loses_no_tokens() {
    use grantry::testing::Answer;
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    // A second attempt, whose tokens are tried before they count as healthy; that question is not answered.
    world.upstream.next(Answer::Dropped);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    pass(seconds(70)).await;
    world.upstream.set(|s| s.tells_life = false);
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.generation(&id).await, 2);
    assert_eq!(world.status(&id).await, Status::Connected);
    assert!(world.upstream.lives("refresh-0-1"));
}
