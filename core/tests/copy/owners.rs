//! Processes on both stores while the copy runs: each token is presented by one of them.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use grantry::{
    KeepAlive,
    copy::{Copy, is_migrated},
    error::Code,
    store::ConnectionStore as _,
    testing::{Answer, Fault, FaultyStore, Op},
    time::Clock as _,
};

use crate::{
    support::{SESSION, pass, seconds},
    two::{Two, everything},
};

#[tokio::test(start_paused = true)]
async fn processes_on_both_stores_never_present_one_token_twice() {
    let two = Two::new().await;
    let world = &two.world;
    world.upstream.set(|settings| {
        settings.session = seconds(8);
        settings.takes = Duration::from_millis(700);
    });
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(world.connect().await);
    }
    let (beside, there) = (world.process(), world.process_on(&two.target));
    let hammer = async {
        let brokers = [&world.one.broker, &beside.broker, &there.broker];
        for round in 0..400 {
            let asked = ids
                .iter()
                .flat_map(|id| brokers.map(|broker| broker.credentials(id)));
            for answer in futures_util::future::join_all(asked).await {
                if let Err(error) = answer {
                    let code = error.code();
                    let told = [Code::StoreMoved, Code::StoreArriving, Code::ConnectionNotFound];
                    let retry = error.is_retryable();
                    assert!(
                        told.contains(&code) || code == Code::IntegrationNotFound || retry,
                        "{round}: {error:?}"
                    );
                }
            }
            pass(Duration::from_millis(100)).await;
        }
    };
    let copy = async {
        pass(seconds(20)).await;
        two.copied().await
    };
    let ((), report) = tokio::join!(hammer, copy);
    assert_eq!((report.moved, report.outcome_unknown), (12, 0));
    let presented = world.upstream.presented();
    let different: BTreeSet<_> = presented.iter().collect();
    assert_eq!(presented.len(), different.len());
    assert_eq!(world.upstream.overlaps(), 0);
    for (at, id) in ids.iter().enumerate() {
        let stored = two.there(id).await;
        let (living, lives) = world.upstream.grant(at).unwrap();
        assert!(lives && world.seen(&stored).await.refresh == living);
        assert!(
            world.seen(&stored).await.row.version.generation > 4,
            "refreshed on both stores"
        );
        assert_eq!(world.code(id).await, Code::StoreMoved);
    }
    assert!(is_migrated(&world.memory.clone().into()).await.unwrap());
    assert!(!is_migrated(&two.target.clone().into()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_under_way_is_waited_for() {
    let two = Two::new().await;
    let world = &two.world;
    let (id, idle) = (world.connect().await, world.connect().await);
    world.clock.step(SESSION);
    world.upstream.next(Answer::Held(seconds(10)));
    let waiting = AtomicU64::new(0);
    let copy = two.copy();
    let copy = async {
        pass(seconds(1)).await;
        let report = copy
            .run(|progress| {
                waiting.fetch_max(progress.waiting, Ordering::SeqCst);
            })
            .await;
        report.unwrap()
    };
    let (served, report) = tokio::join!(world.credentials(&id), copy);
    let served = served.unwrap();
    assert_eq!(served.version.generation, 2);
    assert_eq!(report.outcome_unknown, 0);
    assert_eq!(waiting.into_inner(), 1);
    let there = world.process_on(&two.target);
    let again = there.broker.credentials(&id).await.unwrap();
    assert_eq!(again.access_token.expose(), served.access_token.expose());
    there.broker.credentials(&idle).await.unwrap();
    assert_eq!(world.upstream.presented(), ["refresh-0-0", "refresh-1-0"]);
}

/// The process stood still between its look at the row and its lease, while the whole store was copied.
#[tokio::test(start_paused = true)]
async fn a_process_that_slept_over_the_copy_presents_nothing() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    world.credentials(&id).await.unwrap();
    world.clock.step(SESSION);
    world.one.store.next(Op::Swap, Fault::Slow(seconds(3)));
    let copy = async {
        pass(seconds(1)).await;
        two.copied().await
    };
    let (served, _) = tokio::join!(world.credentials(&id), copy);
    assert_eq!(served.unwrap_err().code(), Code::StoreMoved);
    assert_eq!(world.presentations(), 0);
    world
        .process_on(&two.target)
        .broker
        .credentials(&id)
        .await
        .unwrap();
    assert_eq!(world.presentations(), 1);
}

/// What was sent at the source and not answered is presented by nobody before its quarantine is over, though the target's
/// clock stands elsewhere.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_keeps_its_quarantine() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.upstream.next(Answer::Dropped);
    let sent = world.clock.wall();
    assert_eq!(world.code(&id).await, Code::RefreshOutcomeUnknown);
    pass(seconds(20)).await;
    assert_eq!(two.copied().await.outcome_unknown, 1);
    let there = world.process_on(&two.target);
    let mut refused = 0;
    while world.presentations() == 1 {
        if let Err(error) = there.broker.credentials(&id).await {
            assert_eq!(error.code(), Code::RefreshOutcomeUnknown);
            refused += 1;
        }
        pass(seconds(1)).await;
    }
    assert!(refused > 20);
    let [_, (again, _)] = world.upstream.presented_at()[..] else {
        panic!("{:?}", world.upstream.presented_at())
    };
    let passed = sent.until(again);
    assert!(passed >= seconds(60) && passed < seconds(65), "{passed:?}");
}

/// A lease whose process died is copied as the unknown outcome that it stands for.
#[tokio::test(start_paused = true)]
async fn a_lease_of_a_dead_process_is_waited_for_and_copied_with_its_quarantine() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    world.clock.step(SESSION);
    world.one.store.script(Op::Swap, 1, u32::MAX, Fault::Before);
    world.upstream.next(Answer::Dropped);
    let _ = world.credentials(&id).await;
    assert_eq!(world.stands_at(&id).await, "Turn");
    let taken = world.upstream.presented_at()[0].0;
    let report = two.copied().await;
    assert_eq!(report.outcome_unknown, 1);
    assert!(taken.until(world.clock.wall()) >= seconds(29));
    let there = world.process_on(&two.target);
    while world.presentations() == 1 {
        let _ = there.broker.credentials(&id).await;
        pass(seconds(1)).await;
    }
    assert!(taken.until(world.upstream.presented_at()[1].0) >= seconds(60));
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_paid_by_the_target_and_nothing_else_is_revoked() {
    let two = Two::new().await;
    let world = &two.world;
    everything(world).await;
    let tried = world.upstream.revoked();
    two.copied().await;
    world
        .upstream
        .set(|settings| settings.refuses_revocations = false);
    pass(seconds(7200)).await;
    assert_eq!(world.upstream.revoked(), tried, "the source revokes");
    let there = world.process_on(&two.target);
    pass(seconds(7200)).await;
    let paid: BTreeSet<_> = world.upstream.revoked()[tried.len()..].iter().cloned().collect();
    let owed: BTreeSet<_> = tried.into_iter().collect();
    assert_eq!(paid, owed);
    drop(there);
    let left = two.target.connections_by_key().await.unwrap();
    assert_eq!(left, world.memory.connections_by_key().await.unwrap());
}

/// The copy ends when the integration is marked, before a connection is moved.
async fn only_marked(two: &Two) {
    let cut = FaultyStore::over(two.world.memory.clone());
    // Counting comes first.
    cut.script(Op::List, 1, 1, Fault::Before);
    let copy = Copy::new(cut, two.target.clone()).clock(two.world.clock.clone());
    assert_eq!(copy.run(|_| {}).await.unwrap_err().code(), "store_unavailable");
}

/// Nothing is served there, and nobody keeps alive or revokes what may be moved at any moment.
#[tokio::test(start_paused = true)]
async fn from_the_mark_on_the_source_does_nothing() {
    let two = Two::new().await;
    let world = &two.world;
    let (id, gone) = (world.connect().await, world.connect().await);
    let keeper = world.process_with(|builder| builder.keep_alive(KeepAlive::default().access_tokens(true)));
    world.upstream.set(|settings| settings.refuses_revocations = true);
    world.one.broker.connection(&gone).disconnect().await.unwrap();
    pass(seconds(2)).await;
    for _ in 0..2 {
        keeper.broker.credentials(&id).await.unwrap();
        pass(seconds(1)).await;
    }
    only_marked(&two).await;
    pass(seconds(1)).await;
    for broker in [&keeper.broker, &world.one.broker] {
        assert_eq!(
            broker.credentials(&id).await.unwrap_err().code(),
            Code::StoreMoved
        );
    }
    let revoked = world.upstream.revoked();
    pass(SESSION * 2).await;
    assert_eq!((world.presentations(), world.upstream.revoked()), (0, revoked));
    two.copied().await;
    let there = world.process_on(&two.target);
    there.broker.credentials(&id).await.unwrap();
    assert_eq!(world.presentations(), 1);
}

/// It had begun before the mark, and would have taken its lease afterwards.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_has_no_lease_yet_does_not_take_one_after_the_mark() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.connect().await;
    world.credentials(&id).await.unwrap();
    pass(seconds(2)).await;
    world.clock.step(SESSION);
    // The row is read when it is asked for, and again by the refresh.
    world.one.store.script(Op::Read, 1, 1, Fault::Slow(seconds(4)));
    let mark = async {
        pass(seconds(1)).await;
        only_marked(&two).await;
    };
    let (served, ()) = tokio::join!(world.credentials(&id), mark);
    assert_eq!(served.unwrap_err().code(), Code::StoreMoved);
    assert_eq!(world.presentations(), 0);
}
