//! Proves that calls are counted: exactly at the limit, over any number of processes, and not what was never sent. The
//! store's rows are the judge; the calls go over real sockets, so time is not paused here.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use grantry::{
    IntegrationUpdate,
    error::Code,
    id::ConnectionId,
    proxy::ApiRequest,
    store::{Charged, UsageKey, UsageStore as _},
    testing::{Fault, Op},
    time::{Clock as _, Timestamp},
};
use support::{Process, World, days, pass, seconds};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// An API that says yes to everything, and its origin.
async fn api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = async move {
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
                    if seen.ends_with(b"\r\n\r\n") {
                        seen.clear();
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            };
            tokio::task::spawn_local(answer);
        }
    };
    tokio::task::spawn_local(serve);
    origin
}

async fn world(limit: Option<u64>) -> (World, ConnectionId) {
    let world = World::limited(limit).await;
    let origin = api().await;
    world.upstream.set(|s| {
        s.instance_url = origin;
        s.takes = Duration::ZERO;
    });
    let id = world.connect().await;
    (world, id)
}

async fn call(process: &Process, id: &ConnectionId) -> Result<(), Code> {
    let sent = process.broker.connection(id).send(ApiRequest::get("/x")).await;
    sent.map(drop).map_err(|error| error.code())
}

/// What the store has counted for the present month.
async fn counted(world: &World) -> u64 {
    let (month, _) = world.clock.wall().calendar();
    let days = world.memory.usage_days(&world.integration, month).await.unwrap();
    days.iter().map(|day| day.calls).sum()
}

async fn charge(world: &World, amount: u64) {
    let (month, day) = world.clock.wall().calendar();
    let integration = world.integration.clone();
    let key = UsageKey {
        integration,
        month,
        day,
    };
    let charged = world.memory.charge_usage(&key, amount, None).await.unwrap();
    assert!(matches!(charged, Charged::Counted(_)));
}

macro_rules! local {
    ($body:expr) => {
        tokio::task::LocalSet::new().run_until($body).await
    };
}

#[tokio::test]
async fn at_the_limit_the_count_is_exact_in_one_process() {
    local!(async {
        let (world, id) = world(Some(100)).await;
        let calls = join_all((0..150).map(|_| call(&world.one, &id))).await;
        assert_eq!(calls.iter().filter(|c| c.is_ok()).count(), 100);
        let refused = calls.iter().filter(|c| **c == Err(Code::PlanLimitExceeded));
        assert_eq!(refused.count(), 50);
        assert_eq!(counted(&world).await, 100);
        let error = world
            .one
            .broker
            .connection(&id)
            .send(ApiRequest::get("/x"))
            .await
            .unwrap_err();
        let plan = error.plan().unwrap();
        assert_eq!((plan.used, plan.limit), (100, 100));
        let usage = world
            .one
            .broker
            .integration(&world.integration)
            .usage()
            .await
            .unwrap();
        let ends = usage.resets_at;
        assert_eq!(ends.to_string(), "2026-02-01T00:00:00.000Z");
        assert!(error.wait().unwrap() <= world.clock.wall().until(ends) + seconds(1));
    });
}

#[tokio::test]
async fn and_over_two() {
    local!(async {
        let (world, id) = world(Some(100)).await;
        let two = world.process();
        let here = join_all((0..80).map(|_| call(&world.one, &id)));
        let there = join_all((0..80).map(|_| call(&two, &id)));
        let (here, there) = tokio::join!(here, there);
        let passed = here.iter().chain(&there).filter(|c| c.is_ok()).count();
        assert_eq!(passed, 100);
        assert_eq!(counted(&world).await, 100);
    });
}

#[tokio::test]
async fn far_from_the_limit_calls_are_reserved_in_blocks_and_given_back() {
    local!(async {
        let (world, id) = world(Some(1_000_000)).await;
        for _ in 0..3 {
            call(&world.one, &id).await.unwrap();
        }
        assert_eq!(counted(&world).await, 1 + 256);
        assert_eq!(
            world
                .one
                .broker
                .integration(&world.integration)
                .usage()
                .await
                .unwrap()
                .calls,
            3
        );
        assert_eq!(counted(&world).await, 3);
    });
}

#[tokio::test]
async fn near_the_limit_nobody_keeps_calls_that_others_could_make() {
    local!(async {
        let (world, id) = world(Some(300)).await;
        for _ in 0..2 {
            call(&world.one, &id).await.unwrap();
        }
        assert_eq!(counted(&world).await, 2);
        let two = world.process();
        let calls = join_all((0..300).map(|_| call(&two, &id))).await;
        assert_eq!(calls.iter().filter(|c| c.is_ok()).count(), 298);
    });
}

#[tokio::test]
async fn the_last_calls_pass_also_in_a_process_that_has_not_looked_for_long() {
    local!(async {
        let (world, id) = world(Some(1_000_000)).await;
        call(&world.one, &id).await.unwrap();
        // Others brought the month to ten calls before its end.
        charge(&world, 999_989).await;
        let calls = join_all((0..20).map(|_| call(&world.one, &id))).await;
        assert_eq!(calls.iter().filter(|c| c.is_ok()).count(), 10);
        assert_eq!(counted(&world).await, 1_000_000);
    });
}

#[tokio::test]
async fn what_was_certainly_not_sent_is_given_back() {
    local!(async {
        let (world, id) = world(Some(10)).await;
        // Nobody listens there.
        world
            .upstream
            .set(|s| s.instance_url = "http://127.0.0.1:1".to_owned());
        let nowhere = world.connect().await;
        for _ in 0..30 {
            assert_eq!(call(&world.one, &nowhere).await, Err(Code::UpstreamUnreachable));
        }
        assert_eq!(
            world
                .one
                .broker
                .integration(&world.integration)
                .usage()
                .await
                .unwrap()
                .calls,
            0
        );
        let calls = join_all((0..30).map(|_| call(&world.one, &id))).await;
        assert_eq!(calls.iter().filter(|c| c.is_ok()).count(), 10);
        assert_eq!(counted(&world).await, 10);
    });
}

#[tokio::test]
async fn a_refund_that_fails_is_made_up_for_also_of_yesterday() {
    local!(async {
        let (world, id) = world(None).await;
        for _ in 0..2 {
            call(&world.one, &id).await.unwrap();
        }
        world.clock.step(seconds(24 * 3600));
        // A new day begins a new block; the old one's rest cannot be given back at first.
        world.access(&id).await;
        call(&world.one, &id).await.unwrap();
        world.one.store.script(Op::Usage, 0, 2, Fault::Before);
        let _ = world.one.broker.integration(&world.integration).usage().await;
        world.one.store.heal();
        assert_eq!(
            world
                .one
                .broker
                .integration(&world.integration)
                .usage()
                .await
                .unwrap()
                .calls,
            3
        );
        assert_eq!(counted(&world).await, 3);
    });
}

#[tokio::test]
async fn a_month_begins_anew() {
    local!(async {
        let (world, id) = world(Some(5)).await;
        for _ in 0..5 {
            call(&world.one, &id).await.unwrap();
        }
        assert_eq!(call(&world.one, &id).await, Err(Code::PlanLimitExceeded));
        let now: Timestamp = world.clock.wall();
        world.clock.step(now.until(now.next_month()));
        for _ in 0..5 {
            call(&world.one, &id).await.unwrap();
        }
        assert_eq!(call(&world.one, &id).await, Err(Code::PlanLimitExceeded));
        assert_eq!(counted(&world).await, 5);
        let usage = world
            .one
            .broker
            .integration(&world.integration)
            .usage()
            .await
            .unwrap();
        assert_eq!((usage.month, usage.calls), (202_602, 5));
    });
}

/// Sweeps run every 20 seconds. Nothing answers the calls here, so time can be paused.
#[tokio::test(start_paused = true)]
async fn counts_of_more_than_13_months_ago_are_removed_once_a_day() {
    let world = World::limited(None).await;
    world
        .upstream
        .set(|s| s.instance_url = "http://127.0.0.1:1".to_owned());
    let id = world.connect().await;
    let count = async |month| {
        let key = UsageKey {
            integration: world.integration.clone(),
            month,
            day: 30,
        };
        let counted = world.memory.charge_usage(&key, 1, None).await.unwrap();
        assert_eq!(counted, Charged::Counted(1));
    };
    let left = async || {
        let mut left = Vec::new();
        for month in [202_411, 202_412, 202_501, 202_512] {
            if !world
                .memory
                .usage_days(&world.integration, month)
                .await
                .unwrap()
                .is_empty()
            {
                left.push(month);
            }
        }
        left
    };
    for month in [202_411, 202_412, 202_501, 202_512] {
        count(month).await;
    }
    pass(seconds(60)).await;
    assert_eq!(left().await.len(), 4, "who counts nothing removes nothing");

    assert_eq!(call(&world.one, &id).await, Err(Code::UpstreamUnreachable));
    pass(seconds(60)).await;
    assert_eq!(left().await, [202_412, 202_501, 202_512], "it is January 2026");
    count(202_411).await;
    pass(seconds(3600)).await;
    assert_eq!(left().await.len(), 4, "once a day");
    world.clock.step(days(1));
    pass(seconds(60)).await;
    assert_eq!(left().await, [202_412, 202_501, 202_512]);

    // A store that fails is asked again on the next day.
    world
        .clock
        .step(world.clock.wall().until(world.clock.wall().next_month()));
    world.one.store.script(Op::Usage, 0, 1, Fault::Before);
    pass(seconds(3600)).await;
    assert_eq!(left().await, [202_412, 202_501, 202_512]);
    world.clock.step(days(1));
    pass(seconds(60)).await;
    assert_eq!(left().await, [202_501, 202_512]);
}

#[tokio::test]
async fn a_new_limit_holds_at_once() {
    local!(async {
        let (world, id) = world(Some(2)).await;
        for _ in 0..2 {
            call(&world.one, &id).await.unwrap();
        }
        assert_eq!(call(&world.one, &id).await, Err(Code::PlanLimitExceeded));
        let update = |limit| IntegrationUpdate::default().monthly_limit(limit);
        let broker = &world.one.broker;
        broker
            .integration(&world.integration)
            .update(update(Some(3)))
            .await
            .unwrap();
        call(&world.one, &id).await.unwrap();
        assert_eq!(call(&world.one, &id).await, Err(Code::PlanLimitExceeded));
        broker
            .integration(&world.integration)
            .update(update(None))
            .await
            .unwrap();
        call(&world.one, &id).await.unwrap();
        assert_eq!(
            broker
                .integration(&world.integration)
                .usage()
                .await
                .unwrap()
                .calls,
            4
        );
        // Calls that were reserved without a limit are none under it.
        call(&world.one, &id).await.unwrap();
        broker
            .integration(&world.integration)
            .update(update(Some(5)))
            .await
            .unwrap();
        assert_eq!(call(&world.one, &id).await, Err(Code::PlanLimitExceeded));
        assert_eq!(
            broker
                .integration(&world.integration)
                .usage()
                .await
                .unwrap()
                .calls,
            5
        );
    });
}
