//! The names of the keys.
//!
//! What one script writes has one hash tag, the part in braces, so that it lies in one slot: `{c0}` the connections with
//! all that is told of them, `{i}` the integrations, `{k}` the API keys, `{p0}` the connect attempts, `{u0}` the usage.
//! The number is that of a bucket; there is one, and the store's own record says so.

use grantry::id::{ConnectionId, IntegrationId};

/// Names the keys of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    prefix: String,
}

impl Layout {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    fn key(&self, tag: &str, name: &str) -> String {
        format!("{}:{{{tag}}}:{name}", self.prefix)
    }

    /// The store's record of itself.
    pub(crate) fn store(&self) -> String {
        self.key("s", "store")
    }

    /// Written to see which replicas have all that was written before.
    pub(crate) fn confirmed(&self) -> String {
        self.key("s", "confirmed")
    }

    /// A connection's row.
    pub(crate) fn row(&self, id: &ConnectionId) -> String {
        self.key("c0", &format!("c:{id}"))
    }

    /// A connection's hot facts.
    pub(crate) fn hot(&self, id: &ConnectionId) -> String {
        self.key("c0", &format!("h:{id}"))
    }

    /// Terms of connections, for lists.
    pub(crate) fn lists(&self) -> String {
        self.key("c0", "lists")
    }

    /// Pieces of e-mail addresses.
    pub(crate) fn search(&self) -> String {
        self.key("c0", "search")
    }

    /// How many rows each sealing key has.
    pub(crate) fn sealed(&self) -> String {
        self.key("c0", "sealed")
    }

    /// What was written.
    pub(crate) fn history(&self) -> String {
        self.key("c0", "history")
    }

    /// What a script that writes a connection may touch.
    pub(crate) fn of_write(&self, id: &ConnectionId) -> [String; 6] {
        [
            self.row(id),
            self.hot(id),
            self.lists(),
            self.search(),
            self.sealed(),
            self.history(),
        ]
    }

    /// Integrations: rows, their ids in order, and the number that moves with each write.
    pub(crate) fn integrations(&self) -> [String; 3] {
        ["rows", "ids", "version"].map(|name| self.key("i", name))
    }

    /// API keys: rows, and their names in order.
    pub(crate) fn keys(&self) -> [String; 2] {
        ["rows", "names"].map(|name| self.key("k", name))
    }

    /// Something that may be used once.
    pub(crate) fn pending(&self, key: &[u8; 32]) -> String {
        use std::fmt::Write as _;
        let mut name = self.key("p0", "a:");
        for byte in key {
            // Writing to a string never fails.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// When things that may be used once expire.
    pub(crate) fn expiries(&self) -> String {
        self.key("p0", "expiries")
    }

    /// An integration's calls in a month.
    pub(crate) fn usage(&self, integration: &IntegrationId, month: u32) -> String {
        self.usage_of(&format!("{integration}:{month}"))
    }

    /// The same by the name that stands in [`Layout::months`].
    pub(crate) fn usage_of(&self, name: &str) -> String {
        self.key("u0", name)
    }

    /// Which months have calls.
    pub(crate) fn months(&self) -> String {
        self.key("u0", "months")
    }
}
