//! The published Python client, unchanged, does everything that its README and the service's guide show.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use grantry_salesforce_simulator::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Host, Integration, World};

const LIMIT: u64 = 2;

/// The interpreter that has the client. The test fails without one: it would prove nothing.
fn python() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python-client/bin/python");
    let python = std::env::var_os("GRANTRY_TEST_PYTHON").map_or(beside, PathBuf::from);
    assert!(
        python.exists(),
        "there is no {}: run ./test.sh, which makes it, or set GRANTRY_TEST_PYTHON to a Python that has \
         appnigma-integrations-client 0.1.3",
        python.display()
    );
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_client_works_unchanged() {
    let python = python();
    let world = World::with(Config {
        extra_users: 40,
        ..Config::default()
    })
    .await;
    let host = world.launch().start().await;
    let main = world.integrate(&host, json!({})).await;
    // Its connections stand in every state that there is.
    let mixed = world
        .integrate(&host, json!({ "offering": "salesforce/sandbox" }))
        .await;
    let limited = world.integrate(&host, json!({ "monthlyLimit": LIMIT })).await;

    let mut ids = Vec::new();
    for n in 1..=24 {
        ids.push(world.connect(&host, &main, &format!("user{n}@acme.com")).await);
    }
    ids.push(world.connect(&host, &main, "tom@acme.com").await);
    ids.push(world.connect(&host, &main, "sarah@acme.com").await);
    let mixed_ids = every_state(&world, &host, &mixed).await;
    let input = json!({
        "baseUrl": host.base_url,
        "instanceUrl": world.simulator.instance_url(),
        "integrationId": main.id,
        "apiKey": main.api_key,
        "publicKey": main.public_key,
        "connectionIds": ids,
        "sarah": ids.last(),
        "revokedKey": revoked_key(&host, &main).await,
        "foreignKey": foreign_key().await,
        "mixed": mixed_ids,
        "limited": {
            "apiKey": limited.api_key,
            "limit": LIMIT,
            "connectionId": world.connect(&host, &limited, "greta@globex.com").await,
        },
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python_client.py");
    let log = world.dir().join("python.log");
    let said = tokio::task::spawn_blocking(move || run(&python, &script, &log, &input))
        .await
        .unwrap();
    assert!(said.ends_with("all done\n"), "{said}");
}

/// Runs the script. Gives what it said, errors included.
fn run(python: &Path, script: &Path, log: &Path, input: &Value) -> String {
    let out = fs::File::create(log).unwrap();
    let mut child = Command::new(python)
        .args(["-I", "-X", "dev", "-W", "error::ResourceWarning"])
        .arg(script)
        .env_remove("APPNIGMA_API_KEY")
        .stdin(Stdio::piped())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    let ended = child.wait().unwrap();
    let said = fs::read_to_string(log).unwrap();
    assert!(ended.success(), "{said}");
    said
}

/// Four connections: connected, expired, revoked and deleted.
async fn every_state(world: &World, host: &Host, integration: &Integration) -> Value {
    let key = &integration.api_key;
    let connected = world.connect(host, integration, "sarah@acme.com.uat").await;
    let expired = world.connect(host, integration, "tom@acme.com.uat").await;
    let etag = host
        .credentials(&expired, key)
        .await
        .expect(200)
        .header("etag")
        .to_owned();
    world.simulator.revoke_user("tom@acme.com.uat").unwrap();
    let again = format!(
        "/api/v1/connections/{expired}/credentials?refused={}",
        etag.trim_matches('"')
    );
    host.get(&again, key).await.refused(401, "connection_expired");
    // A reconnect of that user brings a new grant; the expired one stays.
    let revoked = world.connect(host, integration, "tom@acme.com.uat").await;
    world
        .broker(host)
        .await
        .connection(&revoked.parse().unwrap())
        .revoke()
        .await
        .unwrap();
    let deleted = world.connect(host, integration, "tom@acme.com.uat").await;
    host.delete(&deleted, key).await.expect(204);
    json!({
        "integrationId": integration.id, "apiKey": key,
        "connected": connected, "expired": expired, "revoked": revoked, "deleted": deleted,
    })
}

/// A key that served and was revoked.
async fn revoked_key(host: &Host, integration: &Integration) -> String {
    let keys = format!("/api/v1/integrations/{}/keys", integration.id);
    let key = host.admin(Method::POST, &keys, None).await.expect(201);
    host.get("/api/v1/connections", &key.field("key"))
        .await
        .expect(200);
    host.admin(Method::DELETE, &format!("{keys}/{}", key.field("keyId")), None)
        .await
        .expect(204);
    key.field("key")
}

/// A good key of another store.
async fn foreign_key() -> String {
    let elsewhere = World::new().await;
    let host = elsewhere.launch().start().await;
    elsewhere.integrate(&host, json!({})).await.api_key
}
