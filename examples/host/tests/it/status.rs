//! What callers are told when a connection or an integration cannot serve them, and the plan's limit.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Browser, Host, Integration, Person, World, eventually};

const SARAH: &str = "sarah@acme.com";

fn call() -> Value {
    json!({ "method": "GET", "path": "/services/data/v66.0/limits" })
}

/// Asks for credentials, and makes a call. Both must be refused alike. Gives the reconnect URLs.
async fn both_refused(
    host: &Host,
    integration: &Integration,
    id: &str,
    status: u16,
    code: &str,
) -> [String; 2] {
    let key = &integration.api_key;
    let answers = [
        host.credentials(id, key).await,
        host.proxy(id, key, &call()).await,
    ];
    answers.map(|answer| {
        let answer = answer.refused(status, code);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(
            answer.header("www-authenticate"),
            if status == 401 { "Bearer" } else { "" }
        );
        answer.json()["reconnectUrl"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    })
}

#[tokio::test]
async fn expired_and_revoked_connections_say_where_to_reconnect() {
    let world = World::new().await;
    let host = world.launch().start().await;
    let integration = world.integrate(&host, json!({})).await;
    let key = &integration.api_key;
    let broker = world.broker(&host).await;
    let id = world.connect(&host, &integration, SARAH).await;
    for (round, code) in ["connection_expired", "connection_revoked"]
        .into_iter()
        .enumerate()
    {
        host.proxy(&id, key, &call()).await.expect(200);
        let calls = world.count("rest_other");
        if code == "connection_expired" {
            world.simulator.revoke_user(SARAH).unwrap();
            // The first call finds out: it was refused, and so was the refresh.
            host.proxy(&id, key, &call()).await.refused(401, code);
        } else {
            broker.connection(&id.parse().unwrap()).revoke().await.unwrap();
            eventually("the other process has heard of it", || async {
                (host.credentials(&id, key).await.status == 401).then_some(())
            })
            .await;
        }
        let [first, second] = both_refused(&host, &integration, &id, 401, code).await;
        assert_eq!(world.count("rest_other"), calls);
        let list = host
            .get(
                &format!("/api/v1/connections?status={}", &code["connection_".len()..]),
                key,
            )
            .await
            .expect(200);
        assert_eq!(
            list.json()["connections"][0]["connectionId"],
            *id,
            "{}",
            list.text
        );

        // The link works, and the connection is the same one.
        let url = if round == 0 { first } else { second };
        let page = Browser::new()
            .walk(&url, &Person::new(SARAH), |_| false)
            .await
            .unwrap()
            .page();
        assert_eq!(page.status, 200, "{}", page.text);
        host.credentials(&id, key).await.expect(200);
        host.proxy(&id, key, &call()).await.expect(200);
        let detail = host
            .get(&format!("/api/v1/connections/{id}"), key)
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&detail["status"], &detail["reason"]),
            (&json!("connected"), &json!("")),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_disconnect_is_in_force_at_once_and_revokes_upstream() {
    let world = World::new().await;
    let first = world.launch().start().await;
    let second = world.launch_beside(&first).start().await;
    let integration = world.integrate(&first, json!({})).await;
    let key = &integration.api_key;
    let id = world.connect(&first, &integration, SARAH).await;
    let token = second
        .credentials(&id, key)
        .await
        .expect(200)
        .field("accessToken");
    let gone = first.delete(&id, key).await.expect(204);
    assert_eq!(
        (gone.header("content-type"), &*gone.text),
        ("application/json", "")
    );
    both_refused(&first, &integration, &id, 404, "connection_not_found").await;
    eventually("the other process has heard of it", || async {
        (second.credentials(&id, key).await.status == 404).then_some(())
    })
    .await;
    both_refused(&second, &integration, &id, 404, "connection_not_found").await;
    for path in ["", "/history"] {
        first
            .get(&format!("/api/v1/connections/{id}{path}"), key)
            .await
            .refused(404, "connection_not_found");
    }
    first.delete(&id, key).await.refused(404, "connection_not_found");
    eventually("the grant is revoked upstream", || async {
        world.simulator.families().is_empty().then_some(())
    })
    .await;
    // The access token is dead with it.
    let direct = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/services/data/v66.0/limits", world.simulator.instance_url());
    assert_eq!(
        direct.get(url).bearer_auth(token).send().await.unwrap().status(),
        401
    );
    // It is listed when it is asked for, and only then.
    for (query, count) in [("", 0), ("?status=deleted", 1)] {
        let list = first
            .get(&format!("/api/v1/connections{query}"), key)
            .await
            .expect(200);
        assert_eq!(list.json()["totalCount"], count, "{}", list.text);
    }
    // Nothing is left that holds the integration back.
    let path = format!("/api/v1/integrations/{}", integration.id);
    first.admin(Method::DELETE, &path, None).await.expect(204);
    first
        .admin(Method::GET, &path, None)
        .await
        .refused(404, "integration_not_found");
}

#[tokio::test]
async fn a_disabled_integration_serves_nothing_in_any_process() {
    let world = World::new().await;
    let first = world.launch().start().await;
    let second = world.launch_beside(&first).start().await;
    let integration = world.integrate(&first, json!({})).await;
    let other = world.integrate(&first, json!({})).await;
    let id = world.connect(&first, &integration, SARAH).await;
    let unaffected = world.connect(&first, &other, SARAH).await;
    let key = &integration.api_key;
    for host in [&first, &second] {
        host.credentials(&id, key).await.expect(200);
    }
    let path = format!("/api/v1/integrations/{}", integration.id);
    let switch = async |to: &str, state: &str, status: u16| {
        let answer = first
            .admin(Method::POST, &format!("{path}/{to}"), None)
            .await
            .expect(200);
        assert_eq!(answer.field("state"), state);
        for host in [&first, &second] {
            eventually("both processes have heard of it", || async {
                (host.credentials(&id, key).await.status == status).then_some(())
            })
            .await;
        }
    };
    switch("disable", "disabled", 403).await;
    let calls = world.count("rest_other");
    for host in [&first, &second] {
        both_refused(host, &integration, &id, 403, "integration_disabled").await;
        let page = host
            .visit(&integration.connect_url(host, None)[host.base_url.len()..])
            .await;
        page.refused(403, "integration_disabled");
        host.credentials(&unaffected, &other.api_key).await.expect(200);
    }
    assert_eq!(world.count("rest_other"), calls);
    first
        .admin(Method::DELETE, &path, None)
        .await
        .refused(409, "integration_in_use");
    switch("enable", "configured", 200).await;
    for host in [&first, &second] {
        host.proxy(&id, key, &call()).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_limit_is_exact_over_two_processes() {
    const LIMIT: usize = 50;
    let world = World::new().await;
    let hosts = {
        let first = world.launch().start().await;
        let second = world.launch_beside(&first).start().await;
        [first, second].map(std::sync::Arc::new)
    };
    let integration = world.integrate(&hosts[0], json!({ "monthlyLimit": LIMIT })).await;
    let id = world.connect(&hosts[0], &integration, SARAH).await;
    let mut calls = JoinSet::new();
    for _ in 0..LIMIT {
        for host in &hosts {
            let (host, id, key) = (host.clone(), id.clone(), integration.api_key.clone());
            calls.spawn(async move { host.proxy(&id, &key, &call()).await });
        }
    }
    let answers = calls.join_all().await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((done.len(), refused.len()), (LIMIT, LIMIT));
    assert_eq!(world.count("rest_other"), LIMIT as u64);
    for answer in refused {
        let answer = answer.refused(429, "plan_limit_exceeded");
        let body = answer.json();
        assert_eq!(
            (&body["planLimit"], &body["currentUsage"]),
            (&json!(LIMIT), &json!(LIMIT)),
            "{body}"
        );
        assert!(
            body["offerings"]
                .as_array()
                .unwrap()
                .contains(&json!("salesforce/production")),
            "{body}"
        );
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    for host in &hosts {
        let usage = host
            .get("/api/v1/usage", &integration.api_key)
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&usage["calls"], &usage["limit"]),
            (&json!(LIMIT), &json!(LIMIT)),
            "{usage}"
        );
    }
    // A higher limit counts from the next call on.
    let path = format!("/api/v1/integrations/{}", integration.id);
    let more = json!({ "monthlyLimit": LIMIT + 1 });
    hosts[0]
        .admin(Method::PATCH, &path, Some(&more))
        .await
        .expect(200);
    hosts[0]
        .proxy(&id, &integration.api_key, &call())
        .await
        .expect(200);
    hosts[0]
        .proxy(&id, &integration.api_key, &call())
        .await
        .refused(429, "plan_limit_exceeded");
}
