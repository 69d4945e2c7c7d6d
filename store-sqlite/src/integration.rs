//! Integrations.

use async_trait::async_trait;
use grantry::{
    id::{IntegrationId, Slug},
    store::{
        Inserted, IntegrationRow, IntegrationStore, Removed, Revision, StoreError, StoredIntegration, Swap,
    },
};
use rusqlite::{Connection, OptionalExtension as _, Row, params, types::ValueRef};

use crate::{SqliteStore, row, writer::Durability};

const BY_ID: &str = "SELECT id, counter, write, body, slug FROM integration WHERE id = ?1";
const BY_SLUG: &str = "SELECT id, counter, write, body, slug FROM integration WHERE slug = ?1";
const LIST: &str =
    "SELECT id, counter, write, body, slug FROM integration WHERE id > ?1 ORDER BY id LIMIT ?2";
const INSERT: &str = "INSERT INTO integration (id, counter, write, body, slug) VALUES (?1, ?2, ?3, ?4, ?5)";
const UPDATE: &str = "UPDATE integration SET counter = ?2, write = ?3, body = ?4 WHERE id = ?1";

#[async_trait]
impl IntegrationStore for SqliteStore {
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError> {
        let revision = row::next_revision(0, "insert_integration")?;
        let row = row.clone();
        self.write("insert_integration", Durability::Full, move |db| {
            // The transaction is the only writer, so the index that keeps slugs unique never has to refuse.
            if current(db, &row.id)?.is_some() || taken(db, row.slug.as_ref())? {
                return Ok(Inserted::Occupied);
            }
            let IntegrationRow { id, slug, body } = &row;
            db.prepare_cached(INSERT)?.execute(params![
                id.as_str(),
                row::column(revision.counter),
                revision.write.to_be_bytes(),
                &body[..],
                slug.as_ref().map(Slug::as_str),
            ])?;
            changed(db)?;
            Ok(Inserted::Created(revision))
        })
        .await
    }

    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError> {
        self.read("integration", |db| {
            db.prepare_cached(BY_ID)?
                .query_row([id.as_str()], stored)
                .optional()
        })
    }

    async fn integration_by_slug(&self, slug: &Slug) -> Result<Option<StoredIntegration>, StoreError> {
        self.read("integration_by_slug", |db| {
            db.prepare_cached(BY_SLUG)?
                .query_row([slug.as_str()], stored)
                .optional()
        })
    }

    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = row::next_revision(expected.counter, "swap_integration")?;
        let next = next.clone();
        self.write("swap_integration", Durability::Full, move |db| {
            match current(db, &next.id)? {
                None => Ok(Swap::Missing),
                Some(found) if found != expected => Ok(Swap::Conflict),
                Some(_) => {
                    db.prepare_cached(UPDATE)?.execute(params![
                        next.id.as_str(),
                        row::column(revision.counter),
                        revision.write.to_be_bytes(),
                        &next.body[..],
                    ])?;
                    changed(db)?;
                    Ok(Swap::Swapped(revision))
                }
            }
        })
        .await
    }

    async fn remove_integration(
        &self,
        id: &IntegrationId,
        expected: Revision,
    ) -> Result<Removed, StoreError> {
        let id = id.clone();
        self.write("remove_integration", Durability::Full, move |db| {
            match current(db, &id)? {
                None => Ok(Removed::Missing),
                Some(found) if found != expected => Ok(Removed::Conflict),
                Some(_) => {
                    db.prepare_cached("DELETE FROM integration WHERE id = ?1")?
                        .execute([id.as_str()])?;
                    changed(db)?;
                    Ok(Removed::Gone)
                }
            }
        })
        .await
    }

    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError> {
        let after = after.map_or("", IntegrationId::as_str);
        self.read("list_integrations", |db| {
            let mut statement = db.prepare_cached(LIST)?;
            let rows = statement.query_map(params![after, limit], stored)?;
            rows.collect()
        })
    }

    async fn integrations_version(&self) -> Result<u64, StoreError> {
        self.read("integrations_version", |db| {
            db.prepare_cached("SELECT integrations FROM meta")?
                .query_row([], |row| row::count(row, 0))
        })
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredIntegration> {
    Ok(StoredIntegration {
        row: IntegrationRow {
            id: row::parse(row, 0, |text| text.parse().ok())?,
            slug: match row.get_ref(4)? {
                ValueRef::Null => None,
                _ => Some(row::parse(row, 4, |text| text.parse().ok())?),
            },
            body: row::bytes(row, 3)?,
        },
        revision: row::revision(row, 1)?,
    })
}

fn current(db: &Connection, id: &IntegrationId) -> rusqlite::Result<Option<Revision>> {
    db.prepare_cached("SELECT counter, write FROM integration WHERE id = ?1")?
        .query_row([id.as_str()], |row| row::revision(row, 0))
        .optional()
}

fn taken(db: &Connection, slug: Option<&Slug>) -> rusqlite::Result<bool> {
    match slug {
        Some(slug) => db.prepare_cached(BY_SLUG)?.exists([slug.as_str()]),
        None => Ok(false),
    }
}

/// Increments the version by which every process notices a write.
fn changed(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE meta SET integrations = integrations + 1")?
        .execute([])?;
    Ok(())
}
