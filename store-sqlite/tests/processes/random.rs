//! `kill -9` and SIGSTOP at random, while callers in several processes refresh the same connections.
//!
//! `GRANTRY_KILL_ROUNDS` and `GRANTRY_PAUSE_ROUNDS` set how often.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use grantry_salesforce_simulator::{Outcome, Presentation};
use rustix::process::Signal;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    child::{random, set_name},
    judge::{End, brief, unsafe_presentations},
    process::Process,
    world::{Connected, LAPSE, Mode, World},
};

const ROUNDS: usize = 10;
const CHILDREN: usize = 3;
const CALLERS: usize = 4;
const CONNECTIONS: usize = 20;
/// A presenter who was stopped for longer may come after another one.
const QUARANTINE: Duration = Duration::from_secs(60);

/// All connections, and the newest set of each that a caller was given.
struct Scene {
    world: Arc<World>,
    connections: Vec<Connected>,
    given: BTreeMap<String, u64>,
    /// The first entry of the log that is not judged yet.
    next: u64,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    rounds: usize,
    kills: usize,
    pauses: usize,
    lost: usize,
    silent: usize,
    unsolvable: usize,
    /// Of these, those that show the provider's reason only.
    untold: usize,
}

fn rounds(variable: &str) -> usize {
    std::env::var(variable).map_or(ROUNDS, |text| text.parse().unwrap())
}

fn millis(from: usize, to: usize) -> Duration {
    Duration::from_millis(u64::try_from(from + random(to - from)).unwrap())
}

impl Scene {
    async fn new(rounds: usize) -> Self {
        let world = Arc::new(World::with(Mode::Family, 100 + 8 * rounds).await);
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(world.connect().await);
        }
        Self {
            world,
            connections,
            given: BTreeMap::new(),
            next: 0,
            tally: Tally::default(),
        }
    }

    /// Processes whose callers refresh all connections, again and again.
    async fn start(&self) -> Vec<Process> {
        let family = random(2) == 0;
        let latency = u64::try_from(random(15)).unwrap();
        self.world.simulator.update(|settings| {
            settings.family_revocation = family;
            settings.token_latency_ms = latency;
        });
        let mut starting = JoinSet::new();
        for _ in 0..CHILDREN {
            let world = self.world.clone();
            starting.spawn(async move { world.child().await });
        }
        let ids: Vec<&str> = self.connections.iter().map(|c| c.id.as_str()).collect();
        let mut children = starting.join_all().await;
        for child in &mut children {
            child.order(&json!({ "do": "roam", "ids": ids, "callers": CALLERS }));
        }
        children
    }

    /// Takes down what a killed process told its callers.
    async fn hear_out(&mut self, mut child: Process) {
        self.tally.kills += 1;
        for told in child.dies().await {
            if let (Some(id), Some(set)) = (told["had"].as_str(), told["set"].as_str()) {
                let given = self.given.entry(id.to_owned()).or_default();
                *given = set_name(set).generation.max(*given);
            }
        }
    }

    async fn round_of_kills(&mut self) {
        for child in self.start().await {
            tokio::time::sleep(millis(5, 80)).await;
            child.signal(Signal::KILL);
            self.hear_out(child).await;
        }
        self.judge(None).await;
    }

    async fn round_of_pauses(&mut self) {
        let mut children = self.start().await;
        tokio::time::sleep(millis(5, 80)).await;
        let stopped = children.pop().unwrap();
        stopped.signal(Signal::STOP);
        stopped.stops().await;
        self.tally.pauses += 1;
        for child in children {
            tokio::time::sleep(millis(5, 40)).await;
            child.signal(Signal::KILL);
            self.hear_out(child).await;
        }
        // Nobody runs; time passes for all of them.
        self.world.settle().await;
        let pause = millis(1_000, 105_000);
        self.world.pass(pause);
        let rival = self.rival();
        tokio::time::sleep(millis(0, 80)).await;
        let woken = self.world.simulator.now();
        stopped.signal(Signal::CONT);
        tokio::time::sleep(millis(5, 100)).await;
        stopped.signal(Signal::KILL);
        self.hear_out(stopped).await;
        rival.await.unwrap();
        let awake = woken..=self.world.simulator.now();
        self.judge((pause > QUARANTINE).then_some(&awake)).await;
    }

    /// Another process that refreshes everything once while one is stopped. It ends with its runtime, as if killed.
    fn rival(&self) -> JoinHandle<()> {
        let connections = self.connections.clone();
        self.world.in_passing(|broker| async move {
            let mut asking = JoinSet::new();
            for connected in connections {
                let broker = broker.clone();
                asking.spawn(async move {
                    if let Ok(held) = broker.credentials(&connected.id).await {
                        // What it is told is no matter: it may have to come again.
                        drop(broker.connection(&connected.id).refused(held.version).await);
                    }
                });
            }
            asking.join_all().await;
        })
    }

    /// Everybody is dead. Each connection must be healthy, or visibly lost; nothing that a caller was given is lost; and
    /// no token was presented again before it was safe. `late`: see [`unsafe_presentations`].
    async fn judge(&mut self, late: Option<&RangeInclusive<i64>>) {
        self.world.settle().await;
        // A second attempt may have been cut off, too: its quarantine is five minutes.
        self.world.pass(5 * LAPSE);
        self.world.end_sessions();
        let broker = self.world.fresh().await;
        let mut judging = JoinSet::new();
        for (place, connected) in self.connections.iter().cloned().enumerate() {
            let (world, broker) = (self.world.clone(), broker.clone());
            judging.spawn(async move {
                let stored = broker.connection(&connected.id).view().await.unwrap().generation;
                let end = world.end_of(&broker, &connected).await;
                (place, stored, end)
            });
        }
        let ends = judging.join_all().await;
        let report = self.world.simulator.report(self.next);
        let log = report.entries;
        self.next = report.next;
        self.tally.rounds += 1;
        let mut connecting = JoinSet::new();
        for (place, stored, end) in ends {
            let connected = &self.connections[place];
            let given = self.given.get(connected.id.as_str()).copied().unwrap_or(0);
            if stored < given {
                self.tally.lost += 1;
                eprintln!("{connected:?} was given out as {given} and is {stored}");
            }
            match end {
                End::Healthy => continue,
                // Only the second presentation of one who was stopped for too long ends a family that has a newer set.
                End::Refused if late.is_none() => {
                    self.tally.silent += 1;
                    eprintln!("{connected:?}: refused{}", brief(&of_user(&log, connected)));
                }
                End::Visible | End::Refused => {
                    // It was the provider who said so, and nobody else.
                    let refused = |e: &Presentation| matches!(e.result, Outcome::Reused | Outcome::Expired);
                    let log = of_user(&log, connected);
                    assert!(log.iter().any(refused), "{connected:?}{}", brief(&log));
                    self.tally.unsolvable += 1;
                    self.tally.untold += usize::from(end == End::Refused);
                }
                End::Silent(seen) => {
                    self.tally.silent += 1;
                    eprintln!("{connected:?}: {seen}{}", brief(&of_user(&log, connected)));
                }
            }
            // The user connects again, here as a new one.
            let world = self.world.clone();
            connecting.spawn(async move { (place, world.connect().await) });
        }
        for (place, connected) in connecting.join_all().await {
            self.connections[place] = connected;
        }
        broker.shutdown(Duration::from_secs(10)).await;
        let wrong = unsafe_presentations(&log, late);
        assert!(wrong.is_empty(), "{wrong:?} {late:?}{}", brief(&log));
        assert_eq!(
            (self.tally.lost, self.tally.silent),
            (0, 0),
            "in round {}",
            self.tally.rounds
        );
    }
}

fn of_user(log: &[Presentation], connected: &Connected) -> Vec<Presentation> {
    let is_theirs = |entry: &&Presentation| entry.username.as_ref() == Some(&connected.user);
    log.iter().filter(is_theirs).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_stopped_at_random() {
    let (kills, pauses) = (rounds("GRANTRY_KILL_ROUNDS"), rounds("GRANTRY_PAUSE_ROUNDS"));
    let mut scene = Scene::new(kills + pauses).await;
    for round in 0..kills.max(pauses) {
        if round < kills {
            scene.round_of_kills().await;
        }
        if round < pauses {
            scene.round_of_pauses().await;
        }
    }
    let Tally {
        rounds,
        kills,
        pauses,
        lost,
        silent,
        unsolvable,
        untold,
    } = scene.tally;
    println!(
        "rounds={rounds} kills={kills} pauses={pauses} presentations={} lost={lost} silent={silent} \
         unsolvable={unsolvable} (each visible, {untold} with the provider's reason only)",
        scene.world.simulator.log().len(),
    );
}
