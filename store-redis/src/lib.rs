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
//! # Where it lies
//! The address says what the servers are. All are Redis 7.0 or newer.
//!
//! | address | servers |
//! |---|---|
//! | `redis://user:password@host:port/database` | one primary |
//! | `redis+sentinel://user:password@host:port,host:port/service/database` | the primary that these Sentinels name; what the Sentinels themselves want to know goes behind it, as `?sentinel_user=…&sentinel_password=…` |
//! | `redis+cluster://user:password@host:port,host:port` | a Cluster of which these are some nodes |
//!
//! With `rediss` in place of `redis` all connections have TLS. User, password, port and database may be left out. Behind
//! all may stand `?prefix=` with what all keys begin with, which is `grantry` unless set, and `?wait_for_replicas=` (see
//! [`RedisBuilder::wait_for_replicas`]). What has a meaning in a URL is percent-encoded, a plus is a plus. Certificates are
//! given to [`RedisBuilder`].
//!
//! # What it promises
//! - A write is one script: done whole or not at all, and idempotent by its random write id. A write that got no answer
//!   is an error, which the engine reads as *unknown*; it is never guessed. A call is made a second time only where it was
//!   certainly not done, or where the answer to the second tells what became of the first.
//! - A refresh token is presented only after its turn would outlive the primary, and a new token set counts as saved only
//!   then: one replica has it (`WAIT`), wherever there are replicas, and from Redis 7.2 on the primary's disk too
//!   (`WAITAOF`). [`RedisBuilder::wait_for_replicas`] and [`RedisBuilder::confirm_within`] set how. This costs a refresh a
//!   round trip from the primary to a replica, twice; with `appendfsync everysec` on Redis 7.2 up to a second, twice.
//! - Other writes are as durable as the servers make them. With `appendonly yes` they survive the end of a server, and
//!   with `appendfsync always` a power failure. [`RedisStore::advice`] tells what of this is amiss; servers that keep
//!   nothing are refused unless the host accepts that ([`RedisBuilder::accept_loss`]), and so are those that drop keys when
//!   their memory is full. This is judged when the store is opened: give all servers that may take over the same settings.
//! - A server that died or was replaced costs the calls that were under way, which fail as unknown. The next ones look for
//!   the new primary; each process does so with pauses that grow and differ.
//! - No call to a server takes longer than its time limit, whatever the servers do. Lists that are merged, and writes that
//!   are confirmed, make several.
//! - A page of a list takes the time of a page, not of the store, wherever it begins. Only where conditions are each met
//!   often and hardly ever together are the rows of the rarest looked through, two thousand at a time, so that no other
//!   call waits for it.
//! - What other processes should see at once, a connection that ended or an integration that was changed, is published,
//!   and they look. They look anyway four times a second, and serve nothing that they have not been able to look after for
//!   a second.
//! - No expiry of Redis decides anything: connect attempts have one, long after their own, for the case that nobody
//!   purges.
//!
//! # What it cannot
//! - A failover may promote a replica that lacks a confirmed write, since one replica's word is enough unless more are to
//!   be waited for: when an operator orders a failover of a primary that lives, or when Sentinels replace a primary twice
//!   in a row and choose a server that was just started and has not caught up. The second was seen with
//!   `down-after-milliseconds 1000` on a loaded machine, and cost grants. Give Sentinels several seconds, and let
//!   `wait_for_replicas` be the number of replicas.
//! - A process that starts while its primary is cut off from all replicas takes it for one that has none.
//!   `min-replicas-to-write 1` closes this; [`Advice::NoMinReplicas`] says where it is missing. A process that saw replicas
//!   gives a server that took over, or came back, ten seconds to have one; then it takes it for the last one.
//! - A primary without an append-only file that is restarted before another one takes over comes back with old data, and its
//!   replicas follow it: they lose what they confirmed. [`Advice::NoAppendOnly`] says where that can be.
//! - A process that can reach only a primary which is cut off, and was replaced, reads what was true before, until the
//!   primary hears of it. It presents nothing, since nothing is confirmed, but serves access tokens that live.
//! - While a slot of a Cluster moves to another node, writes to its connections and lists of all wait for it, since a
//!   script's keys are on two nodes then. What takes longer than the time limit fails, and may be tried again. A
//!   connection that is there can be read all the time.
//!
//! # How keys are laid out
//! The part in braces of a key decides in which slot of a Cluster it lies, and a script may only use keys of one
//! slot. A connection is read by its id alone, and its integration is not known then. So its slot depends on the id and
//! on nothing else, and the lists of all integrations that it stands in lie in the same slot: row, lists, search, history
//! and counts are written by one script. The other way, a slot for each integration, would need a pointer from id to
//! integration in a slot of its own: a second read for each read, and two writes that are not one.
//!
//! A store that is made on a Cluster has 64 such slots, `{c0}` to `{c63}`, and its lists are merged out of them; any other
//! has one. The store's record of itself says how many, wherever it is moved.
//!
//! # What lists and search cost
//! Lists and search are two sorted sets of short terms with ids behind them (`search.rs` tells how they are walked). A
//! connection has five terms in the first, and one more for each label and for a concern. In the second it has one for
//! each byte of its e-mail address, no piece twice. A third set has the times at which connections are due. Of all these
//! a refresh writes only that one.
//!
//! A term takes about 140 bytes of the server's memory. Of 10,000 connections with one label, an address of 31 bytes and a
//! body of 1,000, each took 7.3 KB: 0.9 for the lists, 4.4 for the search.
//!
//! # What the servers must allow
//! An ACL user needs, in this order, `+@read +@write +@scripting +@connection -@dangerous +time +info +config|get +publish
//! +subscribe`, on a Cluster `+cluster|slots` besides, on the keys and channels that begin with the prefix
//! (`~grantry:* &grantry:*`). Without `config|get` it is not known how writes are kept, and the disk is not waited for.
//! Without `info` no setting is known, no replica is waited for that was not asked for, and it is not known which run of a
//! server it is, so that the clock of a server is taken for the same after a restart; behind Sentinels nothing works. The
//! user for the Sentinels needs `+sentinel|masters +role`. Without `publish` and `subscribe` changes are seen when they
//! are looked for.

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
pub use schema::Advice;

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
    advice: Vec<Advice>,
    news: News,
}

impl RedisStore {
    /// What an operator should know of the servers, as it was when the store was opened.
    pub fn advice(&self) -> &[Advice] {
        &self.shared.advice
    }

    /// How many writes could not be confirmed in time; see [`RedisBuilder::confirm_within`].
    pub fn unconfirmed(&self) -> u64 {
        self.shared.unconfirmed.load(Ordering::Relaxed)
    }

    pub(crate) fn new(link: Link, layout: Layout, confirm: Confirm, advice: Vec<Advice>) -> Self {
        let link = Arc::new(link);
        Self {
            shared: Arc::new(Shared {
                news: News::new(link.clone(), layout.channel()),
                link,
                layout,
                confirm,
                unconfirmed: AtomicU64::new(0),
                advice,
            }),
        }
    }

    fn link(&self) -> &Link {
        &self.shared.link
    }

    fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// Waits until the row with this revision would outlive its primary; `false` if it would not, as far as is known in
    /// time, or has another revision.
    async fn confirm(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        let bucket = self.layout().bucket(id);
        let Some(run) = self.confirm_all(bucket).await? else {
            return Ok(false);
        };
        // Replicas of a server that took over have all that it has, and it may lack the write. So the row must stand on
        // the very run that was waited for.
        let mut command = redis::cmd("GETRANGE");
        let last = row::REVISION - 1;
        command.arg(self.layout().row(id)).arg(0).arg(last);
        let (era, found): (_, Vec<u8>) = self.ask(bucket, "confirm_connection", &command).await?;
        Ok(era == run.era && found == row::encode_revision(revision))
    }

    /// Waits until what was written to a place would outlive its primary, where nobody asks for that; it is written in
    /// any case, and counted if it could not be confirmed.
    async fn outlives(&self, place: Place) {
        let _ = self.confirm_all(place).await;
    }

    /// Waits until everything that was written to a place would outlive its primary, and says on which run of it.
    async fn confirm_all(&self, place: Place) -> Result<Option<Arc<Run>>, StoreError> {
        let run = self.run(place).await?;
        let confirm = &self.shared.confirm;
        if !confirm.waits(&run) || confirm.wait(self.layout(), place, &run).await {
            return Ok(Some(run));
        }
        self.shared.unconfirmed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            code = "redis_unconfirmed",
            "replicas or the disk do not have a write in time"
        );
        Ok(None)
    }

    /// The run of the primary of a place, and whether it has replicas by now.
    async fn run(&self, place: Place) -> Result<Arc<Run>, StoreError> {
        self.reads(place, "confirm_connection", |mut session| async move {
            if session.run.take_look() {
                session.run.learn(&Told::by(&mut session.connection).await?);
            }
            Ok(session.run)
        })
        .await
    }

    /// Runs a script that writes, once: if it gets no answer nobody knows what became of it.
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

    /// Runs a script that swaps. The row's revision stands only once, so that a second try does nothing if the first
    /// one did it; but only if it says that the row is swapped is anything known.
    async fn swap(&self, place: Place, operation: &'static str, call: &Call) -> Result<i64, StoreError> {
        let swapped = self.link().again(
            place,
            |mut session| async move { session.script(call).await },
            |answer| *answer == 1,
        );
        swapped.await.map_err(|failure| failure.store_error(operation))
    }

    /// Makes a call that only reads.
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

    /// Runs a script that reads, and says on which run of the server.
    async fn read<T: FromRedisValue + Send>(
        &self,
        place: Place,
        operation: &'static str,
        call: &Call,
    ) -> Result<(u64, T), StoreError> {
        self.reads(place, operation, |mut session| async move {
            Ok((session.run.era, session.script(call).await?))
        })
        .await
    }

    /// Asks a command that reads, and says on which run of the server.
    async fn ask<T: FromRedisValue + Send>(
        &self,
        place: Place,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<(u64, T), StoreError> {
        self.reads(place, operation, |mut session| async move {
            Ok((session.run.era, session.command(command).await?))
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
            Ok((clock::moment(session.run.era, seconds, micros), answer))
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
