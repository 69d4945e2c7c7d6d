//! The steps of a refresh as a store and a transport see them: each is announced, and at one of them the process can
//! kill or stop itself.

use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use grantry::{
    connection::Attention,
    id::{ConnectionId, IntegrationId},
    provider::{Transport, TransportError},
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Inserted, ListEntry,
        Page, Point, Removed, Revision, StoreError, Stored, Swap, Warning,
    },
    time::{StoreInstant, Timestamp},
    transport::HttpTransport,
};
use http::{Request, Response};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

use crate::child::tell;

/// Counts and announces steps, once it is armed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    armed: Mutex<Option<Armed>>,
    resumed: Condvar,
}

#[derive(Debug)]
struct Armed {
    next: usize,
    act: Option<(Signal, usize)>,
    /// It stopped, and has not been told to go on.
    waits: bool,
}

impl Steps {
    /// Counts from 0 again. `act` is a signal that the process sends itself at a step.
    pub(crate) fn arm(&self, act: Option<(Signal, usize)>) {
        let waits = false;
        *self.0.armed.lock().unwrap() = Some(Armed { next: 0, act, waits });
    }

    /// Lets go on what stopped at a step.
    pub(crate) fn resume(&self) {
        self.0.armed.lock().unwrap().as_mut().unwrap().waits = false;
        self.0.resumed.notify_all();
    }

    fn step(&self, name: &str) {
        let signal = {
            let mut armed = self.0.armed.lock().unwrap();
            let Some(armed) = armed.as_mut() else { return };
            let number = armed.next;
            armed.next += 1;
            tell(&json!({ "step": name }));
            let signal = armed.act.filter(|(_, at)| *at == number);
            armed.waits = signal.is_some();
            signal
        };
        if let Some((signal, _)) = signal {
            kill_process(getpid(), signal).unwrap();
            // The signal may reach another thread first, and this one must not get any further.
            let armed = self.0.armed.lock().unwrap();
            let waits = |armed: &mut Option<Armed>| armed.as_ref().unwrap().waits;
            drop(self.0.resumed.wait_while(armed, waits).unwrap());
        }
    }
}

/// What has happened before a step, by the names of the steps up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The lease is not written.
    Before,
    /// The lease is written, and the gate is still ahead.
    Lease,
    /// The gate is behind, and nothing is sent.
    Gated,
    /// The request is with the provider.
    Sent,
    /// The new set came back and is not stored.
    Holding,
    /// The new set is stored.
    Stored,
}

impl Phase {
    pub(crate) fn of(names: &[String]) -> Self {
        let count = |name: &str| names.iter().filter(|n| *n == name).count();
        match (count("swapped"), count("send"), count("answered")) {
            (2.., ..) => Self::Stored,
            (_, _, 1..) => Self::Holding,
            (_, 1.., _) => Self::Gated,
            (1, ..) => Self::Lease,
            _ => Self::Before,
        }
    }
}

/// A store that announces how the rows of connections are read and written.
#[derive(Debug)]
pub(crate) struct WatchedStore {
    pub(crate) inner: Arc<dyn ConnectionStore>,
    pub(crate) steps: Steps,
}

#[async_trait]
impl ConnectionStore for WatchedStore {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        self.inner.insert_connection(row).await
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        self.steps.step("read");
        let read = self.inner.connection(id).await;
        self.steps.step("was read");
        read
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        self.steps.step("swap");
        let swapped = self.inner.swap_connection(next, expected).await;
        self.steps.step("swapped");
        swapped
    }

    async fn confirm_connection(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        self.inner.confirm_connection(id, revision).await
    }

    fn warnings(&self) -> Vec<Warning> {
        self.inner.warnings()
    }

    async fn connection_news(&self) {
        self.inner.connection_news().await;
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        self.inner.remove_connection(id, expected).await
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        self.inner.list_connections(filter, before, limit).await
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        self.inner.due_connections(until, after, limit).await
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        self.inner
            .connections_needing_attention(attention, before, limit)
            .await
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        self.inner.connection_changes(since).await
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        self.inner.touch_connections(facts).await
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.inner.connections_by_key().await
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        self.inner.has_connections(integration).await
    }
}

/// The built-in transport, which announces what it sends.
#[derive(Debug)]
pub(crate) struct WatchedTransport {
    pub(crate) inner: HttpTransport,
    pub(crate) steps: Steps,
}

#[async_trait]
impl Transport for WatchedTransport {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Bytes>, TransportError> {
        self.steps.step("send");
        let answer = self.inner.send(request).await;
        self.steps.step("answered");
        answer
    }
}
