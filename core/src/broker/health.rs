//! The broker's health.

use super::Broker;
use crate::{
    error::Error,
    health::{Health, Trap},
};

impl Broker {
    /// What needs somebody's eyes, in this process and in the rows of the store. It reads indexes and some hundred rows at
    /// the most, and answers also when the store cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn health(&self) -> Health {
        self.shared.parts.doctor.health().await
    }

    /// The usual traps that the integrations have fallen into. It reads every connection and asks every provider whether
    /// it accepts the client, so it is for people and not for a monitor.
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
