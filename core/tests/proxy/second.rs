//! A second provider beside the first one, in one broker: what only it can know comes from its facts.

use grantry::{
    connect::Outcome,
    error::Code,
    integration::Environment,
    provider::{AuthorizeError, HeaderPattern},
    proxy::ApiRequest,
};
use std::io::Write as _;

use crate::{
    upstream::{Then, Upstream, ok, refusal},
    world::{World, integrate, plain_facts},
};

/// Connected, refreshed and called by its own rules, while the first one keeps its own.
#[tokio::test]
async fn a_second_provider_brings_its_own_rules() {
    let environment = Environment::parse("pre-release_2").unwrap();
    let mut acme = plain_facts("acme", environment);
    acme.api_paths = vec!["/api/v2".to_owned()];
    acme.request_headers = vec![HeaderPattern::Prefix("acme-".to_owned())];
    acme.credential_query_keys = vec!["ticket".to_owned()];
    acme.authorize_errors = vec![("acme_locked".to_owned(), AuthorizeError::AppBlocked)];
    let mut first = plain_facts("fake", Environment::PRODUCTION);
    first.request_headers = vec![HeaderPattern::Exact("fake-option".to_owned())];
    first.credential_query_keys = vec!["session".to_owned()];
    // access-1 is the first provider's; the second one's access-2 ended, and a refresh brings access-3.
    let upstream = Upstream::start(|_, seen, stream, _| {
        let ended = seen.all("authorization") == ["Bearer access-2"];
        stream.write_all(&if ended { refusal() } else { ok("[]") })?;
        Ok(Then::Keep)
    });
    let world = World::with(first, Some(acme), &upstream.origin, None).await;
    let broker = &world.broker;
    let integration = integrate(broker, "acme/pre-release_2", None).await;

    // Its errors at connect mean something at its own callback only.
    let mut reasons = Vec::new();
    for integration in [&integration, &world.integration] {
        match world.arrive(integration, "error=ACME-Locked").await {
            Outcome::Failed { error, .. } => reasons.push((error.code(), error.reason())),
            Outcome::Connected { .. } => panic!("connected by an error"),
        }
    }
    let rejected = |reason| (Code::ProviderRejected, Some(reason));
    assert_eq!(reasons, [rejected("app_blocked"), rejected("other")]);

    let Outcome::Connected { connection, .. } = world.arrive(&integration, "code=abc").await else {
        panic!("not connected");
    };
    let found = broker
        .integration(&integration)
        .connections()
        .environment(environment)
        .await
        .unwrap();
    let [found] = &found.connections[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&found.id, found.provider.as_str()), (&connection, "acme"));
    assert_eq!(found.environment.as_str(), "pre-release_2");
    let none = broker
        .integration(&integration)
        .connections()
        .environment(Environment::PRODUCTION);
    assert!(none.await.unwrap().connections.is_empty());

    // What its API does not take is refused before it is counted or sent.
    let code = async |request| match broker.connection(&connection).send(request).await {
        Ok(answer) => panic!("answered with {}", answer.status),
        Err(error) => error.code().as_str(),
    };
    assert_eq!(code(ApiRequest::get("/login")).await, "path_outside_api");
    assert_eq!(
        code(ApiRequest::get("/api/v2/x").query("ticket", "1")).await,
        "query_reserved"
    );
    assert_eq!(
        world.code(ApiRequest::get("/login?session=1")).await,
        "query_reserved"
    );
    assert_eq!((upstream.calls(), world.counted().await), (0, 0));
    assert_eq!(broker.integration(&integration).usage().await.unwrap().calls, 0);

    // A refused token is refreshed, and the call sent again, with what each API takes.
    let call = |path: &str| {
        ApiRequest::post(path)
            .header("Acme-Option", "1")
            .header("Fake-Option", "2")
            .header("Accept", "a/b")
    };
    let answer = broker
        .connection(&connection)
        .send(call("/api/v2/x?session=1"))
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), world.refreshes()), (200, 1));
    world.send(call("/login?ticket=1")).await.unwrap();
    let seen = upstream.seen();
    let wire: Vec<_> = seen
        .iter()
        .map(|seen| {
            (
                seen.line(),
                seen.all("authorization"),
                seen.all("acme-option"),
                seen.all("fake-option"),
            )
        })
        .collect();
    let text = |text: &str| vec![text.to_owned()];
    let second = "POST /api/v2/x?session=1 HTTP/1.1";
    assert_eq!(
        wire,
        [
            (second, text("Bearer access-2"), text("1"), vec![]),
            (second, text("Bearer access-3"), text("1"), vec![]),
            (
                "POST /login?ticket=1 HTTP/1.1",
                text("Bearer access-1"),
                vec![],
                text("2")
            ),
        ]
    );
    assert!(seen.iter().all(|seen| seen.all("accept") == ["a/b"]));
}
