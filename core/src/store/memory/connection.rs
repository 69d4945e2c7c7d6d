//! Connections in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use async_trait::async_trait;

use super::{MemoryStore, next_revision};
use crate::{
    connection::{Concern, Status},
    id::{ConnectionId, IntegrationId},
    store::{
        Change, Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Index,
        Inserted, ListEntry, Notice, Page, Point, Removed, Revision, StoreError, Stored, Swap,
    },
    time::{StoreInstant, Timestamp},
};

/// The rows, and beside them what the sweeps and the watchers ask for in another order.
#[derive(Default)]
pub(super) struct Connections {
    rows: BTreeMap<ConnectionId, Entry>,
    due: BTreeSet<DueEntry>,
    /// The last change of each row, removed ones included, by its place in history.
    history: BTreeMap<u64, Change>,
    /// Where each removed row stands in the history.
    removed: BTreeMap<ConnectionId, u64>,
    last_change: u64,
}

struct Entry {
    stored: Stored,
    changed: u64,
}

impl Connections {
    /// Puts `row` in place of what had its id, keeps the hot facts and writes the change down.
    fn put(&mut self, row: &ConnectionRow, revision: Revision) {
        let hot = self.take(&row.id).map(|old| old.hot).unwrap_or_default();
        let changed = self.record(&row.id, revision);
        self.due.extend(due_entry(row));
        let stored = Stored {
            row: row.clone(),
            revision,
            hot,
        };
        self.rows.insert(row.id.clone(), Entry { stored, changed });
    }

    fn take(&mut self, id: &ConnectionId) -> Option<Stored> {
        let Entry { stored, changed } = self.rows.remove(id)?;
        self.history.remove(&changed);
        if let Some(due) = due_entry(&stored.row) {
            self.due.remove(&due);
        }
        Some(stored)
    }

    fn descending(
        &self,
        before: Option<&ConnectionId>,
        limit: u32,
        fits: impl Fn(&Index) -> bool,
    ) -> Page<ListEntry> {
        let below = before.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range::<ConnectionId, _>((Bound::Unbounded, below));
        let found = rows.rev().map(|(_, entry)| &entry.stored);
        page(found.filter(|stored| fits(&stored.row.index)).cloned(), limit)
    }

    fn record(&mut self, id: &ConnectionId, revision: Revision) -> u64 {
        if let Some(before) = self.removed.remove(id) {
            self.history.remove(&before);
        }
        self.last_change += 1;
        let id = id.clone();
        self.history.insert(self.last_change, Change { id, revision });
        self.last_change
    }
}

fn due_entry(row: &ConnectionRow) -> Option<DueEntry> {
    row.index.due_at.map(|due_at| DueEntry {
        due_at,
        id: row.id.clone(),
    })
}

/// Takes one more entry than asked for, to see whether more follow.
fn page<T>(entries: impl Iterator<Item = T>, limit: u32) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items: Vec<T> = entries.take(limit.saturating_add(1)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

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

    fn notices(&self) -> Vec<Notice> {
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

    async fn connections_of_concern(
        &self,
        concern: Concern,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let fits = |index: &Index| index.concern == Some(concern);
        Ok(self.state().connections.descending(before, limit, fits))
    }

    /// Nothing is heard of: a look costs nothing here.
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
