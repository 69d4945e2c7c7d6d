//! Several hosts on one Redis server: to the provider and to callers they are one. The simulator's log is the judge.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::json;

use crate::{
    herd::{all_got_one, dead_set, only, storm},
    support::{Host, Redis, World, command, eventually},
};

/// Two hosts on one server, which serve the same public URL.
async fn two(world: &World, redis: &Redis) -> [Arc<Host>; 2] {
    let first = world.launch().store(&redis.address()).start().await;
    let second = world.launch_beside(&first).store(&redis.address()).start().await;
    [first, second].map(Arc::new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_server_make_one_call() {
    let (world, redis) = (World::new().await, Redis::start().await);
    let hosts = two(&world, &redis).await;
    let (integration, path, old) = dead_set(&world, &hosts[0]).await;
    // The second host holds the dead set too.
    hosts[1]
        .get(path.split('?').next().unwrap(), &integration.api_key)
        .await
        .expect(200);
    let answers = storm(&hosts, 500, |host, _| {
        let (path, key) = (path.clone(), integration.api_key.clone());
        async move { host.get(&path, &key).await }
    })
    .await;
    assert_eq!(answers.len(), 1000);
    for host in &hosts {
        all_got_one(host, &integration, &path, &old, &answers).await;
    }
    only(&world.presentations());
}

/// The server dies while the provider is asked, and comes back: the new tokens were kept by the host that got them, are
/// stored then, and both hosts serve them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_during_a_refresh_costs_nothing() {
    let (world, mut redis) = (World::new().await, Redis::start().await);
    let hosts = two(&world, &redis).await;
    let (integration, path, old) = dead_set(&world, &hosts[0]).await;
    world
        .simulator
        .update(|settings| settings.token_latency_ms = 1000);
    let asked = {
        let (host, path, key) = (hosts[0].clone(), path.clone(), integration.api_key.clone());
        let ask = async move { host.get(&path, &key).await };
        let kill = async {
            eventually("the refresh token is presented", || async {
                (!world.presentations().is_empty()).then_some(())
            })
            .await;
            redis.kill();
            tokio::time::sleep(Duration::from_secs(2)).await;
            redis.restart().await;
        };
        tokio::join!(ask, kill).0
    };
    // Whoever asked was served, from memory if need be, or told to come again.
    assert!(asked.status == 200 || asked.status == 503, "{}", asked.text);
    let plain = path.split('?').next().unwrap();
    for host in &hosts {
        let new = eventually("the new tokens are served", || async {
            let answer = host.get(plain, &integration.api_key).await;
            (answer.status == 200 && answer.field("accessToken") != old).then_some(answer)
        })
        .await;
        all_got_one(host, &integration, &path, &old, &[new]).await;
    }
    only(&world.presentations());
}

/// What one host was told is in force in the other a second later, though it has the tokens in its cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_and_a_freeze_are_in_force_everywhere() {
    let (world, redis) = (World::new().await, Redis::start().await);
    let hosts = two(&world, &redis).await;
    let integration = world.integrate(&hosts[0], json!({})).await;
    let gone = world.connect(&hosts[0], &integration, "sarah@acme.com").await;
    let frozen = world.connect(&hosts[0], &integration, "tom@acme.com").await;
    let served = async |id: &str| hosts[1].credentials(id, &integration.api_key).await;
    for id in [&gone, &frozen] {
        served(id).await.expect(200);
    }
    hosts[0].delete(&gone, &integration.api_key).await.expect(204);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(served(&gone).await.status, 200);
    served(&frozen).await.expect(200);
    let path = format!("/api/v1/integrations/{}/freeze", integration.id);
    let why = json!({ "reason": "a key leaked" });
    hosts[0].admin(Method::POST, &path, Some(&why)).await.expect(200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    served(&frozen).await.refused(403, "integration_frozen");
}

/// The password of an address is in nothing that the program says, and tools do not make a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_say_what_is_wrong_with_a_server() {
    let (world, redis) = (World::new().await, Redis::start().await);
    let doctor = |address: &str| {
        let mut doctor = command();
        doctor
            .arg("doctor")
            .env("GRANTRY_STORE", address)
            .env("GRANTRY_KEYS", world.keys());
        let done = doctor.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    };
    let with_password = redis.address().replace("://", "://:CANARYpassword@");
    let nobody = "redis://:CANARYpassword@127.0.0.1:1".to_owned();
    for (address, code) in [
        (redis.address(), "redis_no_store: "),
        (with_password, "redis_refused: "),
        (nobody, "redis_unreachable: "),
        ("redis://:CANARYpassword@".to_owned(), "redis_bad_address: "),
    ] {
        let (well, said) = doctor(&address);
        assert!(!well && said.contains(code), "{said}");
        assert!(!said.contains("CANARY"), "{said}");
    }
    world.launch().store(&redis.address()).start().await;
    let (well, said) = doctor(&redis.address());
    assert!(well, "{said}");
}
