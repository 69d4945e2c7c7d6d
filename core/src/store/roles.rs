//! The five roles together, as a broker is given them.

use std::sync::Arc;

use super::{
    connection::ConnectionStore, integration::IntegrationStore, key::KeyStore, pending::PendingStore,
    usage::UsageStore,
};

/// The five roles. They may be played by different stores: usage on Redis, connections on SQLite.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Keeps connections.
    pub connections: Arc<dyn ConnectionStore>,
    /// Keeps integrations.
    pub integrations: Arc<dyn IntegrationStore>,
    /// Keeps connect attempts.
    pub pending: Arc<dyn PendingStore>,
    /// Keeps API and public keys.
    pub keys: Arc<dyn KeyStore>,
    /// Counts calls.
    pub usage: Arc<dyn UsageStore>,
}

impl<S> From<S> for Stores
where
    S: ConnectionStore + IntegrationStore + PendingStore + KeyStore + UsageStore + Clone,
{
    fn from(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            connections: store.clone(),
            integrations: store.clone(),
            pending: store.clone(),
            keys: store.clone(),
            usage: store,
        }
    }
}
