//! Cases of dropped calls: whenever the future of a write is dropped, the write is wholly done or wholly undone.
//!
//! Each write is polled some times and dropped, for every number of times up to one at which it was always finished. A
//! write that was under way may still be done a moment later, but never in parts, and never after a later write of the
//! same row was acknowledged.

use super::{
    Fixture, poll_and_drop,
    rows::{Works as _, connection, get, ids, insert, other, row, swap, with_email},
};
use crate::store::{ConnectionStore, HotFacts, Inserted, Removed, Swap};

/// More polls than any call takes here.
const POLLS: usize = 12;

/// A dropped insert left the whole row or none: in reads, lists and counts.
pub async fn a_dropped_insert_is_whole<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for polls in 0..POLLS {
        let id = format!("con_{polls:02}");
        let ended = poll_and_drop(store.insert_connection(&row(&id)), polls).await;
        if let Some(stored) = get(&peer, &id).await {
            assert_eq!(stored.row, row(&id), "after {polls} polls");
            assert_eq!(
                ids(&peer, &with_email(&id), 5).await,
                [id.as_str()],
                "after {polls} polls"
            );
        } else {
            assert!(ended.is_none(), "an acknowledged row is there");
        }
        // Whoever comes next finds it free or taken, and a whole row in any case.
        match peer.insert_connection(&row(&id)).await.works() {
            Inserted::Created(revision) => assert_eq!(get(&store, &id).await.unwrap().revision, revision),
            Inserted::Occupied => assert_eq!(get(&store, &id).await.unwrap().row, row(&id)),
        }
    }
    assert_eq!(ids(&store, &with_email("@example.com"), 100).await.len(), POLLS);
}

/// A dropped swap left the old row or the new one: columns, body and revision together.
pub async fn a_dropped_swap_is_whole<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for polls in 0..POLLS {
        let id = format!("con_{polls:02}");
        let old = insert(&store, &row(&id)).await;
        let ended = poll_and_drop(store.swap_connection(&other(&id), old), polls).await;
        let seen = get(&peer, &id).await.unwrap();
        if seen.revision == old {
            assert!(ended.is_none(), "an acknowledged swap is there");
            assert_eq!(seen.row, row(&id), "after {polls} polls");
        } else {
            assert_eq!(seen.row, other(&id), "after {polls} polls");
            assert_eq!(
                ids(&peer, &with_email(&row(&id).index.email), 5).await.len(),
                0,
                "the old e-mail is gone"
            );
        }
        // A later write wins, and what was dropped does not come back after it.
        let last = loop {
            let seen = get(&peer, &id).await.unwrap();
            let mut next = row(&id);
            next.index.email = String::from("last@example.com");
            if let Swap::Swapped(revision) = peer.swap_connection(&next, seen.revision).await.works() {
                break (next, revision);
            }
        };
        for handle in [&store, &peer] {
            let seen = get(handle, &id).await.unwrap();
            assert_eq!((seen.row, seen.revision), last, "after {polls} polls");
        }
        let gone = store.remove_connection(&connection(&id), last.1).await.works();
        assert_eq!(gone, Removed::Gone);
    }
}

/// A dropped removal left the whole row or nothing.
pub async fn a_dropped_removal_is_whole<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for polls in 0..POLLS {
        let id = format!("con_{polls:02}");
        let revision = insert(&store, &row(&id)).await;
        let key = connection(&id);
        let ended = poll_and_drop(store.remove_connection(&key, revision), polls).await;
        if let Some(stored) = get(&peer, &id).await {
            assert!(ended.is_none(), "an acknowledged removal removed");
            assert_eq!((stored.row, stored.revision), (row(&id), revision));
        }
        let again = peer.remove_connection(&key, revision).await.works();
        assert_ne!(again, Removed::Conflict);
        assert_eq!(get(&store, &id).await, None);
        assert_eq!(ids(&store, &with_email(&id), 5).await, Vec::<String>::new());
    }
}

/// A dropped touch moved no revision and left facts of one call together.
pub async fn a_dropped_touch_is_whole<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let revision = insert(&store, &row("con_1")).await;
    insert(&store, &row("con_2")).await;
    for polls in 0..POLLS {
        let number = u64::try_from(polls + 1).unwrap();
        let facts = HotFacts {
            last_active_at: Some(crate::time::Timestamp(i64::try_from(polls + 1).unwrap())),
            api_usage: Some((number, number)),
        };
        let both = ["con_1", "con_2"].map(|id| (connection(id), facts));
        let ended = poll_and_drop(store.touch_connections(&both), polls).await;
        let hot = get(&peer, "con_1").await.unwrap().hot;
        let at = hot.last_active_at.map(|at| u64::try_from(at.0).unwrap());
        assert_eq!(hot.api_usage, at.map(|at| (at, at)), "after {polls} polls");
        if ended.is_some() {
            assert_eq!(at, Some(number), "acknowledged facts are there");
        }
    }
    swap(&store, &row("con_1"), revision).await;
}
