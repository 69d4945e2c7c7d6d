//! Single-use entries: connect attempts and links.

use async_trait::async_trait;
use bytes::Bytes;
use grantry::{
    store::{PendingRow, PendingStore, Put, StoreError, Taken},
    time::Timestamp,
};
use redis::Value;

use crate::{RedisStore, place::Place, row, script};

/// The most rows that one script removes.
const AT_ONCE: u32 = 500;
/// How long an expired row is kept if no process purges it.
const GARBAGE_AFTER: i64 = 24 * 3600 * 1000;

#[async_trait]
impl PendingStore for RedisStore {
    async fn put_pending(&self, row: &PendingRow) -> Result<Put, StoreError> {
        let PendingRow {
            key,
            guard,
            expires_at,
            body,
        } = row;
        let bytes = [&guard[..], &expires_at.0.to_be_bytes(), body].concat();
        let mut call = script::PENDING.on([self.layout().pending(key)]);
        call.key(self.layout().expiries());
        call.arg("put")
            .arg(&key[..])
            .arg(bytes)
            .arg(expires_at.0)
            .arg(GARBAGE_AFTER);
        let stored: u8 = self.write(Place::Attempts, "put_pending", &call).await?;
        Ok(if stored == 1 { Put::Stored } else { Put::Occupied })
    }

    async fn take_pending(
        &self,
        key: &[u8; 32],
        guard: &[u8; 32],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut call = script::PENDING.on([self.layout().pending(key)]);
        call.key(self.layout().expiries());
        call.arg("take").arg(&key[..]).arg(&guard[..]).arg(now.0);
        match self.write(Place::Attempts, "take_pending", &call).await? {
            Value::Int(0) => Ok(Taken::Missing),
            Value::Int(1) => Ok(Taken::Guarded),
            Value::Array(body) => match body.into_iter().next() {
                Some(Value::BulkString(body)) => Ok(Taken::Row(Bytes::from(body))),
                _ => Err(row::corrupt("take_pending")),
            },
            _ => Err(row::corrupt("take_pending")),
        }
    }

    async fn purge_pending(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let mut purged = 0;
        while purged < limit {
            let at_once = AT_ONCE.min(limit - purged);
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(self.layout().expiries()).arg("-inf").arg(now.0);
            command.arg("LIMIT").arg(0).arg(at_once);
            let (_, keys): (_, Vec<Vec<u8>>) = self.ask(Place::Attempts, "purge_pending", &command).await?;
            if keys.is_empty() {
                break;
            }
            let mut call = script::PURGE.on([self.layout().expiries()]);
            call.arg(now.0);
            for key in &keys {
                let digest: &[u8; 32] = key
                    .as_slice()
                    .try_into()
                    .map_err(|_| row::corrupt("purge_pending"))?;
                call.key(self.layout().pending(digest)).arg(&key[..]);
            }
            let removed: u32 = self.write(Place::Attempts, "purge_pending", &call).await?;
            if removed == 0 {
                break;
            }
            purged += removed;
        }
        Ok(purged)
    }
}
