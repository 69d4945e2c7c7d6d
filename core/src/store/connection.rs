//! The role that keeps connections.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Inserted, Removed, Revision, StoreError, Swap, Warning};
use crate::{
    connection::{Attention, Status},
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    time::{StoreInstant, Timestamp},
};

/// The columns that lists and sweeps use. Everything else is in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The integration; never changes.
    pub integration: IntegrationId,
    /// The environment.
    pub environment: Environment,
    /// The connection's status.
    pub status: Status,
    /// What may need somebody's eyes.
    pub attention: Option<Attention>,
    /// The user's e-mail address in lower case, for substring search.
    pub email: String,
    /// The host's own id of its user; empty if none.
    pub owner: String,
    /// The host's labels.
    pub metadata: BTreeMap<String, String>,
    /// When the user connected.
    pub connected_at: Timestamp,
    /// When a sweep should look at the row; `None` means never.
    pub due_at: Option<Timestamp>,
    /// The id of the key that sealed the row's tokens; empty if it has none.
    pub sealed_by: String,
}

/// A row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The row's id.
    pub id: ConnectionId,
    /// The columns that lists use.
    pub index: Index,
    /// Opaque.
    pub body: Bytes,
}

/// Facts that change with every call. They are not part of the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HotFacts {
    /// When the connection was last used.
    pub last_active_at: Option<Timestamp>,
    /// The account's API usage: used and allowed.
    pub api_usage: Option<(u64, u64)>,
}

/// A row that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The row.
    pub row: ConnectionRow,
    /// Its version.
    pub revision: Revision,
    /// Facts that change with every call.
    pub hot: HotFacts,
}

/// An entry of a list: the row that was read.
pub type ListEntry = Stored;

/// Which statuses a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// All but deleted ones.
    Live,
    /// Exactly this one.
    Only(Status),
}

/// Which connections to list. All conditions hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Of this integration.
    pub integration: IntegrationId,
    /// With this status.
    pub status: StatusFilter,
    /// In this environment.
    pub environment: Option<Environment>,
    /// Whose [`Index::email`] has this substring, byte for byte; core lower-cases both. Never empty.
    pub email_contains: Option<String>,
    /// Of this owner.
    pub owner: Option<String>,
    /// With all these labels.
    pub metadata: BTreeMap<String, String>,
}

impl ConnectionFilter {
    /// All of an integration's connections with such a status.
    pub fn of(integration: &IntegrationId, status: StatusFilter) -> Self {
        Self {
            integration: integration.clone(),
            status,
            environment: None,
            email_contains: None,
            owner: None,
            metadata: BTreeMap::new(),
        }
    }

    /// Whether a row with these columns matches; for stores whose indexes find too many rows.
    pub fn matches(&self, index: &Index) -> bool {
        let Self {
            integration,
            status,
            environment,
            email_contains,
            owner,
            metadata,
        } = self;
        let status = match *status {
            StatusFilter::Live => index.status != Status::Deleted,
            StatusFilter::Only(status) => index.status == status,
        };
        status
            && index.integration == *integration
            && environment.is_none_or(|environment| index.environment == environment)
            && owner.as_ref().is_none_or(|owner| index.owner == *owner)
            && email_contains
                .as_ref()
                .is_none_or(|part| index.email.contains(part.as_str()))
            && metadata
                .iter()
                .all(|(key, value)| index.metadata.get(key) == Some(value))
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Whether more follow. A page may be short; only this tells whether it is the last.
    pub more: bool,
}

/// A connection that a sweep should look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueEntry {
    /// Since when.
    pub due_at: Timestamp,
    /// Which.
    pub id: ConnectionId,
}

/// A row that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which row.
    pub id: ConnectionId,
    /// The revision that it had when the change was listed; for a removed row, one that it never had before.
    pub revision: Revision,
}

/// A point in a store's history. Only the store that gave it reads it: it may have one number, or one for each part of
/// which the store is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point(pub Vec<u64>);

impl Point {
    /// The number, if it is a single one.
    pub fn number(&self) -> Option<u64> {
        match self.0[..] {
            [number] => Some(number),
            _ => None,
        }
    }
}

impl From<u64> for Point {
    fn from(number: u64) -> Self {
        Self(vec![number])
    }
}

/// What was written since a point in a store's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The rows, each at most once.
    pub changed: Vec<Change>,
    /// Where to continue. Every write that is not reported here, and becomes visible later, comes after it.
    pub next: Point,
    /// Whether changes may have been missed, for instance because the store keeps no older history.
    pub gap: bool,
}

/// Keeps connections.
#[async_trait]
pub trait ConnectionStore: fmt::Debug + Send + Sync + 'static {
    /// Creates the row unless its id is taken.
    ///
    /// # Errors
    /// Unknown outcome: the row may have been created. Read it to find out.
    ///
    /// # Cancel safety
    /// The row is created whole or not at all, possibly shortly after the drop.
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError>;

    /// Reads a row together with the store's own time, on a clock that all handles share for this row. The time is taken
    /// after the call began and no later than the row is read, so that a lease never looks older than it is.
    ///
    /// # Errors
    /// The row could not be read, or does not decode. Whether it exists is not known; a missing row is `Ok((None, _))`.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError>;

    /// Replaces the row if its revision is `expected`. Durable once it is acknowledged.
    ///
    /// # Errors
    /// Unknown outcome: the row may have been replaced. Read it before trying again: a second swap of `expected` would
    /// report a conflict with the caller's own write.
    ///
    /// # Cancel safety
    /// The row is replaced whole or not at all, possibly shortly after the drop. `expected` fences it: a late swap never
    /// overwrites a newer row.
    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError>;

    /// Waits, bounded by the store's write timeout, until `revision` would survive the loss of one machine. `false` and
    /// `Err` both mean: not known to; `false` also if the row has another revision by now. A store whose acknowledgement
    /// already promises it returns `true` at once.
    ///
    /// # Errors
    /// It could not be found out. The row itself is not affected.
    ///
    /// # Cancel safety
    /// Cancel safe: waiting changes nothing about the row.
    async fn confirm_connection(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError>;

    /// What an operator should know about how this store keeps what is written. Answered from memory, without I/O. Shown by
    /// [`Broker::health`](crate::Broker::health).
    fn warnings(&self) -> Vec<Warning>;

    /// Removes the row if its revision is `expected`.
    ///
    /// # Errors
    /// Unknown outcome: the row may be gone. Trying again reports [`Removed::Missing`] then.
    ///
    /// # Cancel safety
    /// The row is removed whole or not at all, possibly shortly after the drop. `expected` fences it.
    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError>;

    /// Lists by id, descending, so that the newest come first: at most `limit` entries below `before`.
    ///
    /// # Errors
    /// The page could not be read, or one of its rows does not decode.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError>;

    /// Rows with `due_at <= until`, ascending by (due_at, id): at most `limit` entries above `after`.
    ///
    /// # Errors
    /// The page could not be read. Nothing is taken off the list by reading it, so the same page can be asked for again.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError>;

    /// Rows that need this kind of attention, over all integrations, by id, descending: at most `limit` below `before`.
    ///
    /// # Errors
    /// The page could not be read, or one of its rows does not decode.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError>;

    /// Resolves when changes should be polled now: some process ended a connection or changed an integration. Spurious
    /// wake-ups are allowed, and so are missed ones, since the broker polls at its own pace anyway. A store without
    /// notifications never resolves.
    ///
    /// # Cancel safety
    /// Cancel safe: news that arrives between two calls may be kept for the next one or missed.
    async fn connection_news(&self);

    /// What was inserted, swapped or removed since `since`; `None` asks only for the present point.
    ///
    /// [`Changes::next`] must not pass a write that is not visible yet: a reader that continues from there never learns of
    /// it, and serves what it replaced. So a number that is taken before the commit is not enough, since a later number may
    /// be committed and read first. Number writes in the order in which they become visible, for instance under a lock that
    /// is held until the commit; or let `next` stay below the smallest number whose write is still in flight.
    ///
    /// # Errors
    /// The history could not be read. The caller keeps its point and asks again from there, so that nothing is missed.
    ///
    /// # Cancel safety
    /// Cancel safe: the store keeps no state about readers.
    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError>;

    /// Writes hot facts without touching revisions. Facts that are `None` stay; a time never goes back; unknown ids are
    /// passed over. It need not be durable at once.
    ///
    /// # Errors
    /// Unknown outcome: the facts of some of the rows may have been written. Writing them again does no harm.
    ///
    /// # Cancel safety
    /// The facts of one row are written together or not at all; of several rows, only some may be written.
    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError>;

    /// How many rows of each key id there are, over all integrations.
    ///
    /// # Errors
    /// The rows could not be counted.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError>;

    /// Whether the integration has a row that is not deleted.
    ///
    /// # Errors
    /// It could not be found out. An error does not mean that there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError>;
}
