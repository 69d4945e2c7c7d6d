//! Cases of what sweeps look for: rows that are due.

use super::{
    Fixture,
    rows::{Works as _, connection, insert, integration, row, swap},
};
use crate::{
    connection::Status,
    store::{ConnectionStore, DueEntry, Revision},
    time::Timestamp,
};

async fn insert_due(store: &impl ConnectionStore, id: &str, due_at: Option<i64>) -> Revision {
    let mut written = row(id);
    written.index.due_at = due_at.map(Timestamp);
    insert(store, &written).await
}

async fn due(store: &impl ConnectionStore, until: i64, limit: u32) -> Vec<(i64, String)> {
    let mut found: Vec<(i64, String)> = Vec::new();
    let mut after: Option<DueEntry> = None;
    loop {
        let page = store
            .due_connections(Timestamp(until), after.as_ref(), limit)
            .await
            .works();
        assert!(page.items.len() <= usize::try_from(limit).unwrap());
        found.extend(
            page.items
                .iter()
                .map(|entry| (entry.due_at.0, entry.id.to_string())),
        );
        if !page.more {
            return found;
        }
        after = page.items.last().cloned();
        assert!(
            after.is_some(),
            "an empty page with more to come cannot be gone on from"
        );
    }
}

fn entries(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(at, id)| (*at, (*id).to_owned())).collect()
}

/// Rows come by time and, where times tie, by id; up to the given time and with it; rows without a time never.
pub async fn due_rows_come_in_order<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for (id, at) in [
        ("con_5", Some(100)),
        ("con_1", Some(300)),
        ("con_4", Some(100)),
        ("con_2", None),
        ("con_9", Some(100)),
        ("con_3", Some(200)),
        ("con_7", Some(0)),
        ("con_8", Some(Timestamp::MAX.0)),
    ] {
        insert_due(&store, id, at).await;
    }
    let all = entries(&[
        (0, "con_7"),
        (100, "con_4"),
        (100, "con_5"),
        (100, "con_9"),
        (200, "con_3"),
        (300, "con_1"),
        (Timestamp::MAX.0, "con_8"),
    ]);
    for (limit, more) in [(6, true), (7, false), (8, false)] {
        let page = store.due_connections(Timestamp::MAX, None, limit).await.works();
        assert_eq!(page.more, more, "more follow behind {limit} of 7, or do not");
    }
    for limit in [1, 2, 3, 100] {
        assert_eq!(due(&peer, Timestamp::MAX.0, limit).await, all, "by {limit}");
        assert_eq!(due(&peer, 300, limit).await, all[..6]);
        assert_eq!(due(&peer, 299, limit).await, all[..5]);
        assert_eq!(due(&peer, 100, limit).await, all[..4]);
        assert_eq!(due(&peer, 99, limit).await, all[..1]);
        assert_eq!(due(&peer, -1, limit).await, []);
    }
}

/// A page goes on above any entry, also one whose row has moved or is gone.
pub async fn a_due_page_begins_above_any_entry<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    for (id, at) in [("con_1", 100), ("con_3", 100), ("con_5", 200)] {
        insert_due(&store, id, Some(at)).await;
    }
    for (at, id, expected) in [
        (99, "con_9", vec!["con_1", "con_3", "con_5"]),
        (100, "con_0", vec!["con_1", "con_3", "con_5"]),
        (100, "con_1", vec!["con_3", "con_5"]),
        (100, "con_2", vec!["con_3", "con_5"]),
        (100, "con_3", vec!["con_5"]),
        (150, "con_0", vec!["con_5"]),
        (200, "con_5", vec![]),
    ] {
        let after = DueEntry {
            due_at: Timestamp(at),
            id: connection(id),
        };
        let page = store
            .due_connections(Timestamp::MAX, Some(&after), 10)
            .await
            .works();
        let found: Vec<_> = page.items.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(found, expected, "above {after:?}");
    }
}

/// A swap moves a row to its new time; rows of every integration and status are due.
pub async fn due_rows_follow_their_rows<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut moved = row("con_1");
    moved.index.due_at = Some(Timestamp(100));
    let mut revision = insert(&store, &moved).await;
    for at in [Some(500), Some(50), None, Some(70), Some(70)] {
        moved.index.due_at = at.map(Timestamp);
        revision = swap(&store, &moved, revision).await;
        let expected: Vec<_> = at.map(|at| (at, "con_1".to_owned())).into_iter().collect();
        assert_eq!(due(&peer, Timestamp::MAX.0, 10).await, expected);
    }
    let mut owed = row("con_0");
    owed.index.integration = integration("int_b");
    owed.index.status = Status::Deleted;
    owed.index.due_at = Some(Timestamp(70));
    insert(&store, &owed).await;
    assert_eq!(due(&peer, 70, 10).await, entries(&[(70, "con_0"), (70, "con_1")]));
}
