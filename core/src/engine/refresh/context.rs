//! What every part of a refresh works with.

use std::{sync::Arc, time::Duration};

use super::unsaved::UnsavedSets;
use crate::{
    connection::Reason,
    engine::{
        cache::Cache, directory::Loaded, journal::Journal, ledger::Ledger, protocol::Policy, revoke::Revoker,
        upstream::Upstream,
    },
    event::What,
    id::{ConnectionId, IntegrationId},
    task::Tasks,
    time::Clock,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) unsaved: UnsavedSets,
    /// The protocol's times and rules; the rotation is each integration's own.
    pub(crate) policy: Policy,
    /// How much of an access token's life must be left, unless a caller asks for another time.
    pub(crate) minimum: Duration,
    /// What the process is called, for a draft of the protocol in which holders were named after their process.
    pub(crate) process: u128,
}

impl Context {
    /// How sets of this integration are taken care of.
    pub(super) fn policy(&self, integration: &Loaded) -> Policy {
        Policy {
            rotation: integration.provider.rotation(&integration.client()),
            ..self.policy
        }
    }

    /// A connection is marked as expired.
    pub(super) fn expired(&self, integration: &IntegrationId, id: &ConnectionId, reason: Reason) {
        self.cache.remove(id);
        self.journal.emit(integration, Some(id), What::Expired(reason));
        metrics::counter!("grantry_expired").increment(1);
    }

    /// The store showed an older row than it once acknowledged.
    pub(super) fn rolled_back(&self, integration: &IntegrationId, id: &ConnectionId) {
        self.journal.emit(integration, Some(id), What::StoreRolledBack);
        metrics::counter!("grantry_store_rolled_back").increment(1);
    }
}
