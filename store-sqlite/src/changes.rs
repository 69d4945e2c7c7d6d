//! The history of connections: every write takes the next number, in the transaction that writes. So numbers become
//! visible in their order, and whoever read up to one of them has missed nothing below it.

use grantry::{
    id::ConnectionId,
    store::{Change, Changes, Revision},
};
use rusqlite::{Connection, Row, params};

use crate::row;

/// Removals are remembered for as many changes.
const REMEMBERED: i64 = 1 << 20;
/// More changes than this are told as a gap: whoever was away for so long does better to begin anew.
const TOLD: usize = 100_000;

const SINCE: &str = "SELECT id, counter, write FROM connection WHERE changed > ?1 \
     UNION ALL SELECT id, counter, write FROM removal WHERE changed > ?1";

/// Takes the number of a change.
pub(crate) fn next(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("UPDATE meta SET changes = changes + 1 RETURNING changes")?
        .query_row([], |row| row.get(0))
}

pub(crate) fn remember_removal(
    db: &Connection,
    id: &ConnectionId,
    revision: Revision,
) -> rusqlite::Result<()> {
    let changed = next(db)?;
    db.prepare_cached("INSERT INTO removal (changed, id, counter, write) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            changed,
            id.as_str(),
            row::column(revision.counter),
            revision.write.to_be_bytes()
        ])?;
    let forgotten = changed - REMEMBERED;
    let old = db
        .prepare_cached("DELETE FROM removal WHERE changed <= ?1")?
        .execute([forgotten])?;
    if old > 0 {
        db.prepare_cached("UPDATE meta SET forgotten = ?1")?
            .execute([forgotten])?;
    }
    Ok(())
}

/// A row that is there again is told as such, and not as removed too.
pub(crate) fn forget_removal(db: &Connection, id: &ConnectionId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM removal WHERE id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

/// What changed behind the number `since`.
pub(crate) fn since(db: &Connection, since: Option<u64>) -> rusqlite::Result<Changes> {
    // One view for the number and the rows.
    let view = db.unchecked_transaction()?;
    let (next, forgotten) = view
        .prepare_cached("SELECT changes, forgotten FROM meta")?
        .query_row([], |row| Ok((row::count(row, 0)?, row::count(row, 1)?)))?;
    let nothing = |gap| Changes {
        changed: Vec::new(),
        next,
        gap,
    };
    let Some(since) = since else {
        return Ok(nothing(false));
    };
    // A number that was not reached yet is from before a backup was restored.
    if since < forgotten || since > next {
        return Ok(nothing(true));
    }
    let read = |row: &Row<'_>| {
        Ok(Change {
            id: row::parse(row, 0, |text| text.parse().ok())?,
            revision: row::revision(row, 1)?,
        })
    };
    let mut statement = view.prepare_cached(SINCE)?;
    let rows = statement.query_map([row::column(since)], read)?;
    let changed = rows.take(TOLD + 1).collect::<Result<Vec<_>, _>>()?;
    if changed.len() > TOLD {
        return Ok(nothing(true));
    }
    Ok(Changes {
        changed,
        ..nothing(false)
    })
}
