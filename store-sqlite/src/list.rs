//! Pages of connections.
//!
//! Every page is read from an index that has the filter's rows in the order of the page: it begins where the last
//! page ended and stops when it is full, however many rows there are before, behind and beside it. Each common filter
//! has an index; the search index serves all others.

use grantry::{
    connection::Attention,
    id::ConnectionId,
    integration::Environment,
    store::{ConnectionFilter, DueEntry, ListEntry, Page, StatusFilter},
    time::Timestamp,
};
use rusqlite::{Connection, Row, ToSql, params};

use crate::{
    row::{self, Known},
    search,
};

/// The highest place on the page. NULL, and with it an empty page, if no row is below `?2`.
macro_rules! highest {
    () => {
        "CASE WHEN ?2 IS NULL THEN 9223372036854775807 \
         ELSE (SELECT n FROM connection WHERE id < ?2 ORDER BY id DESC LIMIT 1) END"
    };
}

macro_rules! by_index {
    ($index:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            row::stored_columns!(),
            " FROM connection AS c INDEXED BY ",
            $index,
            " LEFT JOIN activity AS a ON a.n = c.n WHERE c.integration = ?1 AND c.n <= ",
            highest!(),
            " AND ",
            $condition,
            " ORDER BY c.n DESC"
        )
    };
}

const LIVE: &str = by_index!("connection_live", "c.status <> 'deleted'");
const LIVE_ENVIRONMENT: &str = by_index!(
    "connection_live_environment",
    "c.status <> 'deleted' AND c.environment = ?3"
);
const LIVE_OWNER: &str = by_index!("connection_live_owner", "c.status <> 'deleted' AND c.owner = ?3");
const STATUS: &str = by_index!("connection_status", "c.status = ?3");
const STATUS_ENVIRONMENT: &str = by_index!(
    "connection_status_environment",
    "c.status = ?3 AND c.environment = ?4"
);
const SEARCH: &str = concat!(
    "SELECT ",
    row::stored_columns!(),
    " FROM search AS s CROSS JOIN connection AS c ON c.n = s.rowid LEFT JOIN activity AS a ON a.n = c.n \
     WHERE s.search MATCH ?1 AND s.rowid <= ",
    highest!(),
    " ORDER BY s.rowid DESC"
);

const DUE: &str = "SELECT due_at, id FROM connection INDEXED BY connection_due \
     WHERE due_at <= ?1 AND (due_at, id) > (?2, ?3) ORDER BY due_at, id LIMIT ?4";

const ATTENTION: &str = concat!(
    "SELECT ",
    row::stored_columns!(),
    " FROM connection AS c INDEXED BY connection_concern LEFT JOIN activity AS a ON a.n = c.n \
     WHERE c.concern = ?1 AND c.n <= ",
    highest!(),
    " ORDER BY c.n DESC"
);

/// One page of [`ConnectionStore::list_connections`](grantry::store::ConnectionStore::list_connections).
pub(crate) fn connections(
    db: &Connection,
    filter: &ConnectionFilter,
    before: Option<&ConnectionId>,
    limit: u32,
) -> rusqlite::Result<Page<ListEntry>> {
    let ConnectionFilter {
        integration,
        status,
        environment,
        email_contains,
        owner,
        metadata,
    } = filter;
    let integration = integration.as_str();
    let before = before.map(ConnectionId::as_str);
    let environment = environment.as_ref().map(Environment::as_str);
    if email_contains.is_some() || !metadata.is_empty() {
        return searched(db, filter, before, limit);
    }
    match (status, environment, owner) {
        (StatusFilter::Live, None, None) => page(db, LIVE, params![integration, before], filter, limit),
        (StatusFilter::Live, Some(environment), None) => {
            let values = params![integration, before, environment];
            page(db, LIVE_ENVIRONMENT, values, filter, limit)
        }
        (StatusFilter::Live, None, Some(owner)) => {
            let values = params![integration, before, owner];
            page(db, LIVE_OWNER, values, filter, limit)
        }
        (StatusFilter::Only(status), None, None) => {
            let values = params![integration, before, status.as_str()];
            page(db, STATUS, values, filter, limit)
        }
        (StatusFilter::Only(status), Some(environment), None) => {
            let values = params![integration, before, status.as_str(), environment];
            page(db, STATUS_ENVIRONMENT, values, filter, limit)
        }
        (_, _, Some(_)) => searched(db, filter, before, limit),
    }
}

fn searched(
    db: &Connection,
    filter: &ConnectionFilter,
    before: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Page<ListEntry>> {
    let query = search::query(filter);
    page(db, SEARCH, params![query, before], filter, limit)
}

/// Reads rows until the page is full, and one more to see whether there is a next page.
fn page(
    db: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    filter: &ConnectionFilter,
    limit: u32,
) -> rusqlite::Result<Page<ListEntry>> {
    let mut statement = db.prepare_cached(sql)?;
    let known = Known {
        integration: Some(&filter.integration),
        ..Known::default()
    };
    let rows = statement.query_map(values, |row| row::stored(row, known))?;
    // The search index has false positives now and then; the other indexes are exact.
    let fits = rows.filter(|found| {
        found
            .as_ref()
            .map_or(true, |stored| filter.matches(&stored.row.index))
    });
    cut(fits, limit)
}

/// One page of
/// [`ConnectionStore::connections_needing_attention`](grantry::store::ConnectionStore::connections_needing_attention).
pub(crate) fn needing_attention(
    db: &Connection,
    attention: Attention,
    before: Option<&ConnectionId>,
    limit: u32,
) -> rusqlite::Result<Page<ListEntry>> {
    let mut statement = db.prepare_cached(ATTENTION)?;
    let values = params![attention.as_str(), before.map(ConnectionId::as_str)];
    let rows = statement.query_map(values, |row| row::stored(row, Known::default()))?;
    cut(rows, limit)
}

/// One page of [`ConnectionStore::due_connections`](grantry::store::ConnectionStore::due_connections).
pub(crate) fn due(
    db: &Connection,
    until: Timestamp,
    after: Option<&DueEntry>,
    limit: u32,
) -> rusqlite::Result<Page<DueEntry>> {
    let (at, id) = after.map_or((i64::MIN, ""), |entry| (entry.due_at.0, entry.id.as_str()));
    let read = |row: &Row<'_>| {
        Ok(DueEntry {
            due_at: Timestamp(row.get(0)?),
            id: row::parse(row, 1, |text| text.parse().ok())?,
        })
    };
    let mut statement = db.prepare_cached(DUE)?;
    let rows = statement.query_map(params![until.0, at, id, i64::from(limit) + 1], read)?;
    cut(rows, limit)
}

fn cut<T>(rows: impl Iterator<Item = rusqlite::Result<T>>, limit: u32) -> rusqlite::Result<Page<T>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items = rows
        .take(limit.saturating_add(1))
        .collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, more })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::{connection, schema};

    fn plan(sql: &str) -> String {
        let db = schema::in_memory();
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_page_scans_or_sorts() {
        let cases = [
            (LIVE, "connection_live (integration=? AND rowid<?)"),
            (
                LIVE_ENVIRONMENT,
                "connection_live_environment (integration=? AND environment=? AND rowid<?)",
            ),
            (
                LIVE_OWNER,
                "connection_live_owner (integration=? AND owner=? AND rowid<?)",
            ),
            (
                STATUS,
                "connection_status (integration=? AND status=? AND rowid<?)",
            ),
            (
                STATUS_ENVIRONMENT,
                "connection_status_environment (integration=? AND status=? AND environment=? AND rowid<?)",
            ),
            (SEARCH, "SEARCH c USING INTEGER PRIMARY KEY"),
            (ATTENTION, "connection_concern (concern=? AND rowid<?)"),
            (DUE, "COVERING INDEX connection_due"),
        ];
        for (sql, used) in cases {
            let plan = plan(sql);
            assert!(plan.contains(used), "{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
            // The search index is "scanned" by its own plan: match, upper bound, descending.
            let scans = plan.lines().filter(|step| step.starts_with("SCAN"));
            assert!(
                scans
                    .clone()
                    .all(|step| step.starts_with("SCAN s VIRTUAL TABLE INDEX")),
                "{sql}\n{plan}"
            );
        }
    }

    #[test]
    fn no_read_is_planned_twice() {
        let pages = [
            LIVE,
            LIVE_ENVIRONMENT,
            LIVE_OWNER,
            STATUS,
            STATUS_ENVIRONMENT,
            SEARCH,
            ATTENTION,
            DUE,
        ];
        let db = schema::in_memory();
        for sql in pages.into_iter().chain([connection::READ]) {
            let mut statement = db.prepare(sql).unwrap();
            for value in 1..4 {
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, value).unwrap();
                }
                let mut rows = statement.raw_query();
                assert!(rows.next().unwrap().is_none());
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}
