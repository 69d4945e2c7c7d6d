//! Connections in memory.

use std::{collections::BTreeMap, ops::Bound};

use async_trait::async_trait;

use super::{
    connections::page,
    store::{MemoryStore, next_revision},
};
use crate::{
    connection::{Attention, Status},
    id::{ConnectionId, IntegrationId},
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Index, Inserted,
        ListEntry, Page, Point, Removed, Revision, StoreError, Stored, Swap, Warning,
    },
    time::{StoreInstant, Timestamp},
};

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        let revision = next_revision(0, "insert_connection")?;
        let connections = &mut self.state().connections;
        if connections.rows.contains_key(&row.id) {
            return Ok(Inserted::Occupied);
        }
        connections.put(row, revision);
        Ok(Inserted::Created(revision))
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        // Read under the lock, so that of two calls the later one never gets the earlier time.
        let state = self.state();
        let now = self.now();
        let stored = state.connections.rows.get(id).map(|e| e.stored.clone());
        Ok((stored, now))
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = next_revision(expected.counter, "swap_connection")?;
        let connections = &mut self.state().connections;
        match connections.rows.get(&next.id) {
            None => Ok(Swap::Missing),
            Some(entry) if entry.stored.revision != expected => Ok(Swap::Conflict),
            Some(_) => {
                connections.put(next, revision);
                Ok(Swap::Swapped(revision))
            }
        }
    }

    /// There is no other machine that could take over.
    async fn confirm_connection(&self, _: &ConnectionId, _: Revision) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        // A removal has a revision of its own, so that who knows the row's last one sees that something happened.
        let revision = next_revision(expected.counter, "remove_connection")?;
        let connections = &mut self.state().connections;
        match connections.rows.get(id) {
            None => Ok(Removed::Missing),
            Some(entry) if entry.stored.revision != expected => Ok(Removed::Conflict),
            Some(_) => {
                connections.take(id);
                let changed = connections.record(id, revision);
                connections.removed.insert(id.clone(), changed);
                Ok(Removed::Gone)
            }
        }
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let fits = |index: &Index| filter.matches(index);
        Ok(self.state().connections.descending(before, limit, fits))
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        let state = self.state();
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = state
            .connections
            .due
            .range::<DueEntry, _>((above, Bound::Unbounded))
            .take_while(|entry| entry.due_at <= until)
            .cloned();
        Ok(page(entries, limit))
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let fits = |index: &Index| index.attention == Some(attention);
        Ok(self.state().connections.descending(before, limit, fits))
    }

    /// Never resolves: polling costs nothing here.
    async fn connection_news(&self) {
        std::future::pending::<()>().await;
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        let state = self.state();
        let connections = &state.connections;
        let next = connections.last_change;
        // A point that this store has not reached yet is of another store, or of this one before it was restored.
        let since = since.map(|point| point.number().unwrap_or(u64::MAX));
        let gap = since.is_some_and(|since| since > next);
        let changed = match since {
            Some(since) if !gap => connections
                .history
                .range((Bound::Excluded(since), Bound::Unbounded))
                .map(|(_, change)| change.clone())
                .collect(),
            _ => Vec::new(),
        };
        let next = next.into();
        Ok(Changes { changed, next, gap })
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        let rows = &mut self.state().connections.rows;
        for (id, facts) in facts {
            let HotFacts {
                last_active_at,
                api_usage,
            } = *facts;
            if let Some(entry) = rows.get_mut(id) {
                let hot = &mut entry.stored.hot;
                hot.last_active_at = hot.last_active_at.max(last_active_at);
                hot.api_usage = api_usage.or(hot.api_usage);
            }
        }
        Ok(())
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts = BTreeMap::<&str, u64>::new();
        let state = self.state();
        for entry in state.connections.rows.values() {
            *counts.entry(&entry.stored.row.index.sealed_by).or_default() += 1;
        }
        Ok(counts.into_iter().map(|(key, n)| (key.to_owned(), n)).collect())
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        let state = self.state();
        let mut rows = state.connections.rows.values().map(|e| &e.stored.row.index);
        Ok(rows.any(|index| index.integration == *integration && index.status != Status::Deleted))
    }
}
