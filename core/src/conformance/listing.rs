//! Cases of lists: order and pages.

use super::{
    AtOnce, Fixture,
    filters::grid,
    rows::{Works as _, all, connection, get, ids, insert, labels, rehearsal, row, swap, with_email},
};
use crate::{
    connection::Status,
    store::{ConnectionFilter, ConnectionStore, HotFacts, StatusFilter},
    time::Timestamp,
};

/// Pages of any size add up to the whole list, and only the last one has no more.
pub async fn pages_make_the_whole_list<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    for row in grid() {
        insert(&store, &row).await;
    }
    let with = |change: &dyn Fn(&mut ConnectionFilter)| {
        let mut filter = all();
        change(&mut filter);
        filter
    };
    let filters = [
        all(),
        with(&|f| f.status = StatusFilter::Only(Status::Deleted)),
        with(&|f| f.environment = Some(rehearsal())),
        with(&|f| f.email_contains = Some("acme".to_owned())),
        with(&|f| f.owner = Some("owner-1".to_owned())),
        with(&|f| f.metadata = labels([("team", "blue")])),
    ];
    for filter in filters {
        let whole = ids(&store, &filter, 1000).await;
        assert!(whole.len() > 8, "{filter:?}");
        let size = u32::try_from(whole.len()).unwrap();
        for limit in [1, 2, 7, size - 1, size, size + 1] {
            assert_eq!(ids(&store, &filter, limit).await, whole, "{filter:?} by {limit}");
            let page = store.list_connections(&filter, None, limit).await.works();
            assert_eq!(
                page.more,
                limit < size,
                "more follow behind {limit} of {size}, or do not"
            );
        }
    }
}

/// A page goes on below any id: one of a removed row, and one that never was.
pub async fn a_page_begins_below_any_id<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    for i in [1, 3, 5, 7] {
        insert(&store, &row(&format!("con_{i}"))).await;
    }
    let revision = insert(&store, &row("con_6")).await;
    let _ = store
        .remove_connection(&connection("con_6"), revision)
        .await
        .works();
    for (before, expected) in [
        ("con_9", vec!["con_7", "con_5", "con_3", "con_1"]),
        ("con_7", vec!["con_5", "con_3", "con_1"]),
        ("con_6", vec!["con_5", "con_3", "con_1"]),
        ("con_4", vec!["con_3", "con_1"]),
        ("con_1", vec![]),
        ("con_0", vec![]),
    ] {
        for filter in [all(), with_email("example")] {
            let page = store
                .list_connections(&filter, Some(&connection(before)), 10)
                .await
                .works();
            let found: Vec<_> = page.items.iter().map(|stored| stored.row.id.as_str()).collect();
            assert_eq!(found, expected, "below {before}");
            assert!(!page.more);
        }
    }
}

/// A walk over the pages sees unchanged rows exactly once, whatever is inserted and removed around them.
pub async fn pages_neither_skip_nor_repeat<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut kept = Vec::new();
    let mut passing = Vec::new();
    for i in 0..60 {
        let id = format!("con_{i:02}_5");
        let revision = insert(&store, &row(&id)).await;
        if i % 3 == 0 {
            passing.push((connection(&id), revision));
        } else {
            kept.push(id);
        }
    }
    kept.reverse();
    for filter in [all(), with_email("example")] {
        let mut seen: Vec<String> = Vec::new();
        let mut before = None;
        let mut inserted = Vec::new();
        for turn in 0.. {
            let page = store.list_connections(&filter, before.as_ref(), 4).await.works();
            seen.extend(page.items.iter().map(|stored| stored.row.id.to_string()));
            if !page.more {
                break;
            }
            before = page.items.last().map(|stored| stored.row.id.clone());
            // Around the walk's position, and far from it.
            let here = before.clone().unwrap();
            let news = [
                format!("{here}0"),
                format!("con_{turn:02}_4"),
                format!("con_{turn:02}_6"),
            ];
            for id in news {
                if get(&peer, &id).await.is_none() {
                    inserted.push((connection(&id), insert(&peer, &row(&id)).await));
                }
            }
            for _ in 0..2 {
                if let Some((id, revision)) = passing.pop() {
                    let _ = peer.remove_connection(&id, revision).await.works();
                }
            }
        }
        for id in &kept {
            let times = seen.iter().filter(|seen| *seen == id).count();
            assert_eq!(times, 1, "{id} was seen {times} times");
        }
        for (id, revision) in inserted {
            let _ = peer.remove_connection(&id, revision).await.works();
        }
    }
}

/// A walk sees all that stays while others insert and remove at the same time.
pub async fn pages_stand_a_crowd<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut kept = Vec::new();
    for i in 0..40 {
        kept.push(format!("con_{i:02}_5"));
        insert(&store, &row(&kept[i])).await;
    }
    kept.reverse();
    let calls = (0..6).map(|i| {
        let (store, peer, kept) = (store.clone(), peer.clone(), kept.clone());
        async move {
            if i % 2 == 0 {
                for turn in 0..20 {
                    let id = format!("con_{:02}_{}", (turn * 7) % 40, i + 6);
                    let revision = insert(&peer, &row(&id)).await;
                    let _ = peer.remove_connection(&connection(&id), revision).await.works();
                }
            } else {
                for filter in [all(), with_email("_5@"), with_email("example")] {
                    let mut seen = ids(&store, &filter, 3).await;
                    seen.retain(|id| kept.contains(id));
                    assert_eq!(seen, kept);
                }
            }
        }
    });
    AtOnce::Parallel.run(calls).await;
}

/// An entry of a list is the row as a read gives it: body, revision and hot facts with it.
pub async fn an_entry_is_the_whole_row<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    insert(&store, &row("con_1")).await;
    let revision = insert(&store, &row("con_2")).await;
    swap(&store, &row("con_2"), revision).await;
    let facts = HotFacts {
        last_active_at: Some(Timestamp(7_000)),
        api_usage: Some((3, 15_000)),
    };
    store
        .touch_connections(&[(connection("con_2"), facts)])
        .await
        .works();
    for filter in [all(), with_email("@example")] {
        let page = store.list_connections(&filter, None, 10).await.works();
        for entry in page.items {
            let id = entry.row.id.as_str().to_owned();
            assert_eq!(Some(entry), get(&store, &id).await);
        }
    }
}
