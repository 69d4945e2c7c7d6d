//! The history of connections. Every write adds an entry under the next number, in its own transaction. Numbers
//! therefore become visible in order, and a reader that has read up to one of them has missed nothing below it.
//!
//! A separate table costs a write one page, since entries are appended; an indexed column of the rows themselves
//! would cost three.

use std::collections::HashMap;

use grantry::{
    id::ConnectionId,
    store::{Change, Changes, Revision},
};
use rusqlite::{Connection, Row, params};

use crate::row;

/// How many entries are kept. A reader that falls further behind gets a gap and starts over.
const KEPT: i64 = 100_000;
/// How many old entries are removed at a time.
const AT_A_TIME: i64 = 1000;

/// Adds an entry for a row that was written or removed. A removal has a revision that the row never had.
pub(crate) fn record(db: &Connection, id: &ConnectionId, revision: Revision) -> rusqlite::Result<()> {
    let number = db
        .prepare_cached("INSERT INTO change (id, counter, write) VALUES (?1, ?2, ?3)")?
        .insert(params![
            id.as_str(),
            row::column(revision.counter),
            revision.write.to_be_bytes()
        ])?;
    if number % AT_A_TIME == 0 {
        db.prepare_cached("DELETE FROM change WHERE number <= ?1")?
            .execute([number - KEPT])?;
    }
    Ok(())
}

/// What changed after the number `since`.
pub(crate) fn since(db: &Connection, since: Option<u64>) -> rusqlite::Result<Changes> {
    // One snapshot for the numbers and the entries.
    let view = db.unchecked_transaction()?;
    let (first, next) = view
        .prepare_cached("SELECT (SELECT min(number) FROM change), (SELECT max(number) FROM change)")?
        .query_row([], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
    let (first, next) = (first.unwrap_or(1), next.unwrap_or(0));
    let since = since.map_or(next, row::column);
    // A number that was not reached yet is from before a backup was restored.
    let gap = since + 1 < first || since > next;
    let changed = if gap || since == next {
        Vec::new()
    } else {
        last_changes(&view, since)?
    };
    let next = u64::try_from(next).unwrap_or(0).into();
    Ok(Changes { changed, next, gap })
}

/// The last change of each row.
fn last_changes(db: &Connection, since: i64) -> rusqlite::Result<Vec<Change>> {
    let read = |row: &Row<'_>| {
        let id: ConnectionId = row::parse(row, 0, |text| text.parse().ok())?;
        Ok((id, row::revision(row, 1)?))
    };
    let mut statement =
        db.prepare_cached("SELECT id, counter, write FROM change WHERE number > ?1 ORDER BY number")?;
    let rows = statement.query_map([since], read)?;
    let last = rows.collect::<Result<HashMap<_, _>, _>>()?;
    let changes = last.into_iter().map(|(id, revision)| Change { id, revision });
    Ok(changes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn what_is_no_longer_kept_is_a_gap() {
        let db = schema::in_memory();
        let id = ConnectionId::new("con_1").unwrap();
        let total = KEPT + 2 * AT_A_TIME;
        for number in 1..=total {
            let counter = u64::try_from(number).unwrap();
            record(&db, &id, Revision { counter, write: 1 }).unwrap();
        }
        let next = u64::try_from(total).unwrap();
        let gap = Changes {
            changed: Vec::new(),
            next: next.into(),
            gap: true,
        };
        let oldest = u64::try_from(total - KEPT).unwrap();
        assert_eq!(since(&db, Some(0)).unwrap(), gap);
        assert_eq!(since(&db, Some(oldest - 1)).unwrap(), gap);
        assert_eq!(since(&db, Some(next + 1)).unwrap(), gap);
        for kept in [oldest, next - 1] {
            let changes = since(&db, Some(kept)).unwrap();
            assert_eq!(changes.changed.len(), 1, "the row is told once");
            assert_eq!(changes.changed[0].revision.counter, next, "as it is now");
            assert!(!changes.gap);
        }
        let rows: i64 = db
            .query_row("SELECT count(*) FROM change", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, KEPT);
    }
}
