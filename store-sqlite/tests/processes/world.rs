//! A simulator, a file, a clock, and connections of users of their own.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use grantry::{
    Broker, NewIntegration,
    connect::{Binding, Outcome},
    id::{ConnectionId, IntegrationId},
    provider::Transport as _,
    secret::Secret,
    transport::HttpTransport,
    vault::Keyring,
};
use grantry_salesforce_simulator::{
    Client, Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Presentation, Simulator,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    child::{PATIENCE, Place},
    clock::SharedClock,
    process::Process,
    steps::Steps,
};

/// Longer than a lease and its quarantine: what nobody has resolved by then may be presented again.
pub(crate) const LAPSE: Duration = Duration::from_secs(95);

/// How the provider takes refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They stay the same, and the integration says so.
    Reusable,
    /// Each works once.
    Strict,
    /// Each works once, and one that comes again ends everything.
    Family,
}

/// A user's connection.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) id: ConnectionId,
    pub(crate) user: String,
}

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) place: Place,
    /// Asks the simulator without a broker.
    pub(crate) bare: HttpTransport,
    clock: SharedClock,
    front: Broker,
    integration: IntegrationId,
    users: AtomicUsize,
    _directory: TempDir,
}

impl World {
    pub(crate) async fn new(mode: Mode) -> Self {
        Self::with(mode, 1000).await
    }

    pub(crate) async fn with(mode: Mode, users: usize) -> Self {
        let simulator = Simulator::start(Config {
            extra_users: users,
            contacts: 10,
            ..Config::default()
        })
        .await
        .unwrap();
        simulator.update(|settings| {
            settings.rotation = mode != Mode::Reusable;
            settings.family_revocation = mode == Mode::Family;
        });
        let directory = TempDir::new().unwrap();
        let place = Place {
            file: directory.path().join("store.db"),
            clock: directory.path().join("clock"),
            keys: Keyring::generate().unwrap().expose().to_owned(),
        };
        let clock = SharedClock::create(&place.clock);
        let front = place.broker(&Steps::default(), PATIENCE).await.0;
        let rotation = if mode == Mode::Reusable {
            "reusable"
        } else {
            "strict"
        };
        let integration = front
            .create_integration(
                NewIntegration::new(
                    "Test",
                    "salesforce/production",
                    DEFAULT_CLIENT_ID,
                    Secret::new(DEFAULT_CLIENT_SECRET),
                )
                .scopes(["api", "refresh_token", "id"])
                .option("loginUrl", simulator.login_url())
                .option("rotation", rotation),
            )
            .await
            .unwrap();
        simulator.register_client(Client {
            callbacks: vec![integration.callback_url.clone()],
            ..Client::default()
        });
        Self {
            simulator,
            place,
            bare: HttpTransport::builder().allow_loopback(true).build().unwrap(),
            clock,
            front,
            integration: integration.id,
            users: AtomicUsize::new(1),
            _directory: directory,
        }
    }

    /// One more user connects. The access token is dead from the beginning, so that the first call finds that out.
    pub(crate) async fn connect(&self) -> Connected {
        let user = format!("user{}@acme.com", self.users.fetch_add(1, Ordering::Relaxed));
        let start = self
            .front
            .integration(&self.integration)
            .begin_connect(Binding::new("session"))
            .await
            .unwrap();
        let callback = self.simulator.approve(&start.url, &user).unwrap();
        let query = callback.split_once('?').unwrap().1;
        let outcome = self
            .front
            .integration(&self.integration)
            .finish_connect(query, &Binding::new("session"))
            .await
            .unwrap();
        let Outcome::Connected { connection: id, .. } = outcome else {
            panic!("{outcome:?}");
        };
        self.simulator.expire_sessions(Some(&user)).unwrap();
        Connected { id, user }
    }

    /// Ends all access tokens at the provider.
    pub(crate) fn end_sessions(&self) {
        self.simulator.expire_sessions(None).unwrap();
    }

    /// A broker that knows nothing yet.
    pub(crate) async fn fresh(&self) -> Broker {
        self.place.broker(&Steps::default(), PATIENCE).await.0
    }

    /// Does something with a fresh broker whose callers do not wait long. The broker ends with a runtime of its own, as
    /// if its process was killed: no refresh of it goes on.
    pub(crate) fn in_passing<T, F>(&self, work: impl FnOnce(Broker) -> F + Send + 'static) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || {
            let runtime = || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap()
            };
            let living = runtime();
            let (output, store) = living.block_on(async {
                let patience = Duration::from_millis(60);
                let (broker, store) = place.broker(&Steps::default(), patience).await;
                (work(broker).await, store)
            });
            drop(living);
            // What it had handed to the store's thread must not be written after its end.
            runtime().block_on(store.close());
            output
        })
    }

    pub(crate) async fn child(&self) -> Process {
        Process::start(&self.place, &[]).await
    }

    /// Waits until the provider has read and decided what dead processes had sent: time must not pass before that. A
    /// request that comes after theirs is answered after theirs are read.
    pub(crate) async fn settle(&self) {
        for _ in 0..2 {
            let url = format!("{}/services/oauth2/userinfo", self.simulator.login_url());
            let request = http::Request::get(url).body(Vec::new()).unwrap();
            self.bare.send(request).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while !self.simulator.report(u64::MAX).in_flight.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Time passes, for the provider too.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.step(time);
        self.simulator.advance(time);
    }

    /// What was presented of this user's refresh tokens.
    pub(crate) fn presented(&self, user: &str) -> Vec<Presentation> {
        let mut log = self.simulator.log();
        log.retain(|entry| entry.username.as_deref() == Some(user));
        log
    }
}
