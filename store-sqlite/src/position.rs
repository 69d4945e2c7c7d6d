//! Places in the order of ids.
//!
//! Every connection has an integer `n` that grows as ids do. So every integer index is in the order of lists, and so
//! is the search index, which knows rows by `n` alone: a page of any filter is read from where it begins to where it
//! is full.
//!
//! Generated ids grow with time, so nearly every row is appended. A row that belongs between two others gets a number
//! halfway; if none is left, the rows around it are moved apart, usually a few of them.

use grantry::id::ConnectionId;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::search;

/// The distance to the last row when a row is appended.
const STEP: i64 = 1 << 20;
/// Extra room beyond the first or the last row when rows are moved apart there.
const BEYOND: i64 = 1 << 40;
/// No place is farther from zero, so that sums and differences of places never overflow.
const LIMIT: i64 = 1 << 62;
/// How many rows on each side are considered first when no place is left.
const NEAR: usize = 4;

const BELOW: &str = "SELECT n FROM connection WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
const ABOVE: &str = "SELECT n FROM connection WHERE id > ?1 ORDER BY id LIMIT ?2";

/// A free place for a row that is about to be inserted.
pub(crate) fn place(db: &Connection, id: &ConnectionId) -> rusqlite::Result<i64> {
    loop {
        if let Some(place) = between(nearest(db, BELOW, id)?, nearest(db, ABOVE, id)?) {
            return Ok(place);
        }
        make_room(db, id)?;
    }
}

fn between(below: Option<i64>, above: Option<i64>) -> Option<i64> {
    match (below, above) {
        (None, None) => Some(0),
        (Some(below), None) => Some(below + STEP).filter(|n| *n < LIMIT),
        (None, Some(above)) => Some(above - STEP).filter(|n| *n > -LIMIT),
        (Some(below), Some(above)) => (above - below > 1).then(|| below + (above - below) / 2),
    }
}

fn nearest(db: &Connection, sql: &str, id: &ConnectionId) -> rusqlite::Result<Option<i64>> {
    let mut statement = db.prepare_cached(sql)?;
    statement
        .query_row(params![id.as_str(), 1], |row| row.get(0))
        .optional()
}

/// Up to `count` places on one side of `id`, nearest first.
fn neighbours(db: &Connection, sql: &str, id: &ConnectionId, count: usize) -> rusqlite::Result<Vec<i64>> {
    let mut statement = db.prepare_cached(sql)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![id.as_str(), count], |row| row.get(0))?;
    rows.collect()
}

/// Moves rows around `id` apart: the smallest group that ends up with enough room. Larger groups must end up with
/// wider gaps, which keeps the work at about one moved row per inserted row even if all inserts hit one spot.
fn make_room(db: &Connection, id: &ConnectionId) -> rusqlite::Result<()> {
    let mut reach = NEAR;
    loop {
        let mut rows = neighbours(db, BELOW, id, reach + 1)?;
        let mut above = neighbours(db, ABOVE, id, reach + 1)?;
        // The outermost row of each side stays in place; a side without further rows is open.
        let low = (rows.len() > reach).then(|| rows.pop()).flatten();
        let high = (above.len() > reach).then(|| above.pop()).flatten();
        rows.reverse();
        rows.append(&mut above);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(());
        };
        let whole = low.is_none() && high.is_none();
        let low = low.unwrap_or_else(|| (first - BEYOND).max(-LIMIT));
        let high = high.unwrap_or_else(|| (last + BEYOND).min(LIMIT));
        let count = i64::try_from(rows.len()).unwrap_or(LIMIT);
        let gap = (high - low) / (count + 1);
        if gap >= (64 * count).max(1024) || whole {
            return spread(db, &rows, low, gap);
        }
        reach *= 2;
    }
}

/// Moves `rows` to places `gap` apart: ascending moves from the last row on, descending ones from the first on, so
/// that no row ever collides with another.
fn spread(db: &Connection, rows: &[i64], low: i64, gap: i64) -> rusqlite::Result<()> {
    let mut target = low;
    let moves: Vec<(i64, i64)> = rows
        .iter()
        .map(|&from| {
            target += gap;
            (from, target)
        })
        .collect();
    let up = moves.iter().rev().filter(|(from, to)| to > from);
    let down = moves.iter().filter(|(from, to)| to < from);
    for &(from, to) in up.chain(down) {
        db.prepare_cached("UPDATE connection SET n = ?2 WHERE n = ?1")?
            .execute([from, to])?;
        search::relocate(db, from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use grantry::{
        connection::Status,
        integration::Environment,
        store::{ConnectionFilter, ConnectionRow, Index, Revision, StatusFilter},
        time::Timestamp,
    };

    use super::*;
    use crate::{connection, list, schema};

    fn row(id: &str) -> ConnectionRow {
        ConnectionRow {
            id: ConnectionId::new(id).unwrap(),
            index: Index {
                integration: "int".parse().unwrap(),
                environment: Environment::PRODUCTION,
                status: Status::Connected,
                attention: None,
                email: format!("{id}@example.com"),
                owner: String::new(),
                metadata: BTreeMap::new(),
                connected_at: Timestamp(0),
                due_at: None,
                sealed_by: String::new(),
            },
            body: bytes::Bytes::new(),
        }
    }

    /// Inserts rows in this order, checks that everything is in order, and returns how many rows were moved.
    fn insert(ids: impl IntoIterator<Item = String>) -> i64 {
        let db = schema::in_memory();
        db.execute_batch(
            "CREATE TABLE moved (count); INSERT INTO moved VALUES (0);
             CREATE TRIGGER counts AFTER UPDATE OF n ON connection BEGIN UPDATE moved SET count = count + 1; END",
        )
        .unwrap();
        let mut ids: Vec<String> = ids.into_iter().collect();
        for id in &ids {
            let revision = Revision { counter: 1, write: 1 };
            connection::insert(&db, &row(id), revision).unwrap();
        }
        ids.sort();
        ids.reverse();
        for email_contains in [None, Some("@example".to_owned())] {
            let filter = ConnectionFilter {
                integration: "int".parse().unwrap(),
                status: StatusFilter::Live,
                environment: None,
                email_contains,
                owner: None,
                metadata: BTreeMap::new(),
            };
            let page = list::connections(&db, &filter, None, u32::MAX).unwrap();
            let listed = page.items.iter().map(|stored| stored.row.id.as_str());
            assert!(
                listed.eq(ids.iter().map(String::as_str)),
                "places are in the order of ids"
            );
        }
        db.query_row("SELECT count FROM moved", [], |row| row.get(0))
            .unwrap()
    }

    fn scattered(i: u32) -> u32 {
        i.wrapping_mul(0x9e37_79b1)
            .rotate_left(7)
            .wrapping_mul(0x85eb_ca6b)
    }

    #[test]
    fn rows_that_are_appended_or_prepended_move_nothing() {
        assert_eq!(insert((0..500).map(|i| format!("con_{i:08}"))), 0);
        assert_eq!(insert((0..500).rev().map(|i| format!("con_{i:08}"))), 0);
    }

    #[test]
    fn any_order_costs_few_moves() {
        let moved = insert((0..800).map(|i| format!("con_{:08x}", scattered(i))));
        assert!(moved < 300, "scattered: {moved}");
        let behind = std::iter::once("zzz".to_owned());
        let moved = insert(behind.chain((0..800).map(|i| format!("con_{i:08}"))));
        assert!(moved < 500, "all before one: {moved}");
        let around = (0..500).map(|i| format!("con_{:08}", if i % 2 == 0 { i } else { 90_000_000 + i }));
        let moved = insert(around.chain((0..800).map(|i| format!("con_1{i:07}"))));
        assert!(moved < 3000, "all in one gap, ascending: {moved}");
        let around = (0..500).map(|i| format!("con_{:08}", if i % 2 == 0 { i } else { 90_000_000 + i }));
        let moved = insert(around.chain((0..800).rev().map(|i| format!("con_1{i:07}"))));
        assert!(moved < 3000, "all in one gap, descending: {moved}");
    }

    #[test]
    fn places_never_overflow() {
        assert_eq!(between(Some(LIMIT - 1), None), None);
        assert_eq!(between(None, Some(1 - LIMIT)), None);
        assert_eq!(between(Some(1 - LIMIT), Some(LIMIT - 1)), Some(0));
        assert_eq!(between(Some(4), Some(5)), None);
    }
}
