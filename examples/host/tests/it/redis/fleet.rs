//! Hosts on one store, users who are connected, and callers who find their tokens refused again and again.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::ground::Ground;
use crate::support::{Answer, DEADLINE, Host, Integration, World, eventually};

/// How long a caller waits before he turns to another connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// What a caller may be told besides tokens: come again, or the user must connect again.
const REFUSALS: [u16; 3] = [401, 429, 503];

/// A user who is connected.
#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) name: String,
    /// Callers leave the connection alone: something about it is open.
    aside: bool,
    /// The sets that callers were given, by their names.
    served: BTreeMap<String, String>,
}

pub(super) struct Fleet {
    pub(super) world: World,
    pub(super) integration: Integration,
    store: String,
    hosts: Mutex<Vec<Arc<Host>>>,
    /// By their connections.
    users: Mutex<BTreeMap<String, User>>,
    next_user: AtomicUsize,
}

pub(super) fn random(below: usize) -> usize {
    usize::try_from(RandomState::new().build_hasher().finish() % below.max(1) as u64).unwrap_or(0)
}

fn any<T: Clone>(of: &[T]) -> Option<T> {
    of.get(random(of.len())).cloned()
}

/// The name of the token set of an answer.
fn set(answer: &Answer) -> String {
    answer.header("etag").replace('"', "")
}

/// How many sets the grant has had.
pub(super) fn generation(set: &str) -> u64 {
    set.split_once('.').unwrap().1.parse().unwrap()
}

impl Fleet {
    /// Hosts, at a provider that takes its time. `users` is the most that will ever connect.
    pub(super) async fn start(ground: &Ground, hosts: usize, users: usize) -> Arc<Self> {
        let world = World::with_users(users).await;
        let hosts = ground.hosts(&world, hosts).await;
        Self::of(world, ground.address(), hosts).await
    }

    /// The same with hosts that are there.
    pub(super) async fn of(world: World, store: String, hosts: Vec<Arc<Host>>) -> Arc<Self> {
        let integration = world.integrate(&hosts[0], json!({})).await;
        world.simulator.update(|settings| settings.token_latency_ms = 150);
        Arc::new(Self {
            world,
            integration,
            store,
            hosts: Mutex::new(hosts),
            users: Mutex::default(),
            next_user: AtomicUsize::new(1),
        })
    }

    pub(super) fn hosts(&self) -> Vec<Arc<Host>> {
        self.hosts.lock().unwrap().clone()
    }

    /// Everybody who ever connected.
    pub(super) fn users(&self) -> BTreeMap<String, User> {
        self.users.lock().unwrap().clone()
    }

    /// The connections that callers work with.
    pub(super) fn in_use(&self) -> Vec<String> {
        let users = self.users();
        let used = users.into_iter().filter(|(_, user)| !user.aside);
        used.map(|(connection, _)| connection).collect()
    }

    /// Lets users connect until there are so many connections to work with.
    pub(super) async fn connect(&self, count: usize) {
        while self.in_use().len() < count {
            let name = format!("user{}@acme.com", self.next_user.fetch_add(1, Ordering::Relaxed));
            let host = self.hosts()[0].clone();
            let id = self.world.connect(&host, &self.integration, &name).await;
            let user = User {
                name,
                ..User::default()
            };
            self.users.lock().unwrap().insert(id, user);
        }
    }

    /// Callers leave this connection alone from now on.
    pub(super) fn set_aside(&self, connection: &str) {
        if let Some(user) = self.users.lock().unwrap().get_mut(connection) {
            user.aside = true;
        }
    }

    /// The same for all about which something is open.
    pub(super) async fn set_open_ones_aside(self: &Arc<Self>) {
        let mut all = JoinSet::new();
        for connection in self.in_use() {
            let fleet = self.clone();
            all.spawn(async move {
                let host = any(&fleet.hosts()).unwrap();
                let asked = tokio::time::timeout(PATIENCE, fleet.refresh(&host, &connection));
                if !matches!(asked.await, Ok(Ok(_))) {
                    fleet.set_aside(&connection);
                }
            });
        }
        all.join_all().await;
    }

    /// `kill -9` of a host.
    pub(super) fn kill(&self, number: usize) {
        self.hosts()[number].signal(Signal::KILL);
    }

    /// Another one in its place.
    pub(super) async fn replace(&self, number: usize) {
        let hosts = self.hosts();
        // Browsers come back to where the first one was.
        let listen = if number == 0 {
            hosts[0].address()
        } else {
            "127.0.0.1:0"
        };
        let launch = self.world.launch_beside(&hosts[0]).store(&self.store);
        let launch = launch.listen(listen);
        drop(hosts);
        let new = Arc::new(launch.start().await);
        self.hosts.lock().unwrap()[number] = new;
    }

    /// Finds the tokens of a connection refused and asks for new ones, as a caller does: gives the name of the new set.
    pub(super) async fn refresh(&self, host: &Host, connection: &str) -> Result<String, String> {
        let path = format!("/api/v1/connections/{connection}/credentials");
        let key = Some(&*self.integration.api_key);
        let ask = async |path: &str| {
            let asked = host.try_call(Method::GET, path, key, None).await;
            let answer = asked.map_err(|error| error.to_string())?;
            if answer.status == 200 {
                let served = self.served(connection, &answer);
                return Ok(served);
            }
            if REFUSALS.contains(&answer.status) {
                return Err(answer.text);
            }
            panic!("{connection} is answered {answer:?}");
        };
        let before = ask(&path).await?;
        let after = ask(&format!("{path}?refused={before}")).await?;
        assert_ne!(before, after, "{connection}: a refused set is served again");
        Ok(after)
    }

    /// One name is one set, whoever serves it.
    fn served(&self, connection: &str, answer: &Answer) -> String {
        let (name, token) = (set(answer), answer.field("accessToken"));
        if let Some(user) = self.users.lock().unwrap().get_mut(connection) {
            let known = user.served.entry(name.clone()).or_insert_with(|| token.clone());
            assert_eq!(*known, token, "{connection}: {name} is two sets");
        }
        name
    }

    /// What all hosts wrote about a connection, and all their warnings, by time.
    pub(super) fn log(&self, connection: &str) -> String {
        let files = std::fs::read_dir(self.world.dir()).unwrap().flatten();
        let mut lines = Vec::new();
        for file in files.filter(|file| file.path().extension().is_some_and(|end| end == "err")) {
            let name = file.file_name().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let told = text
                .lines()
                .filter(|line| line.contains(connection) || !line.contains(" INFO "));
            lines.extend(told.map(|line| format!("{} {name}", line.trim())));
        }
        lines.sort();
        let last = lines.len().saturating_sub(200);
        lines[last..].join("\n")
    }

    /// Callers that ask any host for any connection, all the time.
    pub(super) fn callers(self: &Arc<Self>, count: usize) -> Callers {
        let done = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (fleet, done) = (self.clone(), done.clone());
            tasks.spawn(async move {
                loop {
                    let (Some(host), Some(connection)) = (any(&fleet.hosts()), any(&fleet.in_use())) else {
                        return;
                    };
                    let asked = tokio::time::timeout(PATIENCE, fleet.refresh(&host, &connection));
                    if matches!(asked.await, Ok(Ok(_))) {
                        done.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
        }
        Callers { tasks, done }
    }

    /// Waits a random while, and then until the provider works on a token.
    pub(super) async fn mid_refresh(&self) {
        tokio::time::sleep(Duration::from_millis(100 + random(700) as u64)).await;
        eventually("the provider works on a token", || async {
            (!self.world.simulator.report(u64::MAX).in_flight.is_empty()).then_some(())
        })
        .await;
    }
}

/// Callers who are at work.
pub(super) struct Callers {
    tasks: JoinSet<()>,
    done: Arc<AtomicUsize>,
}

impl Callers {
    /// Waits until so many more of them got new tokens.
    pub(super) async fn go_on(&self, fleet: &Fleet, count: usize) {
        let before = self.done.load(Ordering::Relaxed);
        let going_on = async {
            while self.done.load(Ordering::Relaxed) < before + count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, going_on).await;
        assert!(
            waited.is_ok(),
            "callers get no new tokens any more:\n{}",
            fleet.log("con_")
        );
    }

    /// They go away, be it in the middle of a call.
    pub(super) async fn end(mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            // One that failed fails the test.
            if let Err(error) = ended {
                assert!(error.is_cancelled(), "{error}");
            }
        }
    }
}
