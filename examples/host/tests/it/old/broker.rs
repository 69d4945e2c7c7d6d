//! A broker of this version on an old store, and a provider that knows its grants. This file is all that has to change with
//! the broker's API.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    body::Bytes,
    http::{Request, Response},
};
use grantry::{
    Broker, ConnectionUpdate, async_trait,
    connect::{Binding, Outcome},
    connection::{ConnectionView, Reason, Status},
    error::Error,
    id::{ConnectionId, IntegrationId},
    provider::{Transport, TransportError},
    secret::Secret,
    store::Stores,
    time::{BootInstant, Clock, SystemClock, Timestamp},
    transport::HttpTransport,
    vault::Keyring,
};
use grantry_provider_salesforce::Salesforce;
use grantry_salesforce_simulator::{Client, Config, Presentation, Simulator};
use serde_json::{Map, Value, json};

use super::known::Known;

/// The machine's clock, set back to when the store was written.
#[derive(Clone, Debug)]
struct Then(Arc<AtomicI64>);

impl Clock for Then {
    fn wall(&self) -> Timestamp {
        Timestamp(SystemClock.wall().millis() + self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }

    fn wall_coarse(&self) -> Timestamp {
        self.wall()
    }

    fn tick(&self) -> u64 {
        SystemClock.tick()
    }
}

/// Sends requests for Salesforce's hosts, which the store names, to the simulator.
#[derive(Debug)]
struct Hosts {
    simulator: String,
    bare: HttpTransport,
}

#[async_trait]
impl Transport for Hosts {
    async fn send(&self, mut request: Request<Vec<u8>>) -> Result<Response<Bytes>, TransportError> {
        let path = request.uri().path_and_query().unwrap();
        *request.uri_mut() = format!("{}{path}", self.simulator).parse().unwrap();
        self.bare.send(request).await
    }
}

pub(super) struct Opened {
    pub(super) known: Known,
    pub(super) simulator: Simulator,
    stores: Stores,
    clock: Then,
    broker: Broker,
}

impl Opened {
    /// A broker on the store, three minutes after it was written, without background tasks.
    pub(super) async fn new(stores: impl Into<Stores>, known: Known) -> Self {
        let config = Config {
            extra_users: 100,
            contacts: 10,
            ..Config::default()
        };
        let simulator = Simulator::start(config).await.unwrap();
        simulator.register_client(Client {
            callbacks: known.callbacks(),
            ..Client::default()
        });
        for grant in known.grants() {
            simulator.adopt(&grant.user, None, &grant.refresh_token).unwrap();
        }
        let clock = Then(Arc::new(AtomicI64::new(
            known.written_at() - SystemClock.wall().millis() + 180_000,
        )));
        let stores = stores.into();
        let broker = broker(&stores, &known, &simulator, &clock, false);
        Self {
            known,
            simulator,
            stores,
            clock,
            broker,
        }
    }

    /// Replaces the broker by a new one with its background tasks, as if a process had started.
    pub(super) fn set_to_work(&mut self) {
        self.broker = broker(&self.stores, &self.known, &self.simulator, &self.clock, true);
    }

    /// Moves the clock on.
    pub(super) fn pass_hours(&self, hours: i64) {
        self.clock.0.fetch_add(hours * 3_600_000, Ordering::SeqCst);
    }

    /// Everything that lists show, in the form of `known.json`.
    pub(super) async fn shown(&self) -> Value {
        let mut shown = Map::new();
        for integration in self.broker.integrations().await.unwrap() {
            let connections = match self.listed(&integration.id).await {
                Ok(connections) => Value::Object(connections),
                Err(error) => code(&error).into(),
            };
            let fields = json!({
                "id": integration.id.as_str(), "state": integration.state.as_str(),
                "state_reason": integration.state_reason, "options": integration.options,
                "created_at": integration.created_at.millis(), "connections": connections,
            });
            shown.insert(integration.name, fields);
        }
        Value::Object(shown)
    }

    async fn listed(&self, integration: &IntegrationId) -> Result<Map<String, Value>, Error> {
        let list = || self.broker.integration(integration).connections().limit(100);
        let mut connections = list().await?.connections;
        connections.extend(list().status(Status::Deleted).await?.connections);
        let mut listed = Map::new();
        for connection in connections {
            let history = self.history(&connection.id).await;
            listed.insert(connection.metadata["case"].clone(), fields(&connection, &history));
        }
        Ok(listed)
    }

    async fn history(&self, id: &ConnectionId) -> Value {
        match self.broker.connection(id).history().await {
            Ok(decisions) => decisions
                .iter()
                .map(|d| json!([d.at.millis(), d.what, d.reason.map(Reason::as_str)]))
                .collect(),
            Err(error) => code(&error).into(),
        }
    }

    /// The last decision in a connection's history.
    pub(super) async fn last(&self, case: &str) -> String {
        let history = self.history(&self.known.connection(case)).await;
        history[history.as_array().unwrap().len() - 1][1]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What a key is good for, or the code with which it is rejected.
    pub(super) async fn verified(&self, key: &str) -> String {
        match self.broker.verify_key(key).await {
            Ok(key) => {
                let integration = key.integration.as_ref().map_or("-", IntegrationId::as_str);
                format!("{} {integration}", key.kind.as_str())
            }
            Err(error) => code(&error),
        }
    }

    /// The calls of the current month.
    pub(super) async fn usage(&self) -> Value {
        let usage = self
            .broker
            .integration(self.known.integration("main"))
            .usage()
            .await
            .unwrap();
        let days: Vec<_> = usage.days.iter().map(|day| (day.day, day.calls)).collect();
        json!({ "month": usage.month, "calls": usage.calls, "days": days })
    }

    /// A connection's access token, or the code of the error.
    pub(super) async fn access(&self, case: &str) -> Result<String, String> {
        self.provider_answers_for(case);
        let answer = self.broker.credentials(&self.known.connection(case)).await;
        let credentials = answer.map_err(|error| code(&error))?;
        Ok(credentials.access_token.expose().to_owned())
    }

    pub(super) async fn disconnect(&self, case: &str) -> Result<(), String> {
        let ended = self
            .broker
            .connection(&self.known.connection(case))
            .disconnect()
            .await;
        ended.map_err(|error| code(&error))
    }

    pub(super) async fn revoke(&self, case: &str) -> Result<(), String> {
        let ended = self
            .broker
            .connection(&self.known.connection(case))
            .revoke()
            .await;
        ended.map_err(|error| code(&error))
    }

    /// Changes a connection's owner.
    pub(super) async fn rename(&self, case: &str) -> Result<(), String> {
        let update = ConnectionUpdate::default().owner("somebody else");
        let updated = self
            .broker
            .connection(&self.known.connection(case))
            .update(update)
            .await;
        updated.map(drop).map_err(|error| code(&error))
    }

    /// The user returns from the provider, where the older version had sent the browser.
    pub(super) async fn finish_attempt(&self) -> Result<(), String> {
        self.provider_answers_for("pending");
        let (url, binding) = self.known.attempt();
        let callback = self.simulator.approve(&url, &self.known.user("pending")).unwrap();
        let query = callback.split_once('?').unwrap().1;
        let main = self.known.integration("main");
        let finish = self
            .broker
            .integration(&main)
            .finish_connect(query, &Binding::new(binding))
            .await;
        match finish {
            Ok(Outcome::Connected { .. }) => Ok(()),
            Ok(Outcome::Failed { error, .. }) | Err(error) => Err(code(&error)),
        }
    }

    /// The user opens a link made by the older version.
    pub(super) async fn open_link(&self, link: &str) -> Result<(), String> {
        let main = self.known.integration("main");
        let begun = self
            .broker
            .integration(&main)
            .begin_link(link, Binding::new("a browser"))
            .await;
        begun.map(drop).map_err(|error| code(&error))
    }

    /// The presentations of this user's refresh tokens.
    pub(super) fn presented(&self, case: &str) -> Vec<Presentation> {
        let user = self.known.user(case);
        let mut log = self.simulator.log();
        log.retain(|entry| entry.username.as_ref() == Some(&user));
        log
    }

    /// Whether the provider has a living grant of this user.
    pub(super) fn lives(&self, case: &str) -> bool {
        let user = self.known.user(case);
        self.simulator
            .families()
            .iter()
            .any(|family| family.username == user)
    }

    /// The simulator names the user by a URL of the real host, as it did for the older version.
    fn provider_answers_for(&self, case: &str) {
        let identity = self.known.identity(case);
        self.simulator.update(|settings| {
            settings.id = Some(identity);
            settings.instance_url = Some("https://acme.my.salesforce.com".to_owned());
        });
    }
}

fn broker(stores: &Stores, known: &Known, simulator: &Simulator, clock: &Then, works: bool) -> Broker {
    let keys = Keyring::parse(&Secret::new(known.keyring())).unwrap();
    let hosts = Hosts {
        simulator: simulator.login_url().to_owned(),
        bare: HttpTransport::builder().allow_loopback(true).build().unwrap(),
    };
    let builder = Broker::builder(stores.clone(), keys)
        .provider(Salesforce::new())
        .transport(hosts)
        .clock(clock.clone())
        .public_url(known.public_url());
    let builder = if works {
        builder
    } else {
        builder.without_background_tasks()
    };
    builder.build().unwrap()
}

fn fields(connection: &ConnectionView, history: &Value) -> Value {
    json!({
        "id": connection.id.as_str(), "status": connection.status.as_str(),
        "reason": connection.reason.map(Reason::as_str),
        "email": connection.profile.email, "user": connection.profile.user_id,
        "owner": connection.owner, "labels": connection.metadata,
        "connected_at": connection.connected_at.millis(), "last_active_at": connection.last_active_at.millis(),
        "epoch": connection.epoch, "generation": connection.generation,
        "history": history,
    })
}

/// An error's code, with the reason where the code covers several failures.
fn code(error: &Error) -> String {
    match (error.code().as_str(), error.reason()) {
        (code @ "connection_corrupt", Some(reason)) => format!("{code} {reason}"),
        (code, _) => code.to_owned(),
    }
}
