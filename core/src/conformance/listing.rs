//! Cases of lists: filters, order, pages.

use std::collections::BTreeMap;

use super::{
    AtOnce, Fixture,
    rows::{
        Works as _, all, connection, get, ids, insert, integration, labels, other, row, swap, with_email,
    },
};
use crate::{
    connection::Status,
    integration::Environment,
    store::{ConnectionFilter, ConnectionRow, ConnectionStore, HotFacts, Index, StatusFilter},
    time::Timestamp,
};

const EMAILS: [&str; 4] = [
    "ann@acme.example",
    "bob@acme.example",
    "acme@mail.example",
    "zoe@mail.example",
];

/// Rows in all combinations of what filters look at.
fn grid() -> Vec<ConnectionRow> {
    let mut rows = Vec::new();
    for (i, email) in EMAILS.into_iter().cycle().take(128).enumerate() {
        let bit = |shift: usize| (i >> shift) & 1 == 1;
        let plain = row(&format!("con_{:03}", (i * 37) % 128));
        let status = Status::ALL[(i >> 2) & 3];
        let metadata = match (i >> 4) & 3 {
            0 => BTreeMap::new(),
            1 => labels([("team", "blue")]),
            2 => labels([("team", "blue"), ("tier", "1")]),
            _ => labels([("team", "green")]),
        };
        rows.push(ConnectionRow {
            index: Index {
                integration: integration(if bit(6) && i % 5 == 0 { "int_b" } else { "int_a" }),
                environment: if (i * 7) & 8 == 0 {
                    Environment::Production
                } else {
                    Environment::Sandbox
                },
                status,
                email: email.to_owned(),
                owner: if i % 3 == 0 {
                    String::new()
                } else {
                    format!("owner-{}", i % 3)
                },
                metadata,
                ..plain.index
            },
            ..plain
        });
    }
    rows
}

fn filters() -> Vec<ConnectionFilter> {
    let statuses = Status::ALL.map(StatusFilter::Only);
    let mut filters = Vec::new();
    for integration in ["int_a", "int_b", "int_c"].map(integration) {
        for status in statuses.into_iter().chain([StatusFilter::Live]) {
            for environment in [None, Some(Environment::Production), Some(Environment::Sandbox)] {
                for email in [None, Some("acme"), Some("@m"), Some("z"), Some("nobody")] {
                    for owner in [None, Some("owner-1"), Some("")] {
                        for metadata in [
                            BTreeMap::new(),
                            labels([("team", "blue")]),
                            labels([("team", "blue"), ("tier", "1")]),
                        ] {
                            filters.push(ConnectionFilter {
                                integration: integration.clone(),
                                status,
                                environment,
                                email_contains: email.map(str::to_owned),
                                owner: owner.map(str::to_owned),
                                metadata,
                            });
                        }
                    }
                }
            }
        }
    }
    filters
}

/// What a filter means, said once more and in another way than [`ConnectionFilter::matches`] says it.
fn fits(filter: &ConnectionFilter, index: &Index) -> bool {
    if filter.integration != index.integration {
        return false;
    }
    let statuses = match filter.status {
        StatusFilter::Live => vec![Status::Connected, Status::Expired, Status::Revoked],
        StatusFilter::Only(status) => vec![status],
    };
    let mut conditions = vec![statuses.contains(&index.status)];
    if let Some(environment) = filter.environment {
        conditions.push(environment == index.environment);
    }
    if let Some(text) = &filter.email_contains {
        let (email, text) = (index.email.as_bytes(), text.as_bytes());
        conditions.push(email.windows(text.len()).any(|part| part == text));
    }
    if let Some(owner) = &filter.owner {
        conditions.push(*owner == index.owner);
    }
    for label in &filter.metadata {
        conditions.push(index.metadata.iter().any(|found| found == label));
    }
    conditions.into_iter().all(|holds| holds)
}

/// Every filter, alone and with every other, finds what fits and nothing else, newest id first.
pub async fn filters_find_what_fits<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let mut rows = grid();
    for row in &rows {
        insert(&store, row).await;
    }
    rows.sort_by(|a, b| b.id.cmp(&a.id));
    for filter in filters() {
        let expected: Vec<_> = rows
            .iter()
            .filter(|row| fits(&filter, &row.index))
            .map(|row| row.id.to_string())
            .collect();
        assert_eq!(ids(&peer, &filter, 1000).await, expected, "{filter:?}");
    }
}

/// Pages of any size put together are the whole list, and the last one says so.
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
        with(&|f| f.environment = Some(Environment::Sandbox)),
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

/// Rows that nobody touches are seen exactly once by a walk over the pages, whatever comes and goes around them.
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
            // Around the place where the walk stands, and far from it.
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

/// A text is looked for as it stands: nothing in it is a pattern.
pub async fn an_email_text_is_literal<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let long = format!("{}@{}.example", "l".repeat(100), "d".repeat(100));
    let emails = [
        "plain@example.com",
        "per%cent@example.com",
        "under_score@example.com",
        "quo'te@example.com",
        "dou\"ble@example.com",
        "star*@example.com",
        "back\\slash@example.com",
        "plus+tag@example.com",
        "new or old@example.com",
        "ünï@exämple.com",
        "馬🐎@例え.テスト",
        "xabc-bca-cab@example.com",
        "a",
        "",
        &long,
    ];
    for (i, email) in emails.into_iter().enumerate() {
        let mut written = row(&format!("con_{i:02}"));
        written.index.email = email.to_owned();
        insert(&store, &written).await;
    }
    let texts = [
        "%",
        "_",
        "'",
        "\"",
        "*",
        "\\",
        "+",
        " ",
        "-",
        "@",
        ".",
        "a",
        "z",
        "ü",
        "馬",
        "🐎",
        "ab",
        "m@",
        "%c",
        "r_s",
        "e@e",
        "_s",
        "o't",
        "u\"b",
        "r*@",
        "k\\s",
        "s+t",
        " or ",
        "OR",
        "new or old",
        "new old",
        "per%cent",
        "p%n",
        "p_ain",
        "plain@",
        "@example.com",
        "example.com",
        "xabc",
        "abcab",
        "bcacab",
        "cab@",
        "ünï@exä",
        "\u{308}",
        "え.テ",
        "馬🐎@例え.テスト",
        "plain@example.com",
        "plain@example.com ",
        "xplain@example.com",
        "lll@ddd",
        "NOT",
        "a*",
        "^a",
        "terms:a",
        "(",
        ")",
        "--",
        &long,
        &long[50..150],
        &long[1..],
        &format!("{long}x"),
    ];
    for text in texts {
        let expected: Vec<_> = (0..emails.len())
            .rev()
            .filter(|i| emails[*i].contains(text))
            .map(|i| format!("con_{i:02}"))
            .collect();
        for limit in [2, 100] {
            assert_eq!(ids(&store, &with_email(text), limit).await, expected, "{text:?}");
        }
    }
}

/// A label is its key and its value, whole. Rows may have more labels than asked for, not fewer.
pub async fn labels_match_whole<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let store = fixture.open().await;
    let rows = [
        labels([("a", "b")]),
        labels([("a", "bc")]),
        labels([("ab", "c")]),
        labels([("b", "a")]),
        labels([("a", "")]),
        labels([("a", "b"), ("c", "d")]),
        labels([("a", "d"), ("c", "b")]),
        labels([("A", "b")]),
        labels([("a", "B")]),
        labels([("k'\"%", "v:{}\\")]),
        BTreeMap::new(),
    ];
    for (i, metadata) in rows.iter().enumerate() {
        let mut written = row(&format!("con_{i:02}"));
        written.index.metadata = metadata.clone();
        insert(&store, &written).await;
    }
    for (asked, found) in [
        (labels([("a", "b")]), vec![5, 0]),
        (labels([("a", "bc")]), vec![1]),
        (labels([("ab", "c")]), vec![2]),
        (labels([("a", "")]), vec![4]),
        (labels([("a", "b"), ("c", "d")]), vec![5]),
        (labels([("c", "b")]), vec![6]),
        (labels([("a", "b"), ("c", "b")]), vec![]),
        (labels([("k'\"%", "v:{}\\")]), vec![9]),
        (labels([("x", "y")]), vec![]),
    ] {
        let filter = ConnectionFilter {
            metadata: asked,
            ..all()
        };
        let expected: Vec<_> = found.into_iter().map(|i: i32| format!("con_{i:02}")).collect();
        assert_eq!(ids(&store, &filter, 2).await, expected, "{filter:?}");
    }
}

/// What was found by the old columns is found by the new ones after a swap, and by those only.
pub async fn a_swap_moves_a_row_in_every_list<F: Fixture<Store: ConnectionStore>>(fixture: &F) {
    let (store, peer) = (fixture.open().await, fixture.open().await);
    let found_by = |row: &ConnectionRow| {
        let index = row.index.clone();
        [
            ConnectionFilter {
                status: StatusFilter::Only(index.status),
                ..all()
            },
            ConnectionFilter {
                environment: Some(index.environment),
                ..all()
            },
            ConnectionFilter {
                owner: Some(index.owner),
                ..all()
            },
            ConnectionFilter {
                metadata: index.metadata,
                ..all()
            },
            with_email(&index.email),
            with_email(&index.email[4..7]),
        ]
    };
    let mut revision = insert(&store, &row("con_1")).await;
    for _ in 0..2 {
        for (next, last) in [(other("con_1"), row("con_1")), (row("con_1"), other("con_1"))] {
            revision = swap(&store, &next, revision).await;
            for filter in found_by(&next) {
                assert_eq!(ids(&peer, &filter, 5).await, ["con_1"], "{filter:?}");
            }
            for filter in found_by(&last) {
                assert_eq!(ids(&peer, &filter, 5).await, Vec::<String>::new(), "{filter:?}");
            }
        }
    }
    let mut deleted = row("con_1");
    deleted.index.status = Status::Deleted;
    swap(&store, &deleted, revision).await;
    assert_eq!(ids(&peer, &with_email("con_1"), 5).await, Vec::<String>::new());
    let filter = ConnectionFilter {
        status: StatusFilter::Only(Status::Deleted),
        ..with_email("con_1")
    };
    assert_eq!(ids(&peer, &filter, 5).await, ["con_1"]);
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
