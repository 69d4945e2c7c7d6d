//! Definite refusals, and tokens that the API refuses.

use std::time::Duration;

use futures_util::future::join_all;
use grantry::{
    connection::{GrantVersion, Reason, Status},
    error::Code,
    event::What,
    provider::{Refusal, Verdict},
    secret::Secret,
    testing::Answer,
};

use crate::support::{SESSION, World, pass, seconds};

fn refusal(verdict: Verdict, reason: Reason, retry_after: Option<Duration>) -> Answer {
    Answer::Refused(Refusal {
        verdict,
        reason,
        retry_after,
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_grant_expires_with_the_provider_s_reason() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world
        .upstream
        .next(refusal(Verdict::GrantDead, Reason::UserInactive, None));
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::ConnectionExpired, Some("user_inactive"))
    );
    assert_eq!(world.status(&id).await, Status::Expired);
    assert_eq!(world.one.events.count(&What::Expired(Reason::UserInactive)), 1);
    join_all((0..100).map(|_| world.code(&id))).await;
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_is_told_also_if_its_write_got_no_answer() {
    use grantry::testing::{Fault, Op};
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.end_grant("refresh-0-0");
    world.one.store.script(Op::Swap, 1, 1, Fault::After);
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    let told = What::Expired(Reason::GrantExpiredOrRevoked);
    assert_eq!(world.one.events.count(&told), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_is_the_integration_s_fault_and_is_not_asked_about_by_everybody() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..1000 {
        ids.push(world.connect().await);
    }
    world.clock.step(SESSION);
    world.upstream.set(|s| s.client_secret = "another".to_owned());
    assert_eq!(world.code(&ids[0]).await, Code::ClientInvalid);
    let codes = join_all(ids.iter().map(|id| world.code(id))).await;
    assert!(codes.iter().all(|code| *code == Code::ClientInvalid));
    assert_eq!(world.presentations(), 1);
    let fault = What::IntegrationFault(Reason::ClientSecretInvalid);
    assert_eq!(world.one.events.count(&fault), 1);
    for id in [&ids[0], &ids[999]] {
        assert_eq!(world.status(id).await, Status::Connected);
        assert_eq!(world.stands_at(id).await, "Idle");
    }
    // When it may be over, one asks for all.
    pass(seconds(31)).await;
    join_all(ids.iter().map(|id| world.code(id))).await;
    assert_eq!(world.presentations(), 2);
    // A new secret mends it at once.
    let secret = Secret::new("another");
    world
        .one
        .broker
        .integration(&world.integration)
        .set_client_secret(secret)
        .await
        .unwrap();
    for id in &ids[..20] {
        world.access(id).await;
    }
    assert_eq!(world.presentations(), 22);
}

#[tokio::test(start_paused = true)]
async fn not_now_is_waited_out_as_the_provider_asks() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let not_now = refusal(Verdict::MayPass, Reason::RateLimited, Some(seconds(90)));
    world.upstream.next(not_now);
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(
        (error.code(), error.wait()),
        (Code::RefreshCooling, Some(seconds(90)))
    );
    assert_eq!(world.stands_at(&id).await, "Cooling");
    // No process asks before.
    let two = world.process();
    for _ in 0..8 {
        pass(seconds(10)).await;
        assert_eq!(world.code(&id).await, Code::RefreshCooling);
        let code = two.broker.credentials(&id).await.unwrap_err().code();
        assert_eq!(code, Code::RefreshCooling);
    }
    assert_eq!(world.presentations(), 1);
    pass(seconds(11)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-0"]);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_grow() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world
        .upstream
        .always(Some(refusal(Verdict::MayPass, Reason::ServerUnavailable, None)));
    for _ in 0..1000 {
        let _ = world.credentials(&id).await;
        pass(seconds(1)).await;
    }
    let times = world.upstream.presented_at();
    let gaps: Vec<_> = times.windows(2).map(|w| w[0].0.until(w[1].0).as_secs()).collect();
    assert!(
        gaps.len() >= 5 && gaps.windows(2).all(|g| g[0] < g[1]),
        "{gaps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn not_now_after_an_unknown_outcome_keeps_it_unknown() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Lost);
    let _ = world.credentials(&id).await;
    pass(seconds(70)).await;
    world
        .upstream
        .next(refusal(Verdict::MayPass, Reason::ServerUnavailable, None));
    assert_eq!(world.code(&id).await, Code::RefreshCooling);
    pass(seconds(10)).await;
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(
        error.reason(),
        Some("outcome_unknown"),
        "the third is still a second attempt"
    );
}

#[tokio::test(start_paused = true)]
async fn in_work_elsewhere_is_waited_out() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world
        .upstream
        .next(refusal(Verdict::InProgress, Reason::AlreadyProcessing, None));
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    for _ in 0..11 {
        pass(seconds(5)).await;
        let _ = world.credentials(&id).await;
    }
    assert_eq!(world.presentations(), 1);
    pass(seconds(10)).await;
    world.access(&id).await;
    assert_eq!(world.presentations(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_certainly_not_sent_leaves_the_row_as_it_was() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.always(Some(Answer::NotSent));
    let before = world.facts(&id).await["row"].clone();
    assert_eq!(world.code(&id).await, Code::RefreshNotSent);
    assert_eq!(world.facts(&id).await["row"], before);
    // This process does not try again for every caller; others are not held up.
    let writes = world.one.store.writes();
    join_all((0..100).map(|_| world.code(&id))).await;
    assert_eq!(world.one.store.writes(), writes);
    world.upstream.always(None);
    let other = world.process().broker.credentials(&id).await.unwrap();
    assert_eq!(other.access_token.expose(), "access-0-1");
    pass(seconds(3)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_reports_about_one_set_are_one_refresh() {
    let world = World::new().await;
    let id = world.connect().await;
    let first = world.credentials(&id).await.unwrap().version;
    let connection = world.one.broker.connection(&id);
    let reports = join_all((0..100).map(|_| connection.refused(first))).await;
    for newer in reports {
        assert_eq!(newer.unwrap().access_token.expose(), "access-0-1");
    }
    assert_eq!(world.presentations(), 1);
    // Late ones, about the older set, cause none; not in another process, either.
    let two = world.process();
    for broker in [&world.one.broker, &two.broker] {
        let newer = broker.connection(&id).refused(first).await.unwrap();
        assert_eq!(newer.access_token.expose(), "access-0-1");
    }
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_served_again_if_the_refresh_fails() {
    let world = World::new().await;
    let id = world.connect().await;
    let first = world.credentials(&id).await.unwrap().version;
    world
        .upstream
        .next(refusal(Verdict::MayPass, Reason::RateLimited, Some(seconds(30))));
    assert!(world.one.broker.connection(&id).refused(first).await.is_err());
    for _ in 0..20 {
        assert_eq!(world.code(&id).await, Code::RefreshCooling);
        pass(seconds(1)).await;
    }
    pass(seconds(12)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
}

#[tokio::test(start_paused = true)]
async fn a_report_about_a_set_that_only_others_know_is_believed() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    pass(seconds(1)).await;
    let first = world.credentials(&id).await.unwrap().version;
    // All of this takes no time, so this process cannot hear of the other's refresh.
    world.upstream.set(|s| s.takes = Duration::ZERO);
    let newer = two.broker.connection(&id).refused(first).await.unwrap();
    assert!(
        world
            .one
            .broker
            .connection(&id)
            .peek(|c| c.version == first)
            .unwrap()
    );
    let newest = world
        .one
        .broker
        .connection(&id)
        .refused(newer.version)
        .await
        .unwrap();
    assert_eq!(
        newest.version,
        GrantVersion {
            epoch: 1,
            generation: 3
        }
    );
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-1"]);
}

#[tokio::test(start_paused = true)]
async fn who_hears_that_the_grant_is_gone_is_told_so_though_the_token_would_live_for_some_minutes() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION - seconds(250));
    world.upstream.end_grant("refresh-0-0");
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
}
