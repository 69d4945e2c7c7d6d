//! Connections.

use async_trait::async_trait;
use grantry::{
    connection::Attention,
    id::{ConnectionId, IntegrationId},
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Index, Inserted,
        ListEntry, Page, Point, Removed, Revision, StoreError, Stored, Swap, Warning,
    },
    time::{StoreInstant, Timestamp},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    SqliteStore, changes, list, position,
    row::{self, Known},
    search,
    writer::Durability,
};

pub(crate) const READ: &str = concat!(
    "SELECT ",
    row::stored_columns!(),
    " FROM connection AS c LEFT JOIN activity AS a ON a.n = c.n WHERE c.id = ?1"
);

/// What a write needs to know about the row that it replaces.
const HEAD: &str = concat!(
    "SELECT c.n, c.counter, c.write, ",
    row::index_columns!(),
    " FROM connection AS c WHERE c.id = ?1"
);

const INSERT: &str = "INSERT INTO connection (n, id, counter, write, integration, environment, status, email, \
     owner, metadata, connected_at, due_at, sealed_by, body, concern) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// The columns that a refresh changes. Indexes of other columns are not written.
const REFRESH: &str = "UPDATE connection SET counter = ?2, write = ?3, due_at = ?4, sealed_by = ?5, body = ?6, \
     concern = ?7 WHERE n = ?1";

const DESCRIBE: &str = "UPDATE connection SET integration = ?2, environment = ?3, status = ?4, email = ?5, \
     owner = ?6, metadata = ?7, connected_at = ?8 WHERE n = ?1";

/// Times never go back, and whatever is not given stays.
const TOUCH: &str = "INSERT INTO activity (n, last_active_at, used, allowed) \
     SELECT n, ?2, ?3, ?4 FROM connection WHERE id = ?1 \
     ON CONFLICT (n) DO UPDATE SET \
     last_active_at = coalesce(max(last_active_at, excluded.last_active_at), excluded.last_active_at, last_active_at), \
     used = coalesce(excluded.used, used), allowed = coalesce(excluded.allowed, allowed)";

#[async_trait]
impl ConnectionStore for SqliteStore {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        let revision = row::next_revision(0, "insert_connection")?;
        let row = row.clone();
        self.write("insert_connection", Durability::Full, move |db| {
            if head(db, &row.id)?.is_some() {
                return Ok(Inserted::Occupied);
            }
            insert(db, &row, revision)?;
            Ok(Inserted::Created(revision))
        })
        .await
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        // Read before the row: a lease must not look expired because this thread was delayed in between.
        let now = self.now();
        let known = Known {
            id: Some(id),
            ..Known::default()
        };
        let stored = self.read("connection", |db| {
            db.prepare_cached(READ)?
                .query_row([id.as_str()], |row| row::stored(row, known))
                .optional()
        })?;
        Ok((stored, now))
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = row::next_revision(expected.counter, "swap_connection")?;
        let next = next.clone();
        self.write("swap_connection", Durability::Full, move |db| {
            let Some(old) = head(db, &next.id)? else {
                return Ok(Swap::Missing);
            };
            if old.revision != expected {
                return Ok(Swap::Conflict);
            }
            replace(db, &old, &next, revision)?;
            Ok(Swap::Swapped(revision))
        })
        .await
    }

    /// A write was synced before it was acknowledged, and no other machine takes over.
    async fn confirm_connection(&self, _: &ConnectionId, _: Revision) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        // A removal has a revision of its own, so that a reader who knows the row's last one notices it.
        let revision = row::next_revision(expected.counter, "remove_connection")?;
        let id = id.clone();
        self.write("remove_connection", Durability::Full, move |db| {
            let Some(old) = head(db, &id)? else {
                return Ok(Removed::Missing);
            };
            if old.revision != expected {
                return Ok(Removed::Conflict);
            }
            remove(db, &id, &old, revision)?;
            Ok(Removed::Gone)
        })
        .await
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        self.read("list_connections", |db| {
            list::connections(db, filter, before, limit)
        })
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        self.read("due_connections", |db| list::due(db, until, after, limit))
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        self.read("connections_needing_attention", |db| {
            list::needing_attention(db, attention, before, limit)
        })
    }

    /// Processes that share a file tell each other nothing.
    async fn connection_news(&self) {
        std::future::pending::<()>().await;
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        // A point with several numbers belongs to another store, and counts like one that was never reached.
        let since = since.map(|point| point.number().unwrap_or(u64::MAX));
        self.read("connection_changes", |db| changes::since(db, since))
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        if facts.is_empty() {
            return Ok(());
        }
        let facts = facts.to_vec();
        self.write("touch_connections", Durability::Relaxed, move |db| {
            let mut touch = db.prepare_cached(TOUCH)?;
            for (id, facts) in &facts {
                let HotFacts {
                    last_active_at,
                    api_usage,
                } = *facts;
                let at = last_active_at.map(|at| at.0);
                let (used, allowed) = api_usage.unzip();
                let used = used.map(u64::cast_signed);
                let allowed = allowed.map(u64::cast_signed);
                touch.execute(params![id.as_str(), at, used, allowed])?;
            }
            Ok(())
        })
        .await
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read("connections_by_key", |db| {
            let mut counts =
                db.prepare_cached("SELECT id, connections FROM sealing_key WHERE connections > 0")?;
            let rows = counts.query_map([], |row| Ok((row.get(0)?, row::count(row, 1)?)))?;
            rows.collect()
        })
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        self.read("has_connections", |db| {
            db.prepare_cached(
                "SELECT 1 FROM connection WHERE integration = ?1 AND status <> 'deleted' LIMIT 1",
            )?
            .exists([integration.as_str()])
        })
    }
}

/// The stored columns of a row, except its body.
struct Head {
    n: i64,
    revision: Revision,
    index: Index,
}

fn head(db: &Connection, id: &ConnectionId) -> rusqlite::Result<Option<Head>> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Head {
            n: row.get(0)?,
            revision: row::revision(row, 1)?,
            index: row::index(row, 3, None)?,
        })
    };
    db.prepare_cached(HEAD)?.query_row([id.as_str()], read).optional()
}

pub(crate) fn insert(db: &Connection, row: &ConnectionRow, revision: Revision) -> rusqlite::Result<()> {
    let ConnectionRow { id, index, body } = row;
    let Index {
        integration,
        environment,
        status,
        attention,
        email,
        owner,
        metadata,
        connected_at,
        due_at,
        sealed_by,
    } = index;
    let n = position::place(db, id)?;
    db.prepare_cached(INSERT)?.execute(params![
        n,
        id.as_str(),
        row::column(revision.counter),
        revision.write.to_be_bytes(),
        integration.as_str(),
        environment.as_str(),
        status.as_str(),
        email,
        owner,
        row::metadata(metadata),
        connected_at.0,
        due_at.map(|at| at.0),
        sealed_by,
        &body[..],
        attention.map(Attention::as_str),
    ])?;
    changes::record(db, id, revision)?;
    search::insert(db, n, index)?;
    count_sealed(db, sealed_by, 1)
}

fn replace(db: &Connection, old: &Head, next: &ConnectionRow, revision: Revision) -> rusqlite::Result<()> {
    let ConnectionRow { id, index, body } = next;
    let Index {
        integration,
        environment,
        status,
        attention,
        email,
        owner,
        metadata,
        connected_at,
        due_at,
        sealed_by,
    } = index;
    db.prepare_cached(REFRESH)?.execute(params![
        old.n,
        row::column(revision.counter),
        revision.write.to_be_bytes(),
        due_at.map(|at| at.0),
        sealed_by,
        &body[..],
        attention.map(Attention::as_str),
    ])?;
    changes::record(db, id, revision)?;
    if old.index.sealed_by != *sealed_by {
        count_sealed(db, &old.index.sealed_by, -1)?;
        count_sealed(db, sealed_by, 1)?;
    }
    if old.index.connected_at == *connected_at && !search::differs(&old.index, index) {
        return Ok(());
    }
    db.prepare_cached(DESCRIBE)?.execute(params![
        old.n,
        integration.as_str(),
        environment.as_str(),
        status.as_str(),
        email,
        owner,
        row::metadata(metadata),
        connected_at.0,
    ])?;
    if search::differs(&old.index, index) {
        search::remove(db, old.n)?;
        search::insert(db, old.n, index)?;
    }
    Ok(())
}

fn remove(db: &Connection, id: &ConnectionId, old: &Head, revision: Revision) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM connection WHERE n = ?1")?
        .execute([old.n])?;
    search::remove(db, old.n)?;
    count_sealed(db, &old.index.sealed_by, -1)?;
    changes::record(db, id, revision)
}

/// Counts the rows of a sealing key, so that no scan is needed to report them.
fn count_sealed(db: &Connection, key: &str, by: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO sealing_key (id, connections) VALUES (?1, ?2) \
         ON CONFLICT (id) DO UPDATE SET connections = connections + excluded.connections",
    )?
    .execute(params![key, by])?;
    Ok(())
}
