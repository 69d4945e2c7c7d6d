//! The parts that the loops need.

use std::sync::Arc;

use super::postponed::Postponed;
use crate::{
    engine::{
        cache::Cache,
        directory::{Directory, Editor},
        freshness::Freshness,
        ledger::{Ledger, due::KeepAlive},
        refresh::Refresher,
        revoke::Revoker,
        upstream::Upstream,
    },
    store::{ConnectionStore, PendingStore},
    task::Tasks,
    time::Clock,
    usage::Meter,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) connections: Arc<dyn ConnectionStore>,
    pub(crate) pending: Arc<dyn PendingStore>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) editor: Arc<Editor>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) refresher: Arc<Refresher>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) postponed: Postponed,
}
