//! What the machines of the protocol have in common.
//!
//! A machine is a decision procedure without I/O: it asks for one thing at a time with [`Machine::step`], whoever drives it
//! does that and hands the result to [`Machine::on`]. It reads no clock, awaits nothing and holds no token. The broker's
//! runner drives machines against a store and a provider; the model check drives the same machines against a world of its
//! own, in every order.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use super::{Policy, Row};
use crate::{
    connection::Reason,
    time::{BootInstant, StoreInstant, Timestamp},
};

/// A decision procedure without I/O.
pub trait Machine {
    /// What it asks for.
    type Command: fmt::Debug;
    /// What came of that.
    type Event: fmt::Debug;
    /// How it ends.
    type Outcome: fmt::Debug;
    /// What became known on the way: effects in memory only, which cannot fail.
    type Notice: fmt::Debug;

    /// The one thing that is to be done next. Asking changes nothing.
    fn step(&self) -> Step<Self::Command, Self::Outcome>;

    /// Takes the result of the last command, as of `now`. An event that does not answer that command ends the machine
    /// without further effect: its lease lapses, which is always safe.
    fn on(&mut self, event: Self::Event, now: Moment, policy: &Policy) -> Vec<Self::Notice>;
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<C, O> {
    /// Do this, and tell the machine what came of it.
    Do(C),
    /// Nothing: it has ended.
    Done(O),
}

/// Both clocks of a process, read together when an event is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Boot time.
    pub boot: BootInstant,
    /// Wall time.
    pub wall: Timestamp,
}

/// A row as it was read: what machines decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The row.
    pub row: Row,
    /// The row as it was when the connection was copied to another store; such a connection is not used here any more.
    pub migrated: Option<Row>,
    /// It has another revision than the row in hand had.
    pub changed: bool,
    /// The row owes the provider the revocation of the received set.
    pub owed: bool,
    /// What is known of the stored access token.
    pub access: Access,
    /// Boot time from before the row was asked for.
    pub asked: BootInstant,
    /// The store's time that came with it.
    pub now: StoreInstant,
}

/// What is known of a stored token set's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// When its access token ends.
    pub ends: Timestamp,
    /// The provider said so; otherwise the end is assumed.
    pub known: bool,
    /// When its refresh token ends unless it is used.
    pub refresh_by: Option<Timestamp>,
    /// A call was refused with it.
    pub refused: bool,
}

/// What came of reading a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
pub enum Read {
    /// The row.
    Row(View),
    /// There is none.
    Missing,
    /// It cannot be decoded.
    Unreadable,
    /// The store did not answer.
    Failed,
}

/// What came of a compare-and-swap on the row in hand, which a successful one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Written.
    Swapped,
    /// The row has another revision; nothing was written.
    Conflict,
    /// There is no such row.
    Missing,
    /// The store did not answer: it may have been written.
    Failed,
}

/// How often in a row something was tried. It sets the length of a sleep and decides nothing, so that machines that differ
/// in it only are equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff(pub u32);

impl Backoff {
    /// One more.
    pub(super) fn advance(&mut self) {
        self.0 = self.0.saturating_add(1);
    }
}

impl PartialEq for Backoff {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Backoff {}

impl Hash for Backoff {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// How long to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Until a row that another process works on is worth another look.
    Poll(Backoff),
    /// Until a store that failed is worth another try.
    StoreRetry(Backoff),
}

/// A row to write over the row in hand, and what its history will say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The row.
    pub row: Row,
    /// Why.
    pub note: Note,
}

/// What a write adds to the connection's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// Nothing: a moment on a clock that is gone was carried over to the present one.
    Restamped,
    /// The lease was taken.
    Leased,
    /// Nothing was sent.
    NotSent,
    /// The provider refuses the client.
    ClientRefused(Reason),
    /// The answer is not known.
    OutcomeUnknown(Reason),
    /// Another request with this token was in work.
    AlreadyProcessing(Reason),
    /// Refused for now.
    Cooling(Reason),
    /// The connection expired.
    Expired {
        /// What the provider said of the refresh token, if that was it.
        refusal: Option<Reason>,
        /// Why.
        reason: Reason,
    },
    /// A new set is stored.
    Refreshed,
    /// The store had lost the set, and has it again.
    StoredAgain,
    /// The set came after the connection was copied to another store.
    CameAfterCopy,
}
