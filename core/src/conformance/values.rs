//! Cases of what a row may hold: it comes back as it was written.

use bytes::Bytes;

use super::{
    Fixture,
    rows::{Works as _, all, connection, get, ids, insert, other, row, swap},
};
use crate::{
    connection::Attention,
    store::{ConnectionRow, ConnectionStore, HotFacts, Index, Inserted, Removed},
    time::Timestamp,
};

/// A row comes back as it was written, through every handle.
pub async fn every_column_comes_back<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for written in [row("con_1"), other("con_2")] {
        let revision = insert(&store, &written).await;
        for handle in [&store, &peer] {
            let (stored, _) = handle.connection(&written.id).await.works();
            let stored = stored.unwrap();
            assert_eq!(stored.row, written);
            assert_eq!(stored.revision, revision);
            assert_eq!(stored.hot, HotFacts::default());
        }
    }
}

/// Bodies are bytes: none, many, every value.
pub async fn bodies_come_back<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = every_byte.repeat(256);
    for (id, body) in [("con_1", Vec::new()), ("con_2", every_byte), ("con_3", large)] {
        let mut written = row(id);
        written.body = Bytes::from(body);
        let revision = insert(&store, &written).await;
        assert_eq!(get(&peer, id).await.unwrap().row.body, written.body);
        swap(&store, &row(id), revision).await;
        assert_eq!(get(&peer, id).await.unwrap().row.body, row(id).body);
    }
}

/// Ids differ by case, may be 128 characters long, and are ordered byte by byte.
pub async fn ids_are_told_apart<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let long = "x".repeat(127);
    let names = [
        "A",
        "a",
        "-",
        "_",
        "0",
        "aa",
        "a-",
        "a_",
        "Z",
        &format!("{long}y"),
        &format!("{long}z"),
    ];
    for name in names {
        insert(&store, &row(name)).await;
    }
    for name in names {
        assert_eq!(get(&store, name).await.unwrap().row, row(name));
    }
    let mut expected = names.map(str::to_owned);
    expected.sort();
    expected.reverse();
    assert_eq!(ids(&store, &all(), 100).await, expected);
    let result = store.insert_connection(&row("A")).await.works();
    assert_eq!(result, Inserted::Occupied);
    assert_eq!(get(&store, &long).await, None);
}

/// Columns keep any text and any time.
pub async fn odd_values_come_back<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let texts = [
        "",
        " ",
        "'; DROP TABLE x; --",
        "\"{}\"",
        "%_*?",
        "line\nbreak\ttab",
        "žluťoučký 🐎",
        "a:b{c}",
    ];
    for (i, text) in texts.into_iter().enumerate() {
        let id = format!("con_{i}");
        let plain = row(&id);
        let written = ConnectionRow {
            index: Index {
                attention: Attention::ALL.get(i % 5).copied(),
                email: text.to_owned(),
                owner: text.to_owned(),
                metadata: [
                    (text.to_owned(), text.to_owned()),
                    ("k".to_owned(), String::new()),
                ]
                .into(),
                connected_at: if i % 2 == 0 { Timestamp(0) } else { Timestamp::MAX },
                due_at: Some(if i % 2 == 0 { Timestamp::MAX } else { Timestamp(0) }),
                sealed_by: text.to_owned(),
                ..plain.index
            },
            ..plain
        };
        insert(&store, &written).await;
        assert_eq!(get(&store, &id).await.unwrap().row, written);
    }
}

/// Everything is there after all handles were dropped.
pub async fn reopening_keeps_all<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let first = insert(&store, &row("con_1")).await;
    let removed = insert(&store, &row("con_2")).await;
    let revision = swap(&store, &other("con_1"), first).await;
    let gone = store
        .remove_connection(&connection("con_2"), removed)
        .await
        .works();
    assert_eq!(gone, Removed::Gone);
    let point = store.connection_changes(None).await.works().next;
    drop(store);
    let store = fixture.open().await;
    let stored = get(&store, "con_1").await.unwrap();
    assert_eq!((stored.row, stored.revision), (other("con_1"), revision));
    assert_eq!(get(&store, "con_2").await, None);
    assert_eq!(ids(&store, &all(), 10).await, ["con_1"]);
    let changes = store.connection_changes(Some(&point)).await.works();
    assert!(
        changes.gap || changes.changed.is_empty(),
        "nothing was written meanwhile"
    );
}
