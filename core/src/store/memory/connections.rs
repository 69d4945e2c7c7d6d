//! The rows of connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{
    id::ConnectionId,
    store::{Change, ConnectionRow, DueEntry, Index, ListEntry, Page, Revision, Stored},
};

/// The rows, and beside them what the sweeps and the watchers ask for in another order.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) rows: BTreeMap<ConnectionId, Entry>,
    pub(super) due: BTreeSet<DueEntry>,
    /// The last change of each row, removed ones included, by its place in history.
    pub(super) history: BTreeMap<u64, Change>,
    /// The position of each removed row in the history.
    pub(super) removed: BTreeMap<ConnectionId, u64>,
    pub(super) last_change: u64,
}

pub(super) struct Entry {
    pub(super) stored: Stored,
    pub(super) changed: u64,
}

impl Connections {
    /// Puts `row` in place of what had its id, keeps the hot facts and writes the change down.
    pub(super) fn put(&mut self, row: &ConnectionRow, revision: Revision) {
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

    pub(super) fn take(&mut self, id: &ConnectionId) -> Option<Stored> {
        let Entry { stored, changed } = self.rows.remove(id)?;
        self.history.remove(&changed);
        if let Some(due) = due_entry(&stored.row) {
            self.due.remove(&due);
        }
        Some(stored)
    }

    pub(super) fn descending(
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

    pub(super) fn record(&mut self, id: &ConnectionId, revision: Revision) -> u64 {
        if let Some(before) = self.removed.remove(id) {
            self.history.remove(&before);
        }
        self.last_change += 1;
        let id = id.clone();
        self.history.insert(self.last_change, Change { id, revision });
        self.last_change
    }
}

pub(super) fn due_entry(row: &ConnectionRow) -> Option<DueEntry> {
    row.index.due_at.map(|due_at| DueEntry {
        due_at,
        id: row.id.clone(),
    })
}

/// Takes one more entry than asked for, to see whether more follow.
pub(super) fn page<T>(entries: impl Iterator<Item = T>, limit: u32) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items: Vec<T> = entries.take(limit.saturating_add(1)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}
