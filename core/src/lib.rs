//! Grantry holds your users' OAuth connections inside your application: it runs the connect flow, keeps the tokens
//! sealed, hands out access tokens that work, and calls the provider on the user's behalf. Its refresh presents each
//! refresh token once, however many callers and processes ask, and records what it does not know instead of guessing:
//! providers that rotate refresh tokens end a grant whose spent token is presented again.
//!
//! [`Broker`] is the one type that a host holds. It works on stores ([`store`]; `grantry-store-sqlite` is one), a vault
//! ([`vault::Keyring`]) and providers ([`provider::Provider`]; `grantry-provider-salesforce` is one).
//!
//! ```
//! use std::sync::Arc;
//!
//! use grantry::{
//!     Broker, connect::Binding, id::IntegrationId, provider::Provider, store::memory::MemoryStore,
//!     time::SystemClock, vault::Keyring,
//! };
//!
//! async fn connect(provider: impl Provider, integration: IntegrationId) -> Result<(), Box<dyn std::error::Error>> {
//!     let broker = Broker::builder(MemoryStore::new(Arc::new(SystemClock)), Keyring::parse(&Keyring::generate()?)?)
//!         .provider(provider)
//!         .public_url("https://app.example.com/integrations")
//!         .build()?;
//!     let start = broker.integration(&integration).begin_connect(Binding::new("this session's id")).await?;
//!     println!("send the browser to {}", start.url);
//!     Ok(())
//! }
//! ```
//!
//! Features: `http` is the HTTP API as a `tower` service; `conformance` are suites and fakes for authors of stores,
//! providers and adapters; `simulation` is for the tests of this crate: the machines of the refresh, rules that can be
//! switched off, seeded randomness. None changes what the rest does.

// Layer 0: values.
mod address;
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
#[cfg_attr(
    not(feature = "simulation"),
    allow(unreachable_pub, reason = "tests look into it")
)]
mod keys;
#[cfg_attr(
    not(feature = "simulation"),
    allow(
        dead_code,
        unnameable_types,
        unreachable_pub,
        unused_imports,
        reason = "tests look into it"
    )
)]
mod oauth;
mod task;
pub mod transport;
pub mod usage;

// Layer 3: engine.
mod engine;

#[cfg(feature = "simulation")]
pub use engine::protocol;

// Layer 4: features.
mod account;
pub mod connect;
pub mod copy;
pub mod health;
pub mod proxy;

// Layer 5: front.
mod broker;

pub use account::{Connection, ConnectionPage, ConnectionQuery, ConnectionUpdate, Integration};
pub use broker::*;
pub use integration::{IntegrationUpdate, NewIntegration};
pub use keys::VerifiedKey;

// Layer 6: surface.
#[cfg(feature = "http")]
pub mod http;

// Beside the layers: for authors of stores, providers and adapters.
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "conformance")]
pub mod testing;

pub use async_trait::async_trait;
