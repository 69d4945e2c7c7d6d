//! What a host does with a connection beside using it.

use std::collections::BTreeMap;

use super::Broker;
use crate::{
    connect::{Link, LinkKind, check_metadata, check_owner},
    connection::{ConnectionView, Decision, Status},
    engine::{ledger::Change, revoke::When},
    error::Error,
    id::{ConnectionId, IntegrationId},
};

/// What to change of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionUpdate {
    /// A new owner.
    pub owner: Option<String>,
    /// New labels, in place of all old ones.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl Broker {
    /// A connection as it stands, deleted ones excepted.
    ///
    /// # Errors
    /// `connection_not_found`.
    pub async fn connection(&self, id: &ConnectionId) -> Result<ConnectionView, Error> {
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
    ) -> Result<ConnectionView, Error> {
        self.update_within(None, id, update).await
    }

    /// Deletes a connection: at once here, then its grant at the provider. The owed revocation survives a crash.
    ///
    /// # Errors
    /// `connection_not_found`; `store_unavailable`, after which the call may be repeated.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), Error> {
        self.parts.revoker.end(None, id, Status::Deleted, When::Now).await
    }

    /// Revokes a connection: it stays in lists as `revoked`, and the user may connect it again.
    ///
    /// # Errors
    /// `connection_not_found`; `store_unavailable`, after which the call may be repeated.
    pub async fn revoke(&self, id: &ConnectionId) -> Result<(), Error> {
        self.parts.revoker.end(None, id, Status::Revoked, When::Now).await
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
    ) -> Result<ConnectionView, Error> {
        let found = self.parts.ledger.find(within, id).await?;
        Ok(found.record.view(found.hot))
    }

    pub(crate) async fn history_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Vec<Decision>, Error> {
        Ok(self.parts.ledger.find(within, id).await?.record.history())
    }

    pub(crate) async fn reconnect_link_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
    ) -> Result<Link, Error> {
        let found = self.parts.ledger.find(within, id).await?;
        self.parts
            .connector
            .seal_link(
                &found.record.integration,
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
    ) -> Result<ConnectionView, Error> {
        if let Some(owner) = &update.owner {
            check_owner(owner)?;
        }
        if let Some(metadata) = &update.metadata {
            check_metadata(metadata)?;
        }
        self.parts
            .ledger
            .update(within, id, |record, hot| {
                if let Some(owner) = &update.owner {
                    record.facts.owner.clone_from(owner);
                }
                if let Some(metadata) = &update.metadata {
                    record.facts.metadata.clone_from(metadata);
                }
                Ok(Change::Write(record.view(hot)))
            })
            .await
    }
}
