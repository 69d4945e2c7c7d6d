//! A broker with connections.
//!
//! They come about through `begin_connect` and `finish_connect`, as everywhere. What a provider does then is answered
//! here at once; refreshes and API calls go through the real Salesforce provider.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use grantry::{
    Broker, Builder, NewIntegration,
    connect::{Binding, Outcome},
    connection::Profile,
    id::{ConnectionId, IntegrationId, Slug},
    integration::{Client, Offering, Options},
    provider::{
        AccessLife, ApiVerdict, AuthorizeRequest, CodeExchange, Expiry, Failure, OptionError, Provider,
        ProviderFacts, ProviderHttp, Rotation, TokenHttp, TokenSet, UrlError,
    },
    secret::Secret,
    store::Stores,
    time::{BootInstant, Clock, SystemClock, Timestamp},
    vault::Keyring,
};
use grantry_provider_salesforce::Salesforce;

use crate::upstream::{ACCESS_TOKEN, REFRESH_TOKEN, SUBJECT, Upstream};

/// Connections that are made at the same time.
const AT_ONCE: usize = 128;

/// The owner of every connection.
pub const OWNER: &str = "user-42";

/// A broker, its only integration, and what both stand on.
#[derive(Clone, Debug)]
pub struct World {
    /// The broker.
    pub broker: Broker,
    /// The integration.
    pub integration: IntegrationId,
    /// The stores.
    pub stores: Stores,
}

impl World {
    /// A broker on these stores, with one integration whose provider is at `upstream`.
    pub async fn new(
        stores: impl Into<Stores>,
        upstream: &str,
        set: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let stores = stores.into();
        let broker = broker(&stores, &keyring(), upstream, set);
        let integration = broker
            .create_integration(
                NewIntegration::new(
                    "Bench",
                    "salesforce/production",
                    "3MVG9bench",
                    Secret::new("5E3C0DE5"),
                )
                .slug(slug())
                .option("loginUrl", upstream),
            )
            .await
            .unwrap();
        Self {
            broker,
            integration: integration.id,
            stores,
        }
    }

    /// Makes so many connections; their ids in the order of ids.
    pub async fn connect(&self, count: usize) -> Vec<ConnectionId> {
        use futures_util::StreamExt as _;
        let mut ids: Vec<ConnectionId> = futures_util::stream::iter(0..count)
            .map(|_| self.connect_one())
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        ids.sort();
        ids
    }

    async fn connect_one(&self) -> ConnectionId {
        let proof = || Binding::new("bench");
        let started = self
            .broker
            .integration(&self.integration)
            .begin_connect(proof())
            .owner(OWNER)
            .await
            .unwrap();
        let url = url::Url::parse(&started.url).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1;
        let query = format!("code=aPrx&state={state}");
        match self
            .broker
            .integration(&self.integration)
            .finish_connect(&query, &proof())
            .await
            .unwrap()
        {
            Outcome::Connected { connection, .. } => connection,
            Outcome::Failed { error, .. } => panic!("not connected: {error}"),
        }
    }
}

/// What the integration is called.
pub fn slug() -> Slug {
    Slug::new("bench").unwrap()
}

/// Another broker on the same stores, with nothing in memory yet.
pub fn broker(
    stores: &Stores,
    keys: &Secret,
    upstream: &str,
    set: impl FnOnce(Builder) -> Builder,
) -> Broker {
    let builder = Broker::builder(stores.clone(), Keyring::parse(keys).unwrap())
        .provider(AtOnce::new(upstream))
        .public_url("http://127.0.0.1:8080")
        .allow_loopback_upstream()
        .cache_capacity(2_000_000);
    set(builder).build().unwrap()
}

/// The keys of every broker here.
pub fn keyring() -> Secret {
    Secret::new("bench:kZ3o0h8bq2pY6hQ7w9J5x1r8cV4nT0sLd2fGzK6yHjM")
}

/// A runtime as a host has it.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A server that is never asked.
pub fn nowhere() -> &'static str {
    "http://127.0.0.1:9"
}

/// Starts a server; on `core` alone, if given.
pub fn upstream(core: Option<usize>) -> Upstream {
    Upstream::start(core)
}

/// The machine's clock, which can be put forward.
#[derive(Clone, Debug, Default)]
pub struct Forward(Arc<AtomicI64>);

impl Forward {
    /// Puts the wall clock forward.
    pub fn by(&self, span: Duration) {
        self.0
            .fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Forward {
    fn wall(&self) -> Timestamp {
        Timestamp(SystemClock.wall().0 + self.0.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }

    fn wall_coarse(&self) -> Timestamp {
        Timestamp(SystemClock.wall_coarse().0 + self.0.load(Ordering::Relaxed))
    }

    fn tick(&self) -> u64 {
        SystemClock.tick()
    }
}

/// Salesforce, whose connect flow is answered at once.
#[derive(Debug)]
struct AtOnce {
    salesforce: Salesforce,
    instance_url: String,
}

impl AtOnce {
    fn new(instance_url: &str) -> Self {
        Self {
            salesforce: Salesforce::new(),
            instance_url: instance_url.to_owned(),
        }
    }
}

#[async_trait]
impl Provider for AtOnce {
    fn facts(&self) -> &ProviderFacts {
        self.salesforce.facts()
    }

    fn check_options(
        &self,
        offering: &Offering,
        options: &Options,
        loopback: bool,
    ) -> Result<(), OptionError> {
        self.salesforce.check_options(offering, options, loopback)
    }

    fn rotation(&self, client: &Client<'_>) -> Rotation {
        self.salesforce.rotation(client)
    }

    fn idle_limit(&self, client: &Client<'_>) -> Option<Duration> {
        self.salesforce.idle_limit(client)
    }

    fn grants_per_user(&self, client: &Client<'_>) -> Option<u32> {
        self.salesforce.grants_per_user(client)
    }

    fn token_host(&self, client: &Client<'_>) -> String {
        self.salesforce.token_host(client)
    }

    fn issuer(&self, client: &Client<'_>) -> Option<String> {
        self.salesforce.issuer(client)
    }

    fn authorize_url(
        &self,
        client: &Client<'_>,
        request: &AuthorizeRequest<'_>,
    ) -> Result<url::Url, UrlError> {
        self.salesforce.authorize_url(client, request)
    }

    async fn exchange_code(
        &self,
        _http: TokenHttp,
        _client: &Client<'_>,
        request: CodeExchange<'_>,
    ) -> Result<TokenSet, Failure> {
        Ok(TokenSet {
            access_token: Secret::new(ACCESS_TOKEN),
            refresh_token: Some(Secret::new(REFRESH_TOKEN)),
            instance_url: Some(self.instance_url.clone()),
            scopes: Some(vec!["api".to_owned(), "refresh_token".to_owned()]),
            expiry: Expiry::Assumed(request.now + Duration::from_hours(2)),
            subject: Some(SUBJECT.to_owned()),
        })
    }

    async fn refresh(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        refresh_token: &Secret,
        now: Timestamp,
    ) -> Result<TokenSet, Failure> {
        self.salesforce.refresh(http, client, refresh_token, now).await
    }

    async fn revoke(
        &self,
        _http: &ProviderHttp,
        _client: &Client<'_>,
        _token: &Secret,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn access_life(
        &self,
        _http: &ProviderHttp,
        _client: &Client<'_>,
        set: &TokenSet,
    ) -> Result<AccessLife, Failure> {
        Ok(AccessLife::Alive(Some(set.expiry.at())))
    }

    async fn identify(
        &self,
        _http: &ProviderHttp,
        _client: &Client<'_>,
        _set: &TokenSet,
    ) -> Result<Profile, Failure> {
        let text = str::to_owned;
        Ok(Profile {
            user_id: text("0055g00000D4e5FAAR"),
            email: text("sarah@acme.com"),
            name: text("Sarah Chen"),
            org_id: text("00D5g00000A1b2CEAR"),
            org_name: text("Acme Corp"),
            region: text("USA123"),
        })
    }

    async fn verify_client(&self, _http: &ProviderHttp, _client: &Client<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn classify_api_response(
        &self,
        status: http::StatusCode,
        headers: &http::HeaderMap,
        body_prefix: &[u8],
    ) -> ApiVerdict {
        self.salesforce
            .classify_api_response(status, headers, body_prefix)
    }

    fn check_instance_url(&self, client: &Client<'_>, url: &str) -> Result<String, UrlError> {
        self.salesforce.check_instance_url(client, url)
    }
}
