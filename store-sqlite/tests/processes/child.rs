//! What a child does: it holds a broker on the shared file, takes orders on its input, a line each, and tells on its
//! output what happened.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use grantry::{
    Broker, ConnectionUpdate,
    connection::{Credentials, GrantVersion},
    error::Error,
    id::ConnectionId,
    secret::Secret,
    store::Stores,
    transport::HttpTransport,
    vault::Keyring,
};
use grantry_provider_salesforce::Salesforce;
use grantry_store_sqlite::SqliteStore;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    clock::SharedClock,
    steps::{Steps, WatchedStore, WatchedTransport},
};

/// The variable by which a process knows that it is a child, and what it works with.
pub(crate) const PLACE: &str = "GRANTRY_TEST_PLACE";

/// How long a caller waits, unless a test says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24);

/// What every process of a test works with.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) clock: PathBuf,
    pub(crate) keys: String,
}

impl Place {
    pub(crate) fn to_json(&self) -> Value {
        json!({ "file": self.file, "clock": self.clock, "keys": self.keys })
    }

    fn from_json(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        Self {
            file: text("file").into(),
            clock: text("clock").into(),
            keys: text("keys"),
        }
    }

    /// A broker as it is in a process that has just started. `steps` see what it does.
    pub(crate) async fn broker(&self, steps: &Steps, patience: Duration) -> (Broker, SqliteStore) {
        let clock = SharedClock::open(&self.clock);
        let opening = SqliteStore::builder(&self.file).clock(Arc::new(clock.clone()));
        let store = opening.open().await.unwrap();
        let mut stores = Stores::from(store.clone());
        stores.connections = Arc::new(WatchedStore {
            inner: stores.connections,
            steps: steps.clone(),
        });
        let transport = WatchedTransport {
            inner: HttpTransport::builder().allow_loopback(true).build().unwrap(),
            steps: steps.clone(),
        };
        let broker = Broker::builder(stores, Keyring::parse(&Secret::new(self.keys.as_str())).unwrap())
            .provider(Salesforce::new())
            .public_url("https://app.example.com/integrations")
            .allow_loopback_upstream()
            .clock(clock)
            .transport(transport)
            .refresh_timeout(patience)
            .build()
            .unwrap();
        (broker, store)
    }
}

/// Writes a line at once, so that it is out before whatever comes next.
pub(crate) fn tell(what: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\ntold {what}").unwrap();
    out.flush().unwrap();
}

/// What a child does; nothing in the test program that starts the children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(place) = std::env::var(PLACE) else {
        return;
    };
    let place = Place::from_json(&serde_json::from_str(&place).unwrap());
    let steps = Steps::default();
    let (broker, store) = place.broker(&steps, PATIENCE).await;
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    let stopped = steps.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order: Value = serde_json::from_str(&line.unwrap()).unwrap();
            match order["do"].as_str() {
                Some("resume") => stopped.resume(),
                _ => sender.send(order).unwrap(),
            }
        }
    });
    tell(&json!("ready"));
    let mut work = JoinSet::new();
    while let Some(order) = orders.recv().await {
        let id = || ConnectionId::new(order["id"].as_str().unwrap()).unwrap();
        match order["do"].as_str().unwrap() {
            "arm" => steps.arm(act(&order)),
            "refresh" => {
                work.spawn(refresh(broker.clone(), id(), order));
            }
            "write" => {
                let update = ConnectionUpdate::default();
                broker.connection(&id()).update(update).await.unwrap();
                tell(&json!("written"));
            }
            "name" => {
                let update = ConnectionUpdate::default().owner(order["owner"].as_str().unwrap().to_owned());
                let error = broker.connection(&id()).update(update).await.unwrap_err();
                tell(&json!({
                    "code": error.code().as_str(),
                    "shown": format!("{error} {error:?}"),
                    "causes": grantry::error::causes(&error),
                }));
            }
            "roam" => roam(&mut work, &broker, &order),
            "quit" => break,
            other => panic!("no such order: {other}"),
        }
    }
    work.abort_all();
    let left = broker.shutdown(Duration::from_secs(30)).await;
    assert!(left.unfinished.is_empty(), "{left:?}");
    store.close().await;
    tell(&json!("bye"));
}

fn act(order: &Value) -> Option<(Signal, usize)> {
    let signal = match order["signal"].as_str()? {
        "kill" => Signal::KILL,
        _ => Signal::STOP,
    };
    Some((signal, usize::try_from(order["at"].as_u64()?).unwrap()))
}

pub(crate) fn set_name(text: &str) -> GrantVersion {
    let (epoch, generation) = text.split_once('.').unwrap();
    GrantVersion {
        epoch: epoch.parse().unwrap(),
        generation: generation.parse().unwrap(),
    }
}

/// Many callers find one token set refused, at one moment.
async fn refresh(broker: Broker, id: ConnectionId, order: Value) {
    let callers = usize::try_from(order["callers"].as_u64().unwrap()).unwrap();
    let set = set_name(order["set"].as_str().unwrap());
    let start = Arc::new(Barrier::new(callers));
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let (broker, id, start) = (broker.clone(), id.clone(), start.clone());
        all.spawn(async move {
            start.wait().await;
            broker.connection(&id).refused(set).await
        });
    }
    let (mut got, mut failed) = (BTreeMap::new(), BTreeMap::new());
    while let Some(outcome) = all.join_next().await {
        match outcome.unwrap() {
            Ok(credentials) => *got.entry(name_of(&credentials)).or_insert(0) += 1,
            Err(error) => *failed.entry(name_of_error(&error)).or_insert(0) += 1,
        }
    }
    tell(&json!({ "over": id.as_str(), "got": got, "failed": failed }));
}

/// A token set as its name and its access token, which is good for a simulator only.
fn name_of(credentials: &Arc<Credentials>) -> String {
    format!("{} {}", credentials.version, credentials.access_token.expose())
}

pub(crate) fn name_of_error(error: &Error) -> String {
    error.code().as_str().to_owned()
}

/// Callers who find tokens of any of these connections refused, for ever. What they were given is told.
fn roam(work: &mut JoinSet<()>, broker: &Broker, order: &Value) {
    let ids: Vec<ConnectionId> = order["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| ConnectionId::new(id.as_str().unwrap()).unwrap())
        .collect();
    for _ in 0..order["callers"].as_u64().unwrap() {
        let (broker, ids) = (broker.clone(), ids.clone());
        work.spawn(async move {
            loop {
                let id = &ids[random(ids.len())];
                let newer = match broker.credentials(id).await {
                    Ok(held) => broker.connection(id).refused(held.version).await,
                    Err(error) => Err(error),
                };
                match newer {
                    Ok(newer) => tell(&json!({ "had": id.as_str(), "set": newer.version.to_string() })),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
    }
}

pub(crate) fn random(below: usize) -> usize {
    usize::try_from(getrandom::u64().unwrap() % u64::try_from(below).unwrap()).unwrap()
}
