//! Lists of connections: fields, filters, limits, cursors. Cases are named after bad inputs (`../README.md`).

use std::collections::BTreeSet;

use grantry::{ConnectionUpdate, id::ConnectionId};
use serde_json::{Value, json};

use crate::world::World;

const LIST: &str = "/api/v1/connections";

fn ids(page: &Value) -> Vec<String> {
    let items = page["connections"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["connectionId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn items_hold_nine_texts_and_nothing_else() {
    let world = World::new().await;
    let id = world.connect("Ann@Acme.example").await;
    let page = world.get(LIST).await;
    let expected = json!({
        "connections": [{
            "connectionId": id.as_str(),
            "userEmail": "Ann@Acme.example",
            "userName": "Ann Example",
            "orgName": "Acme",
            "environment": "production",
            "region": "NA",
            "status": "connected",
            "connectedAt": "2026-04-10T14:32:00.000Z",
            "lastActiveAt": "2026-04-10T14:32:00.000Z",
        }],
        "totalCount": 1,
    });
    assert_eq!(page, expected);
    let empty = World::new().await.get(LIST).await;
    assert_eq!(empty, json!({ "connections": [], "totalCount": 0 }));
}

#[tokio::test]
async fn filters_hold_together() {
    let world = World::new().await;
    let ann = world.connect("Ann_50%@acme.example").await;
    let bob = world.connect("bob@acme.example").await;
    let eve = world.connect("eve@other.example").await;
    let label = |owner: &str, team: &str| {
        ConnectionUpdate::default().owner(owner.to_owned()).metadata(
            [
                ("team".to_owned(), team.to_owned()),
                ("x.y".to_owned(), "1".to_owned()),
            ]
            .into(),
        )
    };
    world
        .broker
        .connection(&ann)
        .update(label("u-1", "red"))
        .await
        .unwrap();
    world
        .broker
        .connection(&bob)
        .update(label("u-1", "blue"))
        .await
        .unwrap();
    world.broker.connection(&eve).disconnect().await.unwrap();
    let rows: [(&str, &[&ConnectionId]); 20] = [
        ("", &[&bob, &ann]),
        ("?search=ACME", &[&bob, &ann]),
        ("?search=_50%25", &[&ann]),
        ("?search=a%25e", &[]),
        ("?search=", &[&bob, &ann]),
        ("?search=';%20DROP%20TABLE", &[]),
        ("?status=connected", &[&bob, &ann]),
        ("?status=expired", &[]),
        ("?status=revoked", &[]),
        ("?status=deleted", &[&eve]),
        ("?environment=production", &[&bob, &ann]),
        ("?environment=sandbox", &[]),
        ("?owner=u-1", &[&bob, &ann]),
        ("?owner=u-2", &[]),
        ("?metadata.team=red", &[&ann]),
        ("?metadata.team=red&metadata.x.y=1", &[&ann]),
        ("?metadata.team=red&metadata.x.y=2", &[]),
        ("?owner=u-1&metadata.team=blue&search=bob", &[&bob]),
        ("/?limit=1", &[&bob]),
        ("?limit=100", &[&bob, &ann]),
    ];
    for (query, expected) in rows {
        let page = world.get(&format!("{LIST}{query}")).await;
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(ids(&page), expected, "{query}");
        assert_eq!(page["totalCount"], expected.len(), "{query}");
    }
}

#[tokio::test]
async fn wrong_queries_are_told_apart() {
    let world = World::new().await;
    let long = format!("?search={}", "x".repeat(10_000));
    let pairs: Vec<String> = (0..300).map(|n| format!("metadata.{n}=x")).collect();
    let many = format!("?{}", pairs.join("&"));
    let rows = [
        ("L01", "?limit=0", "limit_invalid"),
        ("L01", "?limit=-1", "limit_invalid"),
        ("L01", "?limit=1.5", "limit_invalid"),
        ("L01", "?limit=abc", "limit_invalid"),
        ("L01", "?limit=", "limit_invalid"),
        ("L01", "?limit=%2B5", "limit_invalid"),
        ("L01", "?limit=9223372036854775808", "limit_invalid"),
        ("L02", "?limit=101", "limit_too_large"),
        ("L02", "?limit=100000", "limit_too_large"),
        ("L03", "?cursor=random", "cursor_invalid"),
        ("L03", "?cursor=", "cursor_invalid"),
        ("L03", "?cursor=a%2Fb", "cursor_invalid"),
        ("L08", "?colour=red", "filter_unknown"),
        ("L08", "?Status=connected", "filter_unknown"),
        ("L08", "?metadata=x", "filter_unknown"),
        ("L08", "?x", "filter_unknown"),
        ("L08", "?metadata.=x", "filter_invalid"),
        ("L09", "?search=%00", "filter_invalid"),
        ("L09", "?owner=%00", "filter_invalid"),
        ("L09", "?metadata.a=%00", "filter_invalid"),
        ("L09", &long, "filter_invalid"),
        ("L09", "?status=gone", "filter_invalid"),
        ("L09", "?status=", "filter_invalid"),
        ("L09", "?environment=PRODUCTION", "filter_invalid"),
        ("L09", "?environment=staging", "filter_invalid"),
        ("L10", "?status=connected&status=connected", "filter_duplicate"),
        ("L10", "?status=connected&st%61tus=expired", "filter_duplicate"),
        ("L10", "?metadata.a=1&metadata.a=2", "filter_duplicate"),
        ("L12", "?order=email", "filter_unknown"),
        ("many", &many, "query_too_large"),
    ];
    for (row, query, code) in rows {
        let got = world
            .api("GET", &format!("{LIST}{query}"))
            .refused(400, code)
            .await;
        for raw in ["colour", "gone", "DROP"] {
            assert!(!got.text().contains(raw), "{row} repeats what was sent");
        }
    }
}

#[tokio::test]
async fn a_walk_sees_each_connection_once() {
    let world = World::new().await;
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(world.connect(&format!("u{n}@acme.example")).await.to_string());
    }
    made.reverse();
    let mut walked = Vec::new();
    let mut query = "?limit=3&search=acme".to_owned();
    let mut pages = 0;
    loop {
        let page = world.get(&format!("{LIST}{query}")).await;
        walked.extend(ids(&page));
        pages += 1;
        let Some(cursor) = page.get("nextCursor") else {
            break;
        };
        let cursor = cursor.as_str().unwrap();
        assert!(
            cursor
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        // Made meanwhile: not part of this walk, and no reason to repeat or skip.
        world.connect(&format!("late{pages}@acme.example")).await;
        query = format!("?limit=3&search=acme&cursor={cursor}");
    }
    assert_eq!((pages, &walked), (3, &made));
    assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), 7);
}

#[tokio::test]
async fn cursors_are_bound_to_integration_filters_and_time() {
    let world = World::new().await;
    for n in 0..3 {
        world.connect(&format!("u{n}@acme.example")).await;
    }
    let page = world.get(&format!("{LIST}?limit=1&status=connected")).await;
    let cursor = page["nextCursor"].as_str().unwrap().to_owned();
    let ask = |query: &str| world.api("GET", &format!("{LIST}?{query}"));
    // Another limit is no other list.
    ask(&format!("limit=2&status=connected&cursor={cursor}"))
        .granted(200)
        .await;
    // L05.
    ask(&format!("limit=1&cursor={cursor}"))
        .refused(400, "cursor_mismatch")
        .await;
    ask(&format!("status=connected&owner=x&cursor={cursor}"))
        .refused(400, "cursor_mismatch")
        .await;
    // L03: every bit counts.
    let mut bytes = cursor.clone().into_bytes();
    bytes[20] = if bytes[20] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(bytes).unwrap();
    ask(&format!("status=connected&cursor={flipped}"))
        .refused(400, "cursor_invalid")
        .await;
    let cut = &cursor[..cursor.len() - 1];
    ask(&format!("status=connected&cursor={cut}"))
        .refused(400, "cursor_invalid")
        .await;
    // L04.
    let (_, other) = world.another().await;
    let target = format!("{LIST}?status=connected&cursor={cursor}");
    world
        .bare("GET", &target)
        .key(&other)
        .refused(400, "cursor_invalid")
        .await;
    // L06.
    world.clock.pass(std::time::Duration::from_secs(25 * 3600));
    ask(&format!("status=connected&cursor={cursor}"))
        .refused(400, "cursor_expired")
        .await;
}
