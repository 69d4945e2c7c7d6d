//! Single-use entries: connect attempts and links.

use async_trait::async_trait;
use grantry::{
    store::{PendingRow, PendingStore, Put, StoreError, Taken},
    time::Timestamp,
};
use rusqlite::{OptionalExtension as _, params};

use crate::{SqliteStore, row, writer::Durability};

#[async_trait]
impl PendingStore for SqliteStore {
    async fn put_pending(&self, row: &PendingRow) -> Result<Put, StoreError> {
        let row = row.clone();
        self.write("put_pending", Durability::Full, move |db| {
            let PendingRow {
                key,
                guard,
                expires_at,
                body,
            } = &row;
            let stored = db
                .prepare_cached(
                    "INSERT INTO pending (key, guard, expires_at, body) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (key) DO NOTHING",
                )?
                .execute(params![key, guard, expires_at.0, &body[..]])?;
            Ok(if stored == 1 { Put::Stored } else { Put::Occupied })
        })
        .await
    }

    async fn take_pending(
        &self,
        key: &[u8; 32],
        guard: &[u8; 32],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let (key, guard) = (*key, *guard);
        self.write("take_pending", Durability::Full, move |db| {
            let found = db
                .prepare_cached("SELECT guard, body FROM pending WHERE key = ?1 AND expires_at > ?2")?
                .query_row(params![key, now.0], |row| {
                    Ok((row.get::<_, [u8; 32]>(0)?, row::bytes(row, 1)?))
                })
                .optional()?;
            match found {
                None => Ok(Taken::Missing),
                Some((stored, _)) if stored != guard => Ok(Taken::Guarded),
                Some((_, body)) => {
                    db.prepare_cached("DELETE FROM pending WHERE key = ?1")?
                        .execute([key])?;
                    Ok(Taken::Row(body))
                }
            }
        })
        .await
    }

    async fn purge_pending(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.write("purge_pending", Durability::Relaxed, move |db| {
            let purged = db
                .prepare_cached(
                    "DELETE FROM pending WHERE key IN \
                     (SELECT key FROM pending WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
                )?
                .execute(params![now.0, limit])?;
            Ok(u32::try_from(purged).unwrap_or(limit))
        })
        .await
    }
}
