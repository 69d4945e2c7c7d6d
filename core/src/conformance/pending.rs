//! Cases of things that may be used once.

use bytes::Bytes;

use super::{AtOnce, Fixture, poll_and_drop, rows::Works};
use crate::{
    store::{PendingRow, PendingStore, Put, Taken},
    time::Timestamp,
};

const GUARD: [u8; 32] = [7; 32];

fn row(key: u8, expires_at: i64) -> PendingRow {
    PendingRow {
        key: [key; 32],
        guard: GUARD,
        expires_at: Timestamp(expires_at),
        body: Bytes::from(vec![key; 3]),
    }
}

async fn put(store: &impl PendingStore, row: &PendingRow) {
    assert_eq!(
        store.put_pending(row).await.works(),
        Put::Stored,
        "the key is free"
    );
}

/// One of sixteen takers gets the row; the others get nothing, and so does everybody later.
pub async fn one_taker_wins<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (key, way) in [1, 2].into_iter().zip(AtOnce::WAYS) {
        put(&handles[0], &row(key, 1_000)).await;
        let calls = (0..16).map(|i| {
            let store = handles[i % 2].clone();
            async move { store.take_pending(&[key; 32], &GUARD, Timestamp(0)).await.works() }
        });
        let results = way.run(calls).await;
        let rows: Vec<_> = results.iter().filter(|taken| **taken != Taken::Missing).collect();
        assert_eq!(rows, [&Taken::Row(row(key, 0).body)], "{way:?}");
        let later = handles[0]
            .take_pending(&[key; 32], &GUARD, Timestamp(0))
            .await
            .works();
        assert_eq!(later, Taken::Missing);
    }
}

/// A wrong guard does not get the row, and does not remove it.
pub async fn a_wrong_guard_leaves_the_row<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    put(&store, &row(1, 1_000)).await;
    let mut almost = GUARD;
    almost[31] ^= 1;
    for guard in [almost, [0; 32]] {
        let taken = peer.take_pending(&[1; 32], &guard, Timestamp(0)).await.works();
        assert_eq!(taken, Taken::Guarded);
    }
    let taken = store.take_pending(&[1; 32], &GUARD, Timestamp(0)).await.works();
    assert_eq!(taken, Taken::Row(row(1, 0).body));
    let taken = store.take_pending(&[1; 32], &almost, Timestamp(0)).await.works();
    assert_eq!(taken, Taken::Missing, "what is gone has no guard");
}

/// A row expires by the time that is given, at the very moment that it names.
pub async fn a_row_expires_by_the_given_time<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let store = fixture.open().await;
    for (key, now, there) in [
        (1, 999, true),
        (2, 1_000, false),
        (3, 1_001, false),
        (4, -5, true),
    ] {
        put(&store, &row(key, 1_000)).await;
        for (guard, wrong) in [([0; 32], true), (GUARD, false)] {
            let taken = store
                .take_pending(&[key; 32], &guard, Timestamp(now))
                .await
                .works();
            let expected = match (there, wrong) {
                (false, _) => Taken::Missing,
                (true, true) => Taken::Guarded,
                (true, false) => Taken::Row(row(key, 0).body),
            };
            assert_eq!(taken, expected, "at {now}, wrong guard: {wrong}");
        }
    }
}

/// A taken key is not put over; one whose row was taken is free.
pub async fn a_taken_key_is_refused<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    put(&store, &row(1, 1_000)).await;
    let mut second = row(1, 5_000);
    second.body = Bytes::from_static(b"second");
    second.guard = [8; 32];
    assert_eq!(peer.put_pending(&second).await.works(), Put::Occupied);
    let taken = peer.take_pending(&[1; 32], &GUARD, Timestamp(0)).await.works();
    assert_eq!(taken, Taken::Row(row(1, 0).body), "the first one stays");
    put(&peer, &second).await;
    let taken = store
        .take_pending(&[1; 32], &[8; 32], Timestamp(4_999))
        .await
        .works();
    assert_eq!(taken, Taken::Row(second.body));
}

/// Of many puts of one key, one is stored.
pub async fn a_put_race_has_one_winner<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (key, way) in [1, 2].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16_u8).map(|i| {
            let store = handles[usize::from(i % 2)].clone();
            let mut mine = row(key, 1_000);
            mine.body = Bytes::from(vec![i]);
            async move { (i, store.put_pending(&mine).await.works()) }
        });
        let results = way.run(calls).await;
        let winners: Vec<_> = results.iter().filter(|(_, put)| *put == Put::Stored).collect();
        assert_eq!(winners.len(), 1, "{way:?}");
        let taken = handles[0]
            .take_pending(&[key; 32], &GUARD, Timestamp(0))
            .await
            .works();
        assert_eq!(taken, Taken::Row(Bytes::from(vec![winners[0].0])));
    }
}

/// A purge removes expired rows only, no more than the limit, and returns how many.
pub async fn a_purge_removes_what_expired<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for key in 0..10 {
        put(&store, &row(key, if key < 7 { 1_000 } else { 1_001 })).await;
    }
    assert_eq!(peer.purge_pending(Timestamp(999), 100).await.works(), 0);
    assert_eq!(peer.purge_pending(Timestamp(1_000), 0).await.works(), 0);
    assert_eq!(peer.purge_pending(Timestamp(1_000), 4).await.works(), 4);
    assert_eq!(peer.purge_pending(Timestamp(1_000), 4).await.works(), 3);
    assert_eq!(peer.purge_pending(Timestamp(1_000), 4).await.works(), 0);
    for key in 0..10 {
        let taken = store.take_pending(&[key; 32], &GUARD, Timestamp(0)).await.works();
        let expected = if key < 7 {
            Taken::Missing
        } else {
            Taken::Row(row(key, 0).body)
        };
        assert_eq!(taken, expected, "{key}");
    }
}

/// Bodies and digests are bytes, and are there after reopening.
pub async fn rows_come_back<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let store = fixture.open().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies = [Vec::new(), every_byte.clone(), every_byte.repeat(256)];
    let mut key = [0; 32];
    key[31] = 0xff;
    let mut guard = [0; 32];
    guard[0] = 0xff;
    for (i, body) in bodies.iter().enumerate() {
        key[5] = u8::try_from(i).unwrap();
        let row = PendingRow {
            key,
            guard,
            expires_at: Timestamp::MAX,
            body: Bytes::from(body.clone()),
        };
        put(&store, &row).await;
    }
    drop(store);
    let store = fixture.open().await;
    for (i, body) in bodies.into_iter().enumerate() {
        key[5] = u8::try_from(i).unwrap();
        let taken = store.take_pending(&key, &guard, Timestamp(0)).await.works();
        assert_eq!(taken, Taken::Row(Bytes::from(body)));
    }
}

/// A dropped take left the row for one other taker or for none; it never gives it twice.
pub async fn a_dropped_take_is_whole<F: Fixture<Store: PendingStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for polls in 0..12 {
        let key = u8::try_from(polls).unwrap();
        let written = row(key, 1_000);
        let ended = poll_and_drop(store.put_pending(&written), polls).await;
        let again = peer.put_pending(&written).await.works();
        assert!(
            ended.is_none() || again == Put::Occupied,
            "an acknowledged row is there"
        );
        let dropped = poll_and_drop(store.take_pending(&[key; 32], &GUARD, Timestamp(0)), polls).await;
        let mut results: Vec<Taken> = dropped.map(Works::works).into_iter().collect();
        for handle in [&peer, &store, &peer] {
            results.push(
                handle
                    .take_pending(&[key; 32], &GUARD, Timestamp(0))
                    .await
                    .works(),
            );
        }
        let rows = results.iter().filter(|taken| **taken != Taken::Missing).count();
        assert!(rows <= 1, "after {polls} polls: {results:?}");
        assert!(
            polls > 0 || rows == 1,
            "a take that was never polled took nothing"
        );
    }
}
