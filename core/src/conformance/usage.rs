//! Cases of usage: counts against limits.

use super::{
    AtOnce, Fixture, poll_and_drop,
    rows::{Works as _, integration},
};
use crate::store::{Charged, DayCount, UsageKey, UsageStore};

fn day(of: &str, month: u32, day: u8) -> UsageKey {
    UsageKey {
        integration: integration(of),
        month,
        day,
    }
}

async fn days(store: &impl UsageStore, of: &str, month: u32) -> Vec<(u8, u64)> {
    let days = store.usage_days(&integration(of), month).await.works();
    days.iter()
        .map(|DayCount { day, calls }| (*day, *calls))
        .collect()
}

/// A charge returns the month's total; one that would pass the limit counts nothing.
pub async fn a_charge_stops_at_the_limit<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let steps = [
        (1, 3, Some(10), Charged::Counted(3)),
        (2, 6, Some(10), Charged::Counted(9)),
        (2, 2, Some(10), Charged::Refused(9)),
        (3, 0, Some(10), Charged::Counted(9)),
        (3, 1, Some(10), Charged::Counted(10)),
        (3, 1, Some(10), Charged::Refused(10)),
        (4, 1, Some(5), Charged::Refused(10)),
        (4, 5, None, Charged::Counted(15)),
        (4, 1, Some(u64::MAX), Charged::Counted(16)),
    ];
    for (i, (on, amount, limit, expected)) in steps.into_iter().enumerate() {
        let handle = if i % 2 == 0 { &store } else { &peer };
        let charged = handle
            .charge_usage(&day("int_a", 202_611, on), amount, limit)
            .await
            .works();
        assert_eq!(charged, expected, "step {i}");
    }
    assert_eq!(
        days(&peer, "int_a", 202_611).await,
        [(1, 3), (2, 6), (3, 1), (4, 6)]
    );
}

/// Charges at once, on several days, count exactly as many as the limit allows.
pub async fn charges_in_a_crowd_are_exact<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (of, way) in ["int_a", "int_b"].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16_u8).map(|i| {
            let store = handles[usize::from(i % 2)].clone();
            async move {
                let mut counted = Vec::new();
                for _ in 0..10 {
                    let key = day(of, 202_611, 1 + i % 3);
                    if let Charged::Counted(total) = store.charge_usage(&key, 1, Some(100)).await.works() {
                        counted.push(total);
                    }
                }
                counted
            }
        });
        let mut counted: Vec<u64> = way.run(calls).await.into_iter().flatten().collect();
        counted.sort_unstable();
        let expected: Vec<u64> = (1..=100).collect();
        assert_eq!(counted, expected, "every total is told once ({way:?})");
        let total: u64 = days(&handles[0], of, 202_611)
            .await
            .iter()
            .map(|(_, calls)| calls)
            .sum();
        assert_eq!(total, 100);
    }
}

/// Charges without a limit are all counted.
pub async fn no_charge_is_lost<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (of, way) in ["int_a", "int_b"].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16).map(|i| {
            let store = handles[i % 2].clone();
            async move {
                for _ in 0..10 {
                    let _ = store.charge_usage(&day(of, 202_611, 5), 3, None).await.works();
                }
            }
        });
        way.run(calls).await;
        assert_eq!(days(&handles[0], of, 202_611).await, [(5, 480)], "{way:?}");
    }
}

/// A refund takes back what was counted on that day, and nothing beyond zero.
pub async fn a_refund_stops_at_zero<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for (on, amount) in [(1, 5), (2, 7)] {
        let _ = store
            .charge_usage(&day("int_a", 202_611, on), amount, None)
            .await
            .works();
    }
    peer.refund_usage(&day("int_a", 202_611, 1), 2).await.works();
    assert_eq!(days(&store, "int_a", 202_611).await, [(1, 3), (2, 7)]);
    peer.refund_usage(&day("int_a", 202_611, 1), 4).await.works();
    assert_eq!(days(&store, "int_a", 202_611).await, [(2, 7)]);
    peer.refund_usage(&day("int_a", 202_611, 3), 4).await.works();
    peer.refund_usage(&day("int_b", 202_611, 2), u64::MAX)
        .await
        .works();
    assert_eq!(days(&store, "int_a", 202_611).await, [(2, 7)]);
    let charged = store
        .charge_usage(&day("int_a", 202_611, 1), 1, Some(8))
        .await
        .works();
    assert_eq!(
        charged,
        Charged::Counted(8),
        "what was taken back can be charged again"
    );
    let charged = store
        .charge_usage(&day("int_a", 202_611, 3), 1, Some(8))
        .await
        .works();
    assert_eq!(charged, Charged::Refused(8));
}

/// Months and integrations are counted apart.
pub async fn months_and_integrations_are_apart<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let store = fixture.open().await;
    for (of, month, amount) in [
        ("int_a", 202_611, 1),
        ("int_a", 202_612, 2),
        ("int_a", 202_711, 3),
        ("int_b", 202_611, 4),
        ("INT_A", 202_611, 5),
    ] {
        let charged = store
            .charge_usage(&day(of, month, 9), amount, Some(amount))
            .await
            .works();
        assert_eq!(charged, Charged::Counted(amount));
    }
    assert_eq!(days(&store, "int_a", 202_611).await, [(9, 1)]);
    assert_eq!(days(&store, "int_a", 202_612).await, [(9, 2)]);
    assert_eq!(days(&store, "int_b", 202_611).await, [(9, 4)]);
    assert_eq!(days(&store, "int_b", 202_612).await, []);
}

/// Days are ascending, days without calls are not listed, and all is there after reopening.
pub async fn days_are_listed<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let store = fixture.open().await;
    for (on, amount) in [(31, 1), (2, 2), (10, 3), (1, 4), (20, 0), (2, 5)] {
        let _ = store
            .charge_usage(&day("int_a", 202_612, on), amount, None)
            .await
            .works();
    }
    drop(store);
    let store = fixture.open().await;
    assert_eq!(
        days(&store, "int_a", 202_612).await,
        [(1, 4), (2, 7), (10, 3), (31, 1)]
    );
}

/// A purge removes the months before, and no other.
pub async fn a_purge_keeps_the_month<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for month in [202_512, 202_610, 202_611, 202_612] {
        for of in ["int_a", "int_b"] {
            let _ = store.charge_usage(&day(of, month, 1), 1, None).await.works();
        }
    }
    peer.purge_usage(202_611).await.works();
    for (month, expected) in [
        (202_512, vec![]),
        (202_610, vec![]),
        (202_611, vec![(1, 1)]),
        (202_612, vec![(1, 1)]),
    ] {
        for of in ["int_a", "int_b"] {
            assert_eq!(days(&store, of, month).await, expected);
        }
    }
}

/// A dropped charge counted wholly or not at all.
pub async fn a_dropped_charge_is_whole<F: Fixture<Store: UsageStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut least = 0;
    let mut most = 0;
    for polls in 0..12 {
        let ended = poll_and_drop(store.charge_usage(&day("int_a", 202_611, 1), 7, None), polls).await;
        least += if ended.is_some() { 7 } else { 0 };
        most += if polls > 0 { 7 } else { 0 };
        let days = days(&peer, "int_a", 202_611).await;
        let total: u64 = days.iter().map(|(_, calls)| calls).sum();
        assert_eq!(total % 7, 0, "after {polls} polls");
        assert!((least..=most).contains(&total), "{total} of {least} to {most}");
    }
}
