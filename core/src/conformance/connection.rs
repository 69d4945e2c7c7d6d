//! Cases of the connections: insert, read, swap, remove, count.

use bytes::Bytes;

use super::{
    AtOnce, Fixture,
    rows::{Works as _, all, connection, created, get, ids, insert, integration, other, row, swap, swapped},
};
use crate::{
    connection::Status,
    store::{ConnectionStore, HotFacts, Inserted, Removed, Revision, Swap},
    time::Timestamp,
};

/// Of many inserts of one id, one wins, and its row is the one that is stored.
pub async fn an_insert_race_has_one_winner<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (id, way) in ["con_1", "con_2"].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16).map(|i| {
            let store = handles[i % 2].clone();
            let mut mine = row(id);
            mine.body = Bytes::from(vec![u8::try_from(i).unwrap()]);
            async move { (mine.body.clone(), store.insert_connection(&mine).await.works()) }
        });
        let results = way.run(calls).await;
        let winners: Vec<_> = results
            .iter()
            .filter(|(_, result)| *result != Inserted::Occupied)
            .collect();
        assert_eq!(winners.len(), 1, "one insert of sixteen wins ({way:?})");
        let (body, result) = winners[0];
        let stored = get(&handles[1], id).await.unwrap();
        assert_eq!(stored.row.body, *body, "the winner's row is stored");
        assert_eq!(stored.revision, created(*result));
    }
}

/// An insert of a taken id changes nothing.
pub async fn a_taken_id_stays<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let revision = insert(&store, &row("con_1")).await;
    let result = peer.insert_connection(&other("con_1")).await.works();
    assert_eq!(result, Inserted::Occupied);
    let stored = get(&store, "con_1").await.unwrap();
    assert_eq!((stored.row, stored.revision), (row("con_1"), revision));
}

/// A swap replaces every column and the body, to and fro.
pub async fn a_swap_replaces_the_whole_row<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let first = insert(&store, &row("con_1")).await;
    let second = swap(&store, &other("con_1"), first).await;
    assert_eq!(get(&peer, "con_1").await.unwrap().row, other("con_1"));
    swap(&peer, &row("con_1"), second).await;
    assert_eq!(get(&store, "con_1").await.unwrap().row, row("con_1"));
}

/// A completed write can be confirmed to survive the loss of a machine, as far as the store promises that.
pub async fn a_fresh_write_is_confirmed<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let id = connection("con_1");
    let first = insert(&store, &row("con_1")).await;
    assert!(store.confirm_connection(&id, first).await.works());
    let second = swap(&store, &other("con_1"), first).await;
    for handle in [&store, &peer] {
        assert!(handle.confirm_connection(&id, second).await.works());
    }
    assert_eq!(get(&peer, "con_1").await.unwrap().row, other("con_1"));
}

/// A swap needs the present revision, regardless of its writer.
pub async fn a_stale_swap_conflicts<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let first = insert(&store, &row("con_1")).await;
    let second = swap(&peer, &other("con_1"), first).await;
    let result = store.swap_connection(&row("con_1"), first).await.works();
    assert_eq!(result, Swap::Conflict);
    let stored = get(&store, "con_1").await.unwrap();
    assert_eq!((stored.row, stored.revision), (other("con_1"), second));
}

/// A revision is compared whole: the counter alone and the write id alone do not match.
pub async fn a_revision_is_compared_whole<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let revision = insert(&store, &row("con_1")).await;
    let wrong = [
        Revision {
            write: revision.write ^ 1,
            ..revision
        },
        Revision {
            write: revision.write ^ (1 << 127),
            ..revision
        },
        Revision {
            counter: revision.counter + 1,
            ..revision
        },
    ];
    for wrong in wrong {
        let swap = store.swap_connection(&other("con_1"), wrong).await.works();
        assert_eq!(swap, Swap::Conflict, "{wrong:?} against {revision:?}");
        let removed = store.remove_connection(&connection("con_1"), wrong).await.works();
        assert_eq!(removed, Removed::Conflict, "{wrong:?} against {revision:?}");
    }
    assert_eq!(get(&store, "con_1").await.unwrap().row, row("con_1"));
}

/// Of many swaps of one revision, one wins, and its row is the one that is stored.
pub async fn a_swap_race_has_one_winner<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    let mut revision = insert(&handles[0], &row("con_1")).await;
    for way in AtOnce::WAYS {
        let calls = (0..16).map(|i| {
            let store = handles[i % 2].clone();
            let mut mine = other("con_1");
            mine.body = Bytes::from(vec![u8::try_from(i).unwrap()]);
            async move {
                (
                    mine.body.clone(),
                    store.swap_connection(&mine, revision).await.works(),
                )
            }
        });
        let results = way.run(calls).await;
        let winners: Vec<_> = results
            .iter()
            .filter(|(_, result)| *result != Swap::Conflict)
            .collect();
        assert_eq!(winners.len(), 1, "one swap of sixteen wins ({way:?})");
        let (body, result) = winners[0];
        revision = swapped(*result);
        let stored = get(&handles[0], "con_1").await.unwrap();
        assert_eq!((&stored.row.body, stored.revision), (body, revision));
    }
}

/// Every write makes a revision that the row never had, even if it writes what was there, and counts on.
pub async fn a_revision_never_repeats<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut revision = insert(&store, &row("con_1")).await;
        for _ in 0..4 {
            assert!(!seen.contains(&revision), "{revision:?} was there before");
            assert!(
                seen.iter().all(|old: &Revision| old.write != revision.write),
                "a write id is never used twice"
            );
            seen.push(revision);
            let next = swap(&store, &row("con_1"), revision).await;
            assert_eq!(next.counter, revision.counter + 1, "the counter grows by one");
            assert_eq!(get(&store, "con_1").await.unwrap().revision, next);
            revision = next;
        }
        seen.push(revision);
        let removed = store
            .remove_connection(&connection("con_1"), revision)
            .await
            .works();
        assert_eq!(removed, Removed::Gone);
    }
}

/// A row that does not exist is missing, for reads and for writes.
pub async fn what_is_not_there_is_missing<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let revision = insert(&store, &row("con_1")).await;
    assert_eq!(get(&store, "con_2").await, None);
    let swap = store.swap_connection(&row("con_2"), revision).await.works();
    assert_eq!(swap, Swap::Missing);
    let removed = store
        .remove_connection(&connection("con_2"), revision)
        .await
        .works();
    assert_eq!(removed, Removed::Missing);
    assert_eq!(get(&store, "con_2").await, None, "a swap does not create a row");
}

/// A removal needs the present revision and leaves nothing of the row.
pub async fn a_removal_leaves_nothing<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let first = insert(&store, &row("con_1")).await;
    let second = swap(&store, &row("con_1"), first).await;
    let id = connection("con_1");
    assert_eq!(
        peer.remove_connection(&id, first).await.works(),
        Removed::Conflict
    );
    assert!(
        get(&store, "con_1").await.is_some(),
        "a refused removal removes nothing"
    );
    let facts = HotFacts {
        last_active_at: Some(Timestamp(9_000)),
        api_usage: Some((1, 2)),
    };
    store.touch_connections(&[(id.clone(), facts)]).await.works();

    assert_eq!(peer.remove_connection(&id, second).await.works(), Removed::Gone);
    assert_eq!(
        store.remove_connection(&id, second).await.works(),
        Removed::Missing
    );
    assert_eq!(get(&store, "con_1").await, None);
    assert_eq!(ids(&store, &all(), 10).await, Vec::<String>::new());
    let due = store.due_connections(Timestamp::MAX, None, 10).await.works();
    assert_eq!(due.items, []);
    assert!(!store.has_connections(&integration("int_a")).await.works());

    insert(&store, &row("con_1")).await;
    let hot = get(&peer, "con_1").await.unwrap().hot;
    assert_eq!(hot, HotFacts::default(), "a new row has no facts of an old one");
}

/// The store's time is one clock for all handles and never goes back.
pub async fn store_time_never_goes_back<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    insert(&handles[0], &row("con_1")).await;
    // Missing rows come with the time, too. Two rows may lie on two machines, each with a clock of its own.
    for id in ["con_1", "con_2"] {
        let id = connection(id);
        let mut last = handles[0].connection(&id).await.works().1;
        for i in 0..100 {
            let (_, now) = handles[i % 2].connection(&id).await.works();
            assert_eq!(
                now.clock_id, last.clock_id,
                "handles of one moment share the clock"
            );
            assert!(now.millis >= last.millis, "{now:?} came after {last:?}");
            last = now;
        }
    }
}

/// Rows are counted by the key that sealed them, over all integrations.
pub async fn rows_are_counted_by_key<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let counts = async || {
        let mut counts = peer.connections_by_key().await.works();
        counts.retain(|(_, rows)| *rows > 0);
        counts.sort();
        counts
    };
    let count = |key: &str, rows: u64| (key.to_owned(), rows);
    assert_eq!(counts().await, []);
    let first = insert(&store, &row("con_1")).await;
    insert(&store, &row("con_2")).await;
    let mut elsewhere = other("con_3");
    elsewhere.index.integration = integration("int_b");
    elsewhere.index.status = Status::Deleted;
    let third = insert(&store, &elsewhere).await;
    let mut unsealed = row("con_4");
    unsealed.index.sealed_by = String::new();
    insert(&store, &unsealed).await;
    assert_eq!(
        counts().await,
        [count("", 1), count("key-1", 2), count("key-2", 1)]
    );
    let first = swap(&store, &other("con_1"), first).await;
    assert_eq!(
        counts().await,
        [count("", 1), count("key-1", 1), count("key-2", 2)]
    );
    swap(&store, &other("con_1"), first).await;
    let gone = store.remove_connection(&elsewhere.id, third).await.works();
    assert_eq!(gone, Removed::Gone);
    assert_eq!(
        counts().await,
        [count("", 1), count("key-1", 1), count("key-2", 1)]
    );
}

/// An integration has connections as long as one of its rows is not deleted.
pub async fn deleted_rows_are_no_connections<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mine = integration("int_a");
    assert!(!peer.has_connections(&mine).await.works());
    let mut elsewhere = row("con_0");
    elsewhere.index.integration = integration("int_b");
    insert(&store, &elsewhere).await;
    assert!(
        !peer.has_connections(&mine).await.works(),
        "it is another integration's"
    );
    let mut written = row("con_1");
    let mut revision = insert(&store, &written).await;
    for status in [Status::Connected, Status::Expired, Status::Revoked] {
        written.index.status = status;
        revision = swap(&store, &written, revision).await;
        assert!(peer.has_connections(&mine).await.works(), "{status:?}");
    }
    written.index.status = Status::Deleted;
    swap(&store, &written, revision).await;
    assert!(!peer.has_connections(&mine).await.works());
}
