//! `kill -9` of the host at any moment: what it acknowledged is there after the restart. The judges are what callers were
//! told, and the simulator's log.
//!
//! `GRANTRY_KILL_ROUNDS` sets how often it is killed; with more than the usual number the test also waits until every
//! refresh whose answer was lost is visible as such.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use grantry_salesforce_simulator::{Config, Outcome};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{APP, Answer, Browser, Host, Integration, Person, World, eventually, parameter};

const ROUNDS: usize = 10;
const CONNECTORS: usize = 4;
const REFRESHERS: usize = 3;
/// The most milliseconds that a host lives.
const LIFE: u64 = 1500;

/// What was acknowledged of a connection, and what was asked without an answer.
#[derive(Debug, Default, Clone)]
struct Known {
    username: String,
    /// The newest token set that a caller was given: its name and the access token.
    served: Option<(String, String)>,
    /// A refresh was asked for when the host was killed.
    refreshing: bool,
    /// A disconnect was asked for.
    deleting: bool,
    /// A disconnect was acknowledged.
    deleted: bool,
    /// Somebody works with it.
    taken: bool,
}

type Ledger = Arc<Mutex<BTreeMap<String, Known>>>;

/// What all workers share.
#[derive(Clone)]
struct Scene {
    host: Arc<Host>,
    integration: Integration,
    ledger: Ledger,
    next_user: Arc<AtomicUsize>,
    /// For those who wait for something to do. The others notice it by themselves.
    killed: Arc<AtomicBool>,
}

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// A free port that no outgoing connection is given, so that the host finds it free again after each kill.
fn port() -> u16 {
    loop {
        let port = u16::try_from(20_000 + random(10_000)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Scene {
    fn change(&self, id: &str, change: impl FnOnce(&mut Known)) {
        change(self.ledger.lock().unwrap().entry(id.to_owned()).or_default());
    }

    /// Takes a connection that nobody works with and about which nothing is open.
    fn take(&self) -> Option<String> {
        let mut ledger = self.ledger.lock().unwrap();
        let free: Vec<&String> = ledger
            .iter()
            .filter(|(_, known)| !known.taken && !known.refreshing && !known.deleting)
            .map(|(id, _)| id)
            .collect();
        let id = (*free.get(usize::try_from(random(free.len().max(1) as u64)).unwrap())?).clone();
        ledger.get_mut(&id)?.taken = true;
        Some(id)
    }

    /// Users connect, one after the other, until the host is gone.
    async fn connect(self) {
        loop {
            let username = format!("user{}@acme.com", self.next_user.fetch_add(1, Ordering::Relaxed));
            let url = self.integration.connect_url(&self.host, Some(APP));
            let person = Person::new(&username);
            let is_app = |url: &reqwest::Url| url.as_str().starts_with(APP);
            let Ok(end) = Browser::new().walk(&url, &person, is_app).await else {
                return;
            };
            let id = parameter(&end.url(), "connection_id").expect("no connection");
            self.change(&id, |known| known.username = username);
        }
    }

    /// Some callers find their tokens refused, again and again.
    async fn refresh(self) {
        loop {
            let Some(id) = self.take() else {
                if self.killed.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let path = format!("/api/v1/connections/{id}/credentials");
            let key = Some(&*self.integration.api_key);
            let ask = async |path: &str| self.host.try_call(reqwest::Method::GET, path, key, None).await;
            let Ok(before) = ask(&path).await else { return };
            let refused = set(&before.expect(200)).0;
            self.change(&id, |known| known.refreshing = true);
            let Ok(after) = ask(&format!("{path}?refused={refused}")).await else {
                return;
            };
            let served = set(&after.expect(200));
            assert_ne!(served.0, refused);
            self.change(&id, |known| {
                *known = Known {
                    served: Some(served),
                    refreshing: false,
                    taken: false,
                    ..known.clone()
                };
            });
        }
    }

    /// Some users leave.
    async fn disconnect(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(60)).await;
            if self.killed.load(Ordering::Relaxed) {
                return;
            }
            let Some(id) = self.take() else { continue };
            self.change(&id, |known| known.deleting = true);
            let path = format!("/api/v1/connections/{id}");
            let asked = self
                .host
                .try_call(
                    reqwest::Method::DELETE,
                    &path,
                    Some(&self.integration.api_key),
                    None,
                )
                .await;
            let Ok(answer) = asked else { return };
            answer.expect(204);
            self.change(&id, |known| known.deleted = true);
        }
    }
}

/// The name of the token set of an answer, and its access token.
fn set(answer: &Answer) -> (String, String) {
    (
        answer.header("etag").replace('"', ""),
        answer.field("accessToken"),
    )
}

fn generation(set: &str) -> u64 {
    set.split_once('.').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost() {
    let rounds = std::env::var("GRANTRY_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let world = World::with(Config {
        extra_users: 100 * rounds,
        contacts: 10,
        ..Config::default()
    })
    .await;
    let address = format!("127.0.0.1:{}", port());
    let mut host = world.launch().listen(&address).start().await;
    let integration = world.integrate(&host, json!({})).await;
    let ledger = Ledger::default();
    let next_user = Arc::new(AtomicUsize::new(1));
    for _ in 0..rounds {
        let scene = Scene {
            host: Arc::new(host),
            integration: integration.clone(),
            ledger: ledger.clone(),
            next_user: next_user.clone(),
            killed: Arc::default(),
        };
        let mut workers = JoinSet::new();
        for _ in 0..CONNECTORS {
            workers.spawn(scene.clone().connect());
        }
        for _ in 0..REFRESHERS {
            workers.spawn(scene.clone().refresh());
        }
        workers.spawn(scene.clone().disconnect());
        tokio::time::sleep(Duration::from_millis(100 + random(LIFE))).await;
        scene.host.signal(rustix::process::Signal::KILL);
        scene.killed.store(true, Ordering::Relaxed);
        // One that failed fails the test.
        workers.join_all().await;
        drop(Arc::into_inner(scene.host).expect("a worker still has the host"));

        for known in ledger.lock().unwrap().values_mut() {
            known.taken = false;
        }
        host = world.launch().listen(&address).start().await;
        judge(&world, &host, &integration, &ledger).await;
    }
    let ledger = ledger.lock().unwrap().clone();
    let count = |what: fn(&Known) -> bool| ledger.values().filter(|known| what(known)).count();
    println!(
        "{rounds} kills: {} acknowledged connects, {} disconnects, {} refreshes, {} refreshes without an answer",
        ledger.len(),
        count(|known| known.deleted),
        world.presentations().len(),
        count(|known| known.refreshing),
    );
    assert!(ledger.len() > rounds, "too little happened to judge by");
    if rounds > ROUNDS {
        lost_answers_show(&world, &host, &integration, &ledger).await;
    }
}

async fn judge(world: &World, host: &Host, integration: &Integration, ledger: &Ledger) {
    let key = &integration.api_key;
    let listed = listed(host, key).await;
    // No token was presented after it was spent, whatever was lost.
    for entry in world.presentations() {
        assert_eq!(entry.result, Outcome::Granted, "{entry:?}");
    }
    let families: BTreeMap<String, u64> = world
        .simulator
        .families()
        .into_iter()
        .map(|family| (family.username, family.generation))
        .collect();
    let all = ledger.lock().unwrap().clone();
    for (id, known) in &all {
        let answer = host.credentials(id, key).await;
        if answer.status == 404 {
            assert!(known.deleting, "{id} is gone: {known:?}");
            ledger.lock().unwrap().get_mut(id).unwrap().deleted = true;
            assert!(!listed.contains(id));
            continue;
        }
        assert!(!known.deleted, "{id} was disconnected and is back: {known:?}");
        assert!(listed.contains(id), "{id} is not listed: {known:?}");
        let (name, token) = set(&answer.expect(200));
        let living = families[&known.username];
        if known.refreshing {
            // The answer may be lost, but no more than that one.
            assert!(
                living - generation(&name) <= 1,
                "{id} has {name}, living is {living}"
            );
        } else {
            assert_eq!(living, generation(&name), "{id}: {known:?}");
        }
        if let Some((served, its_token)) = &known.served {
            assert!(
                generation(served) <= generation(&name),
                "{id} fell back to {name}: {known:?}"
            );
            assert!(
                served != &name || its_token == &token,
                "{id} serves another token as {name}"
            );
        }
        let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
        host.proxy(id, key, &call).await.expect(200);
    }
    // Owed revocations are paid, whoever owed them when he was killed.
    let gone: BTreeSet<String> = {
        let ledger = ledger.lock().unwrap();
        ledger
            .values()
            .filter(|known| known.deleted)
            .map(|known| known.username.clone())
            .collect()
    };
    eventually("grants of deleted connections are revoked", || async {
        let left = world.simulator.families();
        (!left.iter().any(|family| gone.contains(&family.username))).then_some(())
    })
    .await;
}

/// All connections that are listed as connected.
async fn listed(host: &Host, key: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/connections?status=connected&limit=100{next}");
        let page = host.get(&path, key).await.expect(200).json();
        for item in page["connections"].as_array().unwrap() {
            assert!(
                all.insert(item["connectionId"].as_str().unwrap().to_owned()),
                "listed twice: {item}"
            );
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            return all;
        };
        next = format!("&cursor={cursor}");
    }
}

/// A set whose successor was lost cannot be refreshed. Once its access token is dead, that must show.
async fn lost_answers_show(
    world: &World,
    host: &Host,
    integration: &Integration,
    ledger: &BTreeMap<String, Known>,
) {
    let key = &integration.api_key;
    let families = world.simulator.families();
    world.simulator.expire_sessions(None).unwrap();
    for (id, known) in ledger
        .iter()
        .filter(|(_, known)| known.refreshing && !known.deleting)
    {
        let family = families
            .iter()
            .find(|family| family.username == known.username)
            .unwrap();
        let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
        let first = host.proxy(id, key, &call).await;
        if first.status == 200 {
            // The set was stored, or nothing was sent.
            continue;
        }
        // Nothing is presented before the quarantine is over: lease, then a minute.
        let mut last = first;
        let shown = async {
            while last.status == 503 {
                tokio::time::sleep(Duration::from_secs(2)).await;
                last = host.proxy(id, key, &call).await;
            }
            last.clone()
        };
        let shown = tokio::time::timeout(Duration::from_secs(180), shown)
            .await
            .expect("never decided");
        if shown.status != 200 {
            shown.refused(401, "connection_expired");
            let detail = host
                .get(&format!("/api/v1/connections/{id}"), key)
                .await
                .expect(200)
                .json();
            assert_eq!(detail["reason"], "outcome_unknown", "{detail} {family:?}");
        }
    }
}
