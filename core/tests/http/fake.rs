//! A provider that does what a test says, and a clock that a test moves.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use grantry::{
    async_trait,
    connection::{Profile, Reason},
    integration::{Client, Environment, Offering, Options},
    provider::{
        AccessLife, ApiVerdict, AuthorizeRequest, CodeExchange, Expiry, Failure, HeaderPattern, OptionError,
        Provider, ProviderFacts, ProviderHttp, Rotation, TokenHttp, TokenSet, Transport, TransportError,
        UrlError, Verdict,
    },
    secret::Secret,
    time::{BootInstant, Clock, SystemClock, Timestamp},
};

/// What a question to the provider leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Plan {
    #[default]
    Well,
    Fails(Failure),
    Hangs,
    Panics,
}

impl Plan {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Well => Ok(()),
            Self::Fails(failure) => Err(failure),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("canary-secret"),
        }
    }
}

pub(crate) fn dead() -> Plan {
    Plan::Fails(Failure::refused(
        Verdict::GrantDead,
        Reason::GrantExpiredOrRevoked,
    ))
}

pub(crate) fn unavailable() -> Plan {
    Plan::Fails(Failure::refused(Verdict::MayPass, Reason::ServerUnavailable))
}

#[derive(Debug)]
struct Shared {
    facts: ProviderFacts,
    instance: Mutex<String>,
    plans: Mutex<BTreeMap<&'static str, Plan>>,
    profile: Mutex<Profile>,
    tokens: AtomicUsize,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

/// The provider and its transport.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Arc<Shared>);

impl Fake {
    pub(crate) fn new(instance: &str) -> Self {
        let offering = |environment: Environment| Offering {
            id: format!("fake/{}", environment.as_str()),
            provider: "fake".to_owned(),
            environment,
            label: format!("Fake ({})", environment.as_str()),
            required_scopes: vec!["api".to_owned()],
            optional_scopes: vec!["web".to_owned()],
        };
        let offerings = [offering(Environment::PRODUCTION), offering(Environment::SANDBOX)];
        let mut facts = ProviderFacts::new("fake", offerings);
        facts.request_headers = vec![HeaderPattern::Prefix("fake-".to_owned())];
        Self(Arc::new(Shared {
            facts,
            instance: Mutex::new(instance.to_owned()),
            plans: Mutex::default(),
            profile: Mutex::default(),
            tokens: AtomicUsize::new(0),
            calls: Mutex::default(),
        }))
    }

    /// What the next questions of this kind lead to: `exchange`, `refresh`, `revoke`, `identify`, `verify`.
    pub(crate) fn plan(&self, what: &'static str, plan: Plan) {
        self.0.plans.lock().unwrap().insert(what, plan);
    }

    /// Who connects next.
    pub(crate) fn person(&self, email: &str) {
        *self.0.profile.lock().unwrap() = Profile {
            user_id: "005".to_owned(),
            email: email.to_owned(),
            name: "Ann Example".to_owned(),
            org_id: "00D".to_owned(),
            org_name: "Acme".to_owned(),
            region: "NA".to_owned(),
        };
    }

    /// How often it was asked.
    pub(crate) fn calls(&self, what: &str) -> usize {
        self.0.calls.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    async fn ask(&self, what: &'static str) -> Result<(), Failure> {
        *self.0.calls.lock().unwrap().entry(what).or_default() += 1;
        let plan = self
            .0
            .plans
            .lock()
            .unwrap()
            .get(what)
            .copied()
            .unwrap_or_default();
        plan.run().await
    }

    fn tokens(&self, now: Timestamp) -> TokenSet {
        let number = self.0.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        TokenSet {
            access_token: Secret::new(format!("access-{number}")),
            refresh_token: Some(Secret::new(format!("refresh-{number}"))),
            instance_url: Some(self.0.instance.lock().unwrap().clone()),
            scopes: None,
            expiry: Expiry::Known(now + Duration::from_secs(2 * 3600)),
            subject: Some(self.0.profile.lock().unwrap().email.clone()),
        }
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
        &self.0.facts
    }

    fn check_options(&self, _: &Offering, options: &Options, _: bool) -> Result<(), OptionError> {
        if options.keys().all(|name| name == "prompt") {
            Ok(())
        } else {
            Err(OptionError { name: "unknown" })
        }
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
        Some("https://login.test".to_owned())
    }

    fn authorize_url(&self, _: &Client<'_>, request: &AuthorizeRequest<'_>) -> Result<url::Url, UrlError> {
        let url = format!(
            "https://login.test/authorize?code_challenge={}&state={}",
            request.code_challenge, request.state
        );
        url.parse().map_err(|_| UrlError { why: "host" })
    }

    async fn exchange_code(
        &self,
        http: TokenHttp,
        _: &Client<'_>,
        request: CodeExchange<'_>,
    ) -> Result<TokenSet, Failure> {
        http.send(http::Request::new(Vec::new())).await.unwrap();
        self.ask("exchange").await?;
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
        self.ask("refresh").await?;
        Ok(self.tokens(now))
    }

    async fn revoke(&self, _: &ProviderHttp, _: &Client<'_>, _: &Secret) -> Result<(), Failure> {
        self.ask("revoke").await
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
        self.ask("identify").await?;
        Ok(self.0.profile.lock().unwrap().clone())
    }

    async fn verify_client(&self, _: &ProviderHttp, _: &Client<'_>) -> Result<(), Failure> {
        self.ask("verify").await
    }

    fn classify_api_response(&self, status: http::StatusCode, _: &http::HeaderMap, _: &[u8]) -> ApiVerdict {
        ApiVerdict {
            token_refused: status == 401,
            ..ApiVerdict::default()
        }
    }

    fn check_instance_url(&self, _: &Client<'_>, url: &str) -> Result<String, UrlError> {
        Ok(url.to_owned())
    }
}

/// A wall clock that a test moves; boot time runs as it does.
#[derive(Clone, Debug)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn new() -> Self {
        // 2026-04-10T14:32:00.000Z.
        Self(Arc::new(AtomicI64::new(1_775_831_520_000)))
    }

    pub(crate) fn pass(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }

    fn wall_coarse(&self) -> Timestamp {
        self.wall()
    }

    fn tick(&self) -> u64 {
        self.boot().0
    }
}
