//! Cases of filters: which rows a list has.

use std::collections::BTreeMap;

use super::{
    Fixture,
    rows::{all, ids, insert, integration, labels, other, rehearsal, row, swap, with_email},
};
use crate::{
    connection::{Attention, Status},
    integration::Environment,
    store::{ConnectionFilter, ConnectionRow, ConnectionStore, Index, StatusFilter},
};

const EMAILS: [&str; 4] = [
    "ann@acme.example",
    "bob@acme.example",
    "acme@mail.example",
    "zoe@mail.example",
];

/// Rows in all combinations of what filters look at.
pub(super) fn grid() -> Vec<ConnectionRow> {
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
                    Environment::PRODUCTION
                } else {
                    rehearsal()
                },
                status,
                attention: Attention::ALL.get(i % 5).copied(),
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
            for environment in [None, Some(Environment::PRODUCTION), Some(rehearsal())] {
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

/// The meaning of a filter, implemented independently of [`ConnectionFilter::matches`].
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

/// A search text is literal: nothing in it is a pattern.
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
