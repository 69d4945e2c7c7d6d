//! What belongs to one owner: a door behind which nothing else exists.

use std::sync::Arc;

use async_trait::async_trait;

use super::{connection::ConnectionHandle, list::ListConnections, parts::Shared};
use crate::{
    account::{Connection, ConnectionPage, ConnectionQuery, Integration},
    connect::{BeginConnect, Binding, Link, NewLink},
    error::{Code, Error},
    id::{ConnectionId, IntegrationRef},
};

/// The connections of one owner at one integration: for the code that serves a signed-in user. Any other connection is
/// `connection_not_found` here, and not listed. An empty owner owns nothing.
///
/// A change of owner takes effect within a second, in every process.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    pub(super) shared: Shared,
    pub(super) integration: IntegrationRef,
    pub(super) owner: Arc<str>,
}

impl OwnerHandle {
    /// Whose connections these are.
    pub fn name(&self) -> &str {
        &self.owner
    }

    /// A connection of this owner.
    pub fn connection(&self, id: &ConnectionId) -> ConnectionHandle {
        ConnectionHandle {
            shared: self.shared.clone(),
            id: id.clone(),
            integration: Some(self.integration.clone()),
            owner: Some(self.owner.clone()),
        }
    }

    /// The owner's connections, newest first. Deleted ones only when asked for.
    ///
    /// # Errors
    /// As [`IntegrationHandle::connections`](super::IntegrationHandle::connections).
    pub fn connections(&self) -> ListConnections {
        let parts = self.shared.parts.clone();
        ListConnections::new(parts, self.integration.clone(), Some(self.owner.clone()))
    }

    /// Begins to connect an account for this owner, or to reconnect one of their connections.
    ///
    /// # Errors
    /// As [`IntegrationHandle::begin_connect`](super::IntegrationHandle::begin_connect); `field_invalid` if the owner is
    /// empty or another one is set; `connection_not_found` if a connection to reconnect is not theirs.
    pub fn begin_connect(&self, binding: Binding) -> BeginConnect {
        let connector = self.shared.parts.connector.clone();
        BeginConnect::new(connector, self.integration.clone(), binding).behind(&self.owner)
    }

    /// A one-use link that connects a new account for this owner.
    ///
    /// # Errors
    /// As [`IntegrationHandle::connect_link`](super::IntegrationHandle::connect_link); `field_invalid` if the owner is
    /// empty or the link names another one.
    ///
    /// # Cancel safety
    /// Cancel safe: a link is not stored until it is used.
    pub async fn connect_link(&self, link: NewLink) -> Result<Link, Error> {
        let named = link.owner.is_empty() || *link.owner == *self.owner;
        if !named || self.owner.is_empty() {
            return Err(Error::new(Code::FieldInvalid).because("owner"));
        }
        let link = link.owner(&*self.owner);
        self.shared
            .parts
            .connector
            .connect_link(&self.integration, link)
            .await
    }
}

#[async_trait]
impl Integration for OwnerHandle {
    fn connection(&self, id: &ConnectionId) -> Arc<dyn Connection> {
        Arc::new(self.connection(id))
    }

    fn owner(&self, owner: &str) -> Arc<dyn Integration> {
        let owner = if owner == &*self.owner { owner } else { "" };
        Arc::new(Self {
            owner: owner.into(),
            ..self.clone()
        })
    }

    async fn connections(&self, query: ConnectionQuery) -> Result<ConnectionPage, Error> {
        self.connections().query(query).await
    }

    async fn connect_link(&self, link: NewLink) -> Result<Link, Error> {
        self.connect_link(link).await
    }
}
