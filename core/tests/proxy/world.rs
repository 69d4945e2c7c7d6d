//! A broker with a provider of its own, whose token endpoint does what a test says.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use grantry::{
    Broker, NewIntegration, async_trait,
    connect::{Binding, Outcome},
    connection::{Profile, Reason},
    error::Error,
    event::{Event, EventSink, What},
    id::{ConnectionId, IntegrationId},
    integration::{Client, Environment, Offering, Options},
    provider::{
        AccessLife, ApiVerdict, AuthorizeRequest, CodeExchange, Expiry, Failure, HeaderPattern, OptionError,
        Provider, ProviderFacts, ProviderHttp, Rotation, TokenHttp, TokenSet, Transport, TransportError,
        UrlError,
    },
    proxy::{ApiRequest, ApiResponse},
    secret::Secret,
    store::{ConnectionStore as _, HotFacts, memory::MemoryStore},
    time::{SystemClock, Timestamp},
    vault::Keyring,
};

/// What the token endpoint says to a refresh.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refresh {
    Tokens,
    Fails(Failure),
}

#[derive(Debug)]
struct Shared {
    instance: Mutex<String>,
    refresh: Mutex<Refresh>,
    tokens: AtomicUsize,
    refreshes: AtomicUsize,
    events: Mutex<Vec<What>>,
}

#[derive(Clone, Debug)]
struct Fake(Arc<Shared>, ProviderFacts);

impl Fake {
    fn tokens(&self, now: Timestamp) -> TokenSet {
        let number = self.0.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        TokenSet {
            access_token: Secret::new(format!("access-{number}")),
            refresh_token: Some(Secret::new(format!("refresh-{number}"))),
            instance_url: Some(self.0.instance.lock().unwrap().clone()),
            scopes: None,
            expiry: Expiry::Known(now + Duration::from_secs(2 * 3600)),
            subject: Some("user-1".to_owned()),
        }
    }
}

impl EventSink for Fake {
    fn emit(&self, event: &Event) {
        self.0.events.lock().unwrap().push(event.what.clone());
    }
}

#[async_trait]
impl Transport for Fake {
    async fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, TransportError> {
        Ok(http::Response::new(Bytes::new()))
    }
}

#[async_trait]
impl Provider for Fake {
    fn facts(&self) -> &ProviderFacts {
        &self.1
    }

    fn check_options(&self, _: &Offering, _: &Options, _: bool) -> Result<(), OptionError> {
        Ok(())
    }

    fn rotation(&self, _: &Client<'_>) -> Rotation {
        Rotation::Strict
    }

    fn idle_limit(&self, _: &Client<'_>) -> Option<Duration> {
        None
    }

    fn grants_per_user(&self, _: &Client<'_>) -> Option<u32> {
        None
    }

    fn token_host(&self, _: &Client<'_>) -> String {
        "login.test".to_owned()
    }

    fn issuer(&self, _: &Client<'_>) -> Option<String> {
        None
    }

    fn authorize_url(&self, _: &Client<'_>, request: &AuthorizeRequest<'_>) -> Result<url::Url, UrlError> {
        format!("https://login.test/?state={}", request.state)
            .parse()
            .map_err(|_| UrlError { why: "host" })
    }

    async fn exchange_code(
        &self,
        http: TokenHttp,
        _: &Client<'_>,
        request: CodeExchange<'_>,
    ) -> Result<TokenSet, Failure> {
        http.send(http::Request::new(Vec::new())).await.unwrap();
        Ok(self.tokens(request.now))
    }

    async fn refresh(
        &self,
        http: TokenHttp,
        _: &Client<'_>,
        _: &Secret,
        now: Timestamp,
    ) -> Result<TokenSet, Failure> {
        http.send(http::Request::new(Vec::new())).await.unwrap();
        self.0.refreshes.fetch_add(1, Ordering::SeqCst);
        let plan = *self.0.refresh.lock().unwrap();
        match plan {
            Refresh::Tokens => Ok(self.tokens(now)),
            Refresh::Fails(failure) => Err(failure),
        }
    }

    async fn revoke(&self, _: &ProviderHttp, _: &Client<'_>, _: &Secret) -> Result<(), Failure> {
        Ok(())
    }

    async fn access_life(
        &self,
        _: &ProviderHttp,
        _: &Client<'_>,
        _: &TokenSet,
    ) -> Result<AccessLife, Failure> {
        Err(Failure::Unknown(Reason::AnswerLost))
    }

    async fn identify(&self, _: &ProviderHttp, _: &Client<'_>, _: &TokenSet) -> Result<Profile, Failure> {
        Ok(Profile::default())
    }

    async fn verify_client(&self, _: &ProviderHttp, _: &Client<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn classify_api_response(
        &self,
        status: http::StatusCode,
        headers: &http::HeaderMap,
        prefix: &[u8],
    ) -> ApiVerdict {
        assert!(prefix.len() <= 8192, "only a prefix is shown");
        assert!(
            status.as_u16() >= 400 || prefix.is_empty(),
            "only refusals are read"
        );
        let usage = headers
            .get("x-usage")
            .and_then(|value| value.to_str().ok()?.split_once('/'));
        ApiVerdict {
            token_refused: status == 401,
            limit_reached: prefix.windows(5).any(|part| part == b"LIMIT"),
            api_usage: usage.map(|(used, allowed)| (used.parse().unwrap(), allowed.parse().unwrap())),
        }
    }

    fn check_instance_url(&self, _: &Client<'_>, url: &str) -> Result<String, UrlError> {
        Ok(url.to_owned())
    }
}

/// A provider that knows nothing beside the standards, with one offering.
pub(crate) fn plain_facts(name: &str, environment: Environment) -> ProviderFacts {
    let offering = Offering {
        id: format!("{name}/{environment}"),
        provider: name.to_owned(),
        environment,
        label: name.to_owned(),
        required_scopes: vec!["api".to_owned()],
        optional_scopes: Vec::new(),
    };
    ProviderFacts::new(name, [offering])
}

/// An integration of this offering.
pub(crate) async fn integrate(broker: &Broker, offering: &str, monthly_limit: Option<u64>) -> IntegrationId {
    let new =
        NewIntegration::new("Test", offering, "client", Secret::new("secret")).monthly_limit(monthly_limit);
    broker.create_integration(new).await.unwrap().id
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) integration: IntegrationId,
    pub(crate) connection: ConnectionId,
    fake: Fake,
    store: MemoryStore,
}

impl World {
    /// One connection whose API lives at `instance`.
    pub(crate) async fn new(instance: &str) -> Self {
        Self::limited(instance, None).await
    }

    pub(crate) async fn limited(instance: &str, monthly_limit: Option<u64>) -> Self {
        let mut facts = plain_facts("fake", Environment::PRODUCTION);
        facts.request_headers = vec![
            HeaderPattern::Exact("X-Fake-Option".to_owned()),
            HeaderPattern::Prefix("fake-".to_owned()),
        ];
        facts.credential_query_keys = vec!["session".to_owned()];
        Self::with(facts, None, instance, monthly_limit).await
    }

    /// One connection at the first provider; the second one is there, too.
    pub(crate) async fn with(
        facts: ProviderFacts,
        second: Option<ProviderFacts>,
        instance: &str,
        monthly_limit: Option<u64>,
    ) -> Self {
        let offering = facts.offerings[0].id.clone();
        let shared = Shared {
            instance: Mutex::new(instance.to_owned()),
            refresh: Mutex::new(Refresh::Tokens),
            tokens: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
            events: Mutex::default(),
        };
        let fake = Fake(Arc::new(shared), facts);
        let store = MemoryStore::new(Arc::new(SystemClock));
        let mut builder = Broker::builder(
            store.clone(),
            Keyring::parse(&Keyring::generate().unwrap()).unwrap(),
        );
        if let Some(second) = second {
            builder = builder.provider(Fake(fake.0.clone(), second));
        }
        let broker = builder
            .provider(fake.clone())
            .transport(fake.clone())
            .events(fake.clone())
            .public_url("https://app.test/integrations")
            .allow_loopback_upstream()
            .build()
            .unwrap();
        let integration = integrate(&broker, &offering, monthly_limit).await;
        let mut world = Self {
            broker,
            connection: ConnectionId::generate(),
            integration,
            fake,
            store,
        };
        world.connection = world.connect(instance).await;
        world
    }

    /// One more connection.
    pub(crate) async fn connect(&self, instance: &str) -> ConnectionId {
        instance.clone_into(&mut self.fake.0.instance.lock().unwrap());
        match self.arrive(&self.integration, "code=abc").await {
            Outcome::Connected { connection, .. } => connection,
            Outcome::Failed { error, .. } => panic!("{error:?}"),
        }
    }

    /// What becomes of a user whom the provider sends back with this query and the state.
    pub(crate) async fn arrive(&self, integration: &IntegrationId, query: &str) -> Outcome {
        let binding = Binding::new("the test");
        let started = self
            .broker
            .integration(integration)
            .begin_connect(Binding::new("the test"))
            .await
            .unwrap();
        let state = started.url.split_once("state=").unwrap().1;
        let query = format!("{query}&state={state}");
        self.broker
            .integration(integration)
            .finish_connect(&query, &binding)
            .await
            .unwrap()
    }

    pub(crate) async fn send(&self, request: ApiRequest) -> Result<ApiResponse, Error> {
        self.broker.connection(&self.connection).send(request).await
    }

    /// The error code that a request leads to.
    pub(crate) async fn code(&self, request: ApiRequest) -> &'static str {
        match self.send(request).await {
            Ok(answer) => panic!("answered with {}", answer.status),
            Err(error) => error.code().as_str(),
        }
    }

    /// What the next refreshes lead to.
    pub(crate) fn refresh(&self, plan: Refresh) {
        *self.fake.0.refresh.lock().unwrap() = plan;
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.fake.0.refreshes.load(Ordering::SeqCst)
    }

    /// The next token set names this instance.
    pub(crate) fn moves_to(&self, instance: &str) {
        instance.clone_into(&mut self.fake.0.instance.lock().unwrap());
    }

    pub(crate) fn events(&self, what: &What) -> usize {
        self.fake
            .0
            .events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| *event == what)
            .count()
    }

    /// Calls that were counted against the plan.
    pub(crate) async fn counted(&self) -> u64 {
        self.broker
            .integration(&self.integration)
            .usage()
            .await
            .unwrap()
            .calls
    }

    pub(crate) async fn hot(&self) -> HotFacts {
        self.store
            .connection(&self.connection)
            .await
            .unwrap()
            .0
            .unwrap()
            .hot
    }
}
