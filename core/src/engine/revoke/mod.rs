//! Ends connections. A connection ends in the store first, and the revocation of its grant is owed in the same write; so it
//! survives a crash, and the sweep finds it again.

mod owed;

use std::sync::Arc;

use super::{
    cache::Cache,
    directory::Directory,
    journal::Journal,
    ledger::{Change, Ledger},
    protocol,
    scope::Scope,
    upstream::Upstream,
};
use crate::{connection::Status, error::Error, event::What, id::ConnectionId, task::Tasks};

/// Ends connections, and runs the revocations that are owed.
#[derive(Debug)]
pub(crate) struct Revoker {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) tasks: Arc<Tasks>,
}

/// Who revokes the grant at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// This process, at once.
    Now,
    /// The sweep of any process, at its pace.
    Sweep,
}

impl Revoker {
    /// Ends a connection, and owes the revocation of its grant in the same write. Not confirmed: a machine that takes over
    /// without it shows a connection whose grant is revoked, and which expires, or one that can be ended again.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`, `store_moved`; an error of the store means that the outcome is not
    /// known.
    pub(crate) async fn end(
        self: &Arc<Self>,
        scope: Scope<'_>,
        id: &ConnectionId,
        status: Status,
        when: When,
    ) -> Result<(), Error> {
        let ended = self
            .ledger
            .update(scope, id, |record, _| {
                if record.facts.row.status == status {
                    return Ok(Change::Keep(None));
                }
                record.owe_set(self.ledger.wall());
                record.facts.row = protocol::end(&record.facts.row, status);
                self.ledger.note(record, status.as_str(), None, None);
                Ok(Change::Write(Some(record.integration.clone())))
            })
            .await?;
        if let Some(integration) = ended {
            self.cache.remove(id);
            let what = if status == Status::Deleted {
                What::Deleted
            } else {
                What::Revoked
            };
            self.journal.emit(&integration, Some(id), what);
            if when == When::Now {
                self.run_owed_behind(id);
            }
        }
        Ok(())
    }
}
