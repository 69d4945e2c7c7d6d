//! Cases about rows that may need attention.

use super::{
    Fixture,
    rows::{Works as _, connection, insert, integration, row, swap},
};
use crate::{
    connection::{Attention, Status},
    id::ConnectionId,
    store::{ConnectionStore, Revision},
};

async fn insert_with(store: &impl ConnectionStore, id: &str, attention: Option<Attention>) -> Revision {
    let mut written = row(id);
    written.index.attention = attention;
    insert(store, &written).await
}

async fn found(store: &impl ConnectionStore, attention: Attention, limit: u32) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut before: Option<ConnectionId> = None;
    loop {
        let page = store
            .connections_needing_attention(attention, before.as_ref(), limit)
            .await
            .works();
        assert!(page.items.len() <= usize::try_from(limit).unwrap());
        for stored in &page.items {
            assert_eq!(stored.row.index.attention, Some(attention));
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

/// Each kind of attention has its own rows, newest ids first, page by page; rows without one are in no such list.
pub async fn each_attention_has_its_rows<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for (id, attention) in [
        ("con_3", Some(Attention::Cooling)),
        ("con_1", Some(Attention::OutcomeUnknown)),
        ("con_5", Some(Attention::Cooling)),
        ("con_2", None),
        ("con_6", Some(Attention::Refreshing)),
        ("con_4", Some(Attention::Cooling)),
        ("con_7", Some(Attention::Expired)),
    ] {
        insert_with(&store, id, attention).await;
    }
    for limit in [1, 2, 3, 100] {
        assert_eq!(
            found(&peer, Attention::Cooling, limit).await,
            ["con_5", "con_4", "con_3"],
            "by {limit}"
        );
        assert_eq!(found(&peer, Attention::OutcomeUnknown, limit).await, ["con_1"]);
        assert_eq!(found(&peer, Attention::Refreshing, limit).await, ["con_6"]);
        assert_eq!(found(&peer, Attention::Expired, limit).await, ["con_7"]);
    }
    let below = connection("con_5");
    let page = peer
        .connections_needing_attention(Attention::Cooling, Some(&below), 1)
        .await
        .works();
    assert!(page.more, "one of two");
    assert_eq!(page.items[0].row.id.as_str(), "con_4");
}

/// A swap moves a row from list to list; rows of every integration and status are listed.
pub async fn attentions_follow_their_rows<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut moved = row("con_1");
    let mut revision = insert_with(&store, "con_1", None).await;
    let steps = [
        Some(Attention::Refreshing),
        Some(Attention::OutcomeUnknown),
        None,
        Some(Attention::Expired),
        Some(Attention::Cooling),
    ];
    for step in steps {
        moved.index.attention = step;
        revision = swap(&store, &moved, revision).await;
        for attention in Attention::ALL {
            let expected: &[&str] = if step == Some(attention) { &["con_1"] } else { &[] };
            assert_eq!(found(&peer, attention, 10).await, expected, "after {step:?}");
        }
    }
    let mut other = row("con_0");
    other.index.integration = integration("int_b");
    other.index.status = Status::Deleted;
    other.index.attention = Some(Attention::Cooling);
    insert(&store, &other).await;
    assert_eq!(found(&peer, Attention::Cooling, 10).await, ["con_1", "con_0"]);
}
