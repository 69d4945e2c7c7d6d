//! Who may call what. Cases are named after bad inputs (`../README.md`).

use std::time::Duration;

use grantry::{
    http::{Caller, routes},
    store::KeyKind,
    time::Clock as _,
};

use crate::world::{ADMIN, World};

const LIST: &str = "/api/v1/connections";

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told_apart() {
    let world = World::new().await;
    let key = &world.api_key;
    let cut = &key[..key.len() - 1];
    let last = if key.ends_with('a') { "b" } else { "a" };
    let rows = [
        ("A02", "Bearer".to_owned(), 401, "key_malformed"),
        ("A02", "Bearer ".to_owned(), 401, "key_malformed"),
        ("A02", format!("Bearer {key} {key}"), 401, "key_malformed"),
        ("A02", format!("Basic {key}"), 401, "key_malformed"),
        ("A02", key.clone(), 401, "key_malformed"),
        ("A03", format!("Bearer {cut}{last}"), 401, "key_malformed"),
        ("A03", format!("Bearer {cut}"), 401, "key_malformed"),
        (
            "A08",
            format!("Bearer {}", world.public_key),
            403,
            "key_insufficient",
        ),
        ("A08", format!("Bearer {ADMIN}"), 403, "key_insufficient"),
        ("A12", format!("Bearer  {key}"), 401, "key_malformed"),
        ("A12", format!("Bearer \"{key}\""), 401, "key_malformed"),
        ("A12", format!("Bearer '{key}'"), 401, "key_malformed"),
    ];
    for (row, value, status, code) in rows {
        let got = world
            .bare("GET", LIST)
            .header("authorization", &value)
            .refused(status, code)
            .await;
        assert!(!got.text().contains(&key[20..60]), "{row} shows the key");
        let challenge = if status == 401 { "Bearer" } else { "" };
        assert_eq!(got.header("www-authenticate"), challenge, "{row}");
    }
    // A01.
    world.bare("GET", LIST).refused(401, "key_missing").await;
    // A10.
    world
        .bare("GET", LIST)
        .header("authorization", b"Bearer \xff")
        .refused(400, "header_value_invalid")
        .await;
    // A13.
    world
        .api("GET", LIST)
        .key(key)
        .refused(400, "header_duplicate")
        .await;
    // The scheme is not case-sensitive (RFC 9110 section 11.1).
    world
        .bare("GET", LIST)
        .header("authorization", format!("bearer {key}"))
        .granted(200)
        .await;
}

#[tokio::test]
async fn keys_of_other_brokers_and_ended_keys_open_nothing() {
    let world = World::new().await;
    let stranger = World::new().await;
    // A04 and A05 have one text.
    world
        .bare("GET", LIST)
        .key(&stranger.api_key)
        .refused(401, "key_unknown")
        .await;
    let another = world
        .broker
        .mint_key(KeyKind::Api, Some(&world.integration), None)
        .await
        .unwrap();
    let key = another.secret.expose();
    world.bare("GET", LIST).key(key).granted(200).await;
    world
        .broker
        .revoke_key(Some(&world.integration), &another.id)
        .await
        .unwrap();
    world.bare("GET", LIST).key(key).refused(401, "key_revoked").await;
    let end = world.clock.wall() + Duration::from_secs(60);
    let short = world
        .broker
        .mint_key(KeyKind::Api, Some(&world.integration), Some(end))
        .await
        .unwrap();
    world
        .bare("GET", LIST)
        .key(short.secret.expose())
        .granted(200)
        .await;
    world.clock.pass(Duration::from_secs(2 * 60));
    world
        .bare("GET", LIST)
        .key(short.secret.expose())
        .refused(401, "key_expired")
        .await;
}

/// A11: in the query, in the path, under any name, encoded or not.
#[tokio::test]
async fn a_key_in_a_url_is_refused_before_anything_else() {
    let world = World::new().await;
    let (key, public) = (&world.api_key, &world.public_key);
    let encoded = key.replace('_', "%5F");
    let targets = [
        format!("{LIST}?api_key=x"),
        format!("{LIST}?API-KEY=x"),
        format!("{LIST}?access_token=x"),
        format!("{LIST}?token=x"),
        format!("{LIST}?search={key}"),
        format!("{LIST}?search={encoded}"),
        format!("{LIST}?search=Bearer%20{key}"),
        format!("{LIST}?search={public}"),
        format!("{LIST}?search={ADMIN}"),
        format!("{LIST}/{key}"),
        format!("{LIST}/con_1/proxy/services/{key}"),
        format!("{LIST}/con_1/proxy/services?x={key}"),
        format!("/api/v1/integrations?key={ADMIN}"),
    ];
    for target in targets {
        let got = world.api("GET", &target).refused(400, "key_in_url").await;
        assert!(!got.text().contains(key.as_str()) && !got.text().contains(ADMIN));
        world.bare("GET", &target).refused(400, "key_in_url").await;
    }
    // What the provider calls a key is its own affair.
    let id = world.connect("ann@acme.example").await;
    world
        .api("GET", &format!("{LIST}/{id}/proxy/a%2Fb?key=x"))
        .refused(400, "path_encoded_separator")
        .await;
}

#[tokio::test]
async fn an_integration_that_is_named_must_be_the_keys() {
    let world = World::new().await;
    let (other, other_key) = world.another().await;
    let named = |id: &str| world.api("GET", LIST).header("x-integration-id", id);
    named(world.integration.as_str()).granted(200).await;
    named(other.as_str()).refused(403, "integration_mismatch").await;
    named("int_nobody").refused(403, "integration_mismatch").await;
    named("").refused(400, "id_empty").await;
    named("a/b").refused(400, "id_invalid_character").await;
    named("x\u{e9}").refused(400, "id_invalid_character").await;
    named(world.integration.as_str())
        .header("x-integration-id", world.integration.as_str())
        .refused(400, "header_duplicate")
        .await;
    let id = world.connect("ann@acme.example").await;
    for (method, rest) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/credentials"),
        ("GET", "/history"),
        ("POST", "/reconnect"),
        ("GET", "/proxy/services"),
    ] {
        let target = format!("{LIST}/{id}{rest}");
        world
            .bare(method, &target)
            .key(&other_key)
            .refused(403, "integration_mismatch")
            .await;
    }
    world.get(&format!("{LIST}/{id}")).await;
}

/// S54: made from the table of routes, so that no route can be forgotten.
#[tokio::test]
async fn the_matrix_of_keys_and_routes() {
    let world = World::new().await;
    let minted = world.broker.mint_key(KeyKind::Admin, None, None).await.unwrap();
    let minted = minted.secret.expose();
    let mut seen = 0;
    for route in routes() {
        let target = route
            .template
            .replace("{path...}", "services")
            .replace("{provider}", "fake")
            .replace("{integrationId}", "int_x")
            .replace("{keyId}", "key")
            .replace("{id}", "con_x");
        for method in route.methods {
            let method = method.as_str();
            let refusal = |key: Option<&str>| {
                let ask = world.bare(method, &target);
                let ask = key.map_or_else(|| world.bare(method, &target), |key| ask.key(key));
                async move {
                    let got = ask.send().await;
                    // HEAD has no body to read a code from.
                    if method == "HEAD" {
                        got.status.to_string()
                    } else {
                        got.code()
                    }
                }
            };
            let expect = |code: &str| {
                let status = if code == "key_missing" {
                    "401 Unauthorized"
                } else {
                    "403 Forbidden"
                };
                if method == "HEAD" {
                    status.to_owned()
                } else {
                    code.to_owned()
                }
            };
            seen += 1;
            let name = format!("{method} {}", route.template);
            match route.caller {
                Caller::ApiKey => {
                    assert_eq!(refusal(None).await, expect("key_missing"), "{name}");
                    for key in [&*world.public_key, ADMIN, minted] {
                        assert_eq!(refusal(Some(key)).await, expect("key_insufficient"), "{name}");
                    }
                    assert_ne!(
                        refusal(Some(&world.api_key)).await,
                        expect("key_insufficient"),
                        "{name}"
                    );
                }
                Caller::AdminKey => {
                    assert_eq!(refusal(None).await, "key_missing", "{name}");
                    for key in [&world.public_key, &world.api_key] {
                        assert_eq!(refusal(Some(key)).await, "key_insufficient", "{name}");
                    }
                    for key in [ADMIN, minted] {
                        let code = refusal(Some(key)).await;
                        assert!(
                            !code.starts_with("key_") || code == "key_not_found",
                            "{name}: {code}"
                        );
                    }
                }
                Caller::Browser | Caller::Anyone => {
                    assert_ne!(refusal(None).await, "key_missing", "{name}");
                }
                _ => panic!("{name}"),
            }
        }
    }
    assert!(seen >= 30, "{seen}");
}

#[tokio::test]
async fn admin_keys() {
    let world = World::new().await;
    let offerings = "/api/v1/offerings";
    world.admin("GET", offerings).granted(200).await;
    let wrong = format!("{}?", &ADMIN[..ADMIN.len() - 1]);
    world
        .bare("GET", offerings)
        .key(&wrong)
        .refused(401, "key_unknown")
        .await;
    world
        .bare("GET", offerings)
        .key("short")
        .refused(401, "key_malformed")
        .await;
    world
        .bare("GET", offerings)
        .key(&format!("{ADMIN} "))
        .refused(401, "key_malformed")
        .await;
    let stranger = World::new().await;
    let theirs = stranger
        .broker
        .mint_key(KeyKind::Admin, None, None)
        .await
        .unwrap();
    world
        .bare("GET", offerings)
        .key(theirs.secret.expose())
        .refused(401, "key_unknown")
        .await;
}
