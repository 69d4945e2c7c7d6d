//! A broker on a store that fails and a provider that logs, both in paused time.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use grantry::{
    Broker, Builder, NewIntegration,
    connect::{Binding, Outcome},
    connection::{Credentials, Status},
    error::{Code, Error},
    event::{Event, EventSink, What},
    id::{ConnectionId, IntegrationId},
    secret::Secret,
    store::{ConnectionStore as _, MemoryStore, Stored},
    testing::{FakeProvider, FakeUpstream, FaultyStore, Seen, TestClock},
    vault::Keyring,
};

pub const RETURN: &str = "https://app.example/done";
pub const SESSION: Duration = Duration::from_secs(7200);

#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<What>>>);

impl EventSink for Events {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap().push(event.what.clone());
    }
}

impl Events {
    pub fn count(&self, what: &What) -> usize {
        self.0.lock().unwrap().iter().filter(|w| *w == what).count()
    }

    pub fn all(&self) -> Vec<What> {
        self.0.lock().unwrap().clone()
    }
}

/// A process: its broker, and its own way to the store.
#[derive(Clone)]
pub struct Process {
    pub broker: Broker,
    pub store: FaultyStore,
    pub events: Events,
}

pub struct World {
    pub one: Process,
    pub memory: MemoryStore,
    pub upstream: FakeUpstream,
    pub clock: TestClock,
    pub integration: IntegrationId,
    keys: Secret,
}

impl World {
    pub async fn new() -> Self {
        Self::limited(None).await
    }

    pub async fn limited(monthly_limit: Option<u64>) -> Self {
        let clock = TestClock::new();
        let memory = MemoryStore::new(Arc::new(clock.clone()));
        let upstream = FakeUpstream::new(clock.clone());
        let keys = Keyring::generate().unwrap();
        let one = process(&memory, &upstream, &clock, &keys, |builder| builder);
        let new = NewIntegration::new("Test", "fake/production", "client", Secret::new("secret"))
            .redirect_uris([RETURN])
            .monthly_limit(monthly_limit);
        let integration = one.broker.create_integration(new).await.unwrap().id;
        Self {
            one,
            memory,
            upstream,
            clock,
            integration,
            keys,
        }
    }

    /// One more process on the same store.
    pub fn process(&self) -> Process {
        self.process_with(|builder| builder)
    }

    pub fn process_with(&self, settings: impl FnOnce(Builder) -> Builder) -> Process {
        process(&self.memory, &self.upstream, &self.clock, &self.keys, settings)
    }

    /// A process of the same service on another store.
    pub fn process_on(&self, memory: &MemoryStore) -> Process {
        process(memory, &self.upstream, &self.clock, &self.keys, |builder| builder)
    }

    /// What stands in a row, opened.
    pub async fn seen(&self, stored: &Stored) -> Seen {
        let keyring = Keyring::parse(&self.keys).unwrap();
        Seen::open(stored, &keyring).await.unwrap()
    }

    /// One more process on the same store, which was given other keys.
    pub fn process_with_keys(&self, keys: &Secret) -> Process {
        process(&self.memory, &self.upstream, &self.clock, keys, |builder| builder)
    }

    /// A new connection.
    pub async fn connect(&self) -> ConnectionId {
        self.connect_with(&self.one.broker).await
    }

    /// A new connection, by way of this broker.
    pub async fn connect_with(&self, broker: &Broker) -> ConnectionId {
        match self.try_connect_with(broker, None).await {
            Outcome::Connected { connection, .. } => connection,
            Outcome::Failed { error, .. } => panic!("{error:?}"),
        }
    }

    /// The user goes through the provider's pages.
    pub async fn try_connect(&self, again: Option<&ConnectionId>) -> Outcome {
        self.try_connect_with(&self.one.broker, again).await
    }

    async fn try_connect_with(&self, broker: &Broker, again: Option<&ConnectionId>) -> Outcome {
        let mut begin = broker
            .integration(&self.integration)
            .begin_connect(Binding::new("the browser"))
            .return_to(RETURN);
        if let Some(id) = again {
            begin = begin.reconnect(id.clone());
        }
        let query = self.upstream.consent(&begin.await.unwrap().url);
        let binding = Binding::new("the browser");
        let integration = broker.integration(&self.integration);
        integration.finish_connect(&query, &binding).await.unwrap()
    }

    pub async fn credentials(&self, id: &ConnectionId) -> Result<Arc<Credentials>, Error> {
        self.one.broker.credentials(id).await
    }

    pub async fn access(&self, id: &ConnectionId) -> String {
        self.credentials(id)
            .await
            .unwrap()
            .access_token
            .expose()
            .to_owned()
    }

    pub async fn code(&self, id: &ConnectionId) -> Code {
        self.credentials(id).await.unwrap_err().code()
    }

    pub async fn row(&self, id: &ConnectionId) -> Stored {
        self.memory.connection(id).await.unwrap().0.unwrap()
    }

    /// What stands in the row in the clear.
    pub async fn facts(&self, id: &ConnectionId) -> serde_json::Value {
        facts(&self.row(id).await)
    }

    pub async fn status(&self, id: &ConnectionId) -> Status {
        self.row(id).await.row.index.status
    }

    /// Whether the row's refresh stands at `Idle`, `Turn` (leased), `Unknown` or `Cooling`.
    pub async fn stands_at(&self, id: &ConnectionId) -> String {
        match &self.facts(id).await["row"]["refresh"] {
            serde_json::Value::String(name) => name.clone(),
            other => other.as_object().unwrap().keys().next().unwrap().clone(),
        }
    }

    pub async fn generation(&self, id: &ConnectionId) -> u64 {
        self.facts(id).await["row"]["name"]["generation"]
            .as_u64()
            .unwrap()
    }

    pub fn presentations(&self) -> usize {
        self.upstream.presented().len()
    }
}

/// Lets the loops run.
pub async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

pub fn days(n: u64) -> Duration {
    seconds(n * 24 * 3600)
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The part of a row's body that is JSON.
pub fn facts(stored: &Stored) -> serde_json::Value {
    let mut rest = &stored.row.body[1..];
    for _ in 0..2 {
        let (length, tail) = rest.split_first_chunk::<4>().unwrap();
        rest = &tail[usize::try_from(u32::from_le_bytes(*length)).unwrap()..];
    }
    serde_json::from_slice(rest).unwrap()
}

fn process(
    memory: &MemoryStore,
    upstream: &FakeUpstream,
    clock: &TestClock,
    keys: &Secret,
    settings: impl FnOnce(Builder) -> Builder,
) -> Process {
    let store = FaultyStore::over(memory.clone());
    let events = Events::default();
    let builder = Broker::builder(store.clone(), Keyring::parse(keys).unwrap())
        .provider(FakeProvider::new(upstream))
        .transport(upstream.clone())
        .clock(clock.clone())
        .events(events.clone())
        .public_url("https://app.example/integrations")
        .allow_loopback_upstream();
    Process {
        broker: settings(builder).build().unwrap(),
        store,
        events,
    }
}
