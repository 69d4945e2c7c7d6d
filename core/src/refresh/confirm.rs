//! Writes that must survive the loss of a machine. A store with replicas answers a write before they have it, and may then
//! forget it: a turn, and another process presents the same token; or a new set, and nobody else has it.

use std::time::Duration;

use crate::{
    connection::Reason,
    engine::Engine,
    event::What,
    id::{ConnectionId, IntegrationId},
    record::{Decision, Record},
    store::Revision,
};

/// How long the store is waited for. Nothing could be sent any more by then.
const LIMIT: Duration = Duration::from_secs(5);

impl Engine {
    /// Whether the row of this revision is there and would survive the loss of a machine.
    pub(crate) async fn confirmed(&self, id: &ConnectionId, revision: Revision, write: &'static str) -> bool {
        let confirm = self.stores.connections.confirm_connection(id, revision);
        let confirmed = matches!(tokio::time::timeout(LIMIT, confirm).await, Ok(Ok(true)));
        if !confirmed {
            metrics::counter!("grantry_not_confirmed", "write" => write).increment(1);
            tracing::warn!(connection = %id, write, "a write is not known to survive the loss of a machine");
        }
        confirmed
    }
}

impl Engine {
    /// Notes that a connection is marked as expired.
    pub(super) fn expired(&self, integration: &IntegrationId, id: &ConnectionId, reason: Reason) {
        self.cache.remove(id);
        self.emit(integration, Some(id), What::Expired(reason));
        metrics::counter!("grantry_expired").increment(1);
    }

    /// Adds a decision to a record's history.
    pub(crate) fn note(&self, record: &mut Record, what: &str, reason: Option<Reason>, token: Option<&str>) {
        let token = token.filter(|t| !t.is_empty()).map(str::to_owned);
        record.note(Decision {
            at: self.clock.wall(),
            what: what.to_owned(),
            set: record.facts.row.name,
            reason,
            token,
        });
    }
}
