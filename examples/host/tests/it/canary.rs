//! Secrets show up nowhere: not in logs at TRACE, not in the store's files, not in metrics, errors or histories.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::*};
use grantry_salesforce_simulator::{
    DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, InstanceFault, InstanceFaultKind, TokenFault, TokenFaultKind,
};
use reqwest::{Method, Url};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{ADMIN_KEY, APP, Answer, Browser, Host, Person, World, eventually, parameter};

/// What must not be found, by what it is.
#[derive(Default)]
struct Secrets {
    known: Vec<(&'static str, String)>,
    /// S256 of the verifiers, which are only known to the host.
    challenges: Vec<String>,
}

impl Secrets {
    fn add(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 16, "{what} is too short to look for");
        self.known.push((what, text.to_owned()));
    }

    /// The secret part of one of our keys. The rest is its name.
    fn add_key(&mut self, what: &'static str, key: &str) {
        self.add(what, key.rsplit('_').next().unwrap());
    }

    /// What a browser carries to and from the provider.
    fn add_url(&mut self, url: &Url) {
        for name in ["state", "code", "link"] {
            if let Some(value) = parameter(url, name) {
                self.add("a parameter of a browser's URL", &value);
            }
        }
        self.challenges.extend(parameter(url, "code_challenge"));
    }

    /// Fails if one of them is there.
    #[track_caller]
    fn look_into(&self, place: &str, bytes: &[u8]) {
        if let Some((what, text)) = self.find(&String::from_utf8_lossy(bytes)) {
            panic!("{what} is in {place}: {text}");
        }
    }

    /// What is there that must not be, and the text around it.
    fn find(&self, text: &str) -> Option<(&'static str, String)> {
        let found = |what: &'static str, at| Some((what, around(text, at)));
        for (what, secret) in &self.known {
            // As it is, in base64, and as the debug form of bytes.
            let bytes = format!("{:?}", secret.as_bytes());
            for form in [
                secret,
                &BASE64_STANDARD_NO_PAD.encode(secret),
                bytes.trim_matches(['[', ']']),
            ] {
                if let Some(at) = text.find(form) {
                    return found(what, at);
                }
            }
        }
        for (what, start) in [("a refresh token", "5Aep861"), ("an authorization code", "aPrx")] {
            if let Some(at) = text.find(start) {
                return found(what, at);
            }
        }
        for (at, _) in text.match_indices("00D") {
            let rest = text[at + 3..].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            let id = text.len() - at - 3 - rest.len();
            if rest.starts_with('!') && (12..=15).contains(&id) {
                return found("an access token", at);
            }
        }
        let word = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let mut words = text
            .split(|c| !word(c))
            .filter(|part| (43..=128).contains(&part.len()));
        let verifier = words.find(|part| {
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(part));
            self.challenges.contains(&challenge)
        });
        verifier.map(|verifier| ("a PKCE verifier", verifier.to_owned()))
    }
}

/// The text around a finding.
fn around(text: &str, at: usize) -> String {
    let bytes = &text.as_bytes()[at.saturating_sub(200)..text.len().min(at + 60)];
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let mut secrets = Secrets::default();
    secrets.add("the admin key", ADMIN_KEY);
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    secrets
        .challenges
        .push("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
    for text in [
        format!("key={ADMIN_KEY};"),
        BASE64_STANDARD.encode(ADMIN_KEY),
        format!("{:?}", ADMIN_KEY.as_bytes()),
        "token=5Aep861x".to_owned(),
        "?code=aPrx1".to_owned(),
        "Bearer 00D5g00000A1b2C!AQ8AQ".to_owned(),
        "Bearer 00D5g00000A1b2CEAR!AQ8AQ".to_owned(),
        format!("{{\"verifier\":\"{verifier}\"}}"),
    ] {
        assert!(secrets.find(&text).is_some(), "{text}");
        let deep = format!("\u{1f980}{}{text}", "\u{e9}".repeat(300));
        assert!(secrets.find(&deep).is_some(), "{text}");
    }
    let harmless =
        "org 00D5g00000A1b2CEAR, user 0055g00000D4e5FAAR, E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    assert_eq!(secrets.find(harmless), None);
}

#[tokio::test]
async fn no_secret_in_plain_logs() {
    through_all_of_it(&[]).await;
}

#[tokio::test]
async fn no_secret_in_json_logs() {
    through_all_of_it(&["--log-json"]).await;
}

async fn through_all_of_it(arguments: &[&str]) {
    let world = World::new().await;
    let mut launch = world.launch().variable("RUST_LOG", "trace");
    for argument in arguments {
        launch = launch.argument(argument);
    }
    let mut host = launch.start().await;
    let mut secrets = Secrets::default();
    secrets.add("the admin key", ADMIN_KEY);
    secrets.add("the client secret", DEFAULT_CLIENT_SECRET);
    secrets.add(
        "client id and secret",
        &format!("{DEFAULT_CLIENT_ID}:{DEFAULT_CLIENT_SECRET}"),
    );
    secrets.add("the master key", world.keys().split_once(':').unwrap().1);
    let mut said = Vec::new();

    let first = work(&world, &host, &mut secrets, &mut said).await;
    bad_inputs(&world, &host, &first, &mut said).await;

    // What is on the disk while it runs, and after it.
    let metrics = host
        .try_call(Method::GET, "/metrics", None, None)
        .await
        .unwrap()
        .expect(200);
    assert!(metrics.text.contains("grantry_presentations"));
    secrets.look_into("the metrics", metrics.text.as_bytes());
    for answer in &said {
        secrets.look_into("an answer", answer.text.as_bytes());
        secrets.look_into("an answer's headers", format!("{:?}", answer.headers).as_bytes());
    }
    for running in [true, false] {
        if !running {
            assert!(host.terminate().await.success());
        }
        let found = look_into_dir(&secrets, world.dir());
        assert!(found.iter().any(|name| name == "grantry.db"), "{found:?}");
        assert!(
            !running || found.iter().any(|name| name == "grantry.db-wal"),
            "{found:?}"
        );
    }
    // The logs were really written, and know what happened.
    let [_, log] = host.files();
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("TRACE") && log.contains("presenting") && log.contains("draining"),
        "{log}"
    );
    if !arguments.is_empty() {
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect(line);
        }
    }
}

/// Looks into every file. Gives their names.
fn look_into_dir(secrets: &Secrets, dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        secrets.look_into(&name, &fs::read(entry.path()).unwrap());
        names.push(name);
    }
    names
}

/// Connect, refresh, calls, faults, reconnect, disconnect. Gives a living connection and its key.
async fn work(world: &World, host: &Host, secrets: &mut Secrets, said: &mut Vec<Answer>) -> (String, String) {
    let integration = world.integrate(host, json!({ "monthlyLimit": 1000 })).await;
    let key = &integration.api_key;
    secrets.add_key("the API key", key);
    secrets.add_key("the public key", &integration.public_key);
    let keys = format!("/api/v1/integrations/{}/keys", integration.id);
    let second = host.admin(Method::POST, &keys, None).await.expect(201);
    secrets.add_key("the second API key", &second.field("key"));
    said.push(host.admin(Method::GET, &keys, None).await.expect(200));
    said.push(
        host.admin(Method::GET, "/api/v1/integrations", None)
            .await
            .expect(200),
    );
    let gone = format!("{keys}/{}", second.field("keyId"));
    said.push(host.admin(Method::DELETE, &gone, None).await.expect(204));
    said.push(
        host.get("/api/v1/connections", &second.field("key"))
            .await
            .refused(401, "key_revoked"),
    );

    let mut connect = async |url: &str, user: &str, allows: bool| {
        let person = if allows {
            Person::new(user)
        } else {
            Person::new(user).denies()
        };
        let mut browser = Browser::new();
        let mut at = Url::parse(url).unwrap();
        secrets.add_url(&at);
        let first = browser.open(&at).await.unwrap();
        let cookie = first.headers["set-cookie"].to_str().unwrap();
        secrets.add("a binding cookie", cookie.split(['=', ';']).nth(1).unwrap());
        at = first.next.unwrap();
        secrets.add_url(&at);
        let is_callback = |url: &Url| url.path().starts_with("/callback/");
        let callback = browser
            .walk(at.as_str(), &person, is_callback)
            .await
            .unwrap()
            .url();
        secrets.add_url(&callback);
        let end = browser.open(&callback).await.unwrap();
        end.next.and_then(|end| parameter(&end, "connection_id"))
    };
    let start = integration.connect_url(host, Some(APP));
    let id = connect(&start, "sarah@acme.com", true).await.unwrap();
    let other = connect(&start, "tom@acme.com", true).await.unwrap();
    assert!(connect(&start, "greta@globex.com", false).await.is_none());
    let path = format!("/api/v1/connections/{id}");
    let link = host
        .call(Method::POST, &format!("{path}/reconnect"), key, None)
        .await
        .expect(201);
    assert!(
        connect(&link.field("url"), "sarah@acme.com", true)
            .await
            .is_none()
    );
    // An exchange that fails after the code was spent.
    let broken = TokenFaultKind::Garbage {
        body: "5Aep861.garbage".to_owned(),
        content_type: "text/html".to_owned(),
    };
    world.simulator.add_token_fault(TokenFault::once(broken));
    assert!(connect(&start, "hank@globex.com", true).await.is_none());

    let call = |path: &str| json!({ "method": "GET", "path": path });
    let limits = call("/services/data/v66.0/limits");
    for round in 0..3 {
        let before = host.credentials(&id, key).await.expect(200);
        secrets.add("an access token", &before.field("accessToken"));
        let refused = before.header("etag").replace('"', "");
        if round == 0 {
            world.simulator.expire_sessions(None).unwrap();
            host.proxy(&id, key, &limits).await.expect(200);
        } else {
            host.get(&format!("{path}/credentials?refused={refused}"), key)
                .await
                .expect(200);
        }
    }
    for kind in [
        InstanceFaultKind::Unauthorized,
        InstanceFaultKind::Unavailable { html: true },
        InstanceFaultKind::Close,
        InstanceFaultKind::Redirect {
            location: "https://evil.example/".to_owned(),
            status: 302,
        },
    ] {
        world.simulator.add_instance_fault(InstanceFault::once(kind));
        said.push(host.proxy(&id, key, &limits).await);
    }
    said.push(
        host.proxy(&id, key, &call("/services/data/v66.0/nothing"))
            .await
            .expect(404),
    );
    // What the provider is told: our token and nothing of ours.
    let echo = host
        .get(&format!("{path}/proxy/services/apexrest/echo?a=1"), key)
        .await
        .expect(200);
    assert!(!echo.text.contains("grantry_api_"), "{}", echo.text);
    // Refreshes that fail: an answer that never comes, then a grant that is gone.
    let error = TokenFaultKind::Error {
        error: "server_error".to_owned(),
        error_description: "5Aep861.canary aPrx.canary".to_owned(),
        status: 500,
        retry_after: None,
    };
    world.simulator.add_token_fault(TokenFault::next_refresh(error));
    let ask = format!("/api/v1/connections/{other}/credentials?refused=1.1");
    said.push(host.get(&ask, key).await);
    world.simulator.revoke_user("hank@globex.com").unwrap();
    said.push(host.proxy(&other, key, &limits).await);
    said.push(
        host.get(&format!("/api/v1/connections/{other}/history"), key)
            .await
            .expect(200),
    );
    said.push(host.get(&format!("{path}/history"), key).await.expect(200));
    said.push(host.get(&path, key).await.expect(200));
    said.push(host.delete(&other, key).await.expect(204));
    eventually("the disconnected user's grant is revoked", || async {
        let left = world.simulator.families();
        (!left.iter().any(|family| family.username == "tom@acme.com")).then_some(())
    })
    .await;
    (id, key.clone())
}

/// Secrets where they do not belong, and requests that are wrong in every way.
async fn bad_inputs(world: &World, host: &Host, (id, key): &(String, String), said: &mut Vec<Answer>) {
    let secret = DEFAULT_CLIENT_SECRET;
    for path in [
        format!("/api/v1/connections?api_key={key}"),
        format!("/api/v1/connections?search={key}"),
        format!("/api/v1/connections?{key}=1"),
        format!("/api/v1/connections/{key}/credentials"),
        format!("/api/v1/connections/{id}/credentials?refused={key}"),
        format!("/api/v1/{key}"),
        format!("/{key}?{key}#{key}"),
        format!("/connect/{key}?public_key={key}"),
        format!("/callback/{key}?code={secret}&state={secret}"),
        format!(
            "/callback/int_1?error={secret}&error_description={secret}&state={}",
            "A".repeat(43)
        ),
        format!("/healthz?{key}"),
    ] {
        let answer = host.get(&path, key).await;
        assert!(
            answer.status >= 400 || path.starts_with("/healthz"),
            "{path}: {answer:?}"
        );
        said.push(answer);
    }
    let wrong = format!("{}0", &key[..key.len() - 1]);
    for presented in [wrong.as_str(), ADMIN_KEY, "Bearer", secret, ""] {
        said.push(host.get("/api/v1/connections", presented).await);
    }
    said.push(
        host.admin(Method::GET, &format!("/api/v1/integrations/{ADMIN_KEY}"), None)
            .await,
    );
    for body in [
        json!({ "clientSecret": secret, secret: 1 }),
        json!({ "name": secret, "offering": secret, "clientId": "x", "clientSecret": secret }),
        json!({ "name": "x", "offering": "salesforce/production", "clientId": "x", "clientSecret": [secret] }),
        json!({ "name": "x", "offering": "salesforce/production", "clientId": "x", "clientSecret": secret,
                "options": { secret: secret } }),
        json!({ "name": "x", "offering": "salesforce/production", "clientId": "x", "clientSecret": secret,
                "redirectUris": [format!("https://{secret}@x.example/")] }),
        json!(secret),
    ] {
        said.push(
            host.admin(Method::POST, "/api/v1/integrations", Some(&body))
                .await,
        );
    }
    // A client id or secret that the provider refuses.
    let draft = world
        .integrate(host, json!({ "clientSecret": format!("{secret}wrong") }))
        .await;
    let path = format!("/api/v1/integrations/{}", draft.id);
    said.push(host.admin(Method::GET, &path, None).await.expect(200));
    for call in [
        json!({ "method": secret, "path": secret }),
        json!({ "method": "GET", "path": format!("/{secret}"), "query": { "access_token": secret } }),
        json!({ "method": "GET", "path": "/x", secret: secret }),
        json!([secret]),
    ] {
        let answer = host.proxy(id, key, &call).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        said.push(answer);
    }
}
