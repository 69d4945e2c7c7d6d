//! What a connect flow works with.

use std::sync::Arc;

use crate::{
    engine::{
        cache::Cache, directory::Directory, journal::Journal, ledger::Ledger, revoke::Revoker,
        upstream::Upstream,
    },
    store::PendingStore,
    task::Tasks,
    time::Clock,
    vault::TokenVault,
};

/// Connects accounts.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) pending: Arc<dyn PendingStore>,
    pub(crate) vault: Arc<dyn TokenVault>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The URL under which the host serves the callback; no trailing slash.
    pub(crate) public_url: String,
}
