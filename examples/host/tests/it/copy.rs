//! `grantry-host copy`, while services run on both stores. The simulator's log is the judge: no token is presented twice.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use grantry::{
    connection::Status,
    id::IntegrationId,
    store::{ConnectionFilter, ConnectionStore as _, StatusFilter},
};
use grantry_redis_servers::Server;
use grantry_salesforce_simulator::{Config, Outcome};
use grantry_store_sqlite::SqliteStore;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Host, Integration, World, blocking, command, ended_with, eventually, signal};

const USERS: usize = 24;

async fn world() -> World {
    World::with(Config {
        extra_users: USERS,
        ..Config::default()
    })
    .await
}

async fn connect_all(world: &World, host: &Host, integration: &Integration) -> Vec<String> {
    let mut ids = Vec::new();
    for user in 1..=USERS {
        let username = format!("user{user}@acme.com");
        ids.push(world.connect(host, integration, &username).await);
    }
    ids
}

fn sqlite(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

/// A copy that runs. Addresses are given as arguments or, since they may have passwords, in the environment.
fn spawn(from: &str, to: &str) -> Child {
    let mut command = command();
    command
        .args(["copy", "--from", from])
        .env("GRANTRY_COPY_TO", to)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Whether it succeeded, and what it said. The simulator, which lives in this thread, must go on meanwhile.
async fn said(copy: Child) -> (bool, String) {
    let run = tokio::task::spawn_blocking(move || copy.wait_with_output());
    let Output {
        status,
        stdout,
        stderr,
    } = run.await.unwrap().unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.success(), text)
}

async fn copy(from: &str, to: &str) -> String {
    let (well, text) = said(spawn(from, to)).await;
    assert!(well, "{text}");
    text
}

/// Has the tokens of a connection refreshed. Gives the status, and the code of an error.
async fn refresh(host: &Host, id: &str, key: &str) -> (u16, String) {
    let before = host.credentials(id, key).await;
    if before.status != 200 {
        return (before.status, before.field("error"));
    }
    let refused = before.header("etag").replace('"', "");
    let path = format!("/api/v1/connections/{id}/credentials?refused={refused}");
    let after = host.get(&path, key).await;
    let code = if after.status == 200 {
        assert_ne!(after.field("accessToken"), before.field("accessToken"));
        String::new()
    } else {
        after.field("error")
    };
    (after.status, code)
}

/// Refreshes connections on the host until it says that its store was moved.
fn hammer(host: &Arc<Host>, ids: &[String], key: &str) -> JoinSet<usize> {
    let mut workers = JoinSet::new();
    for part in ids.chunks(ids.len() / 4) {
        let (host, part, key) = (host.clone(), part.to_vec(), key.to_owned());
        workers.spawn(async move {
            let mut refreshed = 0;
            for id in part.iter().cycle() {
                match refresh(&host, id, &key).await {
                    (200, _) => refreshed += 1,
                    (503, code) if code == "store_moved" => return refreshed,
                    (status, code) => panic!("{status} {code}"),
                }
            }
            refreshed
        });
    }
    workers
}

/// Every token was presented once, and every grant lives.
#[track_caller]
fn judge(world: &World) {
    let log = world.presentations();
    for entry in &log {
        assert_eq!(entry.result, Outcome::Granted, "{entry:?}");
        assert!(!entry.in_flight_overlap, "{entry:?}");
    }
    let different: BTreeSet<_> = log.iter().map(|entry| &entry.token_fingerprint).collect();
    assert_eq!(log.len(), different.len());
    assert_eq!(world.simulator.families().len(), USERS);
}

/// Each connection is refreshed once on this host, and its tokens work.
async fn refresh_all(host: &Host, ids: &[String], key: &str) {
    let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
    for id in ids {
        assert_eq!(refresh(host, id, key).await, (200, String::new()));
        host.proxy(id, key, &call).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_moves_to_redis_and_back_while_it_runs() {
    let (world, redis) = (world().await, blocking(|| Server::start(&[])));
    let file = sqlite(&world.dir().join("grantry.db"));
    let host = Arc::new(world.launch().start().await);
    let integration = world.integrate(&host, json!({})).await;
    let key = &integration.api_key;
    let ids = connect_all(&world, &host, &integration).await;
    let gone = world.connect(&host, &integration, "sarah@acme.com").await;
    host.delete(&gone, key).await.expect(204);

    let workers = hammer(&host, &ids, key);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let text = copy(&file, &redis.address()).await;
    assert!(
        text.contains("copied: 1 integrations, 2 keys, 25 connections; this run moved 25"),
        "{text}"
    );
    let refreshed: usize = workers.join_all().await.into_iter().sum();
    assert!(refreshed > 0);
    eventually("the deleted connection's grant is revoked", || async {
        (world.simulator.families().len() == USERS).then_some(())
    })
    .await;
    judge(&world);

    // The source says so, to callers, to the doctor, and when it is started again.
    let admin = host
        .admin(Method::GET, "/api/v1/health", None)
        .await
        .expect(200)
        .json();
    assert_eq!(admin["integrations"][0]["reason"], "store_moved", "{admin}");
    let list = host.get("/api/v1/connections", key).await;
    list.refused(503, "store_moved");
    let beside = world.launch_beside(&host).try_start().await;
    let Err(refused) = beside else {
        panic!("it started")
    };
    assert!(refused.contains("store_moved: "), "{refused}");
    let mut doctor = command();
    doctor
        .args(["doctor", "--allow-loopback-upstream", "--store", &file])
        .env("GRANTRY_KEYS", world.keys());
    let doctor = tokio::task::spawn_blocking(move || doctor.output())
        .await
        .unwrap()
        .unwrap();
    let doctor = (doctor.status.success(), String::from_utf8(doctor.stdout).unwrap());
    assert!(
        !doctor.0 && doctor.1.contains("store_moved (integration"),
        "{doctor:?}"
    );

    // A host on the target goes on, with the same keys of the API.
    let there = world.launch_beside(&host).store(&redis.address()).start().await;
    let there = Arc::new(there);
    refresh_all(&there, &ids, key).await;
    assert_eq!(there.credentials(&gone, key).await.status, 404);
    judge(&world);
    let presented = world.presentations().len();
    assert_eq!(presented, refreshed + USERS);

    // And back, while the old host still runs.
    let workers = hammer(&there, &ids, key);
    tokio::time::sleep(Duration::from_millis(300)).await;
    copy(&redis.address(), &file).await;
    let refreshed: usize = workers.join_all().await.into_iter().sum();
    eventually("the old host serves again", || async {
        (host.credentials(&ids[0], key).await.status == 200).then_some(())
    })
    .await;
    refresh_all(&host, &ids, key).await;
    assert_eq!(
        refresh(&there, &ids[0], key).await,
        (503, "store_moved".to_owned())
    );
    judge(&world);
    assert_eq!(world.presentations().len(), presented + refreshed + USERS);
}

/// How many rows of the source read as deleted: those that were moved.
async fn moved(world: &World, integration: &IntegrationId) -> usize {
    let store = SqliteStore::open(world.dir().join("grantry.db")).await.unwrap();
    let filter = ConnectionFilter::of(integration, StatusFilter::Only(Status::Deleted));
    let page = store.list_connections(&filter, None, 1000).await.unwrap();
    store.close().await;
    page.items.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_killed_in_the_middle_goes_on() {
    let world = world().await;
    let [file, new, third] =
        ["grantry", "new", "third"].map(|name| sqlite(&world.dir().join(name).with_extension("db")));
    let host = Arc::new(world.launch().start().await);
    let integration = world.integrate(&host, json!({})).await;
    let key = integration.api_key.clone();
    let id: IntegrationId = integration.id.parse().unwrap();
    let ids = connect_all(&world, &host, &integration).await;
    // One refresh takes long, so that the copy has something to wait for.
    world
        .simulator
        .update(|settings| settings.token_latency_ms = 6000);
    let asked = world.count("token_refresh_token");
    let mut slow = JoinSet::new();
    let (on, first, with) = (host.clone(), ids[0].clone(), key.clone());
    slow.spawn(async move { refresh(&on, &first, &with).await });
    eventually("a token is presented", || async {
        (world.count("token_refresh_token") > asked).then_some(())
    })
    .await;
    for which in [Signal::KILL, Signal::KILL, Signal::TERM] {
        let mut child = spawn(&file, &new);
        eventually("something is moved", || async {
            (moved(&world, &id).await > 0).then_some(())
        })
        .await;
        if which == Signal::TERM {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        signal(&child, which);
        ended_with(&mut child).await;
        let (well, text) = said(child).await;
        assert!(!well, "{text}");
        assert!(which == Signal::KILL || text.contains("copy_stopped: "), "{text}");
        assert!(moved(&world, &id).await < USERS, "it was not in the middle");
    }
    // It waits for the one that is under way.
    let text = copy(&file, &new).await;
    assert!(text.contains(&format!("{USERS} connections")), "{text}");
    for (status, code) in slow.join_all().await {
        assert!(status == 200 || code == "store_moved", "{status} {code}");
    }
    let (well, text) = said(spawn(&file, &third)).await;
    assert!(!well && text.contains("copy_other_target: "), "{text}");
    world.simulator.update(|settings| settings.token_latency_ms = 0);
    let there = world.launch_beside(&host).store(&new).start().await;
    refresh_all(&there, &ids, &key).await;
    judge(&world);
    assert_eq!(world.presentations().len(), USERS + 1);
}
