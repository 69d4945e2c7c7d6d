//! One connection: read, changed, deleted, its history; links; usage; ids.

use serde_json::json;

use crate::world::{RETURN, World};

const CONNECTIONS: &str = "/api/v1/connections";

#[tokio::test]
async fn a_connection_is_read_and_changed() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let target = format!("{CONNECTIONS}/{id}");
    let detail = world.get(&target).await;
    assert_eq!(detail["userEmail"], "ann@acme.example");
    assert_eq!(detail["provider"], "fake");
    assert_eq!(detail["integrationId"], world.integration.as_str());
    assert_eq!(detail["scopes"], json!(["api"]));
    assert_eq!((&detail["owner"], &detail["reason"]), (&json!(""), &json!("")));
    let patch = json!({ "owner": "u-7", "metadata": { "team": "red" } });
    let changed = world.api("PATCH", &target).json(patch).granted(200).await;
    assert_eq!(
        (&changed["owner"], &changed["metadata"]),
        (&json!("u-7"), &json!({ "team": "red" }))
    );
    // What is not given stays.
    let changed = world
        .api("PATCH", &target)
        .json(json!({ "metadata": {} }))
        .granted(200)
        .await;
    assert_eq!(
        (&changed["owner"], &changed["metadata"]),
        (&json!("u-7"), &json!({}))
    );
    assert_eq!(world.get(&target).await, changed);
}

#[tokio::test]
async fn bodies_are_judged() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let ask = || world.api("PATCH", &format!("{CONNECTIONS}/{id}"));
    let typed = |text: &str| {
        ask()
            .header("content-type", "application/json; charset=utf-8")
            .body(text.to_owned())
    };
    for (text, code, reason) in [
        ("", "body_invalid", "empty"),
        ("{", "body_invalid", ""),
        ("[]", "body_invalid", ""),
        ("null", "body_invalid", ""),
        ("\"canary\"", "body_invalid", ""),
        ("{} x", "body_invalid", ""),
        ("{\"owner\": \"\u{fffd}\", \"owner\": \"x\"}", "body_invalid", ""),
        ("{\"canary\": 1}", "field_unknown", ""),
        ("{\"owner\": {\"canary\": 1}}", "field_invalid", "owner"),
        ("{\"metadata\": [\"canary\"]}", "field_invalid", "metadata"),
        ("{\"metadata\": {\"canary\": 7}}", "field_invalid", "metadata"),
        ("{\"owner\": \"a\\u0000canary\"}", "field_invalid", "owner"),
    ] {
        let got = typed(text).refused(400, code).await;
        assert!(!got.text().contains("canary"), "{}", got.text());
        assert_eq!(
            got.json()["reason"].as_str().unwrap_or_default(),
            reason,
            "{text}"
        );
    }
    let deep = format!("{{\"owner\": {}}}", "[".repeat(100_000));
    typed(&deep).refused(400, "field_invalid").await;
    let many = (0..33)
        .map(|n| (n.to_string(), json!("x")))
        .collect::<serde_json::Map<_, _>>();
    ask()
        .json(json!({ "metadata": many }))
        .refused(413, "metadata_too_large")
        .await;
    ask()
        .json(json!({ "owner": "x".repeat(300 * 1024) }))
        .refused(413, "body_too_large")
        .await;
    ask().body("{}").refused(415, "content_type_unsupported").await;
    for other in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        ask()
            .header("content-type", other)
            .body("{}")
            .refused(415, "content_type_unsupported")
            .await;
    }
    ask()
        .header("content-type", "application/json")
        .json(json!({}))
        .refused(400, "header_duplicate")
        .await;
    typed("{}")
        .header("x-connection-id", "a")
        .header("x-connection-id", "a")
        .refused(400, "header_duplicate")
        .await;
    ask()
        .header("content-type", "Application/JSON")
        .body("{}")
        .granted(200)
        .await;
}

#[tokio::test]
async fn a_deleted_connection_is_gone_at_once() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let target = format!("{CONNECTIONS}/{id}");
    let got = world.api("DELETE", &format!("{target}/")).send().await;
    assert_eq!((got.status.as_u16(), got.body.len()), (204, 0));
    assert_eq!(got.header("content-type"), "application/json");
    for (method, rest) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/credentials"),
        ("GET", "/history"),
        ("POST", "/reconnect"),
    ] {
        world
            .api(method, &format!("{target}{rest}"))
            .refused(404, "connection_not_found")
            .await;
    }
    assert_eq!(world.get(CONNECTIONS).await["totalCount"], 0);
    assert_eq!(
        world.get(&format!("{CONNECTIONS}?status=deleted")).await["totalCount"],
        1
    );
}

#[tokio::test]
async fn history_holds_decisions_and_no_secret() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    world.token_ends();
    world.get(&format!("{CONNECTIONS}/{id}/credentials")).await;
    let body = world.get(&format!("{CONNECTIONS}/{id}/history")).await;
    let history = body["history"].as_array().unwrap();
    assert_eq!(history[0]["what"], "connected");
    assert_eq!(history[0]["at"], "2026-04-10T14:32:00.000Z");
    assert_eq!(history[0]["reason"], "");
    assert!(history.len() > 1, "{body}");
    let text = body.to_string();
    assert!(!text.contains("refresh-1") && !text.contains("access-"), "{text}");
}

/// The rows of the section "Ids and names", wherever an id can stand.
#[tokio::test]
async fn ids_are_judged() {
    let world = World::new().await;
    let long = "x".repeat(300);
    let rows = [
        ("", "id_empty"),
        (&long, "id_too_long"),
        ("a%2Fb", "id_invalid_character"),
        ("%2E%2E%2Fx", "id_invalid_character"),
        ("a%20b", "id_invalid_character"),
        ("a%00b", "id_invalid_character"),
        ("a%0Ab", "id_invalid_character"),
        ("a%00", "id_invalid_character"),
        ("a:b", "id_invalid_character"),
        ("a*", "id_invalid_character"),
        ("%F0%9F%92%A9", "id_invalid_character"),
        ("x.", "id_invalid_character"),
        ("x%20", "id_invalid_character"),
    ];
    for (id, code) in rows {
        for rest in ["credentials", "history", "proxy/services"] {
            world
                .api("GET", &format!("{CONNECTIONS}/{id}/{rest}"))
                .refused(400, code)
                .await;
        }
        world
            .admin("GET", &format!("/api/v1/integrations/{id}/keys"))
            .refused(400, code)
            .await;
    }
    for id in ["con_unknown", "int_x", "x", "-", "ABC"] {
        for rest in ["", "/", "/credentials", "/credentials/", "/proxy/services"] {
            let target = format!("{CONNECTIONS}/{id}{rest}");
            world
                .api("GET", &target)
                .refused(404, "connection_not_found")
                .await;
        }
        world
            .admin("GET", &format!("/api/v1/integrations/{id}"))
            .refused(404, "integration_not_found")
            .await;
    }
    // D06.
    let id = world.connect("ann@acme.example").await;
    let other = id.as_str().to_uppercase();
    world
        .api("GET", &format!("{CONNECTIONS}/{other}"))
        .refused(404, "connection_not_found")
        .await;
}

#[tokio::test]
async fn connect_links_carry_the_owner_and_work_once() {
    let world = World::new().await;
    let links = "/api/v1/connect-links";
    let body = json!({ "owner": "u-9", "redirectUri": RETURN, "metadata": { "team": "red" } });
    let link = world.api("POST", links).json(body).granted(201).await;
    assert_eq!(link["expiresAt"], "2026-04-11T14:32:00.000Z");
    let url = link["url"].as_str().unwrap();
    let start = format!("{}/connect/{}?", crate::world::PUBLIC_URL, world.integration);
    let query = url.strip_prefix(&start).unwrap();
    assert!(query.starts_with("link=") && !url.contains("u-9"), "{url}");
    let connect = format!("/connect/{}?{query}", world.integration);
    // Somebody previews it: that uses nothing up.
    for name in ["sec-purpose", "purpose"] {
        let got = world.bare("GET", &connect).header(name, "prefetch").send().await;
        assert_eq!(got.code(), "navigation_required");
    }
    assert_eq!(world.bare("HEAD", &connect).send().await.status, 405);
    // A link says it all itself.
    let got = world
        .bare("GET", &format!("{connect}&redirect_uri={RETURN}"))
        .send()
        .await;
    assert_eq!(
        (got.status.as_u16(), got.code().as_str()),
        (400, "parameter_invalid")
    );
    let got = world.connect_with(query).await;
    let id = got.header("location").split_once("connection_id=").unwrap().1;
    let detail = world.get(&format!("{CONNECTIONS}/{id}")).await;
    assert_eq!(
        (&detail["owner"], &detail["metadata"]),
        (&json!("u-9"), &json!({ "team": "red" }))
    );
    let got = world.bare("GET", &connect).send().await;
    assert_eq!((got.status.as_u16(), got.code().as_str()), (400, "link_used"));
    assert!(got.header("set-cookie").is_empty());

    // Everything in it may be left out.
    let link = world.api("POST", links).granted(201).await;
    let query = link["url"]
        .as_str()
        .unwrap()
        .split_once('?')
        .unwrap()
        .1
        .to_owned();
    world.clock.pass(std::time::Duration::from_secs(25 * 3600));
    let got = world
        .bare("GET", &format!("/connect/{}?{query}", world.integration))
        .send()
        .await;
    assert_eq!((got.status.as_u16(), got.code().as_str()), (400, "link_expired"));
    world
        .api("POST", links)
        .json(json!({ "redirectUri": "https://evil.test/" }))
        .refused(400, "return_to_not_allowed")
        .await;
    world
        .api("POST", links)
        .json(json!({ "owner": null, "user": 1 }))
        .refused(400, "field_unknown")
        .await;
}

#[tokio::test]
async fn a_reconnect_link_keeps_the_id() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    world.broker.connection(&id).revoke().await.unwrap();
    let got = world
        .api("GET", &format!("{CONNECTIONS}/{id}/credentials"))
        .refused(401, "connection_revoked")
        .await;
    assert_eq!(got.header("www-authenticate"), "Bearer");
    let offered = got.json()["reconnectUrl"].as_str().unwrap().to_owned();
    let asked = world
        .api("POST", &format!("{CONNECTIONS}/{id}/reconnect"))
        .granted(201)
        .await;
    let asked = asked["url"].as_str().unwrap();
    assert_ne!(offered, asked, "each is good for itself");
    for url in [&*offered, asked] {
        let got = world.connect_with(url.split_once('?').unwrap().1).await;
        // The link names no redirect URI.
        assert_eq!(got.status, 200, "{}", got.text());
        let detail = world.get(&format!("{CONNECTIONS}/{id}")).await;
        assert_eq!(detail["status"], "connected");
    }
    assert_eq!(world.get(CONNECTIONS).await["totalCount"], 1);
    // Another account than before is refused, and nothing that worked is lost.
    let link = world
        .api("POST", &format!("{CONNECTIONS}/{id}/reconnect"))
        .granted(201)
        .await;
    world.fake.person("eve@other.example");
    let got = world
        .connect_with(link["url"].as_str().unwrap().split_once('?').unwrap().1)
        .await;
    assert_eq!(
        (got.status.as_u16(), got.code().as_str()),
        (409, "account_mismatch")
    );
    world.get(&format!("{CONNECTIONS}/{id}/credentials")).await;
}

#[tokio::test]
async fn usage_of_the_month() {
    let world = World::new().await;
    let usage = world.get("/api/v1/usage").await;
    let expected = json!({
        "month": "2026-04", "calls": 0, "limit": null, "days": [], "resetsAt": "2026-05-01T00:00:00.000Z",
    });
    assert_eq!(usage, expected);
    world
        .api("GET", "/api/v1/usage?month=2026-03")
        .refused(400, "filter_unknown")
        .await;
}
