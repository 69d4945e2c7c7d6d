//! A primary dies, or stands still for longer than it is waited for, while several hosts refresh several connections.
//!
//! `GRANTRY_FAILOVER_ROUNDS` sets how often each.

use super::{
    fleet::Fleet,
    ground::{Ground, Strike},
    judge::Verdict,
};

const ROUNDS: usize = 10;
/// A pause is a failover as well, and a slower one.
const PAUSES: usize = 3;
const HOSTS: usize = 3;
const USERS: usize = 10;
const CALLERS: usize = 8;

fn rounds(usual: usize) -> usize {
    std::env::var("GRANTRY_FAILOVER_ROUNDS").map_or(usual, |text| text.parse().unwrap())
}

async fn another_takes_over(mut ground: Ground, name: &str, how: Strike, rounds: usize) {
    let fleet = Fleet::start(&ground, HOSTS, USERS * (rounds + 1)).await;
    let mut verdict = Verdict::default();
    for _ in 0..rounds {
        fleet.connect(USERS).await;
        let callers = fleet.callers(CALLERS);
        fleet.mid_refresh().await;
        ground.strike(how);
        ground.taken_over().await;
        callers.go_on(&fleet, CALLERS).await;
        ground.heal();
        callers.go_on(&fleet, CALLERS).await;
        callers.end().await;
        fleet.judge(&mut verdict).await;
    }
    println!("{name}, {how:?}: rounds={rounds} {verdict}");
    assert_eq!((verdict.unrecorded, verdict.lost()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_primary_that_dies() {
    another_takes_over(Ground::sentinels(), "sentinels", Strike::Kill, rounds(ROUNDS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_primary_that_stands_still() {
    another_takes_over(Ground::sentinels(), "sentinels", Strike::Pause, rounds(PAUSES)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_replaces_a_primary_that_dies() {
    another_takes_over(Ground::cluster(), "cluster", Strike::Kill, rounds(ROUNDS)).await;
}
