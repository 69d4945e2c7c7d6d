//! Refresh: hands out access tokens that work, and presents each refresh token once.
//!
//! | step | where |
//! |---|---|
//! | serve from memory | `cache`, `entry` |
//! | serve, wait or refresh behind | this file |
//! | one refresh per connection and process | `single_flight`, `lead` |
//! | what is decided | `protocol` |
//! | carry out what the machines ask for | `run`, `attempt`, `keep_set`, `verify`, `present`, `hand` |
//! | which sets are in this process only | `unsaved` |
//! | whether a write survives the loss of a machine | `confirm` |
//! | see other processes' changes | `watch` |
//! | end a connection, revoke upstream | `end`, `revoke` |
//! | what is due though nobody asks | `keep_alive`, `sweep` |
//! | whether a token host is worth asking | `hosts`, `breaker` |

mod attempt;
pub(crate) mod breaker;
pub(crate) mod cache;
mod confirm;
mod end;
mod entry;
mod hand;
pub(crate) mod hosts;
pub(crate) mod keep_alive;
mod keep_set;
mod lead;
mod present;
pub mod protocol;
pub(crate) mod revoke;
mod run;
pub(crate) mod single_flight;
pub(crate) mod sweep;
pub(crate) mod unsaved;
mod verify;
pub(crate) mod watch;

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    connection::{SetName, Status},
    engine::Engine,
    error::{Advice, Code, Error},
    grant::{Grant, tokens_context},
    id::{ConnectionId, IntegrationId},
    integrations::Loaded,
    record::Record,
    store::{StoreError, StoreErrorKind},
    vault::TokenVault,
};
use cache::Entry;
pub(crate) use end::Payer;
use protocol::Policy;
use single_flight::Waiter;

/// How long somebody whose token lives waits for the store.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// A flight takes its turn, is answered and stores what came within this time, unless something is wrong.
const LONGEST_FLIGHT: Duration = Duration::from_secs(120);

/// What a caller asks of a token set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// How much of its life must be left.
    pub(crate) minimum: Duration,
    /// A set that was refused, and is good for nothing.
    pub(crate) not: Option<SetName>,
}

/// Why a flight is flown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody wants to use the connection.
    Caller,
    /// Nobody does: it should live on.
    KeepAlive,
}

impl Engine {
    /// How sets of this integration are taken care of.
    #[cfg_attr(
        not(feature = "conformance"),
        expect(clippy::unused_self, reason = "only tests have settings for it")
    )]
    fn policy(&self, integration: &Loaded) -> Policy {
        let policy = Policy::new(integration.provider.rotation(&integration.client()));
        #[cfg(feature = "conformance")]
        let policy = policy.without(|rules| *rules = self.settings.rules);
        policy
    }

    /// Credentials that are good enough: from memory, from the store, or by a refresh.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a refresh that it waits for goes on.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        id: &ConnectionId,
        within: Option<&IntegrationId>,
        want: Want,
    ) -> Result<Arc<Entry>, Error> {
        let (entry, integration) = self.entry(id, within).await?;
        let now = self.clock.wall();
        self.cache.note_use(id, &entry, now);
        if want.not == Some(entry.name()) {
            entry.refuse();
        }
        if !entry.is_refused() {
            let window = entry.window(want.minimum);
            if now < window.soft {
                return Ok(entry);
            }
            // What failed a moment ago is not tried again for everybody whose token lives.
            let rests = entry.rests(now);
            if now < window.hard {
                if !rests {
                    // Still good: refreshed behind the caller's back.
                    drop(self.join(id, &entry, &integration, Cause::Caller));
                }
                return Ok(entry);
            }
            if rests && entry.alive(now) {
                return Ok(entry);
            }
        }
        match self.await_newer(id, &entry, &integration).await {
            Ok(newer) => Ok(newer),
            // What may pass does not matter to a caller whose token still lives.
            Err(error) if may_serve_on(&error) && entry.alive(self.clock.wall()) => Ok(entry),
            Err(error) => Err(error),
        }
    }

    /// Waits for a newer set than `held`, for as long as a caller is asked to.
    async fn await_newer(
        self: &Arc<Self>,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
    ) -> Result<Arc<Entry>, Error> {
        let better = |entry: &Entry| {
            let longer = entry.name() == held.name() && entry.expiry.at() > held.expiry.at();
            entry.name() > held.name() || longer
        };
        let wait = async {
            // A flight may have been in the air for an older wish; then one more is flown.
            for _ in 0..2 {
                match self.join(id, held, integration, Cause::Caller).outcome().await {
                    Some(Ok(entry)) if better(&entry) => return Ok(entry),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    // The flight ended without a word: it panicked, or the runtime is going down.
                    None => return Err(Error::new(Code::Internal).because("refresh_aborted")),
                }
            }
            Err(Error::new(Code::RefreshInProgress))
        };
        tokio::time::timeout(self.settings.patience, wait)
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::RefreshInProgress).retry_after(Duration::from_secs(2))))
    }

    /// Joins the connection's refresh, or starts one.
    fn join(
        self: &Arc<Self>,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
        cause: Cause,
    ) -> Waiter {
        let (waiter, leader) = self.flights.join(id);
        if let Some(leader) = leader {
            if self.tasks.closing() {
                leader.finish(Err(Code::ShuttingDown.into()));
                return waiter;
            }
            let (engine, id) = (self.clone(), id.clone());
            let (held, integration) = (held.clone(), integration.clone());
            self.tasks
                .spawn(lead::refresh(engine, integration, held, cause, leader, id));
        }
        waiter
    }

    /// Refreshes a connection for which nobody asked. A flight that does not land is not waited for: the sweep has others
    /// to look after.
    pub(crate) async fn keep_alive(
        self: &Arc<Self>,
        id: &ConnectionId,
        held: &Arc<Entry>,
        integration: &Arc<Loaded>,
    ) -> Result<Arc<Entry>, Error> {
        let waiter = self.join(id, held, integration, Cause::KeepAlive);
        match tokio::time::timeout(LONGEST_FLIGHT, waiter.outcome()).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Error::new(Code::Internal).because("refresh_aborted")),
            Err(_) => Err(Code::RefreshInProgress.into()),
        }
    }

    /// A call was refused with the set `name`: refresh, if that set is still the current one.
    pub(crate) async fn after_refusal(
        self: &Arc<Self>,
        id: &ConnectionId,
        within: Option<&IntegrationId>,
        name: SetName,
    ) -> Result<Arc<Entry>, Error> {
        // A set that this process has not heard of yet: another one stored it.
        if let Some(entry) = self.cache.get(id).filter(|e| e.name() < name) {
            entry.doubt();
        }
        let want = Want {
            minimum: Duration::ZERO,
            not: Some(name),
        };
        self.serve(id, within, want).await
    }
}

/// Opens the tokens of a row.
///
/// # Errors
/// The vault's; `connection_corrupt`.
pub(crate) async fn open(vault: &dyn TokenVault, record: &Record) -> Result<Grant, Error> {
    let context = tokens_context(&record.integration, &record.id, record.facts.row.name);
    let opened = vault.open(&context, &record.sealed).await?;
    Grant::decode(opened.expose())
}

/// What a store answers, if it does so soon.
pub(crate) async fn in_time<T>(
    operation: &'static str,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_PATIENCE, read)
        .await
        .unwrap_or_else(|_| Err(StoreError::bare(StoreErrorKind::Unavailable, operation)))
}

/// Whether an error of a refresh leaves a token that still lives good to serve.
fn may_serve_on(error: &Error) -> bool {
    let ended = matches!(
        error.code(),
        Code::ConnectionNotFound
            | Code::IntegrationDisabled
            | Code::IntegrationFrozen
            | Code::StoreMoved
            | Code::StoreArriving
    );
    !ended && error.advice() != Advice::Reconnect
}

fn within_check(within: Option<&IntegrationId>, actual: &IntegrationId) -> Result<(), Error> {
    match within {
        Some(wanted) if wanted != actual => Err(Code::IntegrationMismatch.into()),
        _ => Ok(()),
    }
}

/// Whether the connection serves tokens at all.
pub(crate) fn status_check(record: &Record) -> Result<(), Error> {
    let row = &record.facts.row;
    if record.facts.moved.is_some() {
        return Err(Code::StoreMoved.into());
    }
    let error = match row.status {
        Status::Connected => return Ok(()),
        Status::Expired => Code::ConnectionExpired,
        Status::Revoked => Code::ConnectionRevoked,
        Status::Deleted => Code::ConnectionNotFound,
    };
    let error = Error::new(error);
    Err(row
        .reason
        .map_or(error.clone(), |reason| error.because(reason.as_str())))
}
