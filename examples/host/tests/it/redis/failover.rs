//! A primary dies, or stands still for longer than it is waited for, while several hosts refresh several connections.
//!
//! `GRANTRY_FAILOVER_ROUNDS` sets how often each; with more than the usual number it is also waited until every outcome
//! that was left open is decided.

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

async fn another_takes_over(mut ground: Ground, name: &str, how: Strike, usual: usize) {
    let rounds = std::env::var("GRANTRY_FAILOVER_ROUNDS").map_or(usual, |text| text.parse().unwrap());
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
    if rounds > usual {
        fleet.decide(&mut verdict).await;
        println!("decided: {verdict}");
        assert_eq!(verdict.unrecorded, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_primary_that_dies() {
    another_takes_over(Ground::sentinels(), "sentinels", Strike::Kill, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_replace_a_primary_that_stands_still() {
    another_takes_over(Ground::sentinels(), "sentinels", Strike::Pause, PAUSES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_replaces_a_primary_that_dies() {
    another_takes_over(Ground::cluster(), "cluster", Strike::Kill, ROUNDS).await;
}
