//! The parts that health checks need.

use std::sync::Arc;

use crate::{
    engine::{
        directory::Directory, journal::Journal, ledger::due::KeepAlive, refresh::UnsavedSets,
        upstream::Upstream,
    },
    store::ConnectionStore,
    time::Clock,
    vault::TokenVault,
};

/// Examines this process, the store and, if asked to, the providers.
#[derive(Debug)]
pub(crate) struct Doctor {
    pub(crate) connections: Arc<dyn ConnectionStore>,
    pub(crate) vault: Arc<dyn TokenVault>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) unsaved: UnsavedSets,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keep_alive: KeepAlive,
}
