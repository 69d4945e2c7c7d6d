//! `kill -9` of hosts, and of the server, in the middle of refreshes.
//!
//! `GRANTRY_REDIS_KILL_ROUNDS` sets how often; with more than the usual number the first test also waits, at its end, until
//! every outcome that a killed host left open is decided.

use std::time::Duration;

use super::{
    fleet::{Fleet, random},
    ground::{Ground, Strike},
    judge::Verdict,
};

const ROUNDS: usize = 10;
const HOSTS: usize = 3;
const USERS: usize = 10;
const CALLERS: usize = 6;

fn rounds() -> usize {
    std::env::var("GRANTRY_REDIS_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap())
}

/// A host dies with what it has in hand: nobody presents those tokens before the quarantine is over, and each shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_die_leave_nothing_in_the_dark() {
    let mut left = rounds();
    let long = left > ROUNDS;
    // Each time on another store: health names a hundred connections of a kind, and says of more only that there are some.
    while left > 0 {
        let rounds = left.min(ROUNDS);
        left -= rounds;
        hosts_die(rounds, long && left == 0).await;
    }
}

async fn hosts_die(rounds: usize, decide: bool) {
    let ground = Ground::one();
    let fleet = Fleet::start(&ground, HOSTS, USERS * (rounds + 1)).await;
    let mut verdict = Verdict::default();
    let mut kills = 0;
    for _ in 0..rounds {
        fleet.connect(USERS).await;
        let callers = fleet.callers(CALLERS);
        fleet.mid_refresh().await;
        let first = random(HOSTS);
        // Sometimes two at once.
        let killed: Vec<usize> = (first..HOSTS.min(first + 1 + random(2))).collect();
        for number in &killed {
            fleet.kill(*number);
        }
        kills += killed.len();
        callers.go_on(&fleet, CALLERS).await;
        callers.end().await;
        for number in killed {
            fleet.replace(number).await;
        }
        fleet.set_open_ones_aside().await;
    }
    fleet.judge(&mut verdict).await;
    println!("hosts: rounds={rounds} kills={kills} {verdict}");
    assert_eq!(verdict.unrecorded, 0);
    if decide {
        fleet.decide(&mut verdict).await;
        println!("decided: {verdict}");
        assert_eq!(verdict.unrecorded, 0);
    }
}

/// The server dies and comes back with what it had written; what came from the provider meanwhile is stored then.
async fn a_server_that_dies_costs_nothing(sync: &str) {
    let rounds = rounds();
    let mut ground = Ground::one_with(&["--appendfsync", sync]);
    let fleet = Fleet::start(&ground, 2, USERS * (rounds + 1)).await;
    let mut verdict = Verdict::default();
    for _ in 0..rounds {
        fleet.connect(USERS).await;
        let callers = fleet.callers(CALLERS);
        fleet.mid_refresh().await;
        ground.strike(Strike::Kill);
        tokio::time::sleep(Duration::from_millis(random(600) as u64)).await;
        ground.heal();
        callers.go_on(&fleet, CALLERS).await;
        callers.end().await;
        fleet.judge(&mut verdict).await;
    }
    println!("server, {sync}: rounds={rounds} {verdict}");
    assert_eq!((verdict.unrecorded, verdict.lost()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_always_and_dies_costs_nothing() {
    a_server_that_dies_costs_nothing("always").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_every_second_and_dies_costs_nothing() {
    a_server_that_dies_costs_nothing("everysec").await;
}
