//! Composes the broker's parts, once. Each gets what it needs and nothing else.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{
    connect::Connector,
    connection::Credentials,
    engine::{
        background::{self, Intervals, Postponed},
        cache::Cache,
        directory::{Directory, Editor, Urls},
        freshness::Freshness,
        journal::Journal,
        ledger::{
            Ledger,
            due::{KeepAlive, Schedule},
        },
        protocol::Policy,
        refresh::{self, Refresher, UnsavedSets, Want},
        revoke::Revoker,
        scope::Reach,
        upstream::Upstream,
    },
    error::{Code, Error},
    event::EventSink,
    health::Doctor,
    id::{ConnectionId, IntegrationId},
    keys::Keys,
    provider::{Provider, Transport},
    proxy::{Proxy, ProxyClient},
    store::Stores,
    task::Tasks,
    time::Clock,
    transport::Dated,
    usage::Meter,
    vault::TokenVault,
};

/// What the parts are made of.
pub(super) struct Materials {
    pub(super) stores: Stores,
    pub(super) vault: Arc<dyn TokenVault>,
    pub(super) providers: Vec<Arc<dyn Provider>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) proxy: ProxyClient,
    pub(super) tasks: Tasks,
    pub(super) settings: Settings,
}

/// Settings that a host may change.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where the host is reached.
    pub(super) urls: Urls,
    /// How much of an access token's life must be left, unless a caller asks for another time.
    pub(super) minimum: Duration,
    /// How long a caller waits for a refresh.
    pub(super) refresh_timeout: Duration,
    /// How many connections are kept in memory.
    pub(super) cache_capacity: usize,
    /// What is done for unused connections.
    pub(super) keep_alive: KeepAlive,
    /// How often the loops run; `None` if they do not.
    pub(super) intervals: Option<Intervals>,
    /// The protocol's times and rules.
    pub(super) policy: Policy,
}

/// What the front calls.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) stores: Stores,
    pub(crate) vault: Arc<dyn TokenVault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) editor: Arc<Editor>,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) refresher: Arc<Refresher>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) proxy: Proxy,
    pub(crate) meter: Arc<Meter>,
    pub(crate) keys: Keys,
    pub(crate) doctor: Doctor,
    pub(crate) unsaved: UnsavedSets,
    pub(crate) background: Arc<background::Context>,
    /// Wakes the sweep early.
    pub(crate) sweep_soon: Arc<Notify>,
    #[cfg(feature = "http")]
    pub(crate) public_url: String,
    pub(crate) minimum: Duration,
}

/// What the broker and its handles hold. The cache is not among the parts, to keep the warm path short.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) parts: Arc<Parts>,
    pub(crate) cache: Arc<Cache>,
}

impl Shared {
    /// Credentials that stay valid for at least `minimum`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    #[inline]
    pub(super) async fn credentials(
        &self,
        id: &ConnectionId,
        reach: Reach<'_>,
        minimum: Duration,
    ) -> Result<Arc<Credentials>, Error> {
        if minimum <= self.parts.minimum
            && let Some(hit) = self.cache.hit(id, reach, Arc::clone)
        {
            return Ok(hit);
        }
        let integration = self.integration_of(reach).await?;
        let want = Want { minimum, not: None };
        let scope = reach.by_id(integration.as_ref());
        let entry = self.parts.refresher.serve(id, scope, want).await?;
        Ok(entry.credentials.clone())
    }

    /// The id of the integration that a handle reaches into.
    ///
    /// # Errors
    /// `integration_not_found`; behind an owner's door nothing else exists: `connection_not_found`.
    pub(super) async fn integration_of(&self, reach: Reach<'_>) -> Result<Option<IntegrationId>, Error> {
        let Some(which) = reach.integration else {
            return Ok(None);
        };
        match self.parts.directory.id_of(which).await {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == Code::IntegrationNotFound && reach.owner.is_some() => {
                Err(Code::ConnectionNotFound.into())
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn compose(materials: Materials) -> Shared {
    let Materials {
        stores,
        vault,
        providers,
        clock,
        events,
        transport,
        proxy,
        tasks,
        settings,
    } = materials;
    let Settings {
        urls,
        minimum,
        refresh_timeout,
        cache_capacity,
        keep_alive,
        intervals,
        policy,
    } = settings;
    let public_url = urls.public.clone();
    let tasks = Arc::new(tasks);
    let freshness = Arc::new(Freshness::new(clock.clone()));
    let journal = Arc::new(Journal::new(clock.clone(), events));
    let ledger = Arc::new(Ledger::new(
        stores.connections.clone(),
        vault.clone(),
        clock.clone(),
        freshness.clone(),
        Schedule {
            keep_alive,
            minimum,
            policy,
        },
    ));
    let transport = Arc::new(Dated::new(transport, clock.clone()));
    let upstream = Arc::new(Upstream::new(transport, clock.clone(), journal.clone()));
    let directory = Arc::new(Directory::new(
        stores.integrations.clone(),
        vault.clone(),
        providers,
        freshness.clone(),
        urls,
    ));
    let editor = Arc::new(Editor {
        directory: directory.clone(),
        upstream: upstream.clone(),
        journal: journal.clone(),
        clock: clock.clone(),
    });
    let cache = Arc::new(Cache::new(cache_capacity, clock.clone(), freshness.clone()));
    let revoker = Arc::new(Revoker {
        ledger: ledger.clone(),
        directory: directory.clone(),
        upstream: upstream.clone(),
        cache: cache.clone(),
        journal: journal.clone(),
        tasks: tasks.clone(),
    });
    let unsaved = UnsavedSets::default();
    let context = refresh::Context {
        ledger: ledger.clone(),
        upstream: upstream.clone(),
        cache: cache.clone(),
        revoker: revoker.clone(),
        journal: journal.clone(),
        tasks: tasks.clone(),
        clock: clock.clone(),
        unsaved: unsaved.clone(),
        policy,
        minimum,
        process: u128::from(crc32fast::hash(public_url.as_bytes())),
    };
    let refresher = Arc::new(Refresher::new(
        Arc::new(context),
        directory.clone(),
        freshness.clone(),
        refresh_timeout,
    ));
    let meter = Arc::new(Meter::new(stores.usage.clone(), tasks.clone(), clock.clone()));
    let background = Arc::new(background::Context {
        connections: stores.connections.clone(),
        pending: stores.pending.clone(),
        ledger: ledger.clone(),
        directory: directory.clone(),
        editor: editor.clone(),
        upstream: upstream.clone(),
        cache: cache.clone(),
        freshness,
        revoker: revoker.clone(),
        refresher: refresher.clone(),
        meter: meter.clone(),
        tasks: tasks.clone(),
        clock: clock.clone(),
        keep_alive,
        postponed: Postponed::default(),
    });
    let sweep_soon = Arc::new(Notify::new());
    if let Some(intervals) = intervals {
        background::start(&background, intervals, sweep_soon.clone());
    }
    let connector = Arc::new(Connector {
        pending: stores.pending.clone(),
        vault: vault.clone(),
        ledger: ledger.clone(),
        directory: directory.clone(),
        upstream: upstream.clone(),
        cache: cache.clone(),
        revoker: revoker.clone(),
        journal: journal.clone(),
        tasks: tasks.clone(),
        clock: clock.clone(),
        public_url: public_url.clone(),
    });
    let proxy = Proxy {
        client: proxy,
        refresher: refresher.clone(),
        directory: directory.clone(),
        cache: cache.clone(),
        meter: meter.clone(),
        journal: journal.clone(),
        minimum,
    };
    let doctor = Doctor {
        connections: stores.connections.clone(),
        vault: vault.clone(),
        directory: directory.clone(),
        upstream,
        journal,
        unsaved: unsaved.clone(),
        clock: clock.clone(),
        keep_alive,
    };
    let keys = Keys::new(stores.keys.clone(), vault.clone(), clock.clone());
    let parts = Parts {
        stores,
        vault,
        clock,
        tasks,
        ledger,
        directory,
        editor,
        revoker,
        refresher,
        connector,
        proxy,
        meter,
        keys,
        doctor,
        unsaved,
        background,
        sweep_soon,
        #[cfg(feature = "http")]
        public_url,
        minimum,
    };
    Shared {
        parts: Arc::new(parts),
        cache,
    }
}
