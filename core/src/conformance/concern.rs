//! Cases of what may need somebody's eyes.

use super::{
    Fixture,
    rows::{Works as _, connection, insert, integration, row, swap},
};
use crate::{
    connection::{Concern, Status},
    id::ConnectionId,
    store::{ConnectionStore, Revision},
};

async fn insert_with(store: &impl ConnectionStore, id: &str, concern: Option<Concern>) -> Revision {
    let mut written = row(id);
    written.index.concern = concern;
    insert(store, &written).await
}

async fn found(store: &impl ConnectionStore, concern: Concern, limit: u32) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut before: Option<ConnectionId> = None;
    loop {
        let page = store
            .connections_of_concern(concern, before.as_ref(), limit)
            .await
            .works();
        assert!(page.items.len() <= usize::try_from(limit).unwrap());
        for stored in &page.items {
            assert_eq!(stored.row.index.concern, Some(concern));
            ids.push(stored.row.id.to_string());
        }
        assert!(ids.len() < 100, "pages repeat: {ids:?}");
        if !page.more {
            return ids;
        }
        before = page.items.last().map(|stored| stored.row.id.clone());
        assert!(
            before.is_some(),
            "an empty page with more to come cannot be gone on from"
        );
    }
}

/// Each concern has its own rows, newest ids first, page by page; rows without one are in no such list.
pub async fn each_concern_has_its_rows<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for (id, concern) in [
        ("con_3", Some(Concern::Cooling)),
        ("con_1", Some(Concern::OutcomeUnknown)),
        ("con_5", Some(Concern::Cooling)),
        ("con_2", None),
        ("con_6", Some(Concern::Refreshing)),
        ("con_4", Some(Concern::Cooling)),
        ("con_7", Some(Concern::Expired)),
    ] {
        insert_with(&store, id, concern).await;
    }
    for limit in [1, 2, 3, 100] {
        assert_eq!(
            found(&peer, Concern::Cooling, limit).await,
            ["con_5", "con_4", "con_3"],
            "by {limit}"
        );
        assert_eq!(found(&peer, Concern::OutcomeUnknown, limit).await, ["con_1"]);
        assert_eq!(found(&peer, Concern::Refreshing, limit).await, ["con_6"]);
        assert_eq!(found(&peer, Concern::Expired, limit).await, ["con_7"]);
    }
    let below = connection("con_5");
    let page = peer
        .connections_of_concern(Concern::Cooling, Some(&below), 1)
        .await
        .works();
    assert!(page.more, "one of two");
    assert_eq!(page.items[0].row.id.as_str(), "con_4");
}

/// A swap moves a row from list to list; rows of every integration and status are listed.
pub async fn concerns_follow_their_rows<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut moved = row("con_1");
    let mut revision = insert_with(&store, "con_1", None).await;
    let steps = [
        Some(Concern::Refreshing),
        Some(Concern::OutcomeUnknown),
        None,
        Some(Concern::Expired),
        Some(Concern::Cooling),
    ];
    for step in steps {
        moved.index.concern = step;
        revision = swap(&store, &moved, revision).await;
        for concern in Concern::ALL {
            let expected: &[&str] = if step == Some(concern) { &["con_1"] } else { &[] };
            assert_eq!(found(&peer, concern, 10).await, expected, "after {step:?}");
        }
    }
    let mut other = row("con_0");
    other.index.integration = integration("int_b");
    other.index.status = Status::Deleted;
    other.index.concern = Some(Concern::Cooling);
    insert(&store, &other).await;
    assert_eq!(found(&peer, Concern::Cooling, 10).await, ["con_1", "con_0"]);
}
