//! A handle that reaches only one integration's connections. The HTTP surface uses nothing else.

use std::{sync::Arc, time::Duration};

use super::{Broker, ConnectionUpdate, ListConnections};
use crate::{
    connect::{Link, NewLink},
    connection::{ConnectionView, Credentials, Decision, SetName, Status},
    engine::revoke::When,
    error::Error,
    id::{ConnectionId, IntegrationId},
    proxy::{ApiRequest, ApiResponse},
    usage::Usage,
};

/// What belongs to one integration. Each method does what its namesake of [`Broker`] does, and answers
/// `integration_mismatch` for a connection of another integration.
#[derive(Clone, Debug)]
pub struct Within {
    pub(super) broker: Broker,
    pub(super) integration: IntegrationId,
}

impl Within {
    /// The integration.
    pub fn id(&self) -> &IntegrationId {
        &self.integration
    }

    /// See [`Broker::connections`].
    pub fn connections(&self) -> ListConnections {
        self.broker.connections(&self.integration)
    }

    /// See [`Broker::connection`].
    ///
    /// # Errors
    /// As there.
    pub async fn connection(&self, id: &ConnectionId) -> Result<ConnectionView, Error> {
        self.broker.connection_within(Some(&self.integration), id).await
    }

    /// See [`Broker::update_connection`].
    ///
    /// # Errors
    /// As there.
    pub async fn update_connection(
        &self,
        id: &ConnectionId,
        update: ConnectionUpdate,
    ) -> Result<ConnectionView, Error> {
        self.broker
            .update_within(Some(&self.integration), id, update)
            .await
    }

    /// See [`Broker::disconnect`].
    ///
    /// # Errors
    /// As there.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), Error> {
        self.broker
            .parts
            .revoker
            .end(Some(&self.integration), id, Status::Deleted, When::Now)
            .await
    }

    /// See [`Broker::history`].
    ///
    /// # Errors
    /// As there.
    pub async fn history(&self, id: &ConnectionId) -> Result<Vec<Decision>, Error> {
        self.broker.history_within(Some(&self.integration), id).await
    }

    /// See [`Broker::connect_link`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect_link(&self, link: NewLink) -> Result<Link, Error> {
        self.broker.connect_link(&self.integration, link).await
    }

    /// See [`Broker::reconnect_link`].
    ///
    /// # Errors
    /// As there.
    pub async fn reconnect_link(&self, id: &ConnectionId) -> Result<Link, Error> {
        self.broker
            .reconnect_link_within(Some(&self.integration), id)
            .await
    }

    /// See [`Broker::credentials_valid_for`]; `None` is the usual minimum.
    ///
    /// # Errors
    /// As there.
    pub async fn credentials(
        &self,
        id: &ConnectionId,
        minimum: Option<Duration>,
    ) -> Result<Arc<Credentials>, Error> {
        let minimum = minimum.unwrap_or(self.broker.parts.minimum);
        self.broker
            .credentials_within(Some(&self.integration), id, minimum)
            .await
    }

    /// See [`Broker::refused`].
    ///
    /// # Errors
    /// As there.
    pub async fn refused(&self, id: &ConnectionId, set: SetName) -> Result<Arc<Credentials>, Error> {
        Ok(self
            .broker
            .parts
            .refresher
            .after_refusal(id, Some(&self.integration), set)
            .await?
            .credentials
            .clone())
    }

    /// See [`Broker::send`]; `provider` must be the connection's, if it is named.
    ///
    /// # Errors
    /// As there; `provider_mismatch`.
    pub async fn send(
        &self,
        id: &ConnectionId,
        provider: Option<&str>,
        request: ApiRequest,
    ) -> Result<ApiResponse, Error> {
        self.broker
            .parts
            .proxy
            .send(id, Some(&self.integration), provider, request)
            .await
    }

    /// See [`Broker::usage`].
    ///
    /// # Errors
    /// As there.
    pub async fn usage(&self) -> Result<Usage, Error> {
        self.broker.usage(&self.integration).await
    }
}
