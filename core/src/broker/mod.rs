//! The front: [`Broker`] is the one type that a host holds.

mod builder;
mod connections;
mod freeze;
mod health;
mod integrations;
mod keys;
mod list;
pub(crate) mod parts;
mod within;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub use builder::{Builder, ConfigError};
pub use connections::ConnectionUpdate;
pub use keys::{KeyInfo, NewKey};
pub use list::{ConnectionPage, ListConnections};
pub use within::Within;

pub use crate::{
    engine::ledger::due::KeepAlive,
    integration::{IntegrationUpdate, NewIntegration},
};

use parts::Parts;

use crate::{
    connect::{BeginConnect, Binding, Link, NewLink, Outcome},
    connection::{Credentials, SetName},
    engine::{background::flush_uses, cache::Cache, refresh::Want},
    error::Error,
    id::{ConnectionId, IntegrationId},
    integration::Offering,
    proxy::{ApiRequest, ApiResponse},
    store::Stores,
    vault::TokenVault,
};

/// Holds users' OAuth connections: runs the connect flow, keeps tokens sealed, hands out access tokens that work, and
/// calls the provider on the user's behalf. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) parts: Arc<Parts>,
    /// Beside the parts, so that the warm path is short.
    cache: Arc<Cache>,
}

/// How long shutdown may write down last uses and give reserved calls back, once everything else is done.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What shutdown left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections whose refresh had not ended when the deadline passed, or whose new token set is not safe in the
    /// store. A set that could not be stored is lost with the process; one of which the store does not know whether it
    /// would survive the loss of a machine is lost only if that happens.
    pub unfinished: Vec<ConnectionId>,
}

impl Broker {
    /// A broker on these stores, which seals with this vault.
    pub fn builder(stores: impl Into<Stores>, vault: impl TokenVault) -> Builder {
        Builder::new(stores.into(), Arc::new(vault))
    }

    /// What can be integrated.
    pub fn offerings(&self) -> Vec<Offering> {
        self.parts.directory.offerings().cloned().collect()
    }

    /// A handle that reaches only what belongs to `integration`. Everything else answers `integration_mismatch`.
    pub fn within(&self, integration: &IntegrationId) -> Within {
        Within {
            broker: self.clone(),
            integration: integration.clone(),
        }
    }

    /// Begins to connect an account: the first half of the web server flow (RFC 6749 section 4.1, PKCE by RFC 7636).
    /// `binding` proves who begins; [`Broker::finish_connect`] must be called with the same.
    ///
    /// # Errors
    /// `integration_not_found`, `integration_not_configured`, `integration_disabled`, `return_to_not_allowed`,
    /// `metadata_too_large`.
    pub fn begin_connect(&self, integration: &IntegrationId, binding: Binding) -> BeginConnect {
        BeginConnect::new(self.parts.connector.clone(), integration.clone(), binding)
    }

    /// Begins what a connect or reconnect link stands for, and uses the link up.
    ///
    /// # Errors
    /// `link_invalid`, `link_expired`, `link_used`.
    pub async fn begin_link(
        &self,
        integration: &IntegrationId,
        token: &str,
        binding: Binding,
    ) -> Result<BeginConnect, Error> {
        self.parts.connector.begin_link(integration, token, binding).await
    }

    /// Finishes a connect attempt: `integration` stands in the callback's path, `query` is the callback's raw query.
    /// Denial and provider errors are outcomes; an `Err` means that the callback belongs to no attempt of this user.
    ///
    /// # Errors
    /// `state_unknown`, `browser_mismatch`, `callback_*`, `issuer_mismatch`.
    ///
    /// # Cancel safety
    /// Once the state is taken the rest runs in a task of the broker's own; dropping this future loses nothing.
    pub async fn finish_connect(
        &self,
        integration: &IntegrationId,
        query: &str,
        binding: &Binding,
    ) -> Result<Outcome, Error> {
        self.parts
            .connector
            .finish_connect(integration, query, binding)
            .await
    }

    /// A one-use link that connects a new account, with the owner inside.
    ///
    /// # Errors
    /// `integration_not_found`, `return_to_not_allowed`, `metadata_too_large`.
    pub async fn connect_link(&self, integration: &IntegrationId, link: NewLink) -> Result<Link, Error> {
        self.parts.connector.connect_link(integration, link).await
    }

    /// Credentials that are good for five more minutes at least (or as the builder was told).
    ///
    /// # Errors
    /// `connection_not_found`, `connection_expired`, `connection_revoked`: see [`Error::advice`]. Errors that may pass
    /// are answered only if no living token is at hand.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    pub async fn credentials(&self, id: &ConnectionId) -> Result<Arc<Credentials>, Error> {
        self.credentials_within(None, id, self.parts.minimum).await
    }

    /// Credentials that are good for `minimum` more at least.
    ///
    /// # Errors
    /// As [`Broker::credentials`].
    ///
    /// # Cancel safety
    /// As [`Broker::credentials`].
    pub async fn credentials_valid_for(
        &self,
        id: &ConnectionId,
        minimum: Duration,
    ) -> Result<Arc<Credentials>, Error> {
        self.credentials_within(None, id, minimum).await
    }

    /// Reads credentials that are in memory and good for the usual time, by reference: the fastest form. `None` if they
    /// must be fetched or refreshed first; then use [`Broker::credentials`].
    pub fn peek<T>(&self, id: &ConnectionId, read: impl FnOnce(&Credentials) -> T) -> Option<T> {
        self.cache.hit(id, None, |credentials| read(credentials))
    }

    pub(crate) async fn credentials_within(
        &self,
        within: Option<&IntegrationId>,
        id: &ConnectionId,
        minimum: Duration,
    ) -> Result<Arc<Credentials>, Error> {
        if minimum <= self.parts.minimum
            && let Some(hit) = self.cache.hit(id, within, Arc::clone)
        {
            return Ok(hit);
        }
        let want = Want { minimum, not: None };
        let entry = self.parts.refresher.serve(id, within, want).await?;
        Ok(entry.credentials.clone())
    }

    /// A call was refused with the credentials of `set`: gets newer ones. A hundred such reports about one set cause one
    /// refresh, and a report about an older set causes none.
    ///
    /// # Errors
    /// As [`Broker::credentials`].
    ///
    /// # Cancel safety
    /// As [`Broker::credentials`].
    pub async fn refused(&self, id: &ConnectionId, set: SetName) -> Result<Arc<Credentials>, Error> {
        Ok(self
            .parts
            .refresher
            .after_refusal(id, None, set)
            .await?
            .credentials
            .clone())
    }

    /// Calls the provider on the user's behalf.
    ///
    /// # Errors
    /// As [`Broker::credentials`]; `path_*` and `query_*` for requests that are never sent; `plan_limit_exceeded`;
    /// `upstream_*`.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call; it may have run at the provider.
    pub async fn send(&self, id: &ConnectionId, request: ApiRequest) -> Result<ApiResponse, Error> {
        self.parts.proxy.send(id, None, None, request).await
    }

    /// Whether the store can be read and the vault can seal.
    ///
    /// # Errors
    /// What is not ready.
    pub async fn ready(&self) -> Result<(), Error> {
        self.parts.vault.ready().await?;
        self.parts.directory.version().await?;
        Ok(())
    }

    /// Stops new refreshes, lets running ones end and writes down what is known, for as long as `deadline`.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        // API calls that are on their way get the same time.
        let parts = &self.parts;
        let (done, _) =
            futures_util::future::join(parts.tasks.close(deadline), parts.proxy.client.close(deadline)).await;
        // A store that hangs must not hold the host up.
        let rest = async {
            flush_uses(&parts.background).await;
            parts.meter.return_unused().await;
        };
        let _ = tokio::time::timeout(deadline.min(LAST_WRITES), rest).await;
        let unfinished = if done {
            Vec::new()
        } else {
            let sets = parts.unsaved.connections();
            let all: BTreeSet<_> = parts.refresher.running().into_iter().chain(sets).collect();
            all.into_iter().collect()
        };
        ShutdownReport { unfinished }
    }
}
