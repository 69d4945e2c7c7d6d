//! Puts a broker together, and refuses settings that contradict each other.

use std::{sync::Arc, time::Duration};

use super::{
    Broker,
    parts::{Materials, Settings, compose},
};
#[cfg(feature = "simulation")]
use crate::{engine::protocol::Rules, task::Signals};
use crate::{
    engine::{background::Intervals, directory::Urls, ledger::due::KeepAlive, limits, protocol::Policy},
    event::{EventSink, NoEvents},
    provider::{Provider, Rotation, Transport},
    proxy::ProxyClient,
    store::Stores,
    task::Tasks,
    time::{Clock, SystemClock},
    transport::HttpTransport,
    vault::TokenVault,
};

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No provider was given.
    #[error("provider_missing: the broker needs at least one provider")]
    ProviderMissing,
    /// Two providers have one name, or two offerings have one id.
    #[error("provider_duplicate: two providers or offerings have the name {0}")]
    ProviderDuplicate(String),
    /// The public URL is missing or not acceptable.
    #[error(
        "redirect_base_invalid: public_url must be an https URL (http only on a loopback IP literal) without query, \
         fragment, user, dot segments or trailing slash"
    )]
    PublicUrl,
    /// A duration is zero or too long.
    #[error("timing_inconsistent: {0}")]
    Timing(&'static str),
    /// There is no tokio runtime.
    #[error("runtime_missing: build the broker inside a tokio runtime")]
    Runtime,
    /// No HTTPS client could be made.
    #[error("tls_unavailable: no trusted root certificates were found on this machine")]
    Tls,
}

/// Puts a [`Broker`] together.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    stores: Stores,
    vault: Arc<dyn TokenVault>,
    providers: Vec<Arc<dyn Provider>>,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    transport: Option<Arc<dyn Transport>>,
    settings: Settings,
    #[cfg(feature = "simulation")]
    signals: Signals,
}

impl Broker {
    /// A broker on these stores, which seals with this vault.
    pub fn builder(stores: impl Into<Stores>, vault: impl TokenVault) -> Builder {
        Builder::new(stores.into(), Arc::new(vault))
    }
}

impl Builder {
    fn new(stores: Stores, vault: Arc<dyn TokenVault>) -> Self {
        Self {
            stores,
            vault,
            providers: Vec::new(),
            clock: Arc::new(SystemClock),
            events: Arc::new(NoEvents),
            transport: None,
            settings: Settings {
                urls: Urls {
                    public: String::new(),
                    allow_loopback: false,
                },
                minimum: limits::MINIMUM,
                refresh_timeout: limits::REFRESH_TIMEOUT,
                cache_capacity: limits::CACHE,
                keep_alive: KeepAlive::default(),
                intervals: Some(Intervals::default()),
                policy: Policy::new(Rotation::Strict),
            },
            #[cfg(feature = "simulation")]
            signals: Signals::default(),
        }
    }

    /// Adds a provider.
    pub fn provider(mut self, provider: impl Provider) -> Self {
        self.providers.push(Arc::new(provider));
        self
    }

    /// The URL under which the host serves the callback: `{public_url}/callback/{integration}`, with its slug or else its id,
    /// is what to register with the provider. See [`Broker::callback_url`]. https, or http on a loopback IP literal.
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.settings.urls.public = url.into();
        self
    }

    /// Receives events. By default they are dropped.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Arc::new(sink);
        self
    }

    /// The least remaining lifetime of an access token that is handed out. 5 minutes by default.
    pub fn minimum_validity(mut self, minimum: Duration) -> Self {
        self.settings.minimum = minimum;
        self
    }

    /// The longest time that a caller waits for a refresh. 24 seconds by default.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.settings.refresh_timeout = timeout;
        self
    }

    /// The number of connections kept in memory, about a kilobyte each. 200,000 by default.
    pub fn cache_capacity(mut self, connections: usize) -> Self {
        self.settings.cache_capacity = connections;
        self
    }

    /// What is done for unused connections: by default their refresh tokens are used before the provider's idle limit ends
    /// them. See [`KeepAlive`] for the cost.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.settings.keep_alive = keep_alive;
        self
    }

    /// Starts no background tasks: nothing is swept, and every use reads the store. For tools that inspect and change
    /// nothing.
    pub fn without_background_tasks(mut self) -> Self {
        self.settings.intervals = None;
        self
    }

    /// Permits providers at http on a loopback address. Only for tests against a simulator.
    pub fn allow_loopback_upstream(mut self) -> Self {
        self.settings.urls.allow_loopback = true;
        self
    }

    /// Reads time from `clock`. For tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sends OAuth requests through `transport` instead of the built-in HTTPS client.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Runs the background tasks at other intervals. For simulations, in which a day must not take long.
    #[cfg(feature = "simulation")]
    pub fn intervals(mut self, intervals: Intervals) -> Self {
        self.settings.intervals = Some(intervals);
        self
    }

    /// Switches protective rules of the refresh protocol off, to show what they are worth.
    #[cfg(feature = "simulation")]
    pub fn without_rules(mut self, off: impl FnOnce(&mut Rules)) -> Self {
        self.settings.policy = self.settings.policy.without(off);
        self
    }

    /// Makes all tasks a part of the process that `signals` are sent to. For simulations.
    #[cfg(feature = "simulation")]
    pub fn signals(mut self, signals: Signals) -> Self {
        self.signals = signals;
        self
    }

    /// Builds the broker and starts its loops on the current tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is wrong.
    pub fn build(self) -> Result<Broker, ConfigError> {
        self.check()?;
        let tasks = Tasks::on_current_runtime().ok_or(ConfigError::Runtime)?;
        #[cfg(feature = "simulation")]
        let tasks = tasks.under(self.signals);
        let loopback = self.settings.urls.allow_loopback;
        let transport = match self.transport {
            Some(transport) => transport,
            None => Arc::new(
                HttpTransport::builder()
                    .allow_loopback(loopback)
                    .build()
                    .map_err(|_| ConfigError::Tls)?,
            ),
        };
        let proxy = ProxyClient::new(loopback).map_err(|_| ConfigError::Tls)?;
        let shared = compose(Materials {
            stores: self.stores,
            vault: self.vault,
            providers: self.providers,
            clock: self.clock,
            events: self.events,
            transport,
            proxy,
            tasks,
            settings: self.settings,
        });
        Ok(Broker { shared })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.providers.is_empty() {
            return Err(ConfigError::ProviderMissing);
        }
        let mut names: Vec<&str> = self.providers.iter().map(|p| p.facts().name.as_str()).collect();
        let mut ids: Vec<&str> = self
            .providers
            .iter()
            .flat_map(|p| &p.facts().offerings)
            .map(|o| o.id.as_str())
            .collect();
        for list in [&mut names, &mut ids] {
            list.sort_unstable();
            if let Some(pair) = list.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(ConfigError::ProviderDuplicate(pair[0].to_owned()));
            }
        }
        let url = &self.settings.urls.public;
        if url.ends_with('/') || url.contains('?') || crate::oauth::RedirectUri::register(url).is_err() {
            return Err(ConfigError::PublicUrl);
        }
        if self.settings.minimum > limits::MINIMUM_MAX {
            return Err(ConfigError::Timing(
                "minimum_validity must not be longer than a day",
            ));
        }
        if self.settings.refresh_timeout.is_zero()
            || self.settings.refresh_timeout > limits::REFRESH_TIMEOUT_MAX
        {
            return Err(ConfigError::Timing(
                "refresh_timeout must be longer than zero and at most 10 minutes",
            ));
        }
        if self.settings.keep_alive.at_once == 0 {
            return Err(ConfigError::Timing("keep_alive.at_once must not be zero"));
        }
        if self.settings.cache_capacity == 0 {
            return Err(ConfigError::Timing("cache_capacity must not be zero"));
        }
        Ok(())
    }
}
