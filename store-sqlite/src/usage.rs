//! Usage: the calls of each day. Commits are not synced individually, so a power failure may undo the latest counts.

use async_trait::async_trait;
use grantry::{
    id::IntegrationId,
    store::{Charged, DayCount, StoreError, UsageKey, UsageStore},
};
use rusqlite::{Row, params};

use crate::{SqliteStore, row, writer::Durability};

const TOTAL: &str = "SELECT coalesce(sum(calls), 0) FROM usage WHERE integration = ?1 AND month = ?2";

const ADD: &str = "INSERT INTO usage (integration, month, day, calls) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (integration, month, day) DO UPDATE SET calls = calls + excluded.calls";

const TAKE_BACK: &str = "UPDATE usage SET calls = max(calls - ?4, 0) \
     WHERE integration = ?1 AND month = ?2 AND day = ?3";

const DAYS: &str = "SELECT day, calls FROM usage \
     WHERE integration = ?1 AND month = ?2 AND calls > 0 ORDER BY day";

#[async_trait]
impl UsageStore for SqliteStore {
    async fn charge_usage(
        &self,
        key: &UsageKey,
        amount: u64,
        limit: Option<u64>,
    ) -> Result<Charged, StoreError> {
        let UsageKey {
            integration,
            month,
            day,
        } = key.clone();
        // The most that a column can hold, so no month has more.
        let limit = row::column(limit.unwrap_or(u64::MAX)).cast_unsigned();
        self.write("charge_usage", Durability::Relaxed, move |db| {
            let total = db
                .prepare_cached(TOTAL)?
                .query_row(params![integration.as_str(), month], |row| row::count(row, 0))?;
            match total.checked_add(amount) {
                Some(after) if after <= limit => {
                    let values = params![integration.as_str(), month, day, row::column(amount)];
                    db.prepare_cached(ADD)?.execute(values)?;
                    Ok(Charged::Counted(after))
                }
                _ => Ok(Charged::Refused(total)),
            }
        })
        .await
    }

    async fn refund_usage(&self, key: &UsageKey, amount: u64) -> Result<(), StoreError> {
        let UsageKey {
            integration,
            month,
            day,
        } = key.clone();
        self.write("refund_usage", Durability::Relaxed, move |db| {
            db.prepare_cached(TAKE_BACK)?.execute(params![
                integration.as_str(),
                month,
                day,
                row::column(amount)
            ])?;
            Ok(())
        })
        .await
    }

    async fn usage_days(&self, integration: &IntegrationId, month: u32) -> Result<Vec<DayCount>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(DayCount {
                day: row.get(0)?,
                calls: row::count(row, 1)?,
            })
        };
        self.read("usage_days", |db| {
            let mut statement = db.prepare_cached(DAYS)?;
            let rows = statement.query_map(params![integration.as_str(), month], read)?;
            rows.collect()
        })
    }

    async fn purge_usage(&self, month: u32) -> Result<(), StoreError> {
        self.write("purge_usage", Durability::Relaxed, move |db| {
            db.prepare_cached("DELETE FROM usage WHERE month < ?1")?
                .execute([month])?;
            Ok(())
        })
        .await
    }
}
