//! Grantry: an embeddable OAuth connection broker.

// Layer 0: values.
pub mod address;
pub mod error;
pub mod id;
mod random;
pub mod secret;
pub mod time;

// Layer 1: contract.
pub mod connection;
pub mod event;
pub mod integration;
pub mod provider;
pub mod store;
pub mod vault;

// Layer 2: parts.
pub mod oauth;
pub mod transport;

// Layer 3: engine.
pub mod connect;
mod engine;
mod grant;
mod integrations;
pub mod keys;
pub mod proxy;
mod record;
pub mod refresh;
mod task;
pub mod usage;

// Layer 4: front.
mod broker;

pub use broker::*;

// Layer 5: surface.
#[cfg(feature = "http")]
pub mod http;

// Beside the layers: for authors of stores, providers and adapters.
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "conformance")]
pub mod testing;

pub use async_trait::async_trait;
