//! A simulator, a folder for the store, and what most tests do with them.

use std::{path::Path, sync::Mutex};

use grantry::{Broker, secret::Secret, vault::Keyring};
use grantry_provider_salesforce::Salesforce;
use grantry_salesforce_simulator::{
    Client, Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Outcome, Presentation, Simulator,
};
use grantry_store_sqlite::SqliteStore;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Browser, Host, Launch, Person};

/// Where the application wants its users back. Nobody listens there.
pub(crate) const APP: &str = "http://127.0.0.1:9/app/connected";

/// What an integration is created with, and what is known of it then.
#[derive(Clone, Debug)]
pub(crate) struct Integration {
    pub(crate) id: String,
    pub(crate) api_key: String,
    pub(crate) public_key: String,
    pub(crate) created: Value,
}

impl Integration {
    /// The URL to which an application sends its user.
    pub(crate) fn connect_url(&self, host: &Host, redirect_uri: Option<&str>) -> String {
        let Self { id, public_key, .. } = self;
        let mut url = Url::parse(&format!("{}/connect/{id}", host.base_url)).unwrap();
        url.query_pairs_mut().append_pair("public_key", public_key);
        if let Some(uri) = redirect_uri {
            url.query_pairs_mut().append_pair("redirect_uri", uri);
        }
        url.into()
    }
}

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    dir: TempDir,
    keys: Secret,
    callbacks: Mutex<Vec<String>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    /// With so many more users: `user1@acme.com`, `user2@acme.com` and so on.
    pub(crate) async fn with_users(count: usize) -> Self {
        Self::with(Config {
            extra_users: count,
            contacts: 10,
            ..Config::default()
        })
        .await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self {
            simulator: Simulator::start(config).await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
            keys: Keyring::generate().unwrap(),
            callbacks: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn keys(&self) -> &str {
        self.keys.expose()
    }

    pub(crate) fn launch(&self) -> Launch {
        Launch::new(self.dir(), self.keys())
    }

    /// One more host on the same file, behind the same public URL.
    pub(crate) fn launch_beside(&self, host: &Host) -> Launch {
        self.launch().argument("--public-url").argument(&host.base_url)
    }

    /// Creates an integration whose client the simulator knows. `more` replaces fields of the request.
    pub(crate) async fn integrate(&self, host: &Host, more: Value) -> Integration {
        let mut body = json!({
            "name": "Test", "offering": "salesforce/production",
            "clientId": DEFAULT_CLIENT_ID, "clientSecret": DEFAULT_CLIENT_SECRET,
            "scopes": ["api", "refresh_token", "id"], "redirectUris": [APP],
            "options": { "loginUrl": self.simulator.login_url() },
        });
        let Value::Object(more) = more else {
            panic!("an object")
        };
        body.as_object_mut().unwrap().extend(more);
        let created = host
            .admin(Method::POST, "/api/v1/integrations", Some(&body))
            .await
            .expect(201);
        self.register(&created.field("callbackUrl"));
        Integration {
            id: created.field("integrationId"),
            api_key: created.field("apiKey"),
            public_key: created.field("publicKey"),
            created: created.json(),
        }
    }

    /// Tells the provider one more callback of the client, as its owner would.
    fn register(&self, callback: &str) {
        let mut callbacks = self.callbacks.lock().unwrap();
        callbacks.push(callback.to_owned());
        self.simulator.register_client(Client {
            callbacks: callbacks.clone(),
            ..Client::default()
        });
    }

    /// Lets a user connect through login and consent. Gives the connection's id, as the application gets it.
    pub(crate) async fn connect(&self, host: &Host, integration: &Integration, username: &str) -> String {
        let url = integration.connect_url(host, Some(APP));
        let end = Browser::new()
            .walk(&url, &Person::new(username), |url| url.as_str().starts_with(APP))
            .await;
        parameter(&end.unwrap().url(), "connection_id").expect("no connection")
    }

    /// Another process on the same store, with what the HTTP surface does not offer. It lives as long as its broker.
    pub(crate) async fn broker(&self, host: &Host) -> Broker {
        let store = SqliteStore::open(self.dir().join("grantry.db")).await.unwrap();
        Broker::builder(store, Keyring::parse(&self.keys).unwrap())
            .provider(Salesforce::new())
            .public_url(&host.base_url)
            .allow_loopback_upstream()
            .build()
            .unwrap()
    }

    /// The presentations of refresh tokens that were ever issued. A client is verified with one that never was.
    pub(crate) fn presentations(&self) -> Vec<Presentation> {
        let mut log = self.simulator.log();
        log.retain(|entry| entry.result != Outcome::Unknown);
        log
    }

    /// How often an endpoint of the simulator was called.
    pub(crate) fn count(&self, endpoint: &str) -> u64 {
        self.simulator.counters()[endpoint].as_u64().unwrap()
    }
}

/// A query parameter of a URL.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
