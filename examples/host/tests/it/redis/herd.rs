//! Eight hosts with a thousand callers each, all of whom find their token dead.

use std::collections::BTreeSet;

use serde_json::json;

use super::ground::{Ground, Servers};
use crate::{
    herd::{all_got_one, dead_set, only, storm},
    support::{World, blocking},
};

const HOSTS: usize = 8;
const CALLERS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_hosts_with_a_thousand_callers_each_make_one_call() {
    let (world, ground) = (World::new().await, Ground::one());
    let hosts = ground.hosts(&world, HOSTS).await;
    let (integration, path, old) = dead_set(&world, &hosts[0]).await;
    // The others hold the dead set too.
    for host in &hosts {
        let plain = path.split('?').next().unwrap();
        host.get(plain, &integration.api_key).await.expect(200);
    }
    let answers = storm(&hosts, CALLERS, |host, _| {
        let (path, key) = (path.clone(), integration.api_key.clone());
        async move { host.get(&path, &key).await }
    })
    .await;
    assert_eq!(answers.len(), HOSTS * CALLERS);
    for host in &hosts {
        all_got_one(host, &integration, &path, &old, &answers).await;
    }
    only(&world.presentations());
}

/// Connections in different slots of a Cluster, that is, on different servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_they_make_one_call_for_each_connection() {
    const USERS: usize = 6;
    let (world, ground) = (World::with_users(USERS).await, Ground::cluster());
    let hosts = ground.hosts(&world, HOSTS).await;
    let integration = world.integrate(&hosts[0], json!({})).await;
    let mut dead = Vec::new();
    for user in 1..=USERS {
        let username = format!("user{user}@acme.com");
        let connection = world.connect(&hosts[0], &integration, &username).await;
        for host in &hosts {
            host.credentials(&connection, &integration.api_key)
                .await
                .expect(200);
        }
        let before = hosts[0].credentials(&connection, &integration.api_key).await;
        let refused = before.header("etag").trim_matches('"').to_owned();
        let path = format!("/api/v1/connections/{connection}/credentials?refused={refused}");
        dead.push((connection, path, before.field("accessToken")));
    }
    let Servers::Cluster(cluster) = &ground.servers else {
        return;
    };
    let servers: BTreeSet<u16> = dead
        .iter()
        .map(|(connection, ..)| blocking(|| cluster.server_of(connection)).unwrap().port())
        .collect();
    assert!(servers.len() > 1, "all connections lie on one server");
    assert_eq!(world.simulator.expire_sessions(None).unwrap(), USERS);
    let answers = storm(&hosts, CALLERS, |host, number| {
        let (path, key) = (dead[number % USERS].1.clone(), integration.api_key.clone());
        async move { (number % USERS, host.get(&path, &key).await) }
    })
    .await;
    assert_eq!(answers.len(), HOSTS * CALLERS);
    for (number, (_, path, old)) in dead.iter().enumerate() {
        let of_this = answers.iter().filter(|(which, _)| *which == number);
        let of_this: Vec<_> = of_this.map(|(_, answer)| answer.clone()).collect();
        all_got_one(&hosts[number], &integration, path, old, &of_this).await;
        let name = format!("user{}@acme.com", number + 1);
        let mut log = world.presentations();
        log.retain(|entry| entry.username.as_deref() == Some(&name));
        only(&log);
    }
}
