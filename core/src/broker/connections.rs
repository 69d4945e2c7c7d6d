//! What a host does with a connection beside using it.

use std::collections::BTreeMap;

use super::Broker;
use crate::{
    connect::{Link, LinkKind, check_metadata, check_owner},
    connection::{Connection, Status},
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    record::Decision,
    refresh::Payer,
    store::Swap,
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
        self.engine.end(None, id, Status::Deleted, Payer::Me).await
    }

    /// Revokes a connection: it stays in lists as `revoked`, and the user may connect it again.
    ///
    /// # Errors
    /// `connection_not_found`; `store_unavailable`, after which the call may be repeated.
    pub async fn revoke(&self, id: &ConnectionId) -> Result<(), Error> {
        self.engine.end(None, id, Status::Revoked, Payer::Me).await
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

    pub(crate) async fn connection_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Connection, Error> {
        let (stored, record) = self.engine.find(within, id).await?;
        Ok(record.view(stored.hot))
    }

    pub(crate) async fn history_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Vec<Decision>, Error> {
        Ok(self.engine.find(within, id).await?.1.history())
    }

    pub(crate) async fn reconnect_link_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Link, Error> {
        let (_, record) = self.engine.find(within, id).await?;
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
            let (stored, mut record) = self.engine.find(within, id).await?;
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
                .swap_connection(&self.engine.row(&record), stored.revision)
                .await?
            {
                Swap::Swapped(_) => return Ok(record.view(stored.hot)),
                Swap::Conflict => {}
                Swap::Missing => return Err(Code::ConnectionNotFound.into()),
            }
        }
        Err(Code::ConnectionConflict.into())
    }
}
