//! No public type prints the secret that it holds.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::sync::{Arc, Mutex};

use grantry::{
    NewIntegration,
    connect::Binding,
    connection::{Credentials, GrantVersion},
    id::{IntegrationId, KeyId},
    integration::{Client, Environment, Offering, Options},
    provider::{CodeExchange, Expiry, TokenSet},
    secret::{Secret, SecretBytes},
    store::{KeyKind, KeyRow},
    testing::{Callback, Pkce, PresentedKey, State},
    time::Timestamp,
    transport::HttpTransport,
    vault::{Keyring, Mac},
};

/// Stands for every secret.
const CANARY: &str = "CANARY-c4n4ry-CANARY";

fn secret() -> Secret {
    Secret::new(CANARY)
}

#[track_caller]
fn assert_silent(value: &impl std::fmt::Debug, secret: &str) {
    let bytes = format!("{:?}", secret.as_bytes());
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.contains(secret), "{text}");
        assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
    }
}

#[test]
fn values() {
    assert_silent(&secret(), CANARY);
    assert_silent(&Some(vec![secret()]), CANARY);
    assert_silent(&SecretBytes::new(CANARY.into()), CANARY);
    assert_silent(&Binding::new(CANARY), CANARY);
}

#[test]
fn tokens() {
    let set = TokenSet {
        access_token: secret(),
        refresh_token: Some(secret()),
        instance_url: None,
        scopes: None,
        expiry: Expiry::Known(Timestamp(0)),
        subject: None,
    };
    assert_silent(&set, CANARY);
    let environment = Environment::PRODUCTION;
    let (set, never) = (GrantVersion::default(), Timestamp(0));
    let credentials =
        Credentials::new(secret(), String::new(), environment, String::new(), never, set).unwrap();
    assert_silent(&credentials, CANARY);
}

#[test]
fn clients() {
    let (integration, options) = (IntegrationId::generate(), Options::new());
    let offering = Offering {
        id: String::new(),
        provider: String::new(),
        environment: Environment::SANDBOX,
        label: String::new(),
        required_scopes: Vec::new(),
        optional_scopes: Vec::new(),
    };
    let client = Client {
        integration: &integration,
        offering: &offering,
        client_id: "id",
        client_secret: &secret(),
        scopes: &[],
        callback_url: "",
        options: &options,
        allow_loopback: false,
    };
    assert_silent(&client, CANARY);
    let new = NewIntegration::new("", "", "", secret());
    assert_silent(&new, CANARY);
}

#[test]
fn connecting() {
    let exchange = CodeExchange {
        code: &secret(),
        code_verifier: &secret(),
        now: Timestamp(0),
    };
    assert_silent(&exchange, CANARY);
    let pkce = Pkce::generate().unwrap();
    assert_silent(&pkce, pkce.verifier.expose());
    let state = State::generate().unwrap();
    assert_silent(&state, state.expose());

    let query = format!("state={}&code={CANARY}", state.expose());
    let callback = Callback::parse(&query).unwrap();
    assert_silent(&callback, CANARY);
    assert_silent(&callback, state.expose());
    let query = format!("state={}&error={CANARY}", state.expose());
    let callback = Callback::parse(&query).unwrap();
    assert_silent(&callback, CANARY);
    assert_silent(&callback, state.expose());
    // Refusals name no input.
    for query in [
        format!("state={CANARY}&code={CANARY}"),
        format!("code={CANARY}&code={CANARY}"),
    ] {
        assert_silent(&Callback::parse(&query).unwrap_err(), CANARY);
    }
}

#[test]
fn keys() {
    // Its checksum is right, which PresentedKey::parse would otherwise tell.
    let text = "grantry_api_0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq4dGAx0";
    let key = PresentedKey::parse(text).unwrap();
    assert_silent(&key, "ABCDEFGHIJ");
    assert_silent(&PresentedKey::parse(CANARY).unwrap_err(), CANARY);

    let digest = *b"CANARYCANARYCANARYCANARYCANARYCA";
    let mac = Mac {
        key: "k1".into(),
        digest,
    };
    assert_silent(&mac, "CANARYCANARYCANARYCANARYCANARYCA");
    // The stored row shows its digest, which opens nothing without the vault's key; but never the key's text.
    let row = KeyRow {
        id: KeyId::generate(),
        kind: KeyKind::Api,
        integration: None,
        digest,
        digest_key: "k1".into(),
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    };
    assert_silent(&row, "ABCDEFGHIJ");
}

#[test]
fn keyrings() {
    let line = Keyring::generate().unwrap();
    let (_, key) = line.expose().split_once(':').unwrap();
    assert_silent(&line, key);
    assert_silent(&Keyring::parse(&line).unwrap(), key);
    for wrong in [
        format!("{key}:k1"),
        format!("k1:{key}A"),
        format!("k1:{key},k2:{key}"),
        format!("k1:!{key}"),
    ] {
        let error = Keyring::parse(&Secret::new(wrong)).unwrap_err();
        assert_silent(&error, key);
        assert!(!error.to_string().contains(key), "{error}");
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a transport says about a failure holds nothing of the request, and the log has its cause.
#[tokio::test]
async fn failures() {
    use grantry::provider::Transport as _;

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _logs = tracing::subscriber::set_default(subscriber.finish());
    let transport = HttpTransport::builder().allow_loopback(true).build().unwrap();
    assert_silent(&transport, CANARY);
    let targets = [
        format!("https://{CANARY}.invalid/{CANARY}?{CANARY}"),
        format!("http://{CANARY}/"),
        format!("http://127.0.0.1:1/{CANARY}?token={CANARY}"),
    ];
    for target in targets {
        let request = http::Request::post(&target).header("authorization", CANARY);
        let error = transport
            .send(request.body(CANARY.into()).unwrap())
            .await
            .unwrap_err();
        assert_silent(&error, CANARY);
        assert!(!error.to_string().contains(CANARY), "{error}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for cause in ["the name does not resolve", "refused"] {
        assert!(log.contains(cause), "{log}");
    }
    assert!(!log.contains(CANARY), "{log}");
}
