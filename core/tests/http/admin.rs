//! Integrations and their keys, with an admin key.

use std::time::Duration;

use grantry::{
    connection::Reason,
    provider::{Failure, Verdict},
};
use serde_json::{Value, json};

use crate::{fake::Plan, world::World};

const ALL: &str = "/api/v1/integrations";

fn new() -> Value {
    json!({
        "name": "Acme",
        "offering": "fake/production",
        "clientId": "client-1",
        "clientSecret": "canary-secret",
        "scopes": ["api", "web"],
        "redirectUris": ["https://app.example/done"],
        "monthlyLimit": 100,
        "options": { "prompt": "login" },
    })
}

#[tokio::test]
async fn an_integration_from_beginning_to_end() {
    let world = World::new().await;
    let made = world.admin("POST", ALL).json(new()).granted(201).await;
    let id = made["integrationId"].as_str().unwrap().to_owned();
    let one = format!("{ALL}/{id}");
    assert_eq!(
        (&made["state"], &made["stateReason"]),
        (&json!("configured"), &json!(""))
    );
    assert_eq!(
        made["callbackUrl"],
        format!("https://app.example/integrations/callback/{id}")
    );
    assert_eq!(made["createdAt"], "2026-04-10T14:32:00.000Z");
    assert!(!made.to_string().contains("canary"));
    let (api, public) = (
        made["apiKey"].as_str().unwrap(),
        made["publicKey"].as_str().unwrap(),
    );
    world
        .bare("GET", "/api/v1/connections")
        .key(api)
        .granted(200)
        .await;
    let got = world
        .bare("GET", &format!("/connect/{id}?public_key={public}"))
        .send()
        .await;
    assert_eq!(got.status, 303);

    let shown = world.admin("GET", &one).granted(200).await;
    let mut expected = made.clone();
    expected
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "apiKey" && name != "publicKey");
    assert_eq!(shown, expected);
    let list = world.admin("GET", ALL).granted(200).await;
    assert_eq!(list["integrations"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains("canary"));

    let patch = json!({ "name": "New", "monthlyLimit": null, "redirectUris": [] });
    let changed = world.admin("PATCH", &one).json(patch).granted(200).await;
    assert_eq!(
        (&changed["name"], &changed["monthlyLimit"]),
        (&json!("New"), &json!(null))
    );
    assert_eq!(
        changed["scopes"],
        json!(["api", "web"]),
        "what is not given stays"
    );
    let changed = world
        .admin("PATCH", &one)
        .json(json!({ "monthlyLimit": 7 }))
        .granted(200)
        .await;
    let changed_again = world.admin("PATCH", &one).json(json!({})).granted(200).await;
    assert_eq!(
        (&changed["monthlyLimit"], &changed_again["monthlyLimit"]),
        (&json!(7), &json!(7))
    );

    for (action, state) in [
        ("disable", "disabled"),
        ("enable", "configured"),
        ("verify", "configured"),
    ] {
        let shown = world.admin("POST", &format!("{one}/{action}")).granted(200).await;
        assert_eq!(shown["state"], state, "{action}");
    }
    let got = world.admin("DELETE", &one).send().await;
    assert_eq!(
        (got.status.as_u16(), got.header("content-type")),
        (204, "application/json")
    );
    world
        .admin("GET", &one)
        .refused(404, "integration_not_found")
        .await;
    world
        .admin("DELETE", &one)
        .refused(404, "integration_not_found")
        .await;
}

#[tokio::test]
async fn a_slug_stands_for_the_id_in_paths() {
    let world = World::new().await;
    let mut named = new();
    named["slug"] = json!("acme");
    let made = world.admin("POST", ALL).json(named.clone()).granted(201).await;
    let id = made["integrationId"].as_str().unwrap().to_owned();
    assert_eq!(made["slug"], "acme");
    assert_eq!(
        made["callbackUrl"],
        "https://app.example/integrations/callback/acme"
    );
    let by_id = world.admin("GET", &format!("{ALL}/{id}")).granted(200).await;
    let by_slug = world.admin("GET", &format!("{ALL}/acme")).granted(200).await;
    assert_eq!(by_id, by_slug);
    let list = world.admin("GET", ALL).granted(200).await;
    let slugs: Vec<_> = list["integrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["slug"])
        .collect();
    assert!(
        slugs.contains(&&json!("acme")) && slugs.contains(&&json!(null)),
        "{slugs:?}"
    );

    let before = world.fake.calls("verify");
    world
        .admin("POST", ALL)
        .json(named.clone())
        .refused(409, "slug_taken")
        .await;
    for bad in ["", "Acme", "int_1", "a/b"] {
        named["slug"] = json!(bad);
        world
            .admin("POST", ALL)
            .json(named.clone())
            .refused(400, "field_invalid")
            .await;
    }
    assert_eq!(world.fake.calls("verify"), before, "nothing was done");
    world
        .admin("PATCH", &format!("{ALL}/acme"))
        .json(json!({ "slug": "other" }))
        .refused(400, "field_unknown")
        .await;

    let one = format!("{ALL}/acme");
    for (action, state) in [
        ("disable", "disabled"),
        ("enable", "configured"),
        ("verify", "configured"),
    ] {
        let shown = world.admin("POST", &format!("{one}/{action}")).granted(200).await;
        assert_eq!(
            (&shown["state"], &shown["integrationId"]),
            (&json!(state), &json!(id))
        );
    }
    let patch = json!({ "name": "Renamed" });
    let changed = world.admin("PATCH", &one).json(patch).granted(200).await;
    assert_eq!(
        (&changed["name"], &changed["slug"]),
        (&json!("Renamed"), &json!("acme"))
    );
    let keys = format!("{one}/keys");
    let key = world.admin("POST", &keys).json(json!({})).granted(201).await;
    let listed = world.admin("GET", &keys).granted(200).await;
    assert_eq!(
        listed,
        world.admin("GET", &format!("{ALL}/{id}/keys")).granted(200).await
    );
    assert_eq!(listed["keys"].as_array().unwrap().len(), 3);
    let got = world
        .admin("DELETE", &format!("{keys}/{}", key["keyId"].as_str().unwrap()))
        .send()
        .await;
    assert_eq!(got.status, 204);
    world
        .admin("GET", &format!("{ALL}/none/keys"))
        .refused(404, "integration_not_found")
        .await;

    let got = world.admin("DELETE", &one).send().await;
    assert_eq!(got.status, 204);
    world
        .admin("GET", &one)
        .refused(404, "integration_not_found")
        .await;
    named["slug"] = json!("acme");
    let again = world.admin("POST", ALL).json(named).granted(201).await;
    assert_ne!(again["integrationId"], json!(id));
}

/// Both browser routes by slug. A public key is bound to the id, and opens no other integration.
#[tokio::test]
async fn a_browser_connects_by_slug() {
    let world = World::new().await;
    let mut named = new();
    named["slug"] = json!("acme");
    let made = world.admin("POST", ALL).json(named).granted(201).await;
    let (api, public) = (
        made["apiKey"].as_str().unwrap(),
        made["publicKey"].as_str().unwrap(),
    );
    let begin = async |which: &str, key: &str| {
        let target = format!("/connect/{which}?public_key={key}&redirect_uri=https://app.example/done");
        world.bare("GET", &target).send().await
    };
    assert_eq!(begin("acme", &world.public_key).await.status, 403);
    assert_eq!(begin("none", public).await.status, 404);
    let begun = begin("acme", public).await;
    assert_eq!(begun.status, 303, "{}", begun.text());
    let state = begun
        .header("location")
        .split_once("state=")
        .unwrap()
        .1
        .to_owned();
    let back = async |which: &str| {
        let target = format!("/callback/{which}?code=c&state={state}");
        world
            .bare("GET", &target)
            .header("cookie", begun.cookie())
            .send()
            .await
    };
    assert_eq!(back("none").await.status, 404, "the state is not used up");
    let done = back("acme").await;
    let location = done.header("location");
    let connection = location
        .strip_prefix("https://app.example/done?connection_id=")
        .unwrap();
    let shown = world
        .bare("GET", &format!("/api/v1/connections/{connection}"))
        .key(api)
        .granted(200)
        .await;
    assert_eq!(shown["integrationId"], made["integrationId"]);
}

#[tokio::test]
async fn the_provider_is_asked_before_the_answer() {
    let world = World::new().await;
    let refuse = |reason| Plan::Fails(Failure::refused(Verdict::ClientMisconfigured, reason));
    for (plan, reason) in [
        (refuse(Reason::ClientIdInvalid), "client_id_invalid"),
        (refuse(Reason::ClientSecretInvalid), "client_secret_invalid"),
        (Plan::Fails(Failure::NotSent), "provider_unreachable"),
    ] {
        world.fake.plan("verify", plan);
        let made = world.admin("POST", ALL).json(new()).granted(201).await;
        assert_eq!(
            (&made["state"], &made["stateReason"]),
            (&json!("draft"), &json!(reason))
        );
    }
    let made = world.admin("POST", ALL).json(new()).granted(201).await;
    let one = format!("{ALL}/{}", made["integrationId"].as_str().unwrap());
    world.fake.plan("verify", Plan::Well);
    let shown = world
        .admin("PUT", &format!("{one}/secret"))
        .json(json!({ "clientSecret": "canary-2" }))
        .granted(200)
        .await;
    assert_eq!(
        (&shown["state"], &shown["stateReason"]),
        (&json!("configured"), &json!(""))
    );
    assert!(!shown.to_string().contains("canary"));
    world.fake.plan("verify", refuse(Reason::ClientIdInvalid));
    let shown = world
        .admin("PATCH", &one)
        .json(json!({ "clientId": "client-2" }))
        .granted(200)
        .await;
    assert_eq!(
        (&shown["state"], &shown["stateReason"]),
        (&json!("draft"), &json!("client_id_invalid"))
    );
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let world = World::new().await;
    let with = |name: &str, value: Value| {
        let mut body = new();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = new();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let rows = [
        (without("name"), "field_missing", "name"),
        (without("clientId"), "field_missing", "clientId"),
        (without("clientSecret"), "field_missing", "clientSecret"),
        (without("offering"), "field_missing", "offering"),
        (with("name", json!("")), "field_invalid", "name"),
        (with("name", json!(7)), "field_invalid", "name"),
        (
            with("clientSecret", json!("with space")),
            "field_invalid",
            "client_secret",
        ),
        (
            with("clientSecret", json!(["canary"])),
            "field_invalid",
            "clientSecret",
        ),
        (with("monthlyLimit", json!(-1)), "field_invalid", "monthlyLimit"),
        (with("monthlyLimit", json!(1.5)), "field_invalid", "monthlyLimit"),
        (with("offering", json!("canary")), "offering_unknown", ""),
        (
            with("scopes", json!(["web"])),
            "scope_invalid",
            "required_scope_missing",
        ),
        (
            with("redirectUris", json!(["http://app.example/"])),
            "redirect_uri_invalid",
            "",
        ),
        (
            with("options", json!({ "canary": 1 })),
            "option_invalid",
            "unknown",
        ),
        (with("options", json!(7)), "field_invalid", "options"),
        (with("canary", json!(7)), "field_unknown", ""),
        (with("integrationId", json!("int_mine")), "field_unknown", ""),
    ];
    for (body, code, reason) in rows {
        let got = world
            .admin("POST", ALL)
            .json(body.clone())
            .refused(400, code)
            .await;
        assert_eq!(
            got.json()["reason"].as_str().unwrap_or_default(),
            reason,
            "{body}"
        );
        assert!(!got.text().contains("canary"), "{}", got.text());
    }
    assert_eq!(
        world.admin("GET", ALL).granted(200).await["integrations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn an_integration_with_connections_stays() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let one = format!("{ALL}/{}", world.integration);
    world
        .admin("DELETE", &one)
        .refused(409, "integration_in_use")
        .await;
    world.broker.connection(&id).disconnect().await.unwrap();
    world.admin("DELETE", &one).granted(204).await;
    world
        .api("GET", "/api/v1/connections")
        .refused(401, "key_unknown")
        .await;
}

#[tokio::test]
async fn two_keys_overlap() {
    let world = World::new().await;
    let keys = format!("{ALL}/{}/keys", world.integration);
    let made = world.admin("POST", &keys).granted(201).await;
    assert_eq!((&made["kind"], &made["expiresAt"]), (&json!("api"), &json!("")));
    let key = made["key"].as_str().unwrap().to_owned();
    world
        .bare("GET", "/api/v1/connections")
        .key(&key)
        .granted(200)
        .await;
    world.api("GET", "/api/v1/connections").granted(200).await;
    world
        .admin("POST", &keys)
        .json(json!({ "kind": "api" }))
        .refused(409, "keys_too_many")
        .await;
    let public = json!({ "kind": "public", "expiresAt": "2026-04-10T16:00:00+01:00" });
    let public = world.admin("POST", &keys).json(public).granted(201).await;
    assert_eq!(
        (&public["kind"], &public["expiresAt"]),
        (&json!("public"), &json!("2026-04-10T15:00:00.000Z"))
    );

    let list = world.admin("GET", &keys).granted(200).await;
    assert_eq!(list["keys"].as_array().unwrap().len(), 4);
    assert!(!list.to_string().contains(&key[24..50]));
    let one = format!("{keys}/{}", made["keyId"].as_str().unwrap());
    world.admin("DELETE", &one).granted(204).await;
    world
        .bare("GET", "/api/v1/connections")
        .key(&key)
        .refused(401, "key_revoked")
        .await;
    world.admin("DELETE", &one).granted(204).await;
    world.clock.pass(Duration::from_secs(1));
    world.admin("POST", &keys).granted(201).await;

    for body in [
        json!({ "kind": "admin" }),
        json!({ "kind": 1 }),
        json!({ "expiresAt": "2026-02-30" }),
        json!({ "expiresAt": "2020-01-01T00:00:00Z" }),
    ] {
        world
            .admin("POST", &keys)
            .json(body)
            .refused(400, "field_invalid")
            .await;
    }
    let (other, _) = world.another().await;
    let stolen = format!("{ALL}/{other}/keys/{}", public["keyId"].as_str().unwrap());
    world.admin("DELETE", &stolen).refused(404, "key_not_found").await;
    world
        .admin("DELETE", &format!("{keys}/unknown"))
        .refused(404, "key_not_found")
        .await;
    world
        .admin("GET", &format!("{ALL}/int_unknown/keys"))
        .refused(404, "integration_not_found")
        .await;
    world
        .admin("POST", &format!("{ALL}/int_unknown/keys"))
        .refused(404, "integration_not_found")
        .await;
}

#[tokio::test]
async fn offerings() {
    let world = World::new().await;
    let body = world.admin("GET", "/api/v1/offerings").granted(200).await;
    let first = json!({
        "offering": "fake/production", "provider": "fake", "environment": "production",
        "label": "Fake (production)", "requiredScopes": ["api"], "optionalScopes": ["web"],
    });
    assert_eq!(body["offerings"][0], first);
    assert_eq!(body["offerings"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn health_is_for_admins_and_says_what_is_the_matter() {
    let world = World::new().await;
    world
        .api("GET", "/api/v1/health")
        .refused(403, "key_insufficient")
        .await;
    let health = world.admin("GET", "/api/v1/health").granted(200).await;
    assert_eq!(
        (&health["well"], &health["storeError"]),
        (&json!(true), &json!(""))
    );
    assert_eq!(health["outcomeUnknown"], json!({ "items": [], "more": false }));
    assert_eq!(health["unsaved"], json!([]));
    assert_eq!(health["store"], json!([]));
    assert_eq!(health["keepsIdleGrantsAlive"], true);
    world.fake.plan(
        "verify",
        Plan::Fails(Failure::refused(
            Verdict::ClientMisconfigured,
            Reason::ClientIdInvalid,
        )),
    );
    let made = world.admin("POST", ALL).json(new()).granted(201).await;
    let health = world.admin("GET", "/api/v1/health").granted(200).await;
    let expected =
        json!({ "integrationId": made["integrationId"], "state": "draft", "reason": "client_id_invalid" });
    assert!(
        health["integrations"].as_array().unwrap().contains(&expected),
        "{health}"
    );
}

#[tokio::test]
async fn an_integration_is_frozen_with_a_reason() {
    let world = World::new().await;
    let made = world.admin("POST", ALL).json(new()).granted(201).await;
    let one = format!("{ALL}/{}", made["integrationId"].as_str().unwrap());
    let freeze = format!("{one}/freeze");
    let reason = json!({ "reason": "a key leaked" });
    world
        .api("POST", &freeze)
        .json(reason.clone())
        .refused(403, "key_insufficient")
        .await;
    world
        .admin("POST", &freeze)
        .json(json!({}))
        .refused(400, "field_missing")
        .await;
    world
        .admin("POST", &freeze)
        .json(json!({ "reason": "" }))
        .refused(400, "field_invalid")
        .await;
    assert_eq!(world.admin("GET", &one).granted(200).await["state"], "configured");
    let frozen = world
        .admin("POST", &freeze)
        .json(reason.clone())
        .granted(200)
        .await;
    assert_eq!(
        (&frozen["state"], &frozen["stateReason"]),
        (&json!("frozen"), &json!("a key leaked"))
    );
    world
        .admin("POST", &format!("{one}/enable"))
        .refused(409, "integration_freezing")
        .await;
    let all = world
        .admin("POST", "/api/v1/freeze")
        .json(reason)
        .granted(200)
        .await;
    let all = all["integrations"].as_array().unwrap().clone();
    assert!(all.len() >= 2 && all.iter().all(|i| i["state"] == "frozen"));
}
