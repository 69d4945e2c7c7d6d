//! A broker with one configured integration, and the HTTP surface over it.

use std::{sync::Arc, time::Duration};

use grantry::{
    Broker, NewIntegration,
    http::HttpService,
    id::{ConnectionId, IntegrationId},
    secret::Secret,
    store::{KeyKind, Stores, memory::MemoryStore},
    vault::Keyring,
};
use serde_json::Value;

use crate::{
    ask::{Ask, Got},
    fake::{Fake, Hands},
};

pub(crate) const ADMIN: &str = "an-admin-key-of-more-than-32-characters!";
pub(crate) const RETURN: &str = "https://app.example/done";
pub(crate) const PUBLIC_URL: &str = "https://app.example/integrations";

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) service: HttpService,
    pub(crate) fake: Fake,
    pub(crate) clock: Hands,
    #[allow(dead_code, reason = "for the tests of damaged rows")]
    pub(crate) store: MemoryStore,
    #[allow(dead_code, reason = "for the tests of damaged rows")]
    pub(crate) keys: Secret,
    pub(crate) integration: IntegrationId,
    pub(crate) api_key: String,
    pub(crate) public_key: String,
}

/// What may differ from world to world.
pub(crate) struct Setup {
    pub(crate) instance: String,
    pub(crate) public_url: &'static str,
    pub(crate) monthly_limit: Option<u64>,
    pub(crate) deadline: Duration,
    /// Puts other stores in place of some roles.
    pub(crate) roles: fn(&mut Stores),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            instance: "https://acme.instance.test".to_owned(),
            public_url: PUBLIC_URL,
            monthly_limit: None,
            deadline: Duration::from_secs(25),
            roles: |_| {},
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    /// A world whose provider's API lives at `instance`.
    pub(crate) async fn at(instance: &str) -> Self {
        let instance = instance.to_owned();
        Self::with(Setup {
            instance,
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let fake = Fake::new(&setup.instance);
        fake.person("ann@acme.example");
        let clock = Hands::new();
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let keys = Keyring::generate().unwrap();
        let mut stores = Stores::from(store.clone());
        (setup.roles)(&mut stores);
        let broker = Broker::builder(stores, Keyring::parse(&keys).unwrap())
            .provider(fake.clone())
            .transport(fake.clone())
            .clock(clock.clone())
            .public_url(setup.public_url)
            .allow_loopback_upstream()
            .build()
            .unwrap();
        let service = HttpService::builder(broker.clone())
            .admin_key(Secret::new(ADMIN))
            .unwrap()
            .deadline(setup.deadline)
            .unwrap()
            .build();
        let integration = create(&broker, "fake/production", setup.monthly_limit).await;
        let key = |kind| broker.mint_key(kind, Some(&integration), None);
        let api_key = key(KeyKind::Api).await.unwrap().secret.expose().to_owned();
        let public_key = key(KeyKind::Public).await.unwrap().secret.expose().to_owned();
        Self {
            broker,
            service,
            fake,
            clock,
            store,
            keys,
            integration,
            api_key,
            public_key,
        }
    }

    /// One more integration, and an API key of it.
    pub(crate) async fn another(&self) -> (IntegrationId, String) {
        let id = create(&self.broker, "fake/sandbox", None).await;
        let key = self.broker.mint_key(KeyKind::Api, Some(&id), None).await.unwrap();
        (id, key.secret.expose().to_owned())
    }

    /// A request without a key.
    pub(crate) fn bare(&self, method: &str, target: &str) -> Ask {
        Ask::new(&self.service, method, target)
    }

    /// A request with the API key.
    pub(crate) fn api(&self, method: &str, target: &str) -> Ask {
        self.bare(method, target).key(&self.api_key)
    }

    /// A request with the admin key.
    pub(crate) fn admin(&self, method: &str, target: &str) -> Ask {
        self.bare(method, target).key(ADMIN)
    }

    pub(crate) async fn get(&self, target: &str) -> Value {
        self.api("GET", target).granted(200).await
    }

    /// A browser begins: the answer, and the state that it was sent on with.
    pub(crate) async fn begin(&self, query: &str) -> (Got, String) {
        let target = format!("/connect/{}?{query}", self.integration);
        let got = self.bare("GET", &target).send().await;
        assert_eq!(got.status, 303, "{}", got.text());
        let state = got.header("location").split_once("state=").unwrap().1.to_owned();
        (got, state)
    }

    /// The browser comes back.
    pub(crate) fn back(&self, query: &str, cookie: &str) -> Ask {
        let ask = self.bare("GET", &format!("/callback/{}?{query}", self.integration));
        if cookie.is_empty() {
            ask
        } else {
            ask.header("cookie", cookie)
        }
    }

    /// Connects an account through the browser routes; `query` follows `/connect/{id}?`.
    pub(crate) async fn connect_with(&self, query: &str) -> Got {
        let (got, state) = self.begin(query).await;
        self.back(&format!("code=c&state={state}"), &got.cookie())
            .send()
            .await
    }

    /// Connects an account of `email`, and gives the connection's id.
    pub(crate) async fn connect(&self, email: &str) -> ConnectionId {
        self.fake.person(email);
        let got = self
            .connect_with(&format!("public_key={}&redirect_uri={RETURN}", self.public_key))
            .await;
        let id = got.header("location").split_once("connection_id=").unwrap().1;
        id.parse().unwrap()
    }

    /// Uses up the access token's life.
    pub(crate) fn token_ends(&self) {
        self.clock.pass(Duration::from_secs(3 * 3600));
    }
}

async fn create(broker: &Broker, offering: &str, monthly_limit: Option<u64>) -> IntegrationId {
    let new = NewIntegration::new(
        "Test",
        offering.to_owned(),
        "client",
        Secret::new("client-secret"),
    )
    .redirect_uris([RETURN, "https://app.example/query?a=1"])
    .monthly_limit(monthly_limit);
    broker.create_integration(new).await.unwrap().id
}
