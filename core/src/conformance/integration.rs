//! Cases of the integrations.

use bytes::Bytes;

use super::{
    AtOnce, Fixture, poll_and_drop,
    rows::{Works as _, created, integration, swapped},
};
use crate::store::{Inserted, IntegrationRow, IntegrationStore, Removed, Revision, Swap};

fn row(id: &str, body: &[u8]) -> IntegrationRow {
    IntegrationRow {
        id: integration(id),
        body: Bytes::copy_from_slice(body),
    }
}

/// A row comes back as it was written, through every handle and after reopening.
pub async fn rows_come_back<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = "y".repeat(128);
    let rows = [
        row("int_1", b""),
        row("INT_1", &every_byte),
        row(&long, &every_byte.repeat(256)),
    ];
    let mut revisions = Vec::new();
    for row in &rows {
        assert_eq!(store.integration(&row.id).await.works(), None);
        revisions.push(created(store.insert_integration(row).await.works()));
        let stored = peer.integration(&row.id).await.works().unwrap();
        assert_eq!(stored.row, *row);
    }
    drop((store, peer));
    let store = fixture.open().await;
    for (row, revision) in rows.iter().zip(revisions) {
        let stored = store.integration(&row.id).await.works().unwrap();
        assert_eq!((&stored.row, stored.revision), (row, revision));
    }
}

/// Of many inserts of one id, one wins.
pub async fn an_insert_race_has_one_winner<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (id, way) in ["int_1", "int_2"].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16_u8).map(|i| {
            let store = handles[usize::from(i % 2)].clone();
            async move { (i, store.insert_integration(&row(id, &[i])).await.works()) }
        });
        let results = way.run(calls).await;
        let winners: Vec<_> = results
            .iter()
            .filter(|(_, result)| *result != Inserted::Occupied)
            .collect();
        assert_eq!(winners.len(), 1, "{way:?}");
        let stored = handles[0].integration(&integration(id)).await.works().unwrap();
        assert_eq!(stored.row.body[..], [winners[0].0]);
    }
}

/// Swaps and removals need the whole present revision; what is not there is missing.
pub async fn writes_need_the_revision<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let id = integration("int_1");
    let first = created(store.insert_integration(&row("int_1", b"1")).await.works());
    let missing = store.swap_integration(&row("int_2", b"2"), first).await.works();
    assert_eq!(missing, Swap::Missing);
    assert_eq!(store.integration(&integration("int_2")).await.works(), None);
    let second = swapped(peer.swap_integration(&row("int_1", b"2"), first).await.works());
    assert_eq!(second.counter, first.counter + 1);
    let wrong = [
        first,
        Revision {
            write: second.write ^ 1,
            ..second
        },
        Revision {
            counter: second.counter + 1,
            ..second
        },
    ];
    for wrong in wrong {
        let swap = store.swap_integration(&row("int_1", b"3"), wrong).await.works();
        assert_eq!(swap, Swap::Conflict, "{wrong:?}");
        let removed = store.remove_integration(&id, wrong).await.works();
        assert_eq!(removed, Removed::Conflict, "{wrong:?}");
    }
    let third = swapped(store.swap_integration(&row("int_1", b"2"), second).await.works());
    assert!(
        third != second && third != first,
        "equal content gets a new revision"
    );
    let stored = peer.integration(&id).await.works().unwrap();
    assert_eq!((&stored.row.body[..], stored.revision), (&b"2"[..], third));
    assert_eq!(peer.remove_integration(&id, third).await.works(), Removed::Gone);
    assert_eq!(
        store.remove_integration(&id, third).await.works(),
        Removed::Missing
    );
    assert_eq!(store.integration(&id).await.works(), None);
    let again = created(store.insert_integration(&row("int_1", b"1")).await.works());
    assert!(
        ![first, second, third].contains(&again),
        "a revision never repeats"
    );
}

/// Of many swaps of one revision, one wins.
pub async fn a_swap_race_has_one_winner<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    let mut revision = created(handles[0].insert_integration(&row("int_1", b"")).await.works());
    for way in AtOnce::WAYS {
        let calls = (0..16_u8).map(|i| {
            let store = handles[usize::from(i % 2)].clone();
            async move {
                (
                    i,
                    store
                        .swap_integration(&row("int_1", &[i]), revision)
                        .await
                        .works(),
                )
            }
        });
        let results = way.run(calls).await;
        let winners: Vec<_> = results
            .iter()
            .filter(|(_, result)| *result != Swap::Conflict)
            .collect();
        assert_eq!(winners.len(), 1, "{way:?}");
        revision = swapped(winners[0].1);
        let stored = handles[0]
            .integration(&integration("int_1"))
            .await
            .works()
            .unwrap();
        assert_eq!((stored.row.body[0], stored.revision), (winners[0].0, revision));
    }
}

/// The list is by id, ascending, and goes on above any id.
pub async fn the_list_is_by_id<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for id in ["int_5", "int_1", "INT_9", "int_3"] {
        let _ = store.insert_integration(&row(id, id.as_bytes())).await.works();
    }
    let list = async |after: Option<&str>, limit: u32| {
        let after = after.map(integration);
        let rows = peer.list_integrations(after.as_ref(), limit).await.works();
        for stored in &rows {
            assert_eq!(stored.row.body, stored.row.id.as_str().as_bytes());
        }
        rows.iter()
            .map(|stored| stored.row.id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, 10).await, ["INT_9", "int_1", "int_3", "int_5"]);
    assert_eq!(list(None, 2).await, ["INT_9", "int_1"]);
    assert_eq!(list(Some("int_1"), 2).await, ["int_3", "int_5"]);
    assert_eq!(list(Some("int_2"), 1).await, ["int_3"]);
    assert_eq!(list(Some("int_5"), 10).await, Vec::<String>::new());
}

/// Every write moves the version, as every handle sees it.
pub async fn every_write_moves_the_version<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut seen = vec![peer.integrations_version().await.works()];
    let version = async |seen: &mut Vec<u64>| {
        let version = peer.integrations_version().await.works();
        assert!(!seen.contains(&version), "{version} stood before: {seen:?}");
        assert_eq!(store.integrations_version().await.works(), version);
        seen.push(version);
    };
    let first = created(store.insert_integration(&row("int_1", b"1")).await.works());
    version(&mut seen).await;
    let second = swapped(store.swap_integration(&row("int_1", b"1"), first).await.works());
    version(&mut seen).await;
    let removed = store
        .remove_integration(&integration("int_1"), second)
        .await
        .works();
    assert_eq!(removed, Removed::Gone);
    version(&mut seen).await;
}

/// A dropped write is wholly done or wholly undone: the version moves with the row.
pub async fn a_dropped_write_is_whole<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for polls in 0..12 {
        let id = format!("int_{polls}");
        let before = peer.integrations_version().await.works();
        let new = row(&id, b"first");
        let _ = poll_and_drop(store.insert_integration(&new), polls).await;
        if let Some(stored) = peer.integration(&new.id).await.works() {
            assert_eq!(stored.row, new);
            assert_ne!(peer.integrations_version().await.works(), before);
        }
        let _ = peer.insert_integration(&new).await.works();
        let old = peer.integration(&new.id).await.works().unwrap();
        let next = row(&id, b"second");
        let ended = poll_and_drop(store.swap_integration(&next, old.revision), polls).await;
        let seen = peer.integration(&new.id).await.works().unwrap();
        if seen.revision == old.revision {
            assert!(ended.is_none());
            assert_eq!(seen.row, new);
        } else {
            assert_eq!(seen.row, next);
        }
    }
}
