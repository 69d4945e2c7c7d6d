//! Rotation, reuse, concurrency, approvals, lifetimes: and what the log says of them.

use std::collections::BTreeMap;
use std::time::Duration;

use grantry_salesforce_simulator::{Client, Config, Outcome};

use crate::support::{Lab, Tokens};

#[tokio::test]
async fn rotation_hands_out_a_new_token_each_time() {
    let lab = Lab::start().await;
    let first = lab.grant();
    let (status, body) = lab.refresh(&first.refresh).await;
    let second = Tokens::read(&body);
    assert_eq!(status, 200);
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(
        lab.rest_status(&first.access).await,
        200,
        "the earlier access token lives on"
    );
    assert_eq!(lab.refresh(&second.refresh).await.0, 200);

    let log = lab.simulator.log();
    let [one, two] = log.as_slice() else {
        panic!("{log:?}")
    };
    assert_eq!(
        (one.generation, one.living_generation, one.result),
        (Some(1), Some(1), Outcome::Granted)
    );
    assert_eq!(
        (two.generation, two.living_generation, two.result),
        (Some(2), Some(2), Outcome::Granted)
    );
    assert_eq!(one.new_fingerprint.as_ref(), Some(&two.token_fingerprint));
    assert_eq!(two.token_fingerprint.len(), 16);
    assert!(!two.in_flight_overlap && two.fault.is_none() && two.family == Some(0));
    let families = lab.simulator.families();
    assert_eq!(families.len(), 1);
    assert_eq!((families[0].generation, families[0].access_tokens_alive), (3, 3));
    assert_eq!(families[0].token_fingerprint, two.new_fingerprint);
}

#[tokio::test]
async fn a_reused_token_ends_its_family_and_no_other() {
    let lab = Lab::start().await;
    let other = lab.grant();
    let first = lab.grant();
    let second = Tokens::read(&lab.refresh(&first.refresh).await.1);
    let (status, body) = lab.refresh(&first.refresh).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(body["error_description"], "expired access/refresh token");
    assert_eq!(lab.rest_status(&first.access).await, 401);
    assert_eq!(lab.rest_status(&second.access).await, 401);
    assert_eq!(lab.refresh(&second.refresh).await.0, 400);
    assert_eq!(lab.rest_status(&other.access).await, 200);

    let results: Vec<_> = lab
        .simulator
        .log()
        .iter()
        .map(|entry| (entry.result, entry.family_revoked))
        .collect();
    assert_eq!(
        results,
        [
            (Outcome::Granted, false),
            (Outcome::Reused, true),
            (Outcome::Expired, false)
        ]
    );
}

#[tokio::test]
async fn reuse_can_be_forgiven() {
    let lab = Lab::with(|settings| settings.family_revocation = false).await;
    let first = lab.grant();
    let second = Tokens::read(&lab.refresh(&first.refresh).await.1);
    assert_eq!(lab.refresh(&first.refresh).await.0, 400);
    assert_eq!(lab.refresh(&second.refresh).await.0, 200);

    let lab = Lab::with(|settings| settings.reuse_grace_seconds = 10).await;
    let first = lab.grant();
    let second = Tokens::read(&lab.refresh(&first.refresh).await.1);
    let (status, body) = lab.refresh(&first.refresh).await;
    assert_eq!(
        (status, body["refresh_token"].as_str()),
        (200, Some(second.refresh.as_str()))
    );
    lab.simulator.advance(Duration::from_secs(10));
    assert_eq!(lab.refresh(&first.refresh).await.0, 400);
    let results: Vec<_> = lab.simulator.log().iter().map(|entry| entry.result).collect();
    assert_eq!(
        results,
        [Outcome::Granted, Outcome::GrantedInGrace, Outcome::Reused]
    );
}

#[tokio::test]
async fn without_rotation_the_token_stays() {
    let lab = Lab::with(|settings| settings.rotation = false).await;
    let first = lab.grant();
    for _ in 0..3 {
        let (status, body) = lab.refresh(&first.refresh).await;
        assert_eq!(status, 200);
        assert!(body.get("refresh_token").is_none());
    }
    assert_eq!(lab.simulator.families()[0].generation, 1);
}

#[tokio::test]
async fn of_two_at_once_one_is_busy() {
    let lab = Lab::with(|settings| settings.token_latency_ms = 100).await;
    for rotation in [true, false] {
        lab.simulator.update(|settings| settings.rotation = rotation);
        let first = lab.grant();
        let (one, other) = tokio::join!(lab.refresh(&first.refresh), lab.refresh(&first.refresh));
        let (winner, loser) = if one.0 == 200 { (one, other) } else { (other, one) };
        assert_eq!((winner.0, loser.0), (200, 400));
        assert_eq!(loser.1["error"], "invalid_grant");
        assert_eq!(
            loser.1["error_description"],
            "token request is already being processed"
        );
        assert_eq!(lab.rest_status(&first.access).await, 200, "nothing was revoked");
        let log = lab.simulator.log();
        let [.., busy, granted] = log.as_slice() else {
            panic!("{log:?}")
        };
        assert_eq!((busy.result, busy.in_flight_overlap), (Outcome::Busy, true));
        assert_eq!(
            (granted.result, granted.in_flight_overlap),
            (Outcome::Granted, false)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_is_exact_under_load() {
    const USERS: usize = 20;
    const CALLS: usize = 10;
    let mut config = Config {
        extra_users: USERS,
        contacts: 10,
        ..Config::default()
    };
    config.settings.token_latency_ms = 0;
    let lab = Lab::from(config).await;
    let users = (1..=USERS).map(|number| {
        let lab = &lab;
        async move {
            let mut token = lab.grant_to(&format!("user{number}@acme.com")).refresh;
            for _ in 0..CALLS {
                let (status, body) = lab.refresh(&token).await;
                assert_eq!(status, 200);
                token = Tokens::read(&body).refresh;
            }
        }
    });
    futures_util::future::join_all(users).await;

    let report = lab.simulator.report(0);
    assert_eq!(report.entries.len(), USERS * CALLS);
    assert_eq!(report.counters["token_refresh_token"], USERS * CALLS);
    assert!(report.in_flight.is_empty());
    let mut chains: BTreeMap<u64, (u64, Option<String>)> = BTreeMap::new();
    for (place, entry) in report.entries.iter().enumerate() {
        assert_eq!(entry.seq, place as u64);
        assert_eq!((entry.result, entry.in_flight_overlap), (Outcome::Granted, false));
        let chain = chains.entry(entry.family.unwrap()).or_insert((1, None));
        assert_eq!(entry.generation, Some(chain.0));
        if let Some(expected) = &chain.1 {
            assert_eq!(entry.token_fingerprint, *expected);
        }
        *chain = (chain.0 + 1, entry.new_fingerprint.clone());
    }
    for family in &report.families {
        let chain = &chains[&family.family];
        assert_eq!(
            (family.generation, &family.token_fingerprint),
            (chain.0, &chain.1)
        );
        assert_eq!(family.access_tokens_alive, CALLS + 1);
    }
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing() {
    let lab = Lab::with(|settings| settings.token_latency_ms = 200).await;
    let first = lab.grant();
    let gone = tokio::time::timeout(Duration::from_millis(100), lab.refresh(&first.refresh)).await;
    assert!(gone.is_err());
    let (_, body) = lab.refresh(&first.refresh).await;
    assert_eq!(
        body["error_description"],
        "token request is already being processed"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = lab.simulator.log();
    let results: Vec<_> = log.iter().map(|entry| entry.result).collect();
    assert_eq!(results, [Outcome::Busy, Outcome::Granted]);
    assert_eq!(lab.simulator.families()[0].generation, 2);
}

#[tokio::test]
async fn the_sixth_approval_evicts_the_first() {
    let lab = Lab::start().await;
    let grants: Vec<Tokens> = (0..6).map(|_| lab.grant()).collect();
    let elsewhere = lab.grant_to("tom@acme.com");
    assert_eq!(lab.rest_status(&grants[0].access).await, 401);
    assert_eq!(
        lab.refresh(&grants[0].refresh).await.1["error_description"],
        "expired access/refresh token"
    );
    for tokens in grants[1..].iter().chain([&elsewhere]) {
        assert_eq!(lab.refresh(&tokens.refresh).await.0, 200);
    }
    assert_eq!(lab.simulator.log()[0].result, Outcome::Expired);
}

#[tokio::test]
async fn sessions_slide_by_halves() {
    let lab = Lab::with(|settings| settings.session_minutes = 60).await;
    let access = lab.grant().access;
    lab.simulator.advance(Duration::from_secs(29 * 60));
    assert_eq!(
        lab.rest_status(&access).await,
        200,
        "too early to move the last activity"
    );
    lab.simulator.advance(Duration::from_secs(30 * 60));
    assert_eq!(lab.rest_status(&access).await, 200, "moves it");
    lab.simulator.advance(Duration::from_secs(59 * 60));
    assert_eq!(lab.rest_status(&access).await, 200);
    lab.simulator.advance(Duration::from_secs(3600));
    assert_eq!(lab.rest_status(&access).await, 401);

    lab.simulator.update(|settings| settings.sliding_sessions = false);
    let access = lab.grant().access;
    lab.simulator.advance(Duration::from_secs(59 * 60));
    assert_eq!(lab.rest_status(&access).await, 200);
    lab.simulator.advance(Duration::from_secs(60));
    assert_eq!(lab.rest_status(&access).await, 401);
}

#[tokio::test]
async fn refresh_tokens_follow_their_policy() {
    let day = Duration::from_secs(24 * 3600);
    let lab = Lab::with(|settings| settings.refresh_idle_days = Some(30)).await;
    let mut token = lab.grant().refresh;
    for _ in 0..3 {
        lab.simulator.advance(day * 29);
        token = Tokens::read(&lab.refresh(&token).await.1).refresh;
    }
    lab.simulator.advance(day * 30);
    assert_eq!(lab.refresh(&token).await.0, 400);

    let lab = Lab::with(|settings| settings.refresh_lifetime_days = Some(2)).await;
    let token = lab.grant().refresh;
    lab.simulator.advance(day);
    let token = Tokens::read(&lab.refresh(&token).await.1).refresh;
    lab.simulator.advance(day);
    assert_eq!(lab.refresh(&token).await.0, 400);
}

#[tokio::test]
async fn users_and_clients_can_be_taken_away() {
    let lab = Lab::start().await;
    let tokens = lab.grant();
    lab.simulator.set_active("sarah@acme.com", false).unwrap();
    assert_eq!(lab.refresh(&tokens.refresh).await.1["error"], "inactive_user");
    assert_eq!(lab.rest_status(&tokens.access).await, 401);
    lab.simulator.set_active("sarah@acme.com", true).unwrap();
    assert_eq!(lab.rest_status(&tokens.access).await, 200);

    assert_eq!(lab.simulator.expire_sessions(Some("sarah@acme.com")), Ok(1));
    assert_eq!(lab.rest_status(&tokens.access).await, 401);
    let tokens = Tokens::read(&lab.refresh(&tokens.refresh).await.1);

    let foreign = Client {
        client_id: "foreign".into(),
        client_secret: "s".into(),
        ..Client::default()
    };
    lab.simulator.register_client(foreign);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh.as_str()),
    ];
    let request = lab
        .http
        .post(lab.login("/services/oauth2/token"))
        .basic_auth("foreign", Some("s"));
    assert_eq!(request.form(&form).send().await.unwrap().status(), 400);
    assert_eq!(lab.simulator.log().last().unwrap().result, Outcome::WrongClient);

    assert_eq!(lab.simulator.revoke_user("sarah@acme.com"), Ok(1));
    assert_eq!(lab.refresh(&tokens.refresh).await.0, 400);
    assert!(lab.simulator.revoke_user("nobody").is_err());
}

#[tokio::test]
async fn a_token_of_another_simulator_is_adopted() {
    let issued = Lab::start().await.grant().refresh;
    let lab = Lab::start().await;
    assert_eq!(lab.refresh(&issued).await.0, 400, "nobody knows it yet");
    lab.simulator.adopt("tom@acme.com", None, &issued).unwrap();
    assert_eq!(lab.refresh(&issued).await.0, 200);
    assert_eq!(lab.refresh(&issued).await.0, 400, "it works once");
    let log = lab.simulator.log();
    let results: Vec<_> = log.iter().map(|entry| (entry.result, entry.generation)).collect();
    assert_eq!(
        results,
        [
            (Outcome::Unknown, None),
            (Outcome::Granted, Some(1)),
            (Outcome::Reused, Some(1))
        ]
    );
    assert_eq!(log[1].username.as_deref(), Some("tom@acme.com"));
    assert!(lab.simulator.families().is_empty(), "reuse ended its family");
    assert!(lab.simulator.adopt("nobody", None, &issued).is_err());
}
