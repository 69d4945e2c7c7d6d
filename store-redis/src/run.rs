//! What is known about a server run, from the server's start to its end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::{RedisResult, aio::ConnectionLike};

use crate::{clock, error::Failure};

/// How often a server's persistence settings are read.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long replicas are expected of a server that has none, if the store's servers had some before.
const REPLICAS_COME: Duration = Duration::from_secs(10);

/// Whether any server of the store has had a replica since this process started. If so, a server without one has just
/// taken over or restarted, and what it is given now exists nowhere else yet.
pub(crate) type SeenReplicas = Arc<AtomicBool>;

#[derive(Debug)]
pub(crate) struct Run {
    /// The id of its clock.
    pub(crate) clock_id: u64,
    /// It can say when its disk has a write, and syncs without being asked.
    tells_of_disk: AtomicBool,
    replicas: Mutex<Replicas>,
    seen: SeenReplicas,
    looked: Mutex<BootInstant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replicas {
    /// Unknown: when asked, it was a replica itself, or had one that was still synchronising.
    Unknown,
    /// It had none; first seen so at this time.
    None(BootInstant),
    /// It has, or had, some. If it has none any more, it may be cut off from them.
    Some,
}

/// What a server says about itself.
#[derive(Debug)]
pub(crate) struct Told {
    run_id: Option<String>,
    tells_of_disk: bool,
    replicas: Replicas,
}

impl Run {
    /// A run, from what the server at this address said.
    pub(crate) fn new(told: &Told, address: &str, seen: &SeenReplicas) -> Self {
        let run = Self {
            clock_id: told.clock_id(address),
            tells_of_disk: AtomicBool::new(false),
            replicas: Mutex::new(Replicas::Unknown),
            seen: seen.clone(),
            looked: Mutex::new(SystemClock.boot()),
        };
        run.learn(told);
        run
    }

    pub(crate) fn tells_of_disk(&self) -> bool {
        self.tells_of_disk.load(Ordering::Relaxed)
    }

    /// Whether a replica must hold a write.
    pub(crate) fn is_replicated(&self) -> bool {
        match *self.replicas() {
            Replicas::Some | Replicas::Unknown => true,
            Replicas::None(since) => {
                self.seen.load(Ordering::Relaxed) && SystemClock.boot() - since < REPLICAS_COME
            }
        }
    }

    /// Whether it should be asked again. `true` for one caller at a time, unless nothing is known yet.
    pub(crate) fn take_look(&self) -> bool {
        let now = SystemClock.boot();
        let unknown = *self.replicas() == Replicas::Unknown;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = unknown || now - *looked >= LOOK_AGAIN;
        if due {
            *looked = now;
        }
        due
    }

    /// Records a new reply.
    pub(crate) fn learn(&self, told: &Told) {
        self.tells_of_disk.store(told.tells_of_disk, Ordering::Relaxed);
        let mut replicas = self.replicas();
        match (*replicas, told.replicas) {
            (Replicas::Some, _) | (Replicas::None(_), Replicas::None(_)) => {}
            (_, new) => *replicas = new,
        }
        if *replicas == Replicas::Some {
            self.seen.store(true, Ordering::Relaxed);
        }
    }

    fn replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Asks the server. One that forbids the questions counts as one that never changes and has no replicas.
    pub(crate) async fn by(connection: &mut (impl ConnectionLike + Send)) -> RedisResult<Self> {
        let info = Info::of(connection, &["server", "replication", "persistence"]).await?;
        let info = info.unwrap_or_default();
        let sync = if info.get("aof_enabled") == Some("1") && info.is_at_least(7, 2) {
            let mut question = redis::cmd("CONFIG");
            question.arg("GET").arg("appendfsync");
            allowed::<HashMap<String, String>>(question.query_async(connection).await)?
        } else {
            None
        };
        let sync = sync.and_then(|mut settings| settings.remove("appendfsync"));
        Ok(Self {
            run_id: info.get("run_id").map(str::to_owned),
            tells_of_disk: sync.is_some_and(|sync| sync == "always" || sync == "everysec"),
            replicas: match info.get("role") {
                Some("slave") => Replicas::Unknown,
                _ if info.replicas().any(|replica| replica.contains("state=online")) => Replicas::Some,
                _ if info.has_replicas() => Replicas::Unknown,
                _ => Replicas::None(SystemClock.boot()),
            },
        })
    }

    /// The id of this run's clock.
    pub(crate) fn clock_id(&self, address: &str) -> u64 {
        clock::clock_id(self.run_id.as_deref(), address)
    }
}

/// A reply, or `None` if the command is forbidden or unknown.
pub(crate) fn allowed<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if Failure::of(&error).is_no_answer() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fields of `INFO`.
#[derive(Default)]
pub(crate) struct Info(String);

impl Info {
    /// Reads these sections; `None` if the server does not tell.
    pub(crate) async fn of(
        connection: &mut (impl ConnectionLike + Send),
        sections: &[&str],
    ) -> RedisResult<Option<Self>> {
        let mut question = redis::cmd("INFO");
        question.arg(sections);
        // The reply contains paths, in any encoding.
        let told = allowed::<Vec<u8>>(question.query_async(connection).await)?;
        Ok(told.map(|told| Self(String::from_utf8_lossy(&told).into_owned())))
    }

    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// Whether it has replicas.
    pub(crate) fn has_replicas(&self) -> bool {
        self.replicas().next().is_some()
    }

    /// What it says about each replica. A backup over the network looks like a replica, but has no port.
    fn replicas(&self) -> impl Iterator<Item = &str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(':'));
        let replicas = lines.filter(|(name, value)| name.starts_with("slave") && value.contains("state="));
        replicas
            .map(|(_, replica)| replica)
            .filter(|replica| !replica.contains("port=0,"))
    }

    /// Whether the version is this one or newer. An unknown version counts as newer.
    pub(crate) fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let Some(version) = self.get("redis_version") else {
            return true;
        };
        let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
        let Some(found) = parts.next() else { return true };
        (found, parts.next().unwrap_or(0)) >= (major, minor)
    }
}
