//! Opening a store: may tokens be entrusted to this server, and is what lies there ours.

use std::fmt;

use redis::{RedisResult, Value};

use crate::{
    error::{Failure, OpenError},
    layout::Layout,
    link::Link,
    script,
};

/// How keys are laid out. A release that changes it brings older ones up to date.
const FORMAT: &str = "1";
/// Into how many slots the connections are spread.
const BUCKETS: &str = "1";

/// Something about the server that an operator should know. The store works all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Writes are synced once a second.
    SyncedEachSecond,
    /// Writes are synced when the system pleases.
    NeverSynced,
    /// The server keeps nothing, and the host accepted that.
    KeepsNothing,
    /// The server does not say how it keeps what is written.
    DurabilityUnknown,
    /// Connect attempts may be dropped when memory is full.
    AttemptsMayBeEvicted,
    /// A primary that is cut off from its replicas takes writes.
    NoMinReplicas,
}

impl Advice {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::SyncedEachSecond => "redis_synced_each_second",
            Self::NeverSynced => "redis_never_synced",
            Self::KeepsNothing => "redis_keeps_nothing",
            Self::DurabilityUnknown => "redis_durability_unknown",
            Self::AttemptsMayBeEvicted => "redis_attempts_may_be_evicted",
            Self::NoMinReplicas => "redis_no_min_replicas",
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SyncedEachSecond => {
                "appendfsync is everysec: a power failure may lose the last second, and with it rotated tokens; \
                 set it to always"
            }
            Self::NeverSynced => {
                "appendfsync is no: a power failure may lose half a minute, and with it rotated tokens; set it to always"
            }
            Self::KeepsNothing => "there is neither an append-only file nor a replica: a restart loses every connection",
            Self::DurabilityUnknown => {
                "the server does not tell its settings: whether it keeps what is written is not known"
            }
            Self::AttemptsMayBeEvicted => {
                "maxmemory-policy drops keys that expire when memory is full: users may have to begin anew; \
                 set it to noeviction"
            }
            Self::NoMinReplicas => {
                "min-replicas-to-write is 0: a primary that is cut off takes writes that are lost at failover; set it to 1"
            }
        })
    }
}

pub(crate) async fn open(
    link: &Link,
    layout: &Layout,
    server: &str,
    accept_loss: bool,
    must_exist: bool,
) -> Result<Vec<Advice>, OpenError> {
    let failed = |command| move |failure: Failure| OpenError::of(server, command, failure);
    let info = ask(link, "INFO", &[]).await.map_err(failed("INFO"))?;
    let mut advice = Vec::new();
    match info {
        None => advice.push(Advice::DurabilityUnknown),
        Some(info) => {
            check(&Info(&info), server)?;
            let settings = Settings::read(link).await.map_err(failed("CONFIG GET"))?;
            advice.extend(judge(&Info(&info), &settings, server, accept_loss)?);
        }
    }
    claim(link, layout, server, must_exist).await?;
    Ok(advice)
}

/// What the server answers, or `None` if it forbids the question or does not know it.
async fn ask(link: &Link, command: &'static str, arguments: &[&str]) -> Result<Option<String>, Failure> {
    let mut question = redis::cmd(command);
    question.arg(arguments);
    link.once(|mut session| async move {
        let answer: RedisResult<Value> = question.query_async(&mut session.connection).await;
        match answer {
            Ok(Value::Array(pair)) => Ok(pair
                .into_iter()
                .nth(1)
                .and_then(|v| redis::from_redis_value(v).ok())),
            Ok(value) => Ok(redis::from_redis_value(value).ok()),
            Err(error) if Failure::of(&error).ends_connection() => Err(error),
            Err(_) => Ok(None),
        }
    })
    .await
}

/// Fields of `INFO`.
struct Info<'a>(&'a str);

impl<'a> Info<'a> {
    fn get(&self, field: &str) -> Option<&'a str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == field).map(|(_, value)| value)
    }
}

/// What `CONFIG GET` tells, where it may be asked.
struct Settings {
    sync: Option<String>,
    min_replicas: Option<String>,
}

impl Settings {
    async fn read(link: &Link) -> Result<Self, Failure> {
        Ok(Self {
            sync: ask(link, "CONFIG", &["GET", "appendfsync"]).await?,
            min_replicas: ask(link, "CONFIG", &["GET", "min-replicas-to-write"]).await?,
        })
    }
}

fn check(info: &Info<'_>, server: &str) -> Result<(), OpenError> {
    let server = server.to_owned();
    let version = info.get("redis_version").unwrap_or_default();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 7) {
        let found = version.to_owned();
        return Err(OpenError::TooOld { server, found });
    }
    if info.get("cluster_enabled") == Some("1") {
        let role = "node of a Cluster";
        return Err(OpenError::NotPrimary { server, role });
    }
    if info.get("role") == Some("slave") {
        let role = "replica";
        return Err(OpenError::NotPrimary { server, role });
    }
    match info.get("maxmemory_policy") {
        Some(policy) if policy.starts_with("allkeys-") => Err(OpenError::Evicts {
            server,
            policy: policy.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn judge(
    info: &Info<'_>,
    settings: &Settings,
    server: &str,
    accept_loss: bool,
) -> Result<Vec<Advice>, OpenError> {
    let mut advice = Vec::new();
    let replicas = info.get("connected_slaves").is_some_and(|count| count != "0");
    match (info.get("aof_enabled"), settings.sync.as_deref()) {
        (Some("0"), _) if !replicas && accept_loss => advice.push(Advice::KeepsNothing),
        (Some("0"), _) if !replicas => {
            let server = server.to_owned();
            return Err(OpenError::KeepsNothing { server });
        }
        (Some("1"), Some("always")) | (Some("0"), _) => {}
        (Some("1"), Some("everysec")) => advice.push(Advice::SyncedEachSecond),
        (Some("1"), Some("no")) => advice.push(Advice::NeverSynced),
        _ => advice.push(Advice::DurabilityUnknown),
    }
    if info
        .get("maxmemory_policy")
        .is_some_and(|policy| policy.starts_with("volatile-"))
    {
        advice.push(Advice::AttemptsMayBeEvicted);
    }
    if replicas && settings.min_replicas.as_deref() == Some("0") {
        advice.push(Advice::NoMinReplicas);
    }
    Ok(advice)
}

/// Finds the store's record of itself, or writes it.
async fn claim(link: &Link, layout: &Layout, server: &str, must_exist: bool) -> Result<(), OpenError> {
    let mut call = script::STORE.key(layout.store());
    call.arg(FORMAT).arg(BUCKETS).arg(u8::from(must_exist));
    let found = link.once(|mut session| async move {
        call.invoke_async::<Option<(String, String)>>(&mut session.connection)
            .await
    });
    let found = found
        .await
        .map_err(|failure| OpenError::of(server, "EVALSHA", failure))?;
    let Some((format, buckets)) = found else {
        let server = server.to_owned();
        return Err(OpenError::NoStore { server });
    };
    if (format.as_str(), buckets.as_str()) == (FORMAT, BUCKETS) {
        return Ok(());
    }
    Err(OpenError::OtherRelease {
        server: server.to_owned(),
        detail: format!(
            "format {format}, buckets {buckets}; this one knows format {FORMAT}, buckets {BUCKETS}"
        ),
    })
}
