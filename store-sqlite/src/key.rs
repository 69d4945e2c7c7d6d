//! API and public keys.

use async_trait::async_trait;
use grantry::{
    id::{IntegrationId, KeyId},
    store::{KeyInserted, KeyKind, KeyRevoked, KeyRow, KeyStore, StoreError},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{SqliteStore, row, writer::Durability};

/// Keys without an integration are the admin keys; `IS` finds them too.
const LIVE: &str = "SELECT count(*) FROM api_key WHERE integration IS ?1 AND kind = ?2 \
     AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?3)";

const INSERT: &str = "INSERT INTO api_key \
     (id, kind, integration, digest, digest_key, created_at, expires_at, revoked_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const READ: &str = "SELECT id, kind, integration, digest, digest_key, created_at, expires_at, revoked_at \
     FROM api_key WHERE id = ?1";

const LIST: &str = "SELECT id, kind, integration, digest, digest_key, created_at, expires_at, revoked_at \
     FROM api_key WHERE integration IS ?1 ORDER BY id";

#[async_trait]
impl KeyStore for SqliteStore {
    async fn insert_key(
        &self,
        row: &KeyRow,
        max_live: u32,
        now: Timestamp,
    ) -> Result<KeyInserted, StoreError> {
        let row = row.clone();
        self.write("insert_key", Durability::Full, move |db| {
            let KeyRow {
                id,
                kind,
                integration,
                digest,
                digest_key,
                created_at,
                expires_at,
                revoked_at,
            } = &row;
            if is_there(db, id)? {
                return Ok(KeyInserted::Occupied);
            }
            let integration = integration.as_ref().map(IntegrationId::as_str);
            let live: i64 = db
                .prepare_cached(LIVE)?
                .query_row(params![integration, kind.as_str(), now.0], |row| row.get(0))?;
            if live >= i64::from(max_live) {
                return Ok(KeyInserted::TooMany);
            }
            db.prepare_cached(INSERT)?.execute(params![
                id.as_str(),
                kind.as_str(),
                integration,
                digest,
                digest_key,
                created_at.0,
                expires_at.map(|at| at.0),
                revoked_at.map(|at| at.0),
            ])?;
            Ok(KeyInserted::Created)
        })
        .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.read("key", |db| {
            db.prepare_cached(READ)?.query_row([id.as_str()], key).optional()
        })
    }

    async fn list_keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, StoreError> {
        self.read("list_keys", |db| {
            let mut statement = db.prepare_cached(LIST)?;
            let rows = statement.query_map([integration.map(IntegrationId::as_str)], key)?;
            rows.collect()
        })
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRevoked, StoreError> {
        let id = id.clone();
        self.write("revoke_key", Durability::Full, move |db| {
            let revoked = db
                .prepare_cached("UPDATE api_key SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
                .execute(params![id.as_str(), at.0])?;
            Ok(if revoked == 1 {
                KeyRevoked::Revoked
            } else if is_there(db, &id)? {
                KeyRevoked::Already
            } else {
                KeyRevoked::Missing
            })
        })
        .await
    }

    async fn remove_keys(&self, integration: &IntegrationId) -> Result<(), StoreError> {
        let integration = integration.clone();
        self.write("remove_keys", Durability::Full, move |db| {
            db.prepare_cached("DELETE FROM api_key WHERE integration = ?1")?
                .execute([integration.as_str()])?;
            Ok(())
        })
        .await
    }
}

fn is_there(db: &Connection, id: &KeyId) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM api_key WHERE id = ?1")?
        .exists([id.as_str()])
}

fn key(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    let integration = match row.get_ref(2)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(row::parse(row, 2, |text| text.parse().ok())?),
    };
    Ok(KeyRow {
        id: row::parse(row, 0, |text| text.parse().ok())?,
        kind: row::parse(row, 1, KeyKind::parse)?,
        integration,
        digest: row.get(3)?,
        digest_key: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        expires_at: row::time(row, 6)?,
        revoked_at: row::time(row, 7)?,
    })
}
