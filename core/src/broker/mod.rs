//! The front: [`Broker`] is the one type that a host holds.

mod builder;
mod connection;
mod health;
mod integration;
mod integrations;
mod keys;
mod list;
mod owner;
pub(crate) mod parts;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub use builder::{Builder, ConfigError};
pub use connection::ConnectionHandle;
pub use integration::IntegrationHandle;
pub use keys::{KeyInfo, NewKey};
pub use list::{ConnectionStream, ListConnections};
pub use owner::OwnerHandle;

pub use crate::engine::ledger::due::KeepAlive;

use parts::Shared;

use crate::{
    connection::Credentials,
    engine::{background::flush_uses, limits::LAST_WRITES, scope::Reach},
    error::Error,
    id::{ConnectionId, IntegrationRef, Slug},
    integration::Offering,
};

/// Holds users' OAuth connections: runs the connect flow, keeps tokens sealed, hands out access tokens that work, and
/// calls the provider on the user's behalf. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) shared: Shared,
}

/// What shutdown left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections whose refresh had not ended when the deadline passed, or whose new token set is not safe in the store. A
    /// set that could not be stored is lost with the process; one that is stored but not confirmed is lost only if the
    /// store loses a machine.
    pub unfinished: Vec<ConnectionId>,
}

impl Broker {
    /// What can be integrated.
    pub fn offerings(&self) -> Vec<Offering> {
        self.shared.parts.directory.offerings().cloned().collect()
    }

    /// An integration by its slug or id, and what belongs to it: `broker.integration("acme")`. A `&str` is a slug; an id is an
    /// [`IntegrationId`](crate::id::IntegrationId). Nothing is looked up yet.
    pub fn integration(&self, which: impl Into<IntegrationRef>) -> IntegrationHandle {
        IntegrationHandle {
            shared: self.shared.clone(),
            which: which.into(),
        }
    }

    /// The callback URL of the integration with this slug, to register with the provider. It is known before there is such an
    /// integration.
    pub fn callback_url(&self, slug: &Slug) -> String {
        self.shared.parts.directory.callback_url(slug)
    }

    /// A connection, whichever integration it belongs to. Nothing is looked up yet. Code that serves a signed-in user
    /// goes by way of [`IntegrationHandle::owner`], and code that serves one integration by way of
    /// [`IntegrationHandle::connection`].
    pub fn connection(&self, id: &ConnectionId) -> ConnectionHandle {
        ConnectionHandle {
            shared: self.shared.clone(),
            id: id.clone(),
            integration: None,
            owner: None,
        }
    }

    /// Short for [`connection(id)`](Broker::connection)[`.credentials()`](ConnectionHandle::credentials).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn credentials(&self, id: &ConnectionId) -> Result<Arc<Credentials>, Error> {
        let minimum = self.shared.parts.minimum;
        self.shared.credentials(id, Reach::default(), minimum).await
    }

    /// Short for [`connection(id)`](Broker::connection)[`.peek(read)`](ConnectionHandle::peek), without counting a reference
    /// to anything.
    pub fn peek<T>(&self, id: &ConnectionId, read: impl FnOnce(&Credentials) -> T) -> Option<T> {
        let cache = &self.shared.cache;
        cache.hit(id, Reach::default(), |credentials| read(credentials))
    }

    /// Whether the store can be read and the vault can seal.
    ///
    /// # Errors
    /// The failure of whichever is not ready.
    pub async fn ready(&self) -> Result<(), Error> {
        self.shared.parts.vault.ready().await?;
        self.shared.parts.directory.version().await?;
        Ok(())
    }

    /// Stops new refreshes, lets running ones finish and writes pending state, for at most `deadline`.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        // API calls in flight get the same time.
        let parts = &self.shared.parts;
        let (done, _) =
            futures_util::future::join(parts.tasks.close(deadline), parts.proxy.client.close(deadline)).await;
        // A store that hangs must not delay the host.
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
