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
mod record;
pub mod refresh;
mod task;
pub mod usage;

// Layer 4: front.
mod broker;

pub use broker::*;

mod keys {
    #[derive(Debug)]
    pub(crate) struct Keys;
    impl Keys {
        pub(crate) fn new(
            _: std::sync::Arc<dyn crate::store::KeyStore>,
            _: std::sync::Arc<dyn crate::vault::TokenVault>,
            _: std::sync::Arc<dyn crate::time::Clock>,
        ) -> Self {
            Self
        }
    }
}
mod proxy {
    use crate::{engine::Engine, error::*, id::*};
    #[derive(Debug)]
    pub struct ApiRequest;
    #[derive(Debug)]
    pub struct ApiResponse;
    #[derive(Debug)]
    pub(crate) struct ProxyClient;
    impl ProxyClient {
        pub(crate) fn new(_: bool) -> Result<Self, ()> {
            Ok(Self)
        }
    }
    impl Engine {
        pub(crate) async fn send(
            self: &std::sync::Arc<Self>,
            _: &ConnectionId,
            _: Option<&IntegrationId>,
            _: Option<&str>,
            _: ApiRequest,
        ) -> Result<ApiResponse, Error> {
            Ok(ApiResponse)
        }
    }
}
mod transport {
    #[derive(Debug)]
    pub(crate) struct HttpTransport;
    #[async_trait::async_trait]
    impl crate::provider::Transport for HttpTransport {
        async fn send(
            &self,
            _: http::Request<Vec<u8>>,
        ) -> Result<http::Response<bytes::Bytes>, crate::provider::TransportError> {
            Err(crate::provider::TransportError {
                sent: crate::provider::Sent::No,
                fault: crate::provider::TransportFault::Connect,
            })
        }
    }
    impl HttpTransport {
        pub(crate) fn builder() -> Self {
            Self
        }
        pub(crate) fn allow_loopback(self, _: bool) -> Self {
            self
        }
        pub(crate) fn build(self) -> Result<Self, ()> {
            Err(())
        }
    }
}

pub use async_trait::async_trait;
