//! A disk that is full or fails at each call of a refresh, and processes that are killed at each of them.

use std::time::Duration;

use grantry::Broker;
use rusqlite::Connection;
use serde_json::json;

use crate::{
    faults::{Disk, Fault},
    judge::{End, brief, unsafe_presentations},
    process::{DEADLINE, Outcome, Process},
    world::{Connected, LAPSE, Mode, World},
};

/// What a caller may be told who got no token because of the disk.
const TOLD: [&str; 3] = ["store_unavailable", "refresh_in_progress", "refresh_not_sent"];

/// How long the fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// For one call.
    Once,
    /// For all calls until the caller is told something, or for a while.
    Long,
}

struct Scene {
    world: World,
    disk: Disk,
    child: Process,
    /// Reads rows.
    reader: Broker,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new(Mode::Family).await;
        let disk = Disk::new(&world.place.file);
        let child = Process::start(&world.place, disk.variables()).await;
        let reader = world.fresh().await;
        Self {
            world,
            disk,
            child,
            reader,
        }
    }

    /// A refresh, with calls from `from` on struck. Says also how many calls there were.
    async fn refresh(&mut self, fault: Fault, length: Length, from: u64) -> (Connected, Outcome, u64) {
        let connected = self.world.connect().await;
        // A write that works: the child has the file open, as it usually does.
        self.child.write(&connected.id).await;
        let until = if length == Length::Once {
            from + 1
        } else {
            u64::MAX
        };
        self.disk.arm(fault, from, until);
        self.child.refresh(&connected.id, "1.1", 1);
        let outcome = {
            let mut outcome = std::pin::pin!(self.child.outcome(&connected.id));
            let patience = Duration::from_millis(150);
            let mut told = tokio::time::timeout(patience, outcome.as_mut()).await;
            if told.is_err() && length == Length::Long && self.disk.calls() > from {
                // Too late for a lease that is not written by now: its caller is told so.
                self.world.pass(Duration::from_secs(6));
                told = tokio::time::timeout(2 * patience, outcome.as_mut()).await;
                self.disk.over();
            }
            match told {
                Ok(outcome) => outcome,
                Err(_) => outcome.await,
            }
        };
        // What is served now may live in the child's memory only, and works all the same.
        for token in outcome.got.keys() {
            assert!(
                self.world.token_lives(token.split_once(' ').unwrap().1).await,
                "{outcome:?}"
            );
        }
        self.disk.over();
        (connected, outcome, self.disk.calls())
    }

    /// The fault is over, and the child lives: what came back gets into the store, and another process can use it.
    async fn judge(&self, connected: &Connected, outcome: &Outcome, fault: Fault) {
        let presented = self.world.presented(&connected.user);
        assert!(presented.len() <= 1, "{outcome:?}{}", brief(&presented));
        let told = |code: &String| {
            // SQLite itself takes an `EIO` of a read for damage.
            TOLD.contains(&code.as_str()) || (fault == Fault::Unreadable && code == "store_corrupt")
        };
        assert!(outcome.failed.keys().all(told), "{outcome:?}");
        if presented.is_empty() {
            assert!(outcome.got.is_empty(), "{outcome:?}");
            self.world.pass(LAPSE);
        } else {
            let stored = async {
                while self
                    .reader
                    .connection(&connected.id)
                    .view()
                    .await
                    .unwrap()
                    .generation
                    < 2
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let stored = tokio::time::timeout(DEADLINE, stored).await;
            assert!(stored.is_ok(), "the new set was lost: {outcome:?}");
        }
        self.world.end_sessions();
        let end = self.world.end_of(&self.world.fresh().await, connected).await;
        let log = self.world.presented(&connected.user);
        assert_eq!(end, End::Healthy, "{outcome:?}{}", brief(&log));
        assert_eq!(
            unsafe_presentations(&log, None),
            [""; 0],
            "{outcome:?}{}",
            brief(&log)
        );
        let first = log.iter().filter(|entry| entry.generation == Some(1)).count();
        assert_eq!(first, 1, "{outcome:?}{}", brief(&log));
        self.is_sound();
    }

    fn is_sound(&self) {
        let db = Connection::open(&self.world.place.file).unwrap();
        let sound: String = db
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
    }
}

/// Strikes each call in turn, until one is reached that a refresh does not make any more.
async fn at_every_call(fault: Fault, length: Length) {
    let mut scene = Scene::new().await;
    let (mut served, mut failed) = (0, 0);
    for call in 0.. {
        let (connected, outcome, calls) = scene.refresh(fault, length, call).await;
        scene.judge(&connected, &outcome, fault).await;
        if calls <= call {
            assert!(call > 10 && outcome.failed.is_empty(), "{call} {outcome:?}");
            break;
        }
        served += outcome.got.len();
        failed += outcome.failed.len();
    }
    println!(
        "{fault:?}, {length:?}, at each of {} calls: {served} callers served, {failed} told why not",
        served + failed
    );
    scene.child.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    at_every_call(Fault::Full, Length::Once).await;
}

/// An operator must be able to see it, and a caller has no use for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_named_as_the_cause() {
    let mut scene = Scene::new().await;
    let id = scene.world.connect().await.id;
    scene.child.write(&id).await;
    scene.disk.arm(Fault::Full, 0, u64::MAX);
    let order = json!({ "do": "name", "id": id.as_str(), "owner": "a-bound-value" });
    scene.child.order(&order);
    let told = scene.child.next().await.unwrap();
    scene.disk.over();
    assert_eq!(told["code"], "store_unavailable", "{told}");
    let (shown, causes) = (told["shown"].as_str().unwrap(), told["causes"].as_str().unwrap());
    assert!(
        causes.contains("SQLite error 13") && causes.contains("disk is full"),
        "{causes}"
    );
    assert!(!shown.contains("SQLite") && !shown.contains("full"), "{shown}");
    for value in ["a-bound-value", id.as_str()] {
        assert!(!causes.contains(value) && !shown.contains(value), "{told}");
    }
    scene.child.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stays_full() {
    at_every_call(Fault::Full, Length::Long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails() {
    at_every_call(Fault::Failing, Length::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_keeps_failing() {
    at_every_call(Fault::Failing, Length::Long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_cannot_be_read() {
    at_every_call(Fault::Unreadable, Length::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_call() {
    let mut scene = Scene::new().await;
    let mut visible = 0;
    for call in 0.. {
        let connected = scene.world.connect().await;
        scene.child.write(&connected.id).await;
        scene.disk.arm(Fault::Kill, call, u64::MAX);
        scene.child.refresh(&connected.id, "1.1", 1);
        let told = scene.child.next().await;
        scene.disk.over();
        let killed = scene.disk.calls() > call;
        let stored = scene
            .reader
            .connection(&connected.id)
            .view()
            .await
            .unwrap()
            .generation
            == 2;
        assert!(
            told.is_none() || stored,
            "{call}: a caller was given what is lost"
        );
        let presented = scene.world.presented(&connected.user).len();
        scene.world.pass(LAPSE);
        scene.world.end_sessions();
        let end = scene.world.end_of(&scene.world.fresh().await, &connected).await;
        let log = scene.world.presented(&connected.user);
        let lost = presented == 1 && !stored;
        assert_eq!(
            end,
            if lost { End::Visible } else { End::Healthy },
            "{call}{}",
            brief(&log)
        );
        assert_eq!(unsafe_presentations(&log, None), [""; 0], "{call}{}", brief(&log));
        visible += usize::from(lost);
        scene.is_sound();
        if !killed {
            println!("killed at each of {call} calls: {visible} could not be made good, each visible");
            return;
        }
        scene.child = Process::start(&scene.world.place, scene.disk.variables()).await;
    }
}
