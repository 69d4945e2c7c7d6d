//! Step 11: a connection ends here first, and its grant at the provider afterwards.

use std::sync::Arc;

use crate::{
    connection::Status,
    engine::Engine,
    error::{Code, Error},
    event::What,
    id::{ConnectionId, IntegrationId},
    record::Record,
    refresh::{protocol, within_check},
    store::{Stored, Swap},
};

/// How often an end is applied again when somebody else wrote the row meanwhile.
const ROUNDS: u32 = 16;

/// Who tells the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// This process, at once.
    Me,
    /// Whichever process sweeps, at the sweep's pace.
    Sweep,
}

impl Engine {
    /// The row and the record of a connection that is not deleted.
    pub(crate) async fn find(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<(Stored, Record), Error> {
        let (Some(stored), _) = self.stores.connections.connection(id).await? else {
            return Err(Code::ConnectionNotFound.into());
        };
        within_check(within, &stored.row.index.integration)?;
        let deleted = stored.row.index.status == Status::Deleted;
        let record = match Record::decode(&stored) {
            Ok(record) if record.facts.moved.is_some() => return Err(Code::StoreMoved.into()),
            _ if deleted => return Err(Code::ConnectionNotFound.into()),
            read => read?,
        };
        Ok((stored, record))
    }

    /// Ends a connection, and owes the revocation of its grant in the same write. Not confirmed: a machine that takes over
    /// without it shows a connection whose grant is revoked, and which expires, or one that can be ended again.
    pub(crate) async fn end(
        self: &Arc<Self>,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
        status: Status,
        payer: Payer,
    ) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let (stored, mut record) = self.find(within, id).await?;
            if record.facts.row.status == status {
                return Ok(());
            }
            record.owe_set(self.clock.wall());
            record.facts.row = protocol::end(&record.facts.row, status);
            self.note(&mut record, status.as_str(), None, None);
            match self
                .stores
                .connections
                .swap_connection(&self.row(&record), stored.revision)
                .await?
            {
                Swap::Swapped(_) => {
                    self.cache.remove(id);
                    let what = if status == Status::Deleted {
                        What::Deleted
                    } else {
                        What::Revoked
                    };
                    self.emit(&record.integration, Some(id), what);
                    if payer == Payer::Me {
                        self.revoke_owed(id);
                    }
                    return Ok(());
                }
                Swap::Conflict => {}
                Swap::Missing => return Err(Code::ConnectionNotFound.into()),
            }
        }
        Err(Code::ConnectionConflict.into())
    }
}
