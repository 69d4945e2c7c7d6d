//! A refresh was sent and its outcome is not known (I2).

use std::time::Duration;

use grantry::{
    connection::Status,
    error::Code,
    provider::Rotation,
    testing::{Answer, Request},
};

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn nothing_is_presented_during_the_quarantine_and_then_once() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Dropped);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    assert_eq!(world.stands_at(&id).await, "Unknown");
    let sent = world.upstream.presented_at()[0].0;
    let mut wait = Duration::ZERO;
    while let Err(error) = world.credentials(&id).await {
        assert_eq!(error.code(), Code::RefreshOutcomeUnknown);
        wait = error.wait().unwrap();
        pass(seconds(1)).await;
    }
    assert!(wait <= seconds(2), "the last error says when: {wait:?}");
    let again = world.upstream.presented_at()[1].0;
    assert!(sent.until(again) >= seconds(60));
    assert_eq!(world.presentations(), 2);
    assert_eq!(world.generation(&id).await, 2);
    // A set of a second attempt is tried before it counts as healthy.
    assert!(
        world
            .upstream
            .log()
            .contains(&Request::Life("access-0-1".to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_living_access_token_is_served_and_nothing_is_risked() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION - seconds(290));
    world.upstream.next(Answer::Dropped);
    // Until half a minute before its known end.
    for _ in 0..250 {
        assert_eq!(world.access(&id).await, "access-0-0");
        pass(seconds(1)).await;
        assert_eq!(world.presentations(), 1);
    }
    pass(seconds(15)).await;
    let _ = world.credentials(&id).await;
    pass(seconds(16)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.presentations(), 2);
}

#[tokio::test(start_paused = true)]
async fn refused_at_the_second_attempt_means_that_the_lost_answer_had_spent_it() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Lost);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    assert_eq!(world.status(&id).await, Status::Connected);
    pass(seconds(70)).await;
    let error = world.credentials(&id).await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::ConnectionExpired, Some("outcome_unknown"))
    );
    assert_eq!(world.status(&id).await, Status::Expired);
    // And it is not presented a third time.
    pass(seconds(4000)).await;
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    assert_eq!(world.presentations(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_marks_nobody_dead_and_is_probed_ever_more_seldom() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.always(Some(Answer::Dropped));
    for _ in 0..(3 * 3600 / 20) {
        let _ = world.credentials(&id).await;
        pass(seconds(20)).await;
    }
    let times = world.upstream.presented_at();
    let gaps: Vec<_> = times
        .windows(2)
        .map(|w| w[0].0.until(w[1].0).as_secs() / 60)
        .collect();
    assert_eq!(gaps, [1, 5, 15, 60, 60]);
    world.upstream.always(None);
    pass(seconds(3600)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
}

#[tokio::test(start_paused = true)]
async fn an_assumed_end_is_no_proof_of_death() {
    let world = World::new().await;
    world.upstream.set(|s| s.tells_expiry = false);
    let id = world.connect().await;
    // The provider's session is longer than what is assumed.
    world.clock.step(SESSION - seconds(10));
    world.upstream.next(Answer::Dropped);
    world.upstream.set(|s| s.session = SESSION * 10);
    assert_eq!(world.access(&id).await, "access-0-0");
    world.upstream.live_on("access-0-0", SESSION * 9);
    for _ in 0..200 {
        pass(seconds(10)).await;
        assert_eq!(
            world.access(&id).await,
            "access-0-0",
            "it is asked about, and lives"
        );
        assert_eq!(world.presentations(), 1);
    }
    let asked = world
        .upstream
        .log()
        .iter()
        .filter(|r| matches!(r, Request::Life(_)))
        .count();
    assert!(
        (5..=60).contains(&asked),
        "asked now and then, not at every call: {asked}"
    );
    world.upstream.live_on("access-0-0", Duration::ZERO);
    pass(seconds(400)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
    assert_eq!(world.presentations(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_presented_while_it_cannot_be_asked_whether_the_token_lives() {
    let world = World::new().await;
    world.upstream.set(|s| s.tells_expiry = false);
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Dropped);
    world.upstream.set(|s| s.tells_life = false);
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    for _ in 0..50 {
        // It is served on: whoever had nothing to call with could not find out, either.
        assert_eq!(world.access(&id).await, "access-0-0");
        pass(seconds(10)).await;
    }
    assert_eq!(world.presentations(), 1);
    // A refused call is proof.
    let set = grantry::connection::GrantVersion {
        epoch: 1,
        generation: 1,
    };
    let newer = world.one.broker.connection(&id).refused(set).await.unwrap();
    assert_eq!(newer.access_token.expose(), "access-0-1");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_processed_after_we_left_is_not_met_by_a_second_one() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Later(seconds(40)));
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    pass(seconds(120)).await;
    // It was spent at 40 s. This cannot be saved; it must show, and nothing of the family may be left in doubt.
    assert_eq!(world.code(&id).await, Code::ConnectionExpired);
    assert_eq!(world.status(&id).await, Status::Expired);
    let times = world.upstream.presented_at();
    assert!(times[0].0.until(times[1].0) >= seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_stays_is_simply_presented_again() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.rotation = Rotation::Reusable;
        s.rotates = false;
    });
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Lost);
    let _ = world.credentials(&id).await;
    pass(seconds(5)).await;
    world.access(&id).await;
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_spent_token_is_presented_again_while_the_provider_s_grace_lasts() {
    let world = World::new().await;
    world.upstream.set(|s| {
        s.rotation = Rotation::Grace(seconds(60));
        s.rotates = false;
    });
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Lost);
    let _ = world.credentials(&id).await;
    pass(seconds(5)).await;
    world.access(&id).await;
    assert_eq!(world.presentations(), 2);
}
