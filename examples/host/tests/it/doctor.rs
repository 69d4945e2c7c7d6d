//! `grantry-host doctor`, beside a running service, on the traps that people fall into; and freezing over two processes.

use std::process::{Output, Stdio};

use grantry_salesforce_simulator::{Config, Settings};
use reqwest::Method;
use serde_json::json;

use crate::support::{Host, World, command, eventually};

/// What the doctor says, and whether it is content. The simulator, which lives in this thread, must go on meanwhile.
async fn doctor(world: &World) -> (bool, String) {
    let store = format!("sqlite:{}", world.dir().join("grantry.db").display());
    let mut command = command();
    command
        .args(["doctor", "--allow-loopback-upstream", "--store", &store])
        .env("GRANTRY_KEYS", world.keys())
        .stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = run.await.unwrap().unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.success(), text)
}

#[tokio::test]
async fn a_sound_store_needs_nothing_and_nothing_is_touched() {
    let world = World::new().await;
    let host = world.launch().start().await;
    let integration = world.integrate(&host, json!({})).await;
    world.connect(&host, &integration, "sarah@acme.com").await;
    let (well, said) = doctor(&world).await;
    assert!(well, "{said}");
    assert!(said.contains("Nothing needs to be done."), "{said}");
    assert!(said.contains("sealed 1 connections"), "{said}");
    assert!(world.presentations().is_empty());
}

#[tokio::test]
async fn a_policy_that_ends_every_grant_is_recognised() {
    // The app's policy is "immediately expire refresh token".
    let settings = Settings {
        refresh_lifetime_days: Some(0),
        ..Settings::default()
    };
    let world = World::with(Config {
        settings,
        ..Config::default()
    })
    .await;
    let host = world.launch().start().await;
    let integration = world.integrate(&host, json!({})).await;
    let id = world.connect(&host, &integration, "sarah@acme.com").await;
    world.simulator.expire_sessions(None).unwrap();
    let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
    host.proxy(&id, &integration.api_key, &call)
        .await
        .refused(401, "connection_expired");
    let (well, said) = doctor(&world).await;
    assert!(!well);
    assert!(said.contains("refresh_policy_immediate (integration"), "{said}");
    assert!(said.contains(&id), "{said}");
    assert!(said.contains("expired: 1 connections."), "{said}");
    let health = host
        .admin(Method::GET, "/api/v1/health", None)
        .await
        .expect(200)
        .json();
    assert_eq!(health["expired"]["items"][0]["connectionId"], json!(id));
}

#[tokio::test]
async fn five_approvals_of_one_user_are_counted() {
    let settings = Settings {
        max_approvals: 50,
        ..Settings::default()
    };
    let world = World::with(Config {
        settings,
        ..Config::default()
    })
    .await;
    let host = world.launch().start().await;
    let integration = world.integrate(&host, json!({})).await;
    for _ in 0..6 {
        world.connect(&host, &integration, "sarah@acme.com").await;
    }
    let (well, said) = doctor(&world).await;
    assert!(!well);
    assert!(said.contains("approvals_exhausted"), "{said}");
    assert!(said.contains("6 connections: "), "{said}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let world = World::new().await;
    let (well, said) = doctor(&world).await;
    assert!(!well && said.contains("store_missing"), "{said}");
    assert!(!world.dir().join("grantry.db").exists());
}

#[tokio::test]
async fn a_freeze_survives_the_process_that_was_asked_for_it() {
    let world = World::new().await;
    let host = world.launch().start().await;
    let integration = world.integrate(&host, json!({})).await;
    let mut ids = Vec::new();
    for user in ["sarah@acme.com", "tom@acme.com", "greta@globex.com"] {
        ids.push(world.connect(&host, &integration, user).await);
    }
    let beside: Host = world.launch_beside(&host).start().await;
    beside
        .credentials(&ids[0], &integration.api_key)
        .await
        .expect(200);
    let path = format!("/api/v1/integrations/{}/freeze", integration.id);
    host.admin(Method::POST, &path, Some(&json!({ "reason": "a key leaked" })))
        .await
        .expect(200);
    host.signal(rustix::process::Signal::KILL);
    eventually("nothing is served in the other process", || async {
        let answer = beside.credentials(&ids[0], &integration.api_key).await;
        (answer.status == 403).then(|| answer.refused(403, "integration_frozen"))
    })
    .await;
    eventually("every grant is revoked at the provider", || async {
        world.simulator.families().is_empty().then_some(())
    })
    .await;
    let (well, said) = doctor(&world).await;
    assert!(well, "{said}");
    assert!(said.contains("is frozen: a key leaked"), "{said}");
}
