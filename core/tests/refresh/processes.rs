//! Several processes on one store.

use futures_util::future::join_all;
use grantry::{
    connection::Status,
    error::Code,
    event::What,
    testing::{Answer, Fault, Op},
};

use crate::support::{SESSION, World, pass, seconds};

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_presents_and_the_other_adopts() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    two.broker.credentials(&id).await.unwrap();
    for round in 1..=20 {
        world.clock.step(SESSION);
        world.upstream.next(Answer::Slow(seconds(3)));
        let here = join_all((0..50).map(|_| world.credentials(&id)));
        let there = join_all((0..50).map(|_| two.broker.credentials(&id)));
        let (here, there) = tokio::join!(here, there);
        for credentials in here.into_iter().chain(there) {
            assert_eq!(credentials.unwrap().version.generation, round + 1);
        }
        assert_eq!(world.presentations(), usize::try_from(round).unwrap());
    }
    assert_eq!(world.upstream.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_s_refresh_is_seen_without_asking() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    pass(seconds(2)).await;
    let set = two.broker.credentials(&id).await.unwrap().version;
    world.one.broker.connection(&id).refused(set).await.unwrap();
    pass(seconds(1)).await;
    let seen = two.broker.credentials(&id).await.unwrap();
    assert_eq!(seen.access_token.expose(), "access-0-1");
    assert_eq!(world.presentations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_dead_process_lapses_into_unknown_and_is_waited_out() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    // The process dies with the answer: the lease stays in the row, and nothing comes after it.
    let two = world.process();
    two.store.script(Op::Swap, 1, u32::MAX, Fault::Before);
    world.upstream.next(Answer::Dropped);
    let _ = two.broker.credentials(&id).await;
    assert_eq!(world.stands_at(&id).await, "Turn");
    assert_eq!(world.presentations(), 1);
    let taken = world.upstream.presented_at()[0].0;
    // While the lease lasts the others wait for it; then its outcome is unknown.
    let mut codes = Vec::new();
    while world.presentations() == 1 {
        match world.credentials(&id).await {
            Ok(credentials) => assert_eq!(credentials.access_token.expose(), "access-0-1"),
            Err(error) => codes.push(error.code()),
        }
        pass(seconds(1)).await;
    }
    assert!(codes.contains(&Code::RefreshOutcomeUnknown));
    let [_, (again, ref token)] = world.upstream.presented_at()[..] else {
        panic!("two presentations")
    };
    assert_eq!(token, "refresh-0-0");
    let waited = taken.until(again);
    assert!((seconds(60)..=seconds(120)).contains(&waited), "{waited:?}");
    assert_eq!(world.generation(&id).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_back_is_taken_by_who_waited_long_for_it() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process();
    two.broker.credentials(&id).await.unwrap();
    world.clock.step(SESSION);
    // Both try at once; the one whose write loses waits for longer than its own write could have been fresh.
    world.upstream.next(Answer::NotSent);
    world.one.store.script(Op::Swap, 1, 1, Fault::Slow(seconds(8)));
    two.store
        .next(Op::Swap, Fault::Slow(std::time::Duration::from_millis(5)));
    let (there, here) = tokio::join!(two.broker.credentials(&id), world.credentials(&id));
    assert_eq!(here.unwrap_err().code(), Code::RefreshNotSent);
    assert_eq!(there.unwrap().access_token.expose(), "access-0-1");
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_race_adopts_the_newer_set() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    // Its request waits upstream for so long that its lease lapses, and somebody else is processed first.
    let two = world.process();
    world.upstream.set(|s| s.revokes_families = false);
    world.upstream.next(Answer::Held(seconds(15)));
    let late = two.broker.credentials(&id);
    let quick = async {
        pass(seconds(5)).await;
        world.clock.step(seconds(300));
        world.access(&id).await
    };
    let (late, quick) = tokio::join!(late, quick);
    assert_eq!(late.unwrap().access_token.expose(), quick);
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-0-0"]);
    assert_eq!(world.status(&id).await, Status::Connected);
    assert_eq!(two.events.count(&What::LatePresenter), 1);
}

#[tokio::test(start_paused = true)]
async fn the_newer_set_is_tried_when_a_late_refusal_may_have_ended_it() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let two = world.process();
    world.upstream.next(Answer::Held(seconds(15)));
    let late = two.broker.credentials(&id);
    let quick = async {
        pass(seconds(5)).await;
        world.clock.step(seconds(300));
        world.access(&id).await
    };
    let (late, quick) = tokio::join!(late, quick);
    // The late one was the second presentation of a spent token, and ended the family.
    assert!(!world.upstream.lives("refresh-0-1"));
    assert_eq!(quick, "access-0-1");
    assert_eq!(late.unwrap_err().code(), Code::ConnectionExpired);
    assert_eq!(world.status(&id).await, Status::Expired, "visibly");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_replaces_the_tried_one_is_tried_too() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let two = world.process();
    world.upstream.next(Answer::Held(seconds(15)));
    let late = two.broker.credentials(&id);
    let quick = async {
        pass(seconds(5)).await;
        world.clock.step(seconds(300));
        let set = world.credentials(&id).await.unwrap().version;
        // One more refresh: processed before the late presentation, and stored while the set before it is tried.
        world.upstream.next(Answer::Slow(seconds(11)));
        let connection = world.one.broker.connection(&id);
        let refresh = connection.refused(set);
        let slowly = async {
            pass(seconds(5)).await;
            world.upstream.set(|s| s.takes = seconds(2));
        };
        tokio::join!(refresh, slowly).0
    };
    let (late, quick) = tokio::join!(late, quick);
    assert_eq!(quick.unwrap().access_token.expose(), "access-0-2");
    assert!(!world.upstream.lives("refresh-0-2"));
    assert_eq!(late.unwrap_err().code(), Code::ConnectionExpired);
    assert_eq!(world.status(&id).await, Status::Expired, "visibly");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_a_holder_whose_lease_passed_ends_nothing() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let two = world.process();
    world.upstream.end_grant("refresh-0-0");
    world.upstream.next(Answer::Held(seconds(10)));
    world.upstream.next(Answer::Slow(seconds(15)));
    let late = async {
        let answer = two.broker.credentials(&id).await;
        (answer, world.status(&id).await)
    };
    let holder = async {
        pass(seconds(5)).await;
        world.clock.step(seconds(300));
        let answer = world.credentials(&id).await;
        (answer, world.status(&id).await)
    };
    let ((late, then), (holder, at_last)) = tokio::join!(late, holder);
    assert_eq!(late.unwrap_err().code(), Code::RefreshInProgress);
    assert_eq!(then, Status::Connected);
    assert_eq!(holder.unwrap_err().reason(), Some("outcome_unknown"));
    assert_eq!(at_last, Status::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_late_success_undoes_expired() {
    let world = World::new().await;
    let id = world.connect().await;
    world.clock.step(SESSION);
    let two = world.process();
    world.upstream.set(|s| s.revokes_families = false);
    // It is processed at once and answered so late that somebody else was refused meanwhile.
    world.upstream.next(Answer::Slow(seconds(15)));
    let late = two.broker.credentials(&id);
    let refused = async {
        pass(seconds(5)).await;
        world.clock.step(seconds(300));
        let error = world.credentials(&id).await.unwrap_err();
        (error, world.status(&id).await)
    };
    let (late, (error, then)) = tokio::join!(late, refused);
    assert_eq!((error.code(), then), (Code::ConnectionExpired, Status::Expired));
    assert_eq!(late.unwrap().access_token.expose(), "access-0-1");
    assert_eq!(world.status(&id).await, Status::Connected);
    assert_eq!(two.events.count(&What::Recovered), 1);
    pass(seconds(1)).await;
    assert_eq!(world.access(&id).await, "access-0-1");
}

/// Who waits for another's refresh and has no patience left neither presents the token himself nor is served a dead one.
#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_goes_away_with_empty_hands() {
    let world = World::new().await;
    let id = world.connect().await;
    let two = world.process_with(|builder| builder.refresh_timeout(seconds(3)));
    two.broker.credentials(&id).await.unwrap();
    world.clock.step(SESSION);
    world.upstream.next(Answer::Slow(seconds(19)));
    let waits = async {
        pass(seconds(1)).await;
        let answers = join_all((0..50).map(|_| two.broker.credentials(&id))).await;
        for answer in answers {
            assert_eq!(answer.unwrap_err().code(), Code::RefreshInProgress);
        }
        assert_eq!(world.stands_at(&id).await, "Turn", "it is still on its way");
    };
    let (token, ()) = tokio::join!(world.access(&id), waits);
    let adopted = two.broker.credentials(&id).await.unwrap();
    assert_eq!(adopted.access_token.expose(), token);
    assert_eq!(world.upstream.presented(), ["refresh-0-0"]);
}

/// Each answer belongs to the connection that asked, however many are on their way and whoever is answered first.
#[tokio::test(start_paused = true)]
async fn no_connection_gets_another_s_tokens() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(world.connect().await);
    }
    let two = world.process();
    for round in 1..=3 {
        world.clock.step(SESSION);
        for n in 0..50 {
            world.upstream.next(Answer::Slow(seconds(n * 7 % 10)));
        }
        let here = join_all(ids.iter().map(|id| world.credentials(id)));
        let there = join_all(ids.iter().rev().map(|id| two.broker.credentials(id)));
        let (here, there) = tokio::join!(here, there);
        for (grant, (here, there)) in here.into_iter().zip(there.into_iter().rev()).enumerate() {
            let (here, there) = (here.unwrap(), there.unwrap());
            let token = here.access_token.expose();
            assert!(
                token.starts_with(&format!("access-{grant}-")),
                "{token} for grant {grant}"
            );
            assert_eq!(token, there.access_token.expose());
            assert!(world.upstream.lives(&format!("refresh-{grant}-{round}")));
        }
    }
    assert_eq!(world.presentations(), 150);
}
