//! Login, consent, codes and PKCE.

use std::time::Duration;

use grantry_salesforce_simulator::{Client, DEFAULT_PASSWORD};

use crate::support::{CALLBACK, Lab, VERIFIER, query};

const SARAH: &str = "sarah@acme.com";

#[tokio::test]
async fn the_whole_flow_gives_tokens() {
    let lab = Lab::start().await;
    let mut browser = lab.browser();
    let login = browser.get(&lab.authorize_url(&[])).await.next();
    assert!(login.starts_with("/login?flow="));
    let page = browser.log_in(&login, SARAH, "wrong").await;
    assert!(page.status == 200 && page.text.contains("Check your username"));
    let consent = browser.log_in(&login, SARAH, DEFAULT_PASSWORD).await.next();
    assert!(consent.starts_with("/consent?flow="));
    let callback = browser.decide(&consent, "allow").await.next();
    let answer = query(&callback);
    assert!(callback.starts_with("http://localhost:8080/callback?code=aPrx"));
    assert!(callback.contains("%3D%3D&state=s+1"));

    let (status, body) = lab.exchange(&answer["code"], Some(VERIFIER)).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body["access_token"]
            .as_str()
            .unwrap()
            .starts_with("00D5g00000A1b2C!")
    );
    assert!(body["refresh_token"].as_str().unwrap().starts_with("5Aep861"));
    assert_eq!(body["instance_url"], lab.simulator.instance_url());
    assert_eq!(body["scope"], "api refresh_token id");
    assert_eq!(body["id"], lab.login("/id/00D5g00000A1b2CEAR/0055g00000D4e5FAAR"));
    assert_eq!(body["issued_at"].as_str().unwrap().len(), 13);
    assert_eq!(body["signature"].as_str().unwrap().len(), 44);
    assert!(body.get("id_token").is_none() && body.get("expires_in").is_none());

    // The browser is logged in and has allowed the client: the next flow needs no page.
    let again = browser.get(&lab.authorize_url(&[])).await.next();
    assert!(again.starts_with(CALLBACK));
    lab.simulator.shutdown().await;
}

#[tokio::test]
async fn prompts_bring_the_pages_back() {
    let lab = Lab::start().await;
    let mut browser = lab.browser();
    let login = browser.get(&lab.authorize_url(&[])).await.next();
    let consent = browser.log_in(&login, SARAH, DEFAULT_PASSWORD).await.next();
    browser.decide(&consent, "allow").await.next();

    let login = browser
        .get(&lab.authorize_url(&[("prompt", Some("login consent"))]))
        .await
        .next();
    assert!(login.starts_with("/login"));
    let consent = browser.log_in(&login, SARAH, DEFAULT_PASSWORD).await.next();
    assert!(consent.starts_with("/consent"));

    let select = browser
        .get(&lab.authorize_url(&[("prompt", Some("select_account"))]))
        .await
        .next();
    assert!(select.starts_with("/select"));
    assert!(browser.choose(&select, "this").await.next().starts_with(CALLBACK));
    let select = browser
        .get(&lab.authorize_url(&[("prompt", Some("select_account"))]))
        .await
        .next();
    let login = browser.choose(&select, "other").await.next();
    let consent = browser
        .log_in(&login, "tom@acme.com", DEFAULT_PASSWORD)
        .await
        .next();
    assert!(consent.starts_with("/consent"), "tom has allowed nothing yet");
    let refused = browser
        .get(&lab.authorize_url(&[("immediate", Some("true")), ("prompt", Some("consent"))]))
        .await;
    assert_eq!(query(&refused.next())["error"], "immediate_unsuccessful");
}

#[tokio::test]
async fn a_denial_goes_back_with_its_state() {
    let lab = Lab::start().await;
    let mut browser = lab.browser();
    let login = browser.get(&lab.authorize_url(&[])).await.next();
    let consent = browser.log_in(&login, SARAH, DEFAULT_PASSWORD).await.next();
    let answer = query(&browser.decide(&consent, "deny").await.next());
    assert_eq!(answer["error"], "access_denied");
    assert_eq!(answer["error_description"], "end-user denied authorization");
    assert_eq!(answer["state"], "s 1");
    assert_eq!(browser.get(&consent).await.status, 400, "the flow is over");
}

#[tokio::test]
async fn errors_before_the_login_stay_on_the_host() {
    let lab = Lab::with(|settings| settings.pkce_required = true).await;
    for (changes, error, description) in [
        (
            ("client_id", Some("nobody")),
            "invalid_client_id",
            "client+identifier+invalid",
        ),
        (
            ("redirect_uri", Some("http://localhost:8080/callback/")),
            "redirect_uri_mismatch",
            "redirect_uri+must+match",
        ),
        (("redirect_uri", None), "redirect_uri_missing", "redirect_uri"),
        (
            ("code_challenge", None),
            "invalid_request",
            "missing+required+code+challenge",
        ),
        (
            ("code_challenge_method", Some("plain")),
            "invalid_request",
            "code+challenge+method",
        ),
        (
            ("code_challenge", Some("short")),
            "invalid_request",
            "invalid+code+challenge",
        ),
    ] {
        let page = lab.browser().get(&lab.authorize_url(&[changes])).await;
        assert_eq!(
            (page.status, page.location.as_deref()),
            (400, None),
            "{changes:?}"
        );
        assert_eq!(page.content_type, "application/x-www-form-urlencoded");
        assert!(
            page.text
                .starts_with(&format!("error={error}&error_description={description}")),
            "{}",
            page.text
        );
    }
}

#[tokio::test]
async fn later_errors_go_to_the_client() {
    let lab = Lab::start().await;
    for (changes, error) in [
        (("response_type", Some("token")), "unsupported_response_type"),
        (("scope", Some("api no-such-scope")), "invalid_scope"),
    ] {
        let page = lab.browser().get(&lab.authorize_url(&[changes])).await;
        assert_eq!(query(&page.next())["error"], error);
    }
    let url = lab.authorize_url(&[("scope", Some("api pardot_api"))]);
    assert_eq!(
        lab.connect(SARAH, &url).await["error"],
        "OAUTH_APPROVAL_ERROR_GENERIC"
    );
}

#[tokio::test]
async fn pkce_is_checked() {
    let lab = Lab::start().await;
    let (status, body) = lab.exchange(&lab.code().await, Some("wrong")).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_request")));
    let (status, body) = lab.exchange(&lab.code().await, None).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")));

    // Without a method, the challenge counts as S256; and a verifier may be longer than 128 characters.
    let long = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".repeat(4);
    let url = lab.authorize_url(&[("code_challenge_method", None)]);
    let code = lab.connect(SARAH, &url).await.remove("code").unwrap();
    assert_eq!(lab.exchange(&code, Some(VERIFIER)).await.0, 200);
    let challenge = "tXHezdhil-4fofjqn7jlTWrunYTrn7q7DhUTA6guAVU";
    let url = lab.authorize_url(&[("code_challenge", Some(challenge))]);
    let code = lab.connect(SARAH, &url).await.remove("code").unwrap();
    let (status, body) = lab.exchange(&code, Some(&long)).await;
    assert_eq!(status, 200, "{body}");

    // No challenge, no verifier: fine as long as PKCE is not required.
    let url = lab.authorize_url(&[("code_challenge", None), ("code_challenge_method", None)]);
    let code = lab.connect(SARAH, &url).await.remove("code").unwrap();
    assert_eq!(lab.exchange(&code, None).await.0, 200);
}

#[tokio::test]
async fn codes_are_good_once_and_for_15_minutes() {
    let lab = Lab::start().await;
    let code = lab.code().await;
    assert_eq!(lab.exchange(&code, Some(VERIFIER)).await.0, 200);
    let (status, body) = lab.exchange(&code, Some(VERIFIER)).await;
    assert_eq!(
        (status, body["error_description"].as_str()),
        (400, Some("expired authorization code"))
    );

    let code = lab.code().await;
    lab.simulator.advance(Duration::from_secs(15 * 60));
    let (_, body) = lab.exchange(&code, Some(VERIFIER)).await;
    assert_eq!(body["error_description"], "expired authorization code");
    let (_, body) = lab.exchange("aPrxNobody==", Some(VERIFIER)).await;
    assert_eq!(body["error_description"], "invalid authorization code");

    let code = lab.code().await;
    let (one, other) = tokio::join!(
        lab.exchange(&code, Some(VERIFIER)),
        lab.exchange(&code, Some(VERIFIER))
    );
    assert_eq!(one.0.min(other.0), 200);
    assert_eq!(one.0.max(other.0), 400);
}

#[tokio::test]
async fn a_code_belongs_to_its_client_and_callback() {
    let lab = Lab::start().await;
    let other = Client {
        client_id: "other".into(),
        client_secret: "s".into(),
        ..Client::default()
    };
    lab.simulator.register_client(other);
    let code = lab.code().await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
    ];
    let request = lab.http.post(lab.login("/services/oauth2/token")).form(&form);
    let body = request
        .basic_auth("other", Some("s"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(body.contains("invalid authorization code"), "{body}");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "http://elsewhere/"),
    ];
    assert_eq!(lab.token(&form).await.1["error"], "redirect_uri_mismatch");
}

#[tokio::test]
async fn an_id_token_comes_with_openid_only() {
    let lab = Lab::start().await;
    let url = lab.authorize_url(&[("scope", Some("openid api")), ("nonce", Some("n1"))]);
    let code = lab.connect(SARAH, &url).await.remove("code").unwrap();
    let (_, body) = lab.exchange(&code, Some(VERIFIER)).await;
    assert_eq!(body["id_token"].as_str().unwrap().split('.').count(), 3);
    assert!(
        body.get("refresh_token").is_none(),
        "refresh_token was not asked for"
    );
    let url = lab.authorize_url(&[("scope", None)]);
    let code = lab.connect(SARAH, &url).await.remove("code").unwrap();
    let (_, body) = lab.exchange(&code, Some(VERIFIER)).await;
    assert!(
        body["scope"].as_str().unwrap().contains("refresh_token"),
        "no scope means all of the app's"
    );
    assert!(body["refresh_token"].is_string() && body["id_token"].is_string());
}

#[tokio::test]
async fn deactivated_users_cannot_log_in() {
    let lab = Lab::start().await;
    lab.simulator.set_active(SARAH, false).unwrap();
    let mut browser = lab.browser();
    let login = browser.get(&lab.authorize_url(&[])).await.next();
    assert_eq!(browser.log_in(&login, SARAH, DEFAULT_PASSWORD).await.status, 200);
    assert_eq!(lab.simulator.counters()["login"], 1);
}
