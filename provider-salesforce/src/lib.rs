//! Salesforce for Grantry.
//!
//! [`Salesforce`] is a [`Provider`]: it builds the requests of the OAuth 2.0 web server flow with PKCE, parses the
//! responses strictly, and classifies errors by a table, because Salesforce says `invalid_grant` for a dozen
//! unrelated causes. It is stateless and reads no clock.
//!
//! ```
//! use grantry::{id::IntegrationId, integration::{Client, Options}, provider::{AuthorizeRequest, Provider}, secret::Secret};
//! use grantry_provider_salesforce::Salesforce;
//!
//! let salesforce = Salesforce::new();
//! let integration = IntegrationId::new("int_1").unwrap();
//! let url = salesforce.authorize_url(
//!     &Client {
//!         integration: &integration,
//!         offering: &salesforce.facts().offerings[0],
//!         client_id: "3MVG9EXAMPLE",
//!         client_secret: &Secret::new("EXAMPLESECRET"),
//!         scopes: &["api".to_owned(), "refresh_token".to_owned()],
//!         callback_url: "https://app.example.com/integrations/callback/int_1",
//!         options: &Options::new(),
//!         allow_loopback: false,
//!     },
//!     &AuthorizeRequest {
//!         state: "Zk3",
//!         code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
//!         login_hint: None,
//!     },
//! )?;
//! assert_eq!(url.host_str(), Some("login.salesforce.com"));
//! # Ok::<(), grantry::provider::UrlError>(())
//! ```
//!
//! # Options of an integration
//!
//! | name | values | default |
//! |---|---|---|
//! | `loginUrl` | `https://login.salesforce.com`, `https://test.salesforce.com`, their `sfcrmproducts.cn` twins, or a My Domain origin | by the offering |
//! | `prompt` | `login`, `consent`, `select_account`, or several joined by single spaces | `login` |
//! | `apiVersion` | such as `v66.0` | `v66.0` |
//! | `sessionMinutes` | 1 to 1440: the session timeout of the app or the org | 120 |
//! | `rotation` | `strict`, `reusable` | `strict` |
//! | `idleDays` | 0 to 3650: a refresh token unused for so long is dead; 0 is no such limit | 30 |
//! | `legacyInstanceHosts` | `true` accepts instance hosts such as `na44.salesforce.com` and `acme.cloudforce.com` | `false` |
//!
//! # Decisions
//!
//! - The client secret is sent in the request body (`client_secret_post`). Salesforce documents HTTP Basic without
//!   the form-encoding step of RFC 6749 section 2.3.1, which the `oauth2` crate performs; the body can only be read
//!   one way.
//! - A refresh response with a usable access token is never discarded because of its other fields: Salesforce may
//!   have spent the old refresh token for it. An invalid `instance_url`, `id` or scope counts as omitted, and the
//!   stored one is kept. In response to a code exchange, it is an error.
//! - The identity service is always called at the integration's login host, never at the host of the `id` in a
//!   response.

mod api;
mod authorize;
mod config;
mod errors;
mod facts;
mod hosts;
mod http;
mod identity;
mod json;
mod signature;
mod token;

use std::time::Duration;

use async_trait::async_trait;
use grantry::{
    connection::Profile,
    integration::{Client, Offering, Options},
    provider::{
        AccessLife, ApiVerdict, AuthorizeRequest, CodeExchange, Failure, OptionError, Provider,
        ProviderFacts, ProviderHttp, Rotation, TokenHttp, TokenSet, UrlError,
    },
    secret::Secret,
    time::Timestamp,
};
use url::Url;

pub use crate::facts::NAME;

use crate::config::Config;

/// The Salesforce provider. It keeps nothing but facts.
#[derive(Clone, Debug)]
pub struct Salesforce {
    facts: ProviderFacts,
}

impl Salesforce {
    /// Offers `salesforce/production` (login.salesforce.com) and `salesforce/sandbox` (test.salesforce.com).
    pub fn new() -> Self {
        Self {
            facts: facts::facts(),
        }
    }
}

impl Default for Salesforce {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Provider for Salesforce {
    fn facts(&self) -> &ProviderFacts {
        &self.facts
    }

    fn check_options(
        &self,
        offering: &Offering,
        options: &Options,
        allow_loopback: bool,
    ) -> Result<(), OptionError> {
        Config::read(offering.environment, options, allow_loopback).map(|_| ())
    }

    fn rotation(&self, client: &Client<'_>) -> Rotation {
        config::rotation(client.options).unwrap_or(Rotation::Strict)
    }

    fn idle_limit(&self, client: &Client<'_>) -> Option<Duration> {
        config::idle_limit(client.options).unwrap_or(Some(config::IDLE))
    }

    /// "Five unique approvals per user and app": a sixth silently revokes the oldest.
    fn grants_per_user(&self, _client: &Client<'_>) -> Option<u32> {
        Some(5)
    }

    fn token_host(&self, client: &Client<'_>) -> String {
        let origin = match Config::of(client) {
            Ok(config) => config.login.origin,
            Err(_) => config::default_login(client.offering.environment).to_owned(),
        };
        hosts::authority(&origin).to_owned()
    }

    fn issuer(&self, client: &Client<'_>) -> Option<String> {
        Config::of(client).ok().map(|config| config.login.origin)
    }

    fn authorize_url(&self, client: &Client<'_>, request: &AuthorizeRequest<'_>) -> Result<Url, UrlError> {
        authorize::url(client, request)
    }

    async fn exchange_code(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        request: CodeExchange<'_>,
    ) -> Result<TokenSet, Failure> {
        token::exchange(http, client, &request).await
    }

    async fn refresh(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        refresh_token: &Secret,
        now: Timestamp,
    ) -> Result<TokenSet, Failure> {
        token::refresh(http, client, refresh_token, now).await
    }

    async fn revoke(&self, http: &ProviderHttp, client: &Client<'_>, token: &Secret) -> Result<(), Failure> {
        token::revoke(http, client, token).await
    }

    async fn access_life(
        &self,
        http: &ProviderHttp,
        client: &Client<'_>,
        set: &TokenSet,
    ) -> Result<AccessLife, Failure> {
        identity::access_life(http, client, set).await
    }

    async fn identify(
        &self,
        http: &ProviderHttp,
        client: &Client<'_>,
        set: &TokenSet,
    ) -> Result<Profile, Failure> {
        identity::identify(http, client, set).await
    }

    async fn verify_client(&self, http: &ProviderHttp, client: &Client<'_>) -> Result<(), Failure> {
        token::verify(http, client).await
    }

    fn classify_api_response(
        &self,
        status: ::http::StatusCode,
        headers: &::http::HeaderMap,
        body_prefix: &[u8],
    ) -> ApiVerdict {
        api::classify(status, headers, body_prefix)
    }

    fn check_instance_url(&self, client: &Client<'_>, url: &str) -> Result<String, UrlError> {
        let config = Config::of(client).map_err(|_| UrlError { why: "host" })?;
        config.instance(url)
    }
}
