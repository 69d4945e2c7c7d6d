//! Grantry: an embeddable OAuth connection broker.

// Layer 0: values.
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

pub use async_trait::async_trait;
