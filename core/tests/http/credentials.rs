//! Credentials: six texts, an ETag that names the token set, and what happens when there are none.

use std::time::Duration;

use grantry::connection::Reason;
use serde_json::json;

use crate::{
    fake::{Plan, dead, unavailable},
    world::World,
};

fn target(id: impl std::fmt::Display) -> String {
    format!("/api/v1/connections/{id}/credentials")
}

#[tokio::test]
async fn credentials_hold_six_texts_and_nothing_else() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let got = world.api("GET", &target(&id)).send().await;
    let expected = json!({
        "accessToken": "access-1",
        "instanceUrl": "https://acme.instance.test",
        "environment": "production",
        "region": "NA",
        "tokenType": "Bearer",
        "expiresAt": "2026-04-10T16:32:00.000Z",
    });
    assert_eq!((got.status.as_u16(), got.json()), (200, expected));
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("cache-control"), "no-store");
    assert!(got.header("etag").starts_with('"'));
    let head = world.api("HEAD", &target(&id)).send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_token_that_ends_soon_is_refreshed_first() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let token = |body: serde_json::Value| body["accessToken"].as_str().unwrap().to_owned();
    world.clock.pass(Duration::from_secs(114 * 60));
    assert_eq!(token(world.get(&target(&id)).await), "access-1");
    world.clock.pass(Duration::from_secs(2 * 60));
    assert_eq!(token(world.get(&target(&id)).await), "access-2");
    // It has two hours; who needs more gets a new one, which has as many.
    assert_eq!(
        token(world.get(&format!("{}?minValidSeconds=3600", target(&id))).await),
        "access-2"
    );
    assert_eq!(
        token(world.get(&format!("{}?minValidSeconds=0", target(&id))).await),
        "access-2"
    );
    world.clock.pass(Duration::from_secs(90 * 60));
    assert_eq!(token(world.get(&target(&id)).await), "access-2");
    assert_eq!(
        token(world.get(&format!("{}?minValidSeconds=3600", target(&id))).await),
        "access-3"
    );
}

#[tokio::test]
async fn a_refused_set_is_replaced_once() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let first = world.api("GET", &target(&id)).send().await;
    let tag = first.header("etag").trim_matches('"').to_owned();
    let refused = format!("{}?refused={tag}", target(&id));
    let second = world.api("GET", &refused).send().await;
    assert_eq!(second.json()["accessToken"], "access-2");
    assert_ne!(second.header("etag"), first.header("etag"));
    // The same report again is about a set that is not the current one.
    for _ in 0..5 {
        let again = world.api("GET", &refused).send().await;
        assert_eq!(again.json(), second.json());
    }
    assert_eq!(world.fake.calls("refresh"), 1);
    // As it stands in the header, quotes and all.
    let quoted = format!("{}?refused=%22{tag}%22&minValidSeconds=60", target(&id));
    assert_eq!(world.get(&quoted).await["accessToken"], "access-2");
}

#[tokio::test]
async fn wishes_are_judged() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    for (query, code) in [
        ("minValidSeconds=x", "parameter_invalid"),
        ("minValidSeconds=-1", "parameter_invalid"),
        ("minValidSeconds=", "parameter_invalid"),
        ("minValidSeconds=86401", "parameter_invalid"),
        ("minValidSeconds=99999999999999999999", "parameter_invalid"),
        ("minValidSeconds=1&minValidSeconds=1", "filter_duplicate"),
        ("refused=", "parameter_invalid"),
        ("refused=access-1", "parameter_invalid"),
        ("refused=1", "parameter_invalid"),
        ("fresh=1", "filter_unknown"),
    ] {
        world
            .api("GET", &format!("{}?{query}", target(&id)))
            .refused(400, code)
            .await;
    }
}

#[tokio::test]
async fn a_dead_grant_asks_for_the_user() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    world.token_ends();
    world.fake.plan("refresh", dead());
    for _ in 0..2 {
        let got = world
            .api("GET", &target(&id))
            .refused(401, "connection_expired")
            .await;
        let url = got.json()["reconnectUrl"].as_str().unwrap().to_owned();
        assert!(
            url.starts_with("https://app.example/integrations/connect/int_"),
            "{url}"
        );
        assert_eq!(got.header("retry-after"), "");
    }
    assert_eq!(world.fake.calls("refresh"), 1);
    assert_eq!(
        world.get(&format!("/api/v1/connections/{id}")).await["status"],
        "expired"
    );
    assert_eq!(
        world.get("/api/v1/connections?status=expired").await["totalCount"],
        1
    );
}

/// Every 502, 503 and 504 that comes from a refresh says when to come again.
#[tokio::test]
async fn refreshes_that_do_not_work_now() {
    for (plan, status, code) in [
        (unavailable(), 503, "refresh_cooling"),
        (
            Plan::Fails(grantry::provider::Failure::Unknown(Reason::AnswerLost)),
            503,
            "refresh_outcome_unknown",
        ),
        (
            Plan::Fails(grantry::provider::Failure::refused(
                grantry::provider::Verdict::ClientMisconfigured,
                Reason::ClientSecretInvalid,
            )),
            502,
            "client_invalid",
        ),
    ] {
        let world = World::new().await;
        let id = world.connect("ann@acme.example").await;
        world.token_ends();
        world.fake.plan("refresh", plan);
        let got = world.api("GET", &target(&id)).refused(status, code).await;
        let wait: u64 = got.header("retry-after").parse().unwrap();
        assert!((1..=3600).contains(&wait), "{code}: {wait}");
        assert_eq!(got.header("www-authenticate"), "");
    }
}

/// One deadline covers the wait; what goes on in the background is not lost.
#[tokio::test]
async fn a_refresh_that_hangs_is_not_waited_for_for_ever() {
    let world = World::with(crate::world::Setup {
        deadline: Duration::from_secs(1),
        ..Default::default()
    })
    .await;
    let id = world.connect("ann@acme.example").await;
    world.token_ends();
    world.fake.plan("refresh", Plan::Hangs);
    let got = world
        .api("GET", &target(&id))
        .refused(503, "refresh_in_progress")
        .await;
    assert!(!got.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_disabled_integration_serves_nothing() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    world.get(&target(&id)).await;
    world
        .broker
        .integration(&world.integration)
        .disable()
        .await
        .unwrap();
    world
        .api("GET", &target(&id))
        .refused(403, "integration_disabled")
        .await;
    world
        .broker
        .integration(&world.integration)
        .enable()
        .await
        .unwrap();
    world.get(&target(&id)).await;
}
