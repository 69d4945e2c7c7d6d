//! A server that lost its last writes: it was stopped, its files were put back to an older copy, and it was started.

use serde_json::json;

use super::ground::{Ground, Servers};
use crate::{
    herd::{all_got_one, dead_set},
    support::{Host, World, blocking, eventually},
};

/// The row has a spent token then. A host that still has the newer set in its cache writes it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_host_repairs_what_a_server_forgot() {
    let (world, mut ground) = (World::new().await, Ground::one());
    let hosts = ground.hosts(&world, 2).await;
    let (integration, path, _) = dead_set(&world, &hosts[0]).await;
    let key = &integration.api_key;
    let plain = path.split('?').next().unwrap();
    let Servers::One(server) = &mut ground.servers else {
        return;
    };
    let old = blocking(|| server.copy());
    let second = hosts[0].get(&path, key).await.expect(200);
    hosts[1].get(plain, key).await.expect(200);
    blocking(|| {
        server.kill();
        server.put_back(&old);
        server.restart();
    });
    // The newer set is dead at the provider, too, so that whoever is asked must refresh.
    assert_eq!(world.simulator.expire_sessions(None).unwrap(), 1);
    let refused = second.header("etag").trim_matches('"').to_owned();
    let again = format!("{plain}?refused={refused}");
    // Its connections were cut, and it may be told to come again.
    let works = async |host: &Host| {
        eventually("the next call works", || async {
            let answer = host.get(&again, key).await;
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            (answer.status == 200).then_some(answer)
        })
        .await
    };
    let third = works(&hosts[1]).await;
    for host in &hosts {
        let found = works(host).await;
        assert_eq!(found.field("accessToken"), third.field("accessToken"));
    }
    all_got_one(
        &hosts[0],
        &integration,
        &path,
        &second.field("accessToken"),
        &[third],
    )
    .await;
    let presented: Vec<Option<u64>> = world
        .presentations()
        .iter()
        .map(|entry| entry.generation)
        .collect();
    assert_eq!(presented, [Some(1), Some(2)], "each set was presented once");
    let health = hosts[1].admin(reqwest::Method::GET, "/api/v1/health", None).await;
    let health = health.expect(200).json();
    let incidents = health["incidents"].as_array().unwrap();
    let seen = incidents
        .iter()
        .any(|incident| incident["what"] == json!("store_rolled_back"));
    assert!(seen, "{health}");
}
