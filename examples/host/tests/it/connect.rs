//! The connect flow as a browser sees it.

use std::collections::BTreeSet;

use grantry_salesforce_simulator::DEFAULT_CLIENT_SECRET;
use reqwest::{Method, Url};
use serde_json::json;

use crate::support::{APP, Browser, Host, Integration, Person, World, eventually, parameter};

const SARAH: &str = "sarah@acme.com";
const TOM: &str = "tom@acme.com";

async fn begin() -> (World, Host, Integration) {
    let world = World::new().await;
    let host = world.launch().start().await;
    let integration = world.integrate(&host, json!({})).await;
    (world, host, integration)
}

/// Whether a URL is the host's callback.
fn is_callback(host: &Host) -> impl Fn(&Url) -> bool {
    let start = format!("{}/callback/", host.base_url);
    move |url| url.as_str().starts_with(&start)
}

fn is_app(url: &Url) -> bool {
    url.as_str().starts_with("http://127.0.0.1:9/")
}

#[tokio::test]
async fn without_a_redirect_uri_the_user_sees_a_page() {
    let (_world, host, integration) = begin().await;
    let mut browser = Browser::new();
    let start = integration.connect_url(&host, None);
    let first = browser.open(&Url::parse(&start).unwrap()).await.unwrap();
    assert_eq!(first.status, 303);
    let authorize = first.next.clone().unwrap();
    assert_eq!(parameter(&authorize, "code_challenge_method").unwrap(), "S256");
    assert_eq!(
        parameter(&authorize, "redirect_uri").unwrap(),
        integration.created["callbackUrl"]
    );
    let cookie = first.headers["set-cookie"].to_str().unwrap();
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }

    let page = browser
        .walk(&start, &Person::new(SARAH), is_app)
        .await
        .unwrap()
        .page();
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("Your account is connected."), "{}", page.text);
    for tag in ["<a ", "<form", "<script", "http"] {
        assert!(!page.text.contains(tag), "{tag} in {}", page.text);
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    let list = host
        .get("/api/v1/connections", &integration.api_key)
        .await
        .expect(200)
        .json();
    assert_eq!(list["connections"][0]["userEmail"], SARAH, "{list}");
}

#[tokio::test]
async fn a_redirect_uri_gets_the_connection_id() {
    let world = World::new().await;
    let host = world.launch().start().await;
    let with_query = format!("{APP}?from=settings");
    let integration = world
        .integrate(&host, json!({ "redirectUris": [APP, with_query] }))
        .await;
    let mut ids = BTreeSet::new();
    for (uri, before) in [(APP, format!("{APP}?")), (&with_query, format!("{with_query}&"))] {
        let start = integration.connect_url(&host, Some(uri));
        let end = Browser::new()
            .walk(&start, &Person::new(SARAH), is_app)
            .await
            .unwrap()
            .url();
        let id = parameter(&end, "connection_id").unwrap();
        assert_eq!(end.as_str(), format!("{before}connection_id={id}"));
        host.credentials(&id, &integration.api_key).await.expect(200);
        ids.insert(id);
    }
    // Every run makes a connection of its own, for the same user too.
    assert_eq!(ids.len(), 2);
}

/// The provider knows the callback URL by the slug, as it was known before there was an integration.
#[tokio::test]
async fn an_integration_with_a_slug_is_called_back_under_it() {
    let world = World::new().await;
    let host = world.launch().start().await;
    let mut integration = world.integrate(&host, json!({ "slug": "acme" })).await;
    let callback = format!("{}/callback/acme", host.base_url);
    assert_eq!(integration.created["callbackUrl"], callback);
    let id = std::mem::replace(&mut integration.id, "acme".to_owned());
    let mut browser = Browser::new();
    let start = integration.connect_url(&host, Some(APP));
    let first = browser.open(&Url::parse(&start).unwrap()).await.unwrap();
    let authorize = first.next.unwrap();
    assert_eq!(parameter(&authorize, "redirect_uri").unwrap(), callback);
    let back = browser
        .walk(&start, &Person::new(SARAH), is_callback(&host))
        .await;
    let back = back.unwrap().url();
    assert_eq!(back.path(), "/callback/acme");
    let end = browser.walk(back.as_str(), &Person::new(SARAH), is_app).await;
    let connection = parameter(&end.unwrap().url(), "connection_id").unwrap();
    host.credentials(&connection, &integration.api_key)
        .await
        .expect(200);
    let detail = host
        .get(&format!("/api/v1/connections/{connection}"), &integration.api_key)
        .await
        .expect(200)
        .json();
    assert_eq!(detail["integrationId"], id);
}

#[tokio::test]
async fn a_refusal_goes_back_as_an_error() {
    let (world, host, integration) = begin().await;
    let person = Person::new(SARAH).denies();
    let start = integration.connect_url(&host, Some(APP));
    let end = Browser::new().walk(&start, &person, is_app).await.unwrap().url();
    assert_eq!(parameter(&end, "error").unwrap(), "access_denied", "{end}");
    assert_eq!(
        parameter(&end, "error_description").unwrap(),
        "The user did not allow the access."
    );
    assert!(parameter(&end, "connection_id").is_none());

    let start = integration.connect_url(&host, None);
    let page = Browser::new().walk(&start, &person, is_app).await.unwrap().page();
    page.refused(403, "access_denied");
    assert_eq!(world.count("token_authorization_code"), 0);
}

#[tokio::test]
async fn another_browser_cannot_finish_an_attempt() {
    let (world, host, integration) = begin().await;
    let mut attacker = Browser::new();
    let start = integration.connect_url(&host, Some(APP));
    let callback = attacker
        .walk(&start, &Person::new(SARAH), is_callback(&host))
        .await
        .unwrap()
        .url();

    // The victim has no cookie, or that of another attempt.
    let mut victim = Browser::new();
    victim
        .open(&callback)
        .await
        .unwrap()
        .refused(403, "browser_mismatch");
    victim
        .walk(&start, &Person::new(TOM), is_callback(&host))
        .await
        .unwrap()
        .url();
    victim
        .open(&callback)
        .await
        .unwrap()
        .refused(403, "browser_mismatch");
    assert_eq!(world.count("token_authorization_code"), 0);

    // Nothing was used up: whoever began can finish.
    let end = attacker.open(&callback).await.unwrap().next.unwrap();
    assert!(parameter(&end, "connection_id").is_some(), "{end}");
    assert_eq!(world.count("token_authorization_code"), 1);
}

#[tokio::test]
async fn a_state_is_good_once() {
    let (world, host, integration) = begin().await;
    let mut browser = Browser::new();
    let start = integration.connect_url(&host, Some(APP));
    let callback = browser
        .walk(&start, &Person::new(SARAH), is_callback(&host))
        .await
        .unwrap()
        .url();
    // The cookie is cleared at the end; a copy of the browser still has it.
    let mut copy = browser.clone();
    let end = browser.open(&callback).await.unwrap().next.unwrap();
    assert!(is_app(&end), "{end}");
    for again in [&mut browser, &mut copy] {
        again.open(&callback).await.unwrap().refused(400, "state_unknown");
    }
    let mut other = callback.clone();
    other.set_query(Some(
        "code=aPrx1234&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ));
    copy.open(&other).await.unwrap().refused(400, "state_unknown");
    assert_eq!(world.count("token_authorization_code"), 1);
    let list = host
        .get("/api/v1/connections", &integration.api_key)
        .await
        .expect(200)
        .json();
    assert_eq!(list["totalCount"], 1, "{list}");
}

#[tokio::test]
async fn a_callback_belongs_to_its_integration() {
    let (world, host, integration) = begin().await;
    let other = world.integrate(&host, json!({})).await;
    let mut browser = Browser::new();
    let start = integration.connect_url(&host, Some(APP));
    let callback = browser
        .walk(&start, &Person::new(SARAH), is_callback(&host))
        .await
        .unwrap()
        .url();
    let moved = Url::parse(&callback.as_str().replace(&integration.id, &other.id)).unwrap();
    browser
        .open(&moved)
        .await
        .unwrap()
        .refused(400, "callback_integration_mismatch");
    assert_eq!(world.count("token_authorization_code"), 0);
}

#[tokio::test]
async fn tabs_do_not_disturb_each_other() {
    let (_world, host, integration) = begin().await;
    let mut browser = Browser::new();
    let start = integration.connect_url(&host, Some(APP));
    let mut callbacks = Vec::new();
    for user in [SARAH, TOM, SARAH] {
        callbacks.push(
            browser
                .walk(&start, &Person::new(user), is_callback(&host))
                .await
                .unwrap()
                .url(),
        );
    }
    let mut ids = BTreeSet::new();
    for callback in callbacks.iter().rev() {
        let end = browser.open(callback).await.unwrap().next.unwrap();
        ids.insert(parameter(&end, "connection_id").unwrap());
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_connect_link_carries_its_owner_and_is_good_once() {
    let (_world, host, integration) = begin().await;
    let key = &integration.api_key;
    let wish = json!({ "owner": "user-7", "redirectUri": APP, "metadata": { "plan": "gold" } });
    let link = host
        .call(Method::POST, "/api/v1/connect-links", key, Some(&wish))
        .await
        .expect(201);
    let url = link.field("url");
    let end = Browser::new()
        .walk(&url, &Person::new(SARAH), is_app)
        .await
        .unwrap()
        .url();
    let id = parameter(&end, "connection_id").unwrap();
    let detail = host
        .get(&format!("/api/v1/connections/{id}"), key)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&detail["owner"], &detail["metadata"]["plan"]),
        (&json!("user-7"), &json!("gold")),
        "{detail}"
    );
    Browser::new()
        .open(&Url::parse(&url).unwrap())
        .await
        .unwrap()
        .refused(400, "link_used");

    // An owner in the public URL is nobody's word.
    let start = format!(
        "{}&owner=user-7&metadata.plan=gold",
        integration.connect_url(&host, Some(APP))
    );
    let end = Browser::new()
        .walk(&start, &Person::new(TOM), is_app)
        .await
        .unwrap()
        .url();
    let other = parameter(&end, "connection_id").unwrap();
    let detail = host
        .get(&format!("/api/v1/connections/{other}"), key)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&detail["owner"], &detail["metadata"]),
        (&json!(""), &json!({})),
        "{detail}"
    );
    for filter in ["owner=user-7", "metadata.plan=gold"] {
        let list = host
            .get(&format!("/api/v1/connections?{filter}"), key)
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&list["totalCount"], &list["connections"][0]["connectionId"]),
            (&json!(1), &json!(id))
        );
    }

    // A changed or foreign link is none.
    let mut broken = url.clone();
    broken.truncate(url.len() - 8);
    Browser::new()
        .open(&Url::parse(&broken).unwrap())
        .await
        .unwrap()
        .refused(400, "link_invalid");
    let elsewhere = json!({ "redirectUri": "https://evil.example/" });
    host.call(Method::POST, "/api/v1/connect-links", key, Some(&elsewhere))
        .await
        .refused(400, "return_to_not_allowed");
}

#[tokio::test]
async fn a_reconnect_keeps_the_id_and_revokes_the_old_grant() {
    let (world, host, integration) = begin().await;
    let key = &integration.api_key;
    let id = world.connect(&host, &integration, SARAH).await;
    let before = host.credentials(&id, key).await.expect(200);
    let families = world.simulator.families();
    assert_eq!(families.len(), 1);
    let link = async || {
        let path = format!("/api/v1/connections/{id}/reconnect");
        host.call(Method::POST, &path, key, None)
            .await
            .expect(201)
            .field("url")
    };

    // Somebody else's account does not slip in, and the old one goes on.
    let page = Browser::new()
        .walk(&link().await, &Person::new(TOM), is_app)
        .await
        .unwrap()
        .page();
    page.refused(409, "account_mismatch");
    let same = host.credentials(&id, key).await.expect(200);
    assert_eq!(same.field("accessToken"), before.field("accessToken"));
    eventually("the grant that nobody keeps is revoked", || async {
        (world.simulator.families() == families).then_some(())
    })
    .await;

    let url = link().await;
    let page = Browser::new()
        .walk(&url, &Person::new(SARAH), is_app)
        .await
        .unwrap()
        .page();
    assert_eq!(page.status, 200, "{}", page.text);
    Browser::new()
        .open(&Url::parse(&url).unwrap())
        .await
        .unwrap()
        .refused(400, "link_used");
    let after = host.credentials(&id, key).await.expect(200);
    assert_ne!(after.field("accessToken"), before.field("accessToken"));
    let list = host.get("/api/v1/connections", key).await.expect(200).json();
    assert_eq!(
        (&list["totalCount"], &list["connections"][0]["connectionId"]),
        (&json!(1), &json!(id))
    );
    eventually("the old grant is revoked", || async {
        let left = world.simulator.families();
        (left.len() == 1 && left[0].family != families[0].family).then_some(())
    })
    .await;
    let history = host
        .get(&format!("/api/v1/connections/{id}/history"), key)
        .await
        .expect(200)
        .json();
    let what: Vec<&str> = history["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        what,
        ["connected", "reconnected", "revoked_upstream"],
        "{history}"
    );
}

#[tokio::test]
async fn a_wrong_redirect_uri_gets_a_page_and_never_a_redirect() {
    let (world, host, integration) = begin().await;
    for uri in [
        "https://evil.example/app/connected",
        "http://127.0.0.1:9/app/connected/",
        "http://127.0.0.1:9/app/connected/more",
        "http://127.0.0.1:9/app",
        "http://127.0.0.1:9/app/connected?x=1",
        "http://127.0.0.1:9/app/connected#x",
        "http://127.0.0.1:9/app/../app/connected",
        "http://127.0.0.1:10/app/connected",
        "https://127.0.0.1:9/app/connected",
        "http://127.0.0.1:9@evil.example/app/connected",
        "//127.0.0.1:9/app/connected",
        "javascript:alert(1)",
        "",
    ] {
        let mut url = Url::parse(&integration.connect_url(&host, None)).unwrap();
        url.query_pairs_mut().append_pair("redirect_uri", uri);
        let page = Browser::new().open(&url).await.unwrap();
        page.refused(400, "return_to_not_allowed");
        assert!(!page.text.contains("evil"), "{}", page.text);
    }
    assert_eq!(world.count("authorize"), 0);
}

#[tokio::test]
async fn wrong_keys_get_a_page() {
    let (world, host, integration) = begin().await;
    let other = world.integrate(&host, json!({})).await;
    let Integration {
        id,
        public_key,
        api_key,
        ..
    } = &integration;
    for (path, status, code) in [
        (format!("/connect/{id}"), 400, "public_key_missing"),
        (format!("/connect/{id}?public_key="), 401, "key_malformed"),
        (format!("/connect/{id}?public_key=nonsense"), 401, "key_malformed"),
        (
            format!("/connect/{id}?public_key={}", other.public_key),
            403,
            "integration_mismatch",
        ),
        (format!("/connect/{id}?public_key={api_key}"), 400, "key_in_url"),
        (
            format!("/connect/int_unknown?public_key={public_key}"),
            403,
            "integration_mismatch",
        ),
        (
            format!("/connect/no.id?public_key={public_key}"),
            400,
            "id_invalid_character",
        ),
        (format!("/connect/{id}?link=nonsense"), 400, "link_invalid"),
        (format!("/callback/{id}"), 400, "callback_missing_state"),
        (format!("/callback/{id}?state=x&code=y"), 400, "state_malformed"),
        ("/connect/".to_owned(), 400, "id_empty"),
    ] {
        let page = host.visit(&path).await;
        assert!(page.text.contains(code), "{path}: {} {}", page.status, page.text);
        page.refused(status, code);
        assert!(page.headers.get("set-cookie").is_none(), "{path}");
    }
    assert_eq!(world.count("authorize"), 0);
}

#[tokio::test]
async fn an_integration_is_a_draft_until_its_client_is_verified() {
    let world = World::new().await;
    let host = world.launch().start().await;
    // Nobody listens on port 9.
    let nowhere = json!({ "loginUrl": "http://127.0.0.1:9" });
    for (wrong, reason) in [
        (json!({ "clientSecret": "0".repeat(64) }), "client_secret_invalid"),
        (
            json!({ "clientId": "3MVG9NobodyKnowsThisConsumerKey" }),
            "client_id_invalid",
        ),
        (json!({ "options": nowhere }), "provider_unreachable"),
    ] {
        let integration = world.integrate(&host, wrong.clone()).await;
        let path = format!("/api/v1/integrations/{}", integration.id);
        for body in [
            integration.created.clone(),
            host.admin(Method::GET, &path, None).await.expect(200).json(),
        ] {
            assert_eq!(
                (&body["state"], &body["stateReason"]),
                (&json!("draft"), &json!(reason)),
                "{body}"
            );
        }
        let page = host
            .visit(&integration.connect_url(&host, None)[host.base_url.len()..])
            .await;
        page.refused(409, "integration_not_configured");

        // Set right, it is configured, and its first user connects.
        let fixed = match reason {
            "client_secret_invalid" => {
                let secret = json!({ "clientSecret": DEFAULT_CLIENT_SECRET });
                host.admin(Method::PUT, &format!("{path}/secret"), Some(&secret))
                    .await
            }
            "client_id_invalid" => {
                let id = json!({ "clientId": grantry_salesforce_simulator::DEFAULT_CLIENT_ID });
                host.admin(Method::PATCH, &path, Some(&id)).await
            }
            _ => {
                let there = json!({ "options": { "loginUrl": world.simulator.login_url() } });
                host.admin(Method::PATCH, &path, Some(&there)).await
            }
        };
        let fixed = fixed.expect(200).json();
        assert_eq!(
            (&fixed["state"], &fixed["stateReason"]),
            (&json!("configured"), &json!("")),
            "{fixed}"
        );
        let id = world.connect(&host, &integration, SARAH).await;
        host.credentials(&id, &integration.api_key).await.expect(200);
    }
}

#[tokio::test]
async fn an_unreachable_provider_is_tried_again() {
    let (world, host, integration) = begin().await;
    let path = format!("/api/v1/integrations/{}", integration.id);
    let there = json!({ "options": { "loginUrl": "http://127.0.0.1:9" } });
    host.admin(Method::PATCH, &path, Some(&there)).await.expect(200);
    // A provider that is down proves nothing about a client that was verified; a wrong secret does.
    let back = json!({ "options": { "loginUrl": world.simulator.login_url() } });
    host.admin(Method::PATCH, &path, Some(&back)).await.expect(200);
    let again = host
        .admin(Method::POST, &format!("{path}/verify"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&again["state"], &again["stateReason"]),
        (&json!("configured"), &json!("")),
        "{again}"
    );
    let secret = json!({ "clientSecret": "f".repeat(64) });
    let wrong = host
        .admin(Method::PUT, &format!("{path}/secret"), Some(&secret))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&wrong["state"], &wrong["stateReason"]),
        (&json!("draft"), &json!("client_secret_invalid"))
    );
}
