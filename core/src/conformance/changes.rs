//! Cases of the history: what was written since a point.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    AtOnce, Fixture,
    rows::{Works as _, connection, get, insert, other, row, swap},
};
use crate::store::{Changes, ConnectionStore, HotFacts, Inserted, Point, Removed, Revision, Swap};

async fn now(store: &impl ConnectionStore) -> Point {
    let changes = store.connection_changes(None).await.works();
    assert_eq!(
        changes.changed,
        [],
        "who asks for the present point gets no changes"
    );
    assert!(!changes.gap, "who asks for the present point missed nothing");
    changes.next
}

async fn since(store: &impl ConnectionStore, point: &Point) -> Changes {
    let changes = store.connection_changes(Some(point)).await.works();
    assert!(!changes.gap, "a few changes are no gap");
    changes
}

fn told(changes: &Changes) -> BTreeMap<String, Revision> {
    let told: BTreeMap<_, _> = changes
        .changed
        .iter()
        .map(|change| (change.id.to_string(), change.revision))
        .collect();
    assert_eq!(told.len(), changes.changed.len(), "each row at most once");
    told
}

/// Inserts, swaps and removals of another handle are told, each row once and with its present revision.
pub async fn changes_of_another_handle_are_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    insert(&store, &row("con_0")).await;
    let begin = now(&store).await;
    assert_eq!(since(&store, &begin).await.changed, []);

    let inserted = insert(&peer, &row("con_1")).await;
    let first = since(&store, &begin).await;
    assert_eq!(told(&first), BTreeMap::from([("con_1".to_owned(), inserted)]));

    let second = swap(&peer, &row("con_1"), inserted).await;
    assert_eq!(
        told(&since(&store, &first.next).await),
        BTreeMap::from([("con_1".to_owned(), second)]),
        "a swap is told that changes nothing by which rows are found"
    );
    let third = swap(&peer, &other("con_1"), second).await;
    let after = since(&store, &first.next).await;
    assert_eq!(told(&after), BTreeMap::from([("con_1".to_owned(), third)]));
    assert_eq!(
        told(&since(&store, &begin).await),
        told(&after),
        "from the begin, too"
    );

    let removed = peer.remove_connection(&connection("con_1"), third).await.works();
    assert_eq!(removed, Removed::Gone);
    let gone = since(&store, &after.next).await;
    let told = told(&gone);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["con_1"], "a removal is told");
    assert!(
        ![inserted, second, third].contains(&told["con_1"]),
        "who knows the last revision must see that something happened"
    );
    assert_eq!(
        since(&store, &gone.next).await.changed,
        [],
        "nothing is told twice"
    );
}

/// A removed row that is inserted again is told as it is now.
pub async fn a_row_that_came_back_is_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let begin = now(&store).await;
    let first = insert(&peer, &row("con_1")).await;
    let _ = peer.remove_connection(&connection("con_1"), first).await.works();
    let between = since(&store, &begin).await.next;
    let second = insert(&peer, &other("con_1")).await;
    for point in [begin, between] {
        let told = told(&since(&store, &point).await);
        assert_eq!(told, BTreeMap::from([("con_1".to_owned(), second)]));
    }
}

/// Writes that changed nothing are not told, and neither are hot facts.
pub async fn only_changes_are_told<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let stale = insert(&store, &row("con_1")).await;
    swap(&store, &row("con_1"), stale).await;
    let begin = now(&store).await;
    let occupied = store.insert_connection(&row("con_1")).await.works();
    assert_eq!(occupied, Inserted::Occupied);
    let conflict = store.swap_connection(&row("con_1"), stale).await.works();
    assert_eq!(conflict, Swap::Conflict);
    let missing = store.swap_connection(&row("con_2"), stale).await.works();
    assert_eq!(missing, Swap::Missing);
    let facts = HotFacts {
        last_active_at: Some(crate::time::Timestamp(9_000)),
        api_usage: None,
    };
    store
        .touch_connections(&[(connection("con_1"), facts)])
        .await
        .works();
    assert_eq!(since(&store, &begin).await.changed, []);
}

/// A point that was never reached is of another history: that is a gap.
pub async fn a_point_ahead_is_a_gap<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    insert(&store, &row("con_1")).await;
    let here = now(&store).await;
    let ahead = Point(
        here.0
            .iter()
            .map(|number| number.wrapping_add(1_000_000))
            .collect(),
    );
    let changes = store.connection_changes(Some(&ahead)).await.works();
    assert!(changes.gap);
    assert_eq!(changes.next, here, "it goes on from where this history is");
}

/// A watcher that goes from point to point while others write misses nothing: for every row it is told the last
/// revision.
pub async fn a_watcher_misses_nothing<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    const WRITERS: usize = 4;
    let handles = [fixture.open().await, fixture.open().await];
    for (round, way) in AtOnce::WAYS.into_iter().enumerate() {
        let begin = now(&handles[0]).await;
        let writing = Arc::new(AtomicUsize::new(WRITERS));
        let calls = (0..=WRITERS).map(|i| {
            let store = handles[i % 2].clone();
            let (writing, begin) = (writing.clone(), begin.clone());
            async move {
                let mut seen = BTreeMap::new();
                if i < WRITERS {
                    for turn in 0..12 {
                        let id = format!("con_{round}{i}{turn}");
                        let revision = insert(&store, &row(&id)).await;
                        let revision = swap(&store, &other(&id), revision).await;
                        if turn % 4 == 0 {
                            let _ = store.remove_connection(&connection(&id), revision).await.works();
                        }
                    }
                    writing.fetch_sub(1, Ordering::SeqCst);
                } else {
                    let mut point = begin;
                    loop {
                        let over = writing.load(Ordering::SeqCst) == 0;
                        let changes = since(&store, &point).await;
                        seen.extend(told(&changes));
                        point = changes.next;
                        if over {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
                seen
            }
        });
        let seen: BTreeMap<String, Revision> = way.run(calls).await.into_iter().flatten().collect();
        assert_eq!(seen.len(), WRITERS * 12, "every row is told ({way:?})");
        for (id, revision) in seen {
            if let Some(stored) = get(&handles[0], &id).await {
                assert_eq!(
                    stored.revision, revision,
                    "{id}: the last change is told ({way:?})"
                );
            }
        }
    }
}
