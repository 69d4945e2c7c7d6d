//! Client authentication, revocation, introspection, identity, discovery.

use std::time::Duration;

use grantry_salesforce_simulator::{DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET};
use serde_json::{Value, json};

use crate::support::Lab;

#[tokio::test]
async fn checks_come_in_their_order() {
    let lab = Lab::start().await;
    let url = lab.login("/services/oauth2/token");
    let post = async |fields: &[(&str, &str)]| {
        let response = lab.http.post(&url).form(fields).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            response.headers()["content-type"],
            "application/json;charset=UTF-8"
        );
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        (
            status,
            body["error"].as_str().unwrap().to_owned(),
            body["error_description"].as_str().unwrap().to_owned(),
        )
    };
    let refresh = ("grant_type", "refresh_token");
    let junk = ("refresh_token", "junk");
    let answer = |error: &str, text: &str| (400, error.to_owned(), text.to_owned());
    assert_eq!(
        post(&[refresh, junk, ("client_id", "x"), ("client_secret", "x")]).await,
        answer("invalid_client_id", "client identifier invalid")
    );
    assert_eq!(
        post(&[
            refresh,
            junk,
            ("client_id", DEFAULT_CLIENT_ID),
            ("client_secret", "x")
        ])
        .await,
        answer("invalid_client", "invalid client credentials")
    );
    assert_eq!(
        post(&[refresh, junk, ("client_id", DEFAULT_CLIENT_ID)]).await,
        answer("invalid_client", "invalid client credentials")
    );
    assert_eq!(
        post(&[
            refresh,
            junk,
            ("client_id", DEFAULT_CLIENT_ID),
            ("client_secret", DEFAULT_CLIENT_SECRET)
        ])
        .await,
        answer("invalid_grant", "expired access/refresh token")
    );
    assert_eq!(
        post(&[("grant_type", "password")]).await,
        answer("unsupported_grant_type", "grant type not supported")
    );
    let get = lab.http.get(&url).send().await.unwrap();
    assert_eq!(get.status(), 400);
    let basic = lab
        .http
        .post(&url)
        .form(&[refresh, junk])
        .header("authorization", "Basic !")
        .send()
        .await
        .unwrap();
    assert!(basic.text().await.unwrap().contains("invalid_basic_auth_header"));
    let results: Vec<Value> = lab
        .simulator
        .log()
        .iter()
        .map(|entry| serde_json::to_value(entry.result).unwrap())
        .collect();
    assert_eq!(
        json!(results),
        json!([
            "client_refused",
            "client_refused",
            "client_refused",
            "unknown",
            "client_refused"
        ])
    );
}

#[tokio::test]
async fn basic_formats_and_stray_parameters_work() {
    let lab = Lab::start().await;
    let token = lab.grant().refresh;
    let url = lab.login("/services/oauth2/token?device_id=7");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("format", "urlencoded"),
    ];
    let request = lab
        .http
        .post(url)
        .basic_auth(DEFAULT_CLIENT_ID, Some(DEFAULT_CLIENT_SECRET))
        .form(&form);
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(
        text.contains("access_token=00D") && text.contains("&refresh_token=5Aep861"),
        "{text}"
    );
}

#[tokio::test]
async fn the_token_endpoint_is_on_both_hosts() {
    let lab = Lab::start().await;
    let token = lab.grant().refresh;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", DEFAULT_CLIENT_ID),
        ("client_secret", DEFAULT_CLIENT_SECRET),
    ];
    let url = lab.instance("/services/oauth2/token");
    assert_eq!(lab.http.post(url).form(&form).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn revocation_ends_tokens_and_says_when_there_is_nothing_to_end() {
    let lab = Lab::start().await;
    let url = lab.login("/services/oauth2/revoke");
    let revoke = async |token: &str| {
        lab.http
            .post(&url)
            .form(&[("token", token)])
            .send()
            .await
            .unwrap()
    };
    let tokens = lab.grant();
    let answer = revoke(&tokens.access).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "");
    assert_eq!(lab.rest_status(&tokens.access).await, 401);
    let (status, body) = lab.refresh(&tokens.refresh).await;
    assert_eq!(status, 200, "the refresh token outlives its access token");

    let refresh = body["refresh_token"].as_str().unwrap();
    let answer = lab
        .http
        .get(format!("{url}?token={refresh}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(lab.rest_status(body["access_token"].as_str().unwrap()).await, 401);
    assert_eq!(lab.refresh(refresh).await.0, 400);
    assert!(lab.simulator.families().is_empty());

    let answer = revoke(refresh).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(
        answer.headers()["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .starts_with("error=invalid_token&error_description=")
    );
    lab.simulator
        .update(|settings| settings.revoke_errors_as_json = true);
    let body: Value = revoke("nothing").await.json().await.unwrap();
    assert_eq!(body["error"], "invalid_token");
}

#[tokio::test]
async fn introspection_tells_life_and_end() {
    let lab = Lab::with(|settings| settings.session_minutes = 30).await;
    let tokens = lab.grant();
    let url = lab.login("/services/oauth2/introspect");
    let introspect = async |token: &str| -> Value {
        let request = lab
            .http
            .post(&url)
            .basic_auth(DEFAULT_CLIENT_ID, Some(DEFAULT_CLIENT_SECRET));
        request
            .form(&[("token", token)])
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let body = introspect(&tokens.access).await;
    assert_eq!(body["active"], true);
    assert_eq!(body["username"], "sarah@acme.com");
    assert_eq!(body["token_type"], "access_token");
    assert_eq!(
        body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap(),
        1800
    );
    assert_eq!(body["nbf"], body["iat"]);
    assert_eq!(introspect(&tokens.refresh).await["token_type"], "refresh_token");
    lab.simulator.advance(Duration::from_secs(30 * 60));
    assert_eq!(introspect(&tokens.access).await, json!({ "active": false }));
    let refused = lab.http.post(&url).form(&[("token", "x")]).send().await.unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn identity_is_told_to_living_tokens_only() {
    let lab = Lab::start().await;
    let access = lab.grant_to("sarah@acme.com.uat").access;
    let get = async |url: String, token: &str| {
        let response = lab.http.get(url).bearer_auth(token).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = get(lab.login("/services/oauth2/userinfo"), &access).await;
    assert_eq!(status, 200);
    let info: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(info["preferred_username"], "sarah@acme.com.uat");
    assert_eq!(info["email"], "sarah@acme.com");
    assert_eq!(info["urls"]["custom_domain"], lab.simulator.instance_url());
    assert_eq!(info["utcOffset"], -28_800_000);
    let id = info["sub"].as_str().unwrap().to_owned();
    let (status, text) = get(format!("{id}?version=latest"), &access).await;
    assert_eq!(status, 200);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&told["id"], &told["organization_id"]),
        (&info["sub"], &info["organization_id"])
    );
    assert!(!told["urls"]["rest"].as_str().unwrap().contains("{version}"));
    for url in [lab.login("/services/oauth2/userinfo"), id] {
        assert_eq!(
            get(url, "00Dnothing!here").await,
            (403, "Bad_OAuth_Token".to_owned())
        );
    }
    let (status, text) = get(lab.login("/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR"), &access).await;
    assert_eq!((status, text.as_str()), (403, "Wrong_Org"));
}

#[tokio::test]
async fn discovery_leads_to_the_endpoints() {
    let lab = Lab::start().await;
    let url = lab.login("/.well-known/openid-configuration");
    let body: Value = lab.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(body["issuer"], lab.simulator.login_url());
    let keys: Value = lab
        .http
        .get(body["jwks_uri"].as_str().unwrap())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(keys["keys"][0]["alg"], "RS256");
    assert_eq!(
        lab.http.get(lab.login("/nowhere")).send().await.unwrap().status(),
        404
    );
}
