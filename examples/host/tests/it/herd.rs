//! However many callers ask in however many processes, a refresh token is presented once. The simulator's log is the
//! judge.

use std::{collections::BTreeSet, sync::Arc};

use grantry_salesforce_simulator::{Outcome, Presentation};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

use crate::support::{Answer, Host, Integration, World};

/// The one presentation that there was.
#[track_caller]
pub(crate) fn only(log: &[Presentation]) -> &Presentation {
    assert_eq!(log.len(), 1, "{log:#?}");
    assert_eq!(
        (log[0].result, log[0].generation),
        (Outcome::Granted, Some(1)),
        "{log:#?}"
    );
    assert!(!log[0].in_flight_overlap, "{log:#?}");
    &log[0]
}

/// Lets `callers` ask each host at one moment. Gives all answers.
pub(crate) async fn storm<F>(
    hosts: &[Arc<Host>],
    callers: usize,
    ask: impl Fn(Arc<Host>, usize) -> F,
) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let start = Arc::new(Barrier::new(hosts.len() * callers));
    let mut all = JoinSet::new();
    for number in 0..callers {
        for host in hosts {
            let (start, work) = (start.clone(), ask(host.clone(), number));
            all.spawn(async move {
                start.wait().await;
                work.await
            });
        }
    }
    all.join_all().await
}

/// A user who has connected, and the name of the token set that is dead upstream by now.
pub(crate) async fn dead_set(world: &World, host: &Host) -> (Integration, String, String) {
    let integration = world.integrate(host, json!({})).await;
    let connection = world.connect(host, &integration, "sarah@acme.com").await;
    let before = host
        .credentials(&connection, &integration.api_key)
        .await
        .expect(200);
    assert_eq!(world.simulator.expire_sessions(None).unwrap(), 1);
    assert!(world.presentations().is_empty());
    let refused = before.header("etag").trim_matches('"').to_owned();
    let path = format!("/api/v1/connections/{connection}/credentials?refused={refused}");
    (integration, path, before.field("accessToken"))
}

/// Every caller got one and the same new token, and it works.
pub(crate) async fn all_got_one(
    host: &Host,
    integration: &Integration,
    path: &str,
    old: &str,
    answers: &[Answer],
) {
    let tokens: BTreeSet<String> = answers
        .iter()
        .map(|answer| answer.clone().expect(200).field("accessToken"))
        .collect();
    assert_eq!(tokens.len(), 1, "{} different tokens", tokens.len());
    assert!(!tokens.contains(old));
    let connection = path.split('/').nth(4).unwrap();
    let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
    host.proxy(connection, &integration.api_key, &call)
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_on_a_dead_token_make_one_call() {
    let world = World::new().await;
    let host = Arc::new(world.launch().start().await);
    let (integration, path, old) = dead_set(&world, &host).await;
    let answers = storm(std::slice::from_ref(&host), 1000, |host, _| {
        let (path, key) = (path.clone(), integration.api_key.clone());
        async move { host.get(&path, &key).await }
    })
    .await;
    assert_eq!(answers.len(), 1000);
    all_got_one(&host, &integration, &path, &old, &answers).await;
    only(&world.presentations());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_file_make_one_call() {
    let world = World::new().await;
    let first = Arc::new(world.launch().start().await);
    let second = Arc::new(world.launch_beside(&first).start().await);
    let (integration, path, old) = dead_set(&world, &first).await;
    // The second process holds the dead set too.
    second
        .get(path.split('?').next().unwrap(), &integration.api_key)
        .await
        .expect(200);
    let answers = storm(&[first.clone(), second.clone()], 500, |host, _| {
        let (path, key) = (path.clone(), integration.api_key.clone());
        async move { host.get(&path, &key).await }
    })
    .await;
    assert_eq!(answers.len(), 1000);
    for host in [&first, &second] {
        all_got_one(host, &integration, &path, &old, &answers).await;
    }
    only(&world.presentations());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_refused_calls_makes_one_refresh_and_each_call_runs_once() {
    const CALLS: usize = 150;
    let world = World::new().await;
    let first = Arc::new(world.launch().start().await);
    let second = Arc::new(world.launch_beside(&first).start().await);
    let (integration, path, _) = dead_set(&world, &first).await;
    let connection = path.split('/').nth(4).unwrap().to_owned();
    let answers = storm(&[first.clone(), second], CALLS, |host, number| {
        let (connection, key) = (connection.clone(), integration.api_key.clone());
        let name = format!("Storm {number} {}", host.address());
        // Creating a record is no call that could be repeated without being seen.
        let path = "/services/data/v66.0/sobjects/Account";
        let call = json!({ "method": "POST", "path": path, "data": { "Name": name } });
        async move { host.proxy(&connection, &key, &call).await }
    })
    .await;
    let ids: BTreeSet<String> = answers
        .into_iter()
        .map(|answer| answer.expect(201).field("id"))
        .collect();
    assert_eq!(ids.len(), 2 * CALLS);
    only(&world.presentations());
    let count = "SELECT Name FROM Account WHERE Name LIKE 'Storm %'";
    let call = json!({ "method": "GET", "path": "/services/data/v66.0/query", "query": { "q": count } });
    let found = first
        .proxy(&connection, &integration.api_key, &call)
        .await
        .expect(200)
        .json();
    let names: BTreeSet<&str> = found["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["Name"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&found["totalSize"], names.len()),
        (&Value::from(2 * CALLS), 2 * CALLS)
    );
    // Each of them counted once against the plan, and so did the query.
    let usage = first
        .call(Method::GET, "/api/v1/usage", &integration.api_key, None)
        .await
        .expect(200);
    assert!(
        usage.json()["calls"].as_u64().unwrap() > 2 * CALLS as u64,
        "{}",
        usage.text
    );
}
