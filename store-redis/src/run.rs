//! What is known of a run of a server, from its start to its end.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::{RedisResult, aio::ConnectionLike};

use crate::{clock, error::Failure};

/// How often a server without replicas is asked whether it has some by now.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Run {
    /// The name of its clock.
    pub(crate) era: u64,
    /// It can say when its disk has what was written, and writes it there by itself.
    pub(crate) tells_of_disk: bool,
    /// It has, or had, replicas. One that had some and has none any more may be cut off from them.
    replicated: AtomicBool,
    looked: Mutex<BootInstant>,
}

impl Run {
    /// Asks a server. One that forbids the questions is taken for one that never changes and has no replicas.
    pub(crate) async fn of(
        connection: &mut (impl ConnectionLike + Send),
        address: &str,
    ) -> RedisResult<Self> {
        let mut info = redis::cmd("INFO");
        info.arg(&["server", "replication", "persistence"]);
        let info = Info(allowed(info.query_async(connection).await)?.unwrap_or_default());
        let sync = if info.get("aof_enabled") == Some("1") && info.is_at_least(7, 2) {
            let mut question = redis::cmd("CONFIG");
            question.arg("GET").arg("appendfsync");
            allowed::<HashMap<String, String>>(question.query_async(connection).await)?
        } else {
            None
        };
        let sync = sync.and_then(|mut settings| settings.remove("appendfsync"));
        Ok(Self {
            era: clock::era(info.get("run_id"), address),
            tells_of_disk: sync.is_some_and(|sync| sync == "always" || sync == "everysec"),
            replicated: AtomicBool::new(info.has_replicas()),
            looked: Mutex::new(SystemClock.boot()),
        })
    }

    pub(crate) fn is_replicated(&self) -> bool {
        self.replicated.load(Ordering::Relaxed)
    }

    /// Whether it is time to ask again for replicas; `true` for one caller at a time.
    pub(crate) fn is_due(&self) -> bool {
        let now = SystemClock.boot();
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = !self.is_replicated() && now - *looked >= LOOK_AGAIN;
        if due {
            *looked = now;
        }
        due
    }

    /// It answered once more.
    pub(crate) fn is_now(&self, now: &Self) {
        self.replicated.fetch_or(now.is_replicated(), Ordering::Relaxed);
    }

    /// The same, as `INFO`.
    pub(crate) fn has(&self, info: Option<&Info>) {
        let replicated = info.is_some_and(Info::has_replicas);
        self.replicated.fetch_or(replicated, Ordering::Relaxed);
    }
}

/// An answer, or `None` if the question is forbidden or not known.
pub(crate) fn allowed<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if Failure::of(&error).ends_connection() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Fields of `INFO`.
pub(crate) struct Info(pub(crate) String);

impl Info {
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    pub(crate) fn has_replicas(&self) -> bool {
        self.get("connected_slaves").is_some_and(|count| count != "0")
    }

    /// Whether the version is this one or newer; one that is not told is.
    pub(crate) fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let Some(version) = self.get("redis_version") else {
            return true;
        };
        let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
        let Some(found) = parts.next() else { return true };
        (found, parts.next().unwrap_or(0)) >= (major, minor)
    }
}
