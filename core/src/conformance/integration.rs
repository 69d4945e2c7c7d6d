//! Cases of the integrations.

use bytes::Bytes;

use super::{
    AtOnce, Fixture, poll_and_drop,
    rows::{Works as _, created, integration, slug, swapped},
};
use crate::{
    id::IntegrationId,
    store::{Inserted, IntegrationRow, IntegrationStore, Removed, Revision, Swap},
};

fn row(id: &str, body: &[u8]) -> IntegrationRow {
    IntegrationRow {
        id: integration(id),
        slug: None,
        body: Bytes::copy_from_slice(body),
    }
}

fn named(id: &str, name: &str) -> IntegrationRow {
    IntegrationRow {
        slug: Some(slug(name)),
        ..row(id, name.as_bytes())
    }
}

/// Whose slug it is.
async fn holder(store: &impl IntegrationStore, name: &str) -> Option<IntegrationId> {
    let stored = store.integration_by_slug(&slug(name)).await.works()?;
    assert_eq!(stored.row.slug, Some(slug(name)));
    let by_id = store.integration(&stored.row.id).await.works();
    assert_eq!(by_id.as_ref(), Some(&stored), "the same by its id");
    Some(stored.row.id)
}

/// A row comes back as it was written, through every handle and after reopening.
pub async fn rows_come_back<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = "y".repeat(128);
    let longest = "s".repeat(63);
    let with_slug = |row: IntegrationRow, name: &str| IntegrationRow {
        slug: Some(slug(name)),
        ..row
    };
    let rows = [
        row("int_1", b""),
        row("INT_1", &every_byte),
        row(&long, &every_byte.repeat(256)),
        with_slug(row("int_2", b""), "a"),
        with_slug(row(&long.replace('y', "z"), &every_byte.repeat(256)), &longest),
        // The text of another row's id.
        with_slug(row("slug", &every_byte), "s-1"),
        with_slug(row("s-1", &every_byte), "slug"),
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
        if let Some(slug) = &row.slug {
            let by_slug = store.integration_by_slug(slug).await.works();
            assert_eq!(by_slug.as_ref(), Some(&stored));
        }
    }
    assert_eq!(holder(&store, "b").await, None);
    let listed = store.list_integrations(None, 100).await.works();
    assert_eq!(listed.len(), rows.len());
    for stored in listed {
        assert!(rows.contains(&stored.row), "{:?}", stored.row.id);
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

/// A taken slug refuses the row, whatever its id; so does a taken id, which claims no slug. Any number of rows have none.
pub async fn a_taken_slug_stays<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    created(store.insert_integration(&named("int_1", "acme")).await.works());
    for refused in [named("int_2", "acme"), named("int_1", "other")] {
        for store in [&store, &peer] {
            let inserted = store.insert_integration(&refused).await.works();
            assert_eq!(inserted, Inserted::Occupied, "{:?}", refused.slug);
        }
    }
    assert_eq!(store.integration(&integration("int_2")).await.works(), None);
    assert_eq!(holder(&peer, "acme").await, Some(integration("int_1")));
    assert_eq!(holder(&peer, "other").await, None);
    for free in [row("int_2", b""), row("int_3", b""), named("int_4", "other")] {
        created(peer.insert_integration(&free).await.works());
    }
    assert_eq!(holder(&store, "other").await, Some(integration("int_4")));
}

/// Of many inserts of one slug, one wins, and the others leave no row.
pub async fn a_slug_race_has_one_winner<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let handles = [fixture.open().await, fixture.open().await];
    for (name, way) in ["one", "two"].into_iter().zip(AtOnce::WAYS) {
        let calls = (0..16_usize).map(|i| {
            let store = handles[i % 2].clone();
            let row = named(&format!("int_{name}_{i}"), name);
            async move {
                let inserted = store.insert_integration(&row).await.works();
                (inserted != Inserted::Occupied).then_some(row.id)
            }
        });
        let winners: Vec<_> = way.run(calls).await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{way:?}");
        assert_eq!(holder(&handles[0], name).await.as_ref(), Some(&winners[0]));
        let rows = handles[1].list_integrations(None, 100).await.works();
        let made = rows.iter().filter(|stored| stored.row.slug == Some(slug(name)));
        assert_eq!(made.count(), 1);
        let others = rows.iter().filter(|stored| stored.row.body == name.as_bytes());
        assert_eq!(others.count(), 1, "who lost leaves no row");
    }
}

/// A row has the slug that it was created with, or none, whatever is written over it.
pub async fn a_swap_keeps_the_slug<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut with = created(store.insert_integration(&named("int_1", "acme")).await.works());
    let mut without = created(store.insert_integration(&row("int_2", b"")).await.works());
    for next in [None, Some("other"), Some("acme")] {
        let next = |id| IntegrationRow {
            slug: next.map(slug),
            ..row(id, b"next")
        };
        with = swapped(peer.swap_integration(&next("int_1"), with).await.works());
        without = swapped(peer.swap_integration(&next("int_2"), without).await.works());
        let [one, two] = ["int_1", "int_2"].map(integration);
        assert_eq!(holder(&store, "acme").await, Some(one));
        assert_eq!(holder(&store, "other").await, None);
        let stored = store.integration(&two).await.works().unwrap();
        assert_eq!((stored.row.slug, &stored.row.body[..]), (None, &b"next"[..]));
    }
}

/// A removal frees the slug, for the same id or another one; one that is refused does not.
pub async fn a_removal_frees_the_slug<F: Fixture<Store: IntegrationStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    for id in ["int_1", "int_2", "int_2"] {
        let first = created(store.insert_integration(&named(id, "acme")).await.works());
        let second = swapped(peer.swap_integration(&row(id, b"2"), first).await.works());
        let id = integration(id);
        assert_eq!(
            peer.remove_integration(&id, first).await.works(),
            Removed::Conflict
        );
        assert_eq!(holder(&store, "acme").await.as_ref(), Some(&id));
        assert_eq!(peer.remove_integration(&id, second).await.works(), Removed::Gone);
        assert_eq!(holder(&store, "acme").await, None);
    }
    // Nothing of it comes back with the id.
    created(store.insert_integration(&row("int_2", b"")).await.works());
    assert_eq!(holder(&store, "acme").await, None);
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
        let new = IntegrationRow {
            slug: Some(slug(&format!("s-{polls}"))),
            ..row(&id, b"first")
        };
        let _ = poll_and_drop(store.insert_integration(&new), polls).await;
        if let Some(stored) = peer.integration(&new.id).await.works() {
            assert_eq!(stored.row, new);
            assert_ne!(peer.integrations_version().await.works(), before);
            assert_eq!(holder(&peer, &format!("s-{polls}")).await, Some(stored.row.id));
        }
        let _ = peer.insert_integration(&new).await.works();
        let old = peer.integration(&new.id).await.works().unwrap();
        let next = IntegrationRow {
            body: Bytes::from_static(b"second"),
            ..new.clone()
        };
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
