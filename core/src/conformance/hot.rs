//! Cases of hot facts: what changes with every call.

use super::{
    AtOnce, Fixture,
    rows::{Works as _, connection, get, insert, other, row, swap},
};
use crate::{
    id::ConnectionId,
    store::{ConnectionStore, HotFacts},
    time::Timestamp,
};

fn facts(id: &str, last_active_at: Option<i64>, api_usage: Option<(u64, u64)>) -> (ConnectionId, HotFacts) {
    let facts = HotFacts {
        last_active_at: last_active_at.map(Timestamp),
        api_usage,
    };
    (connection(id), facts)
}

/// Facts are seen through every handle, and no revision moves.
pub async fn a_touch_moves_no_revision<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let revision = insert(&store, &row("con_1")).await;
    let (id, hot) = facts("con_1", Some(7_000), Some((3, 15_000)));
    peer.touch_connections(&[(id, hot)]).await.works();
    let stored = get(&store, "con_1").await.unwrap();
    assert_eq!(
        (stored.row, stored.revision, stored.hot),
        (row("con_1"), revision, hot)
    );
    swap(&store, &row("con_1"), revision).await;
}

/// A time never goes back; the latest counts win; omitted facts are kept.
pub async fn facts_go_forward<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    insert(&store, &row("con_1")).await;
    let steps = [
        ((None, None), (None, None)),
        ((None, Some((5, 10))), (None, Some((5, 10)))),
        ((Some(7_000), None), (Some(7_000), Some((5, 10)))),
        ((Some(6_000), Some((4, 10))), (Some(7_000), Some((4, 10)))),
        ((Some(8_000), None), (Some(8_000), Some((4, 10)))),
        ((None, None), (Some(8_000), Some((4, 10)))),
        (
            (Some(8_000), Some((u64::MAX, u64::MAX))),
            (Some(8_000), Some((u64::MAX, u64::MAX))),
        ),
        ((Some(0), Some((0, 0))), (Some(8_000), Some((0, 0)))),
    ];
    for ((time, usage), (time_after, usage_after)) in steps {
        store
            .touch_connections(&[facts("con_1", time, usage)])
            .await
            .works();
        let (_, expected) = facts("con_1", time_after, usage_after);
        assert_eq!(get(&store, "con_1").await.unwrap().hot, expected);
    }
    store
        .touch_connections(&[
            facts("con_1", Some(9_500), None),
            facts("con_1", Some(9_000), Some((1, 2))),
        ])
        .await
        .works();
    let (_, expected) = facts("con_1", Some(9_500), Some((1, 2)));
    assert_eq!(
        get(&store, "con_1").await.unwrap().hot,
        expected,
        "twice in one call"
    );
}

/// Ids that are not there are passed over, and the others are written.
pub async fn unknown_ids_are_passed_over<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    insert(&store, &row("con_1")).await;
    insert(&store, &row("con_3")).await;
    store.touch_connections(&[]).await.works();
    let all = ["con_0", "con_1", "con_2", "con_3", "con_4"].map(|id| facts(id, Some(7_000), None));
    store.touch_connections(&all).await.works();
    for id in ["con_1", "con_3"] {
        assert_eq!(get(&store, id).await.unwrap().hot, all[1].1);
    }
    for id in ["con_0", "con_2", "con_4"] {
        assert_eq!(get(&store, id).await, None);
        insert(&store, &row(id)).await;
        assert_eq!(get(&store, id).await.unwrap().hot, HotFacts::default());
    }
}

/// A swap does not take facts back, and a touch does not take a swap back, in whatever order they come.
pub async fn facts_and_swaps_do_not_meet<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (id, way) in ["con_1", "con_2"].into_iter().zip(AtOnce::WAYS) {
        let revision = insert(&handles[0], &row(id)).await;
        let calls = (0..16_i64).map(|i| {
            let store = handles[usize::from(i % 4 < 2)].clone();
            async move {
                if i == 7 {
                    let mut revision = revision;
                    for next in [other(id), row(id), other(id)] {
                        revision = swap(&store, &next, revision).await;
                    }
                } else {
                    store
                        .touch_connections(&[facts(id, Some(1_000 + i), None)])
                        .await
                        .works();
                }
            }
        });
        way.run(calls).await;
        let stored = get(&handles[0], id).await.unwrap();
        assert_eq!(stored.row, other(id), "{way:?}");
        assert_eq!(stored.revision.counter, revision.counter + 3);
        assert_eq!(stored.hot.last_active_at, Some(Timestamp(1_015)), "{way:?}");
    }
}
