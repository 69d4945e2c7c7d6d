//! What a host does with a connection beside using it.

use std::collections::BTreeMap;

use super::Broker;
use crate::{
    connect::{Link, LinkKind, check_metadata, check_owner},
    connection::{Connection, Status},
    error::{Code, Error},
    event::What,
    id::{ConnectionId, IntegrationId},
    record::{Decision, Record},
    refresh::protocol,
    store::{Stored, Swap},
};

/// What to change of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionUpdate {
    /// A new owner.
    pub owner: Option<String>,
    /// New labels, in place of all old ones.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// How often a change is applied again when somebody else wrote the row meanwhile.
const ROUNDS: u32 = 16;

impl Broker {
    /// A connection as it stands, deleted ones excepted.
    ///
    /// # Errors
    /// `connection_not_found`.
    pub async fn connection(&self, id: &ConnectionId) -> Result<Connection, Error> {
        self.connection_within(None, id).await
    }

    /// Changes owner or labels.
    ///
    /// # Errors
    /// `connection_not_found`, `metadata_too_large`, `field_invalid`.
    pub async fn update_connection(
        &self,
        id: &ConnectionId,
        update: ConnectionUpdate,
    ) -> Result<Connection, Error> {
        self.update_within(None, id, update).await
    }

    /// Deletes a connection: at once here, then its grant at the provider. The owed revocation survives a crash.
    ///
    /// # Errors
    /// `connection_not_found`; `store_unavailable`, after which the call may be repeated.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), Error> {
        self.end_within(None, id, Status::Deleted).await
    }

    /// Revokes a connection: it stays in lists as `revoked`, and the user may connect it again.
    ///
    /// # Errors
    /// `connection_not_found`; `store_unavailable`, after which the call may be repeated.
    pub async fn revoke(&self, id: &ConnectionId) -> Result<(), Error> {
        self.end_within(None, id, Status::Revoked).await
    }

    /// The last 16 decisions about a connection, oldest first. No secret is in them.
    ///
    /// # Errors
    /// `connection_not_found`.
    pub async fn history(&self, id: &ConnectionId) -> Result<Vec<Decision>, Error> {
        self.history_within(None, id).await
    }

    /// A one-use link with which the user connects this connection again; its id stays.
    ///
    /// # Errors
    /// `connection_not_found`.
    pub async fn reconnect_link(&self, id: &ConnectionId) -> Result<Link, Error> {
        self.reconnect_link_within(None, id).await
    }

    /// The row, if it is there, not deleted, and of this integration.
    async fn find(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<(Stored, Record), Error> {
        let (stored, _) = self.engine.stores.connections.connection(id).await?;
        let stored = stored.ok_or(Code::ConnectionNotFound)?;
        if within.is_some_and(|integration| *integration != stored.row.index.integration) {
            return Err(Code::IntegrationMismatch.into());
        }
        if stored.row.index.status == Status::Deleted {
            return Err(Code::ConnectionNotFound.into());
        }
        let record = Record::decode(&stored)?;
        Ok((stored, record))
    }

    pub(crate) async fn connection_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Connection, Error> {
        let (stored, record) = self.find(within, id).await?;
        Ok(record.view(stored.hot))
    }

    pub(crate) async fn history_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Vec<Decision>, Error> {
        Ok(self.find(within, id).await?.1.history())
    }

    pub(crate) async fn reconnect_link_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Link, Error> {
        let (_, record) = self.find(within, id).await?;
        self.engine
            .seal_link(
                &record.integration,
                LinkKind::Reconnect {
                    connection: id.clone(),
                },
            )
            .await
    }

    pub(crate) async fn update_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
        update: ConnectionUpdate,
    ) -> Result<Connection, Error> {
        if let Some(owner) = &update.owner {
            check_owner(owner)?;
        }
        if let Some(metadata) = &update.metadata {
            check_metadata(metadata)?;
        }
        for _ in 0..ROUNDS {
            let (stored, mut record) = self.find(within, id).await?;
            if let Some(owner) = &update.owner {
                record.facts.owner.clone_from(owner);
            }
            if let Some(metadata) = &update.metadata {
                record.facts.metadata.clone_from(metadata);
            }
            match self
                .engine
                .stores
                .connections
                .swap_connection(&record.encode(), stored.revision)
                .await?
            {
                Swap::Swapped(_) => return Ok(record.view(stored.hot)),
                Swap::Conflict => {}
                Swap::Missing => return Err(Code::ConnectionNotFound.into()),
            }
        }
        Err(Code::ConnectionConflict.into())
    }

    pub(crate) async fn end_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
        status: Status,
    ) -> Result<(), Error> {
        let engine = &self.engine;
        for _ in 0..ROUNDS {
            let (stored, mut record) = self.find(within, id).await?;
            if record.facts.row.status == status {
                return Ok(());
            }
            record.owe_set(engine.clock.wall());
            record.facts.row = protocol::end(&record.facts.row, status);
            engine.note(&mut record, status.as_str(), None, None);
            match engine
                .stores
                .connections
                .swap_connection(&record.encode(), stored.revision)
                .await?
            {
                Swap::Swapped(_) => {
                    engine.cache.remove(id);
                    let what = if status == Status::Deleted {
                        What::Deleted
                    } else {
                        What::Revoked
                    };
                    engine.emit(&record.integration, Some(id), what);
                    engine.revoke_owed(id);
                    return Ok(());
                }
                Swap::Conflict => {}
                Swap::Missing => return Err(Code::ConnectionNotFound.into()),
            }
        }
        Err(Code::ConnectionConflict.into())
    }
}
