//! Things that may be used once, in memory.

use std::collections::btree_map::Entry;

use async_trait::async_trait;

use super::store::MemoryStore;
use crate::{
    store::{PendingRow, PendingStore, Put, StoreError, Taken},
    time::Timestamp,
};

#[async_trait]
impl PendingStore for MemoryStore {
    async fn put_pending(&self, row: &PendingRow) -> Result<Put, StoreError> {
        Ok(match self.state().pending.entry(row.key) {
            Entry::Occupied(_) => Put::Occupied,
            Entry::Vacant(place) => {
                place.insert(row.clone());
                Put::Stored
            }
        })
    }

    async fn take_pending(
        &self,
        key: &[u8; 32],
        guard: &[u8; 32],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        // Checked and removed under one lock, so that no one can come in between.
        match self.state().pending.entry(*key) {
            Entry::Occupied(row) if row.get().expires_at > now => {
                if row.get().guard == *guard {
                    Ok(Taken::Row(row.remove().body))
                } else {
                    Ok(Taken::Guarded)
                }
            }
            _ => Ok(Taken::Missing),
        }
    }

    async fn purge_pending(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let mut purged = 0;
        self.state().pending.retain(|_, row| {
            let keep = row.expires_at > now || purged == limit;
            purged += u32::from(!keep);
            keep
        });
        Ok(purged)
    }
}
