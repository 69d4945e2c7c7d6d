//! Keeps Grantry's connections on Redis, for any number of processes on any number of machines: on one server, on a primary
//! with replicas behind Sentinels, or on a Cluster.
//!
//! ```no_run
//! use grantry_store_redis::RedisStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::open("redis://grantry:password@redis.internal:6379/0").await?;
//! let stores = grantry::store::Stores::from(store);
//! // … give them to the broker.
//! # Ok(())
//! # }
//! ```
//!
//! # Addresses
//! The address says what the servers are. Redis 7.0 or newer is required.
//!
//! | address | servers |
//! |---|---|
//! | `redis://user:password@host:port/database` | one primary |
//! | `redis+sentinel://user:password@host:port,host:port/service/database` | the primary that these Sentinels name; credentials for the Sentinels themselves are appended as `?sentinel_user=…&sentinel_password=…` |
//! | `redis+cluster://user:password@host:port,host:port` | a Cluster of which these are some nodes |
//!
//! With `rediss` instead of `redis` every connection uses TLS. User, password, port and database are optional. Each address
//! may end with `?prefix=`, the prefix of all keys (`grantry` by default), and `?wait_for_replicas=` (see
//! [`RedisBuilder::wait_for_replicas`]). Characters with a meaning in a URL are percent-encoded; a plus sign is literal.
//! Certificates are given to [`RedisBuilder`].
//!
//! # Guarantees
//! - Every write is one script: it runs completely or not at all, and a random write id makes it idempotent. A write
//!   without a reply is an error, which the engine treats as *unknown* and never guesses. A call is repeated only if
//!   it certainly did not run, or if the second reply tells what became of the first.
//! - A refresh token is presented only once its lease would survive the loss of the primary, and a new token set
//!   counts as saved only then: one replica has it (`WAIT`), wherever there are replicas, and from Redis 7.2 on the
//!   primary's disk has it too (`WAITAOF`). See [`RedisBuilder::wait_for_replicas`] and
//!   [`RedisBuilder::confirm_within`]. This costs each refresh two round trips from the primary to a replica; with
//!   `appendfsync everysec` on Redis 7.2 up to two seconds.
//! - Other writes are as durable as the servers make them: with `appendonly yes` they survive a crash of the server,
//!   with `appendfsync always` a power failure. [`RedisStore::server_warnings`] lists what is amiss. Servers that keep nothing
//!   are refused unless the host accepts that ([`RedisBuilder::accept_loss`]), and so are servers that evict keys
//!   when their memory is full. This is checked when the store is opened: configure every server that may take over
//!   alike.
//! - When a server dies or is replaced, calls in progress fail as unknown. Later calls look for the new primary, with
//!   exponential backoff and jitter.
//! - No call to a server exceeds its time limit, whatever the servers do. Merged lists and confirmed writes make
//!   several calls.
//! - Reading a page takes time in proportion to the page, not to the store, wherever the page begins. The exception
//!   is a filter whose conditions are each common and rarely met together: then the rows of the rarest are scanned,
//!   two thousand per call, so that other calls do not wait for it.
//! - Changes that other processes should see at once, such as a connection that ended or an integration that was
//!   edited, are published, and subscribers poll. Every process also polls four times a second, and serves nothing
//!   once it has been unable to poll for a second.
//! - Nothing depends on Redis' key expiry. Connect attempts have one, long after their own, in case no process purges
//!   them.
//!
//! # Limitations
//! - A failover may promote a replica that lacks a confirmed write, since by default one replica's acknowledgement is
//!   enough. It happens when an operator orders a failover of a healthy primary, or when Sentinels replace a primary
//!   twice in a row and promote a server that was just started and has not caught up. The latter was seen with
//!   `down-after-milliseconds 1000` on a loaded machine, and cost grants. Give Sentinels several seconds, and set
//!   `wait_for_replicas` to the number of replicas.
//! - A process that starts while its primary is cut off from all replicas takes it for a primary that has none.
//!   `min-replicas-to-write 1` closes this gap; [`ServerWarning::NoMinReplicas`] reports where it is missing. A process that
//!   has seen replicas gives a server that took over or restarted ten seconds to attach one; then it takes that
//!   server for the only one left.
//! - A primary without an append-only file that restarts before another server takes over comes back with old data,
//!   and its replicas follow it: they lose what they confirmed. [`ServerWarning::NoAppendOnly`] reports where that can
//!   happen.
//! - A process that reaches only a primary which was cut off and replaced reads stale data until that primary learns
//!   of it. It presents no refresh token, since nothing is confirmed, but serves access tokens that have not expired.
//! - While a slot of a Cluster migrates to another node, writes to its connections and lists over all slots wait for
//!   it, since a script's keys are on two nodes. What exceeds the time limit fails and may be repeated. Existing
//!   connections can be read throughout.
//!
//! # Key layout
//! The part in braces of a key decides its Cluster slot, and a script may only use keys of one slot. A connection is
//! read by its id alone, before its integration is known. Its slot therefore depends only on the id, and the lists of
//! all integrations that it appears in share that slot: one script writes row, lists, search, history and counts. The
//! alternative, a slot per integration, would need a pointer from id to integration in another slot: two reads
//! instead of one, and two writes that are not atomic.
//!
//! A store created on a Cluster has 64 such slots, `{c0}` to `{c63}`, and merges its lists from them; any other has
//! one. The store's own record says how many, wherever the store is moved.
//!
//! # The cost of lists and search
//! Lists and search are two sorted sets of short terms followed by ids (`search.rs` describes how they are walked). A
//! connection has five terms in the first, plus one per label and one if it needs attention. In the second it has one for
//! each byte of its e-mail address, without repetitions. A third set holds the times at which connections are due. Of
//! these, a refresh writes only the third.
//!
//! A term takes about 140 bytes of server memory. 10,000 connections with one label, an address of 31 bytes and a
//! body of 1,000 took 7.3 KB each: 0.9 for the lists, 4.4 for the search.
//!
//! # Server permissions
//! An ACL user needs, in this order, `+@read +@write +@scripting +@connection -@dangerous +time +info +config|get
//! +publish +subscribe`, and on a Cluster `+cluster|slots`, for the keys and channels that begin with the prefix
//! (`~grantry:* &grantry:*`). Without `config|get` the store cannot tell how writes are persisted, and does not wait
//! for the disk. Without `info` it knows no setting, waits only for replicas that were asked for explicitly, and
//! cannot tell server runs apart, so that a server's clock counts as the same after a restart; Sentinels do not work
//! at all. The Sentinels' user needs `+sentinel|masters +role`. Without `publish` and `subscribe`, changes are seen
//! at the next poll.

mod address;
mod changes;
mod clock;
mod cluster;
mod config;
mod confirm;
mod connection;
mod dial;
mod error;
mod hash;
mod integration;
mod key;
mod layout;
mod link;
mod list;
mod merge;
mod news;
mod node;
mod pending;
mod place;
mod row;
mod run;
mod schema;
mod script;
mod search;
mod session;
mod usage;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use grantry::{
    id::ConnectionId,
    store::{Revision, StoreError},
    time::StoreInstant,
};
use redis::{Cmd, FromRedisValue, RedisResult};

pub use config::RedisBuilder;
pub use error::OpenError;
pub use schema::ServerWarning;

use confirm::Confirm;
use layout::Layout;
use link::Link;
use news::News;
use place::Place;
use run::{Run, Told};
use script::Call;
use session::Session;

/// A store on Redis. It plays all five roles; clones share its connections.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    link: Arc<Link>,
    layout: Layout,
    confirm: Confirm,
    unconfirmed: AtomicU64,
    warnings: Vec<ServerWarning>,
    news: News,
}

impl RedisStore {
    /// What an operator should know about the servers, as of when the store was opened.
    pub fn server_warnings(&self) -> &[ServerWarning] {
        &self.shared.warnings
    }

    /// How many writes could not be confirmed in time; see [`RedisBuilder::confirm_within`].
    pub fn unconfirmed(&self) -> u64 {
        self.shared.unconfirmed.load(Ordering::Relaxed)
    }

    pub(crate) fn new(link: Link, layout: Layout, confirm: Confirm, warnings: Vec<ServerWarning>) -> Self {
        let link = Arc::new(link);
        Self {
            shared: Arc::new(Shared {
                news: News::new(link.clone(), layout.channel()),
                link,
                layout,
                confirm,
                unconfirmed: AtomicU64::new(0),
                warnings,
            }),
        }
    }

    fn link(&self) -> &Link {
        &self.shared.link
    }

    fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// Waits until the row at this revision would survive the loss of its primary. `false` if that is not known in
    /// time, or if the row has another revision.
    async fn confirm(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        let bucket = self.layout().bucket(id);
        let Some(run) = self.confirm_all(bucket).await? else {
            return Ok(false);
        };
        // Replicas of a server that took over have whatever it has, and it may lack the write. So the row must be
        // read on the very server run that was waited for.
        let mut command = redis::cmd("GETRANGE");
        let last = row::REVISION - 1;
        command.arg(self.layout().row(id)).arg(0).arg(last);
        let (clock_id, found): (_, Vec<u8>) = self.ask(bucket, "confirm_connection", &command).await?;
        Ok(clock_id == run.clock_id && found == row::encode_revision(revision))
    }

    /// Waits until the writes to a place would survive the loss of its primary, for callers that do not ask about it:
    /// the data is written either way, and counted if it could not be confirmed.
    async fn outlives(&self, place: Place) {
        let _ = self.confirm_all(place).await;
    }

    /// Waits until all writes to a place would survive the loss of its primary, and returns the primary's run.
    async fn confirm_all(&self, place: Place) -> Result<Option<Arc<Run>>, StoreError> {
        let run = self.run(place).await?;
        let confirm = &self.shared.confirm;
        if !confirm.waits(&run) || confirm.wait(self.layout(), place, &run).await {
            return Ok(Some(run));
        }
        self.shared.unconfirmed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            code = "redis_unconfirmed",
            "replicas or the disk did not confirm a write in time"
        );
        Ok(None)
    }

    /// The run of a place's primary, with its replicas looked up again where that is due.
    async fn run(&self, place: Place) -> Result<Arc<Run>, StoreError> {
        self.reads(place, "confirm_connection", |mut session| async move {
            if session.run.take_look() {
                session.run.learn(&Told::by(&mut session.connection).await?);
            }
            Ok(session.run)
        })
        .await
    }

    /// Runs a script that writes, once. Without a reply its outcome is unknown.
    async fn write<T: FromRedisValue + Send>(
        &self,
        place: Place,
        operation: &'static str,
        call: &Call,
    ) -> Result<T, StoreError> {
        let written = self
            .link()
            .once(place, |mut session| async move { session.script(call).await });
        written.await.map_err(|failure| failure.store_error(operation))
    }

    /// Runs a script that swaps a row. A revision occurs only once, so a second attempt does nothing if the first
    /// succeeded; but only a reply that the row was swapped says anything about the first.
    async fn swap(&self, place: Place, operation: &'static str, call: &Call) -> Result<i64, StoreError> {
        let swapped = self.link().again(
            place,
            |mut session| async move { session.script(call).await },
            |answer| *answer == 1,
        );
        swapped.await.map_err(|failure| failure.store_error(operation))
    }

    /// Makes a read-only call.
    async fn reads<T, F>(
        &self,
        place: Place,
        operation: &'static str,
        call: impl Fn(Session) -> F + Send + Sync,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let read = self.link().again(place, call, |_| true).await;
        read.map_err(|failure| failure.store_error(operation))
    }

    /// Runs a read-only script, and returns the server run as well.
    async fn read<T: FromRedisValue + Send>(
        &self,
        place: Place,
        operation: &'static str,
        call: &Call,
    ) -> Result<(u64, T), StoreError> {
        self.reads(place, operation, |mut session| async move {
            Ok((session.run.clock_id, session.script(call).await?))
        })
        .await
    }

    /// Runs a read-only command, and returns the server run as well.
    async fn ask<T: FromRedisValue + Send>(
        &self,
        place: Place,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<(u64, T), StoreError> {
        self.reads(place, operation, |mut session| async move {
            Ok((session.run.clock_id, session.command(command).await?))
        })
        .await
    }

    /// The same, with the server's time from just before.
    async fn ask_since<T: FromRedisValue + Send>(
        &self,
        place: Place,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<(StoreInstant, T), StoreError> {
        self.reads(place, operation, |mut session| async move {
            let ((seconds, micros), answer) = session.since(command).await?;
            Ok((clock::moment(session.run.clock_id, seconds, micros), answer))
        })
        .await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("link", &self.shared.link)
            .finish_non_exhaustive()
    }
}
