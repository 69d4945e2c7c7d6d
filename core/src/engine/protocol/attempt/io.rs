//! What an attempt asks for, what it is told, and how it ends.

use std::time::Duration;

use crate::{
    connection::{GrantVersion, Reason},
    engine::protocol::{
        Refresh,
        machine::{Read, Wait, Write, Written},
    },
    time::{BootInstant, StoreInstant, Timestamp},
};

/// Why somebody needs a newer token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Random, for this attempt only: the lease's holder, and the id of the set that it brings.
    pub holder: u128,
    /// The token set that is not good enough.
    pub seen: GrantVersion,
    /// When that set's access token ends, as far as is known.
    pub held_until: Timestamp,
}

/// A lease that was written to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Whose it is.
    pub holder: u128,
    /// The token set that it spends.
    pub spent: GrantVersion,
    /// How often the refresh token will have been presented, as far as is recorded.
    pub attempt: u32,
    /// What it replaced in the row.
    pub replaced: Refresh,
    /// Boot time from before the read that the first write of it followed. The lease's end is reckoned from the store's
    /// time that came with that read, so what may still be sent is counted from here.
    pub since: BootInstant,
    /// Boot time from before the last read, and the store's time that came with it.
    pub asked: BootInstant,
    /// See `asked`.
    pub now: StoreInstant,
}

/// What an attempt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read the row and take it in hand: later writes are on its revision.
    Read,
    /// Read the row, and leave the one in hand.
    Peek,
    /// Write over the row in hand.
    Swap(Write),
    /// Do whatever can fail for a reason of ours, before the token is touched: the integration serves, the vault can seal,
    /// the tokens of the row in hand open.
    Prepare {
        /// Ask the client's breaker for a pass.
        pass: bool,
        /// Ask the token host's breaker: this is not the first presentation of the token.
        host: bool,
    },
    /// Look whether somebody learnt meanwhile that the provider refuses the client.
    CheckClient,
    /// Open the tokens of the row in hand.
    Open,
    /// Wait until the row in hand would survive the loss of a machine.
    Confirm,
    /// Present the refresh token, once and now.
    Present {
        /// See [`Lease::attempt`].
        attempt: u32,
    },
    /// Ask the provider whether the access token of the row in hand works.
    Probe,
    /// The store shows an older set than this process holds: write that one again, if it may be.
    Repair,
    /// Revoke the received tokens, which belong to somebody else.
    RevokeReceived,
    /// Sleep.
    Sleep(Wait),
}

/// Whether the client's breaker is closed, or lets this one find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Nothing is wrong with the client, as far as is known.
    Free,
    /// The provider refused the client a while ago; this attempt finds out whether it still does.
    Probe,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
pub enum Event {
    /// Of `Read` and `Peek`.
    Read(Read),
    /// Of `Swap`.
    Written(Written),
    /// Of `Prepare`: all is well.
    Prepared(Pass),
    /// Of `Prepare` and `Open`: there is no refresh token in the set.
    NoRefreshToken {
        /// The access token that the caller holds still works.
        alive: bool,
    },
    /// Of `Prepare` and `Open`: it cannot be done now, and the runner knows why.
    Refused,
    /// Of `Open`: the tokens are at hand.
    Opened,
    /// Of `CheckClient`.
    Client {
        /// Nobody learnt otherwise.
        serves: bool,
    },
    /// Of `Confirm`.
    Confirmed(bool),
    /// Of `Present`.
    Answered(Answer),
    /// Of `Probe`.
    Probed(Life),
    /// Of `Repair`.
    Repaired(Repaired),
    /// Of `RevokeReceived`.
    Revoked,
    /// Of `Sleep`.
    Woken,
}

/// What came of a presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A new token set.
    Received,
    /// A token set of another user or org.
    IdentityChanged,
    /// The request was not sent, for certain.
    NotSent,
    /// It may have been processed.
    Unknown(Reason),
    /// The provider refuses the client.
    ClientRefused(Reason),
    /// The grant is gone.
    GrantDead(Reason),
    /// Another request with this token is in work.
    InProgress(Reason),
    /// Not now; the token is unspent.
    NotNow {
        /// Why.
        reason: Reason,
        /// `Retry-After`, if told.
        retry_after: Option<Duration>,
        /// A random byte to spread the wait with.
        jitter: u8,
    },
}

/// What the provider said of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does not work.
    Dead,
    /// It works, until then if the provider says so.
    Alive(Option<Timestamp>),
    /// That cannot be found out now.
    Unknown,
    /// The tokens could not be opened to ask; the runner knows why.
    Refused,
}

/// What became of a set that the store had lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It stands there again, or is served from memory until it does.
    Kept,
    /// It may not be written: the row belongs to a later connect.
    Gone,
    /// The store failed.
    Failed,
}

/// How an attempt ends. What is "in hand" is the row that was read or written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// New tokens came under this lease.
    Received(Lease),
    /// The row in hand has a newer set.
    Adopt,
    /// The row in hand has a set whose access token turned out to live.
    AdoptUntil {
        /// Until then.
        ends: Timestamp,
        /// The provider said so.
        known: bool,
    },
    /// The row in hand has a newer set, whose family my refused presentation may have ended.
    AdoptAndVerify {
        /// The set that was presented.
        spent: GrantVersion,
    },
    /// There is no such connection.
    NotFound,
    /// The row in hand is not connected.
    Ended,
    /// The grant is dead, and the row says so.
    Expired(Reason),
    /// Nothing is sent before this time has passed.
    Cooling {
        /// Why.
        reason: Reason,
        /// How long.
        wait: Duration,
    },
    /// The outcome of a presentation is not known, and nothing is sent before this time has passed.
    Unknown {
        /// Why, if this attempt made it.
        reason: Option<Reason>,
        /// How long.
        wait: Duration,
    },
    /// The set has no refresh token; its access token lives for so long, if it still does.
    NoRefreshToken {
        /// How long.
        left: Option<Duration>,
    },
    /// Another process is at it.
    InProgress(Option<Reason>),
    /// Nothing was sent, and the lease was given back.
    NotSent,
    /// The lease might not have survived the loss of a machine: nothing was sent.
    NotConfirmed,
    /// The store takes too long for anything to be sent.
    StoreUnavailable,
    /// The store failed; the runner knows why.
    StoreFailed,
    /// A command was refused; the runner knows why.
    Refused,
    /// An event came that answers no command.
    Broken,
}

/// What became known on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The provider says that the access token which the caller holds does not work.
    HeldIsDead,
    /// The set in memory belongs to nobody any more.
    Forget,
    /// A presentation has no known outcome.
    OutcomeUnknown,
    /// The provider refuses for now.
    Cooling(Reason),
    /// The connection is marked as expired.
    Expired(Reason),
}
