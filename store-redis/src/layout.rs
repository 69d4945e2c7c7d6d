//! Names of keys.
//!
//! The keys that one script writes share a tag, the part in braces, so that they are in one slot (see `place.rs`):
//! `{c0}` to `{c63}` hold connections and everything about them, `{i}` integrations, `{k}` API keys, `{p0}` connect
//! attempts, `{u0}` usage, and `{s}` the store's own record, which says how many buckets the connections have.

use grantry::id::{ConnectionId, IntegrationId};

use crate::{hash::hash, place::Place};

/// Names the keys of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    prefix: String,
    buckets: u16,
}

impl Layout {
    pub(crate) fn new(prefix: String, buckets: u16) -> Self {
        Self { prefix, buckets }
    }

    /// The channel for change notifications.
    pub(crate) fn channel(&self) -> String {
        format!("{}:news", self.prefix)
    }

    fn key(&self, place: Place, name: &str) -> String {
        format!("{}:{{{}}}:{name}", self.prefix, place.tag())
    }

    /// The store's own record.
    pub(crate) fn store(&self) -> String {
        self.key(Place::Store, "store")
    }

    /// Written in order to learn which replicas have everything written before.
    pub(crate) fn confirmed(&self, place: Place) -> String {
        self.key(place, "confirmed")
    }

    /// All buckets of connections.
    pub(crate) fn buckets(&self) -> impl ExactSizeIterator<Item = Place> + use<> {
        (0..self.buckets).map(Place::Connections)
    }

    /// The bucket of a connection.
    pub(crate) fn bucket(&self, id: &ConnectionId) -> Place {
        // One bucket is the usual case.
        let bucket = match self.buckets {
            0 | 1 => 0,
            buckets => u16::try_from(hash(&[id.as_str().as_bytes()]) % u64::from(buckets)).unwrap_or(0),
        };
        Place::Connections(bucket)
    }

    /// A connection's row.
    pub(crate) fn row(&self, id: &ConnectionId) -> String {
        self.key(self.bucket(id), &format!("c:{id}"))
    }

    /// A connection's hot facts.
    pub(crate) fn hot(&self, id: &ConnectionId) -> String {
        self.key(self.bucket(id), &format!("h:{id}"))
    }

    /// Terms of a bucket's connections, for lists.
    pub(crate) fn lists(&self, bucket: Place) -> String {
        self.key(bucket, "lists")
    }

    /// When each connection is due.
    pub(crate) fn due(&self, bucket: Place) -> String {
        self.key(bucket, "due")
    }

    /// Pieces of e-mail addresses.
    pub(crate) fn search(&self, bucket: Place) -> String {
        self.key(bucket, "search")
    }

    /// How many rows each sealing key has.
    pub(crate) fn sealed(&self, bucket: Place) -> String {
        self.key(bucket, "sealed")
    }

    /// Roughly how many entries the history of one bucket keeps; all buckets together keep as many as a store with
    /// one.
    pub(crate) fn history_length(&self) -> u32 {
        100_000_u32.div_ceil(u32::from(self.buckets.max(1)))
    }

    /// The history stream.
    pub(crate) fn history(&self, bucket: Place) -> String {
        self.key(bucket, "history")
    }

    /// The keys of a script that writes a connection.
    pub(crate) fn of_write(&self, id: &ConnectionId) -> [String; 7] {
        let bucket = self.bucket(id);
        [
            self.row(id),
            self.hot(id),
            self.lists(bucket),
            self.search(bucket),
            self.sealed(bucket),
            self.history(bucket),
            self.due(bucket),
        ]
    }

    /// Integrations: rows, their ids in order, and a version that grows with each write.
    pub(crate) fn integrations(&self) -> [String; 3] {
        ["rows", "ids", "version"].map(|name| self.key(Place::Integrations, name))
    }

    /// API keys: rows, and their names in order.
    pub(crate) fn keys(&self) -> [String; 2] {
        ["rows", "names"].map(|name| self.key(Place::Keys, name))
    }

    /// A single-use entry.
    pub(crate) fn pending(&self, key: &[u8; 32]) -> String {
        use std::fmt::Write as _;
        let mut name = self.key(Place::Attempts, "a:");
        for byte in key {
            // Writing to a string never fails.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// When single-use entries expire.
    pub(crate) fn expiries(&self) -> String {
        self.key(Place::Attempts, "expiries")
    }

    /// An integration's calls in a month.
    pub(crate) fn usage(&self, integration: &IntegrationId, month: u32) -> String {
        self.usage_of(&format!("{integration}:{month}"))
    }

    /// The same by the name in [`Layout::months`].
    pub(crate) fn usage_of(&self, name: &str) -> String {
        self.key(Place::Usage, name)
    }

    /// Which months have calls.
    pub(crate) fn months(&self) -> String {
        self.key(Place::Usage, "months")
    }
}
