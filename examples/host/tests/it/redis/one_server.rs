//! One server that dies in the middle of a refresh.

use std::time::Duration;

use super::ground::{Ground, Strike};
use crate::{
    herd::{all_got_one, dead_set, only},
    support::{World, eventually},
};

/// The server dies while the provider is asked, and comes back: the new tokens were kept by the host that got them, are
/// stored then, and both hosts serve them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_during_a_refresh_costs_nothing() {
    let (world, mut ground) = (World::new().await, Ground::one());
    let hosts = ground.hosts(&world, 2).await;
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
            ground.strike(Strike::Kill);
            tokio::time::sleep(Duration::from_secs(2)).await;
            ground.heal();
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
