//! Opening a store: can tokens be entrusted to this server, and is the data there ours?

use std::{collections::HashMap, fmt};

use crate::{
    error::{Failure, OpenError},
    layout::Layout,
    link::Link,
    place::Place,
    run::{Info, allowed},
    script::{self, Call},
    session::Session,
};

/// The version of the key layout. A release that changes it migrates older stores.
const FORMAT: &str = "1";
/// What [`FORMAT`] becomes with the store's first slug. A release that reads only the former breaks nothing while it runs, but
/// it copies a store without its slugs, for which applications then make their integrations anew. Until then it may be used.
const WITH_SLUGS: &str = "2";
/// How many slots the connections are distributed over on a Cluster, so that every node gets its share.
const BUCKETS_OF_CLUSTER: u16 = 64;

/// Something about the server that an operator should know. The store works all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerWarning {
    /// The server syncs its log once a second.
    SyncedEachSecond,
    /// The server cannot say whether its disk has a write.
    DiskNotConfirmed,
    /// The operating system decides when writes are synced.
    NeverSynced,
    /// The server keeps nothing, and the host accepted that.
    KeepsNothing,
    /// The server does not reveal its persistence settings.
    DurabilityUnknown,
    /// Connect attempts may be evicted when memory is full.
    AttemptsMayBeEvicted,
    /// A primary that is cut off from its replicas accepts writes.
    NoMinReplicas,
    /// Only replicas keep a copy.
    NoAppendOnly,
}

impl ServerWarning {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::SyncedEachSecond => "redis_synced_each_second",
            Self::DiskNotConfirmed => "redis_disk_not_confirmed",
            Self::NeverSynced => "redis_never_synced",
            Self::KeepsNothing => "redis_keeps_nothing",
            Self::DurabilityUnknown => "redis_durability_unknown",
            Self::AttemptsMayBeEvicted => "redis_attempts_may_be_evicted",
            Self::NoMinReplicas => "redis_no_min_replicas",
            Self::NoAppendOnly => "redis_no_append_only",
        }
    }
}

impl fmt::Display for ServerWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SyncedEachSecond => {
                "appendfsync is everysec: a power failure may lose the last second of writes; set it to always"
            }
            Self::DiskNotConfirmed => {
                "the server is older than 7.2 and cannot say whether its disk has a write: a power failure may lose \
                 rotated tokens; use a newer one, or set appendfsync to always"
            }
            Self::NeverSynced => {
                "appendfsync is no: a power failure may lose the last half minute, and rotated tokens with it; set it to always"
            }
            Self::KeepsNothing => "there is neither an append-only file nor a replica: a restart loses every connection",
            Self::DurabilityUnknown => {
                "the server does not reveal its settings: whether writes survive a restart is unknown"
            }
            Self::AttemptsMayBeEvicted => {
                "maxmemory-policy evicts keys with an expiry when memory is full: users may have to start over; \
                 set it to noeviction"
            }
            Self::NoMinReplicas => {
                "min-replicas-to-write is 0: a primary that is cut off accepts writes that a failover loses; set it to 1"
            }
            Self::NoAppendOnly => {
                "appendonly is no: a primary that restarts before another one takes over comes back with old data, its \
                 replicas follow it, and tokens rotated meanwhile are lost; set it to yes on all servers"
            }
        })
    }
}

/// Checks every primary, and the data under the prefix.
pub(crate) async fn open(
    link: &Link,
    prefix: &str,
    server: &str,
    accept_loss: bool,
    must_exist: bool,
) -> Result<(Layout, Vec<ServerWarning>), OpenError> {
    let found = link.everywhere(Settings::read).await.map_err(|failure| {
        if link.is_cluster() && failure.is_mistake() {
            return OpenError::OtherRole {
                server: server.to_owned(),
                role: "not part of a Cluster",
                instead: "its address as redis://",
            };
        }
        OpenError::of(
            server,
            if link.is_cluster() {
                "CLUSTER SLOTS"
            } else {
                "INFO"
            },
            failure,
        )
    })?;
    let mut warnings = Vec::new();
    for (node, settings) in found {
        let server = node.as_deref().unwrap_or(server);
        settings.check(server, link.is_cluster())?;
        for new in settings.judge(server, accept_loss)? {
            if !warnings.contains(&new) {
                warnings.push(new);
            }
        }
    }
    let buckets = claim(link, prefix, server, must_exist).await?;
    Ok((Layout::new(prefix.to_owned(), buckets), warnings))
}

/// A server's settings, as far as it reveals them.
struct Settings {
    info: Option<Info>,
    sync: Option<String>,
    min_replicas: Option<String>,
}

impl Settings {
    async fn read(mut session: Session) -> redis::RedisResult<Self> {
        let info = Info::of(&mut session.connection, &[]).await?;
        let mut settings = HashMap::new();
        // One at a time: older servers accept a single name.
        for name in ["appendfsync", "min-replicas-to-write"] {
            let mut question = redis::cmd("CONFIG");
            question.arg("GET").arg(name);
            let answer = allowed(session.command::<HashMap<String, String>>(&question).await)?;
            settings.extend(answer.unwrap_or_default());
        }
        Ok(Self {
            info,
            sync: settings.remove("appendfsync"),
            min_replicas: settings.remove("min-replicas-to-write"),
        })
    }

    fn check(&self, server: &str, cluster: bool) -> Result<(), OpenError> {
        let Some(info) = &self.info else { return Ok(()) };
        let server = server.to_owned();
        if !info.is_at_least(7, 0) {
            let found = info.get("redis_version").unwrap_or_default().to_owned();
            return Err(OpenError::TooOld { server, found });
        }
        if !cluster && info.get("cluster_enabled") == Some("1") {
            return Err(OpenError::OtherRole {
                server,
                role: "a node of a Cluster",
                instead: "the Cluster's address, as redis+cluster://",
            });
        }
        if info.get("role") == Some("slave") {
            return Err(OpenError::OtherRole {
                server,
                role: "a replica",
                instead: "the address of its primary, or that of the Sentinels, as redis+sentinel://",
            });
        }
        match info.get("maxmemory_policy") {
            Some(policy) if policy.starts_with("allkeys-") => Err(OpenError::Evicts {
                server,
                policy: policy.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn judge(&self, server: &str, accept_loss: bool) -> Result<Vec<ServerWarning>, OpenError> {
        let Some(info) = &self.info else {
            return Ok(vec![ServerWarning::DurabilityUnknown]);
        };
        let mut warnings = Vec::new();
        let replicas = info.has_replicas();
        match (info.get("aof_enabled"), self.sync.as_deref()) {
            (Some("0"), _) if !replicas && accept_loss => warnings.push(ServerWarning::KeepsNothing),
            (Some("0"), _) if !replicas => {
                let server = server.to_owned();
                return Err(OpenError::KeepsNothing { server });
            }
            (Some("0"), _) => warnings.push(ServerWarning::NoAppendOnly),
            (Some("1"), Some("always")) => {}
            (Some("1"), Some("everysec")) => {
                warnings.push(ServerWarning::SyncedEachSecond);
                if !info.is_at_least(7, 2) {
                    warnings.push(ServerWarning::DiskNotConfirmed);
                }
            }
            (Some("1"), Some("no")) => warnings.push(ServerWarning::NeverSynced),
            _ => warnings.push(ServerWarning::DurabilityUnknown),
        }
        if info
            .get("maxmemory_policy")
            .is_some_and(|policy| policy.starts_with("volatile-"))
        {
            warnings.push(ServerWarning::AttemptsMayBeEvicted);
        }
        if replicas && self.min_replicas.as_deref() == Some("0") {
            warnings.push(ServerWarning::NoMinReplicas);
        }
        Ok(warnings)
    }
}

/// Keeps releases out that know no slugs.
pub(crate) fn claim_slugs(layout: &Layout) -> Call {
    let mut call = script::RAISE.on([layout.store()]);
    call.arg(FORMAT).arg(WITH_SLUGS);
    call
}

/// Finds the store's own record, or writes it. Returns how many buckets the connections have.
async fn claim(link: &Link, prefix: &str, server: &str, must_exist: bool) -> Result<u16, OpenError> {
    let usual = if link.is_cluster() { BUCKETS_OF_CLUSTER } else { 1 };
    let mut call = script::STORE.on([Layout::new(prefix.to_owned(), usual).store()]);
    call.arg(FORMAT).arg(usual).arg(u8::from(must_exist));
    let call = &call;
    let found = link.once(Place::Store, |mut session| async move {
        session.script::<Option<(String, String)>>(call).await
    });
    let failed = |failure: Failure| OpenError::of(server, "EVALSHA", failure);
    let Some((format, buckets)) = found.await.map_err(failed)? else {
        let server = server.to_owned();
        return Err(OpenError::NoStore { server });
    };
    match buckets.parse() {
        Ok(count @ 1..=1024) if [FORMAT, WITH_SLUGS].contains(&&*format) => Ok(count),
        _ => Err(OpenError::OtherRelease {
            server: server.to_owned(),
            detail: format!(
                "format {format}, buckets {buckets}; this one reads formats {FORMAT} and {WITH_SLUGS}"
            ),
        }),
    }
}
