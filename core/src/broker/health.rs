//! The broker's health.

use super::Broker;
use crate::{
    error::Error,
    health::{Health, Trap},
};

impl Broker {
    /// What needs attention, in this process and in the rows of the store. Reads indexes and at most some hundred rows, and
    /// returns even if the store cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn health(&self) -> Health {
        self.shared.parts.doctor.health().await
    }

    /// Common misconfigurations of the integrations. Reads every connection and asks every provider whether it accepts the
    /// client: meant for people, not for monitoring.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn diagnose(&self) -> Result<Vec<Trap>, Error> {
        let health = self.shared.parts.doctor.health().await;
        self.shared.parts.doctor.diagnose(&health).await
    }
}
