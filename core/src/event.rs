//! Events: every change of state that a host may want to react to. They never contain a secret.

use std::fmt;

use crate::{
    connection::{GrantVersion, Reason},
    id::{ConnectionId, IntegrationId},
    time::Timestamp,
};

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When, by the broker's clock.
    pub at: Timestamp,
    /// The integration concerned.
    pub integration: IntegrationId,
    /// The connection concerned, if it is about one.
    pub connection: Option<ConnectionId>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// A user connected an account.
    Connected,
    /// A user reconnected; the id is the same.
    Reconnected,
    /// The provider granted other scopes than were asked for.
    ScopesDiffer,
    /// A connect attempt failed.
    ConnectFailed(Reason),
    /// A new token set is stored.
    Refreshed(GrantVersion),
    /// The instance URL changed with a refresh.
    InstanceChanged,
    /// The grant is dead; the user needs to reconnect.
    Expired(Reason),
    /// A connection marked expired turned out to work.
    Recovered,
    /// The connection was revoked here.
    Revoked,
    /// The connection was deleted.
    Deleted,
    /// The provider carried out an owed revocation.
    RevokedUpstream,
    /// An owed revocation was abandoned after twelve refusals: the grant may live on at the provider.
    RevocationGivenUp,
    /// A refresh was refused for now.
    Cooling(Reason),
    /// A refresh was sent and its outcome is not known.
    OutcomeUnknown,
    /// A token set is safe in this process only: it could not be stored yet, or the store might lose it with a machine.
    Unsaved,
    /// An unsaved token set is safe in the store now.
    Saved,
    /// A token set came back after another one was stored; it was dropped.
    Superseded,
    /// A token set came back for a connection that was copied to another store meanwhile. It is kept in its row here, and
    /// is copied when the copy is run once more.
    CameAfterCopy,
    /// The store has an older row than it once acknowledged.
    StoreRolledBack,
    /// The refresh token was presented by a holder whose lease had passed.
    LatePresenter,
    /// The provider refuses the integration's client.
    IntegrationFault(Reason),
    /// The integration's client was verified.
    IntegrationConfigured,
    /// The integration was switched off.
    IntegrationDisabled,
    /// The integration was frozen: its connections are being revoked.
    IntegrationFrozen,
    /// Every connection of the frozen integration is revoked here; the provider is told about each in turn.
    FreezeDone,
    /// The integration was switched on.
    IntegrationEnabled,
    /// The monthly limit is reached.
    LimitReached,
    /// The provider says that the account's API limit is reached.
    ProviderLimitReached,
}

/// Where events go. Called inline: it must be quick, must not block and must not panic.
pub trait EventSink: fmt::Debug + Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: &Event);
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _: &Event) {}
}
