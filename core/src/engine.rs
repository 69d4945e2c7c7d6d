//! What every part of the engine works with.

use std::{sync::Arc, time::Duration};

use crate::{
    connection::Reason,
    error::{Code, Error},
    event::{Event, EventSink, What},
    health::Incidents,
    id::{ConnectionId, IntegrationId},
    integration::Offering,
    integrations::Integrations,
    keys::Keys,
    provider::{Provider, ProviderHttp},
    proxy::ProxyClient,
    record::Record,
    refresh::{
        cache::Cache,
        hosts::Hosts,
        keep_alive::{self, KeepAlive},
        single_flight::SingleFlight,
        sweep::Postponed,
        unsaved::UnsavedSets,
        watch::Paces,
    },
    store::{ConnectionRow, Stores},
    task::Tasks,
    time::{Clock, Timestamp},
    transport::Dated,
    usage::Meter,
    vault::TokenVault,
};

/// Settings that a host may change.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The URL under which the host serves the callback; no trailing slash.
    pub(crate) public_url: String,
    /// How much of an access token's life must be left, unless a caller asks for another time.
    pub(crate) minimum: Duration,
    /// How long a caller waits for a refresh.
    pub(crate) patience: Duration,
    /// How many connections are kept in memory.
    pub(crate) cache_capacity: usize,
    /// Whether http on a loopback address may stand for a provider. Only for tests.
    pub(crate) allow_loopback: bool,
    /// What is done for connections that nobody uses.
    pub(crate) keep_alive: KeepAlive,
    /// How often the loops run.
    pub(crate) paces: Paces,
    /// Which rules of the protocol are on.
    #[cfg(feature = "conformance")]
    pub(crate) rules: crate::refresh::protocol::Rules,
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) stores: Stores,
    pub(crate) vault: Arc<dyn TokenVault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) providers: Vec<Arc<dyn Provider>>,
    pub(crate) transport: Arc<Dated>,
    pub(crate) settings: Settings,
    pub(crate) tasks: Tasks,
    pub(crate) integrations: Integrations,
    pub(crate) cache: Cache,
    pub(crate) flights: Arc<SingleFlight>,
    pub(crate) unsaved: UnsavedSets,
    pub(crate) incidents: Incidents,
    pub(crate) hosts: Hosts,
    pub(crate) postponed: Postponed,
    /// Wakes the sweep before its time.
    pub(crate) sweep_soon: Arc<tokio::sync::Notify>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) proxy: ProxyClient,
    pub(crate) keys: Keys,
}

impl Engine {
    pub(crate) fn http(&self) -> ProviderHttp {
        ProviderHttp::new(self.transport.clone())
    }

    /// The offering and its provider.
    pub(crate) fn offering(&self, id: &str) -> Result<(Offering, Arc<dyn Provider>), Error> {
        self.providers
            .iter()
            .flat_map(|p| p.offerings().iter().map(move |o| (o, p)))
            .find(|(offering, _)| offering.id == id)
            .map(|(offering, provider)| (offering.clone(), provider.clone()))
            .ok_or_else(|| Error::new(Code::OfferingUnknown))
    }

    /// Where the provider sends the browser back to.
    pub(crate) fn callback_url(&self, integration: &IntegrationId) -> String {
        format!("{}/callback/{integration}", self.settings.public_url)
    }

    /// The row to write for a record, with the time at which a sweep should look at it.
    pub(crate) fn row(&self, record: &Record) -> ConnectionRow {
        let Settings {
            keep_alive, minimum, ..
        } = self.settings;
        let due = keep_alive::due(
            &record.facts,
            spread_of(&record.id),
            self.clock.wall(),
            keep_alive,
            minimum,
        );
        record.encode(due)
    }

    /// When a record's connection should be refreshed, if nobody asks before.
    pub(crate) fn refresh_due(&self, record: &Record, now: Timestamp) -> Option<Timestamp> {
        let Settings {
            keep_alive, minimum, ..
        } = self.settings;
        keep_alive::refresh_due(&record.facts, spread_of(&record.id), now, keep_alive, minimum)
    }

    pub(crate) fn emit(&self, integration: &IntegrationId, connection: Option<&ConnectionId>, what: What) {
        let event = Event {
            at: self.clock.wall(),
            integration: integration.clone(),
            connection: connection.cloned(),
            what,
        };
        tracing::debug!(integration = %event.integration, connection = ?event.connection, what = ?event.what, "event");
        self.incidents.note(&event);
        self.events.emit(&event);
    }

    /// The provider refuses an integration's client: that is the integration's fault, not its connections'.
    pub(crate) fn client_refused(&self, integration: &crate::integrations::Loaded, reason: Reason) -> Error {
        if integration.gate.client.trip(reason, None, self.clock.boot()) {
            self.emit(&integration.id, None, What::IntegrationFault(reason));
        }
        Error::new(Code::ClientInvalid).because(reason.as_str())
    }
}

/// Always the same for a connection, so that every process reckons the same times.
fn spread_of(id: &ConnectionId) -> u8 {
    crc32fast::hash(id.as_str().as_bytes()).to_le_bytes()[0]
}
