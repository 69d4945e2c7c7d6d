//! One attempt to replace a connection's token set, from "somebody needs a newer one" to tokens or the reason why not.
//!
//! ```text
//!  acquire: read ⇄ sleep, restamp, repair, probe ── prepare ── take the lease
//!     │ ended, adopt, cooling, …                       │ mine
//!     ▼                                                ▼
//!   done ◄──────────── conclude ◄── not sent ── confirm ── recheck ── gate ── present
//!     ▲                   ▲                                                  │ │ │
//!     │                   └──────── unknown, in progress, not now ◄──────────┘ │ │
//!     ├──────────────────── expire ◄───────────────── the grant is dead ◄──────┘ │
//!     └── received: a `KeepSet` goes on ◄────────────────────────────────────────┘
//! ```

use std::time::Duration;

use super::{
    Policy, Refresh, Row,
    acquire::{Acquire, Acquired},
    conclude::{Conclude, Conclusion},
    expire::Expire,
    holds,
    machine::{Machine, Moment, Note, Read, Step, Wait, Write, Written},
    may_still_send, schedule,
};
use crate::{
    connection::{Reason, SetName},
    time::{BootInstant, StoreInstant, Timestamp},
};

/// Longer than the time limit by so much, an exchange shows that the machine slept in between.
const SLEPT: Duration = Duration::from_secs(2);

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt(Phase);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Acquire(Acquire),
    Send(Send),
    Conclude(Conclude),
    Expire(Expire),
    Done(Outcome),
}

/// Why somebody needs a newer token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Random, for this attempt only: the lease's holder, and the id of the set that it brings.
    pub holder: u128,
    /// The token set that is not good enough.
    pub seen: SetName,
    /// When that set's access token ends, as far as is known.
    pub held_until: Timestamp,
}

/// A lease that was written to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Whose it is.
    pub holder: u128,
    /// The token set that it spends.
    pub spent: SetName,
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
        spent: SetName,
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

/// The lease is in the row: confirm it, look again, and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Send {
    lease: Lease,
    row: Row,
    at: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sending {
    /// `again`: the row was written by somebody else since the first time.
    Confirming {
        again: bool,
    },
    /// It was not confirmed, perhaps only since somebody wrote the row for a reason of his own.
    Rereading,
    /// From the second presentation on: a late answer may have come in meanwhile.
    Rechecking,
    Presenting {
        sent: BootInstant,
    },
    RevokingReceived,
}

impl Attempt {
    /// Somebody needs a newer token set.
    pub fn new(ask: Ask, now: Moment) -> Self {
        Self(Phase::Acquire(Acquire::new(ask, now.boot)))
    }
}

impl Machine for Attempt {
    type Command = Command;
    type Event = Event;
    type Outcome = Outcome;
    type Notice = Notice;

    fn step(&self) -> Step<Command, Outcome> {
        match &self.0 {
            Phase::Acquire(acquire) => acquire.step(),
            Phase::Send(send) => Step::Do(send.command()),
            Phase::Conclude(conclude) => conclude.step(),
            Phase::Expire(expire) => expire.step(),
            Phase::Done(outcome) => Step::Done(*outcome),
        }
    }

    fn on(&mut self, event: Event, now: Moment, policy: &Policy) -> Vec<Notice> {
        let mut notices = Vec::new();
        match &mut self.0 {
            Phase::Acquire(acquire) => match acquire.on(event, now, policy, &mut notices) {
                Acquired::NotYet => {}
                Acquired::Lease(lease, row) => self.0 = Send::begin(lease, row, now, policy),
                Acquired::Unused(lease, row) => {
                    self.0 = give_back(lease, row, Note::NotSent, Outcome::Refused, now, policy);
                }
                Acquired::Done(outcome) => self.0 = Phase::Done(outcome),
            },
            Phase::Send(send) => self.0 = (*send).on(event, now, policy, &mut notices),
            Phase::Conclude(conclude) => match event {
                Event::Written(written) => conclude.written(written),
                Event::Read(read) => conclude.read(&read, now.wall, policy),
                Event::Woken => conclude.woken(),
                _ => self.0 = Phase::Done(Outcome::Broken),
            },
            Phase::Expire(expire) => match event {
                Event::Written(written) => notices.extend(expire.written(written)),
                Event::Read(read) => notices.extend(expire.read(&read, policy)),
                Event::Woken => expire.woken(),
                _ => self.0 = Phase::Done(Outcome::Broken),
            },
            Phase::Done(_) => self.0 = Phase::Done(Outcome::Broken),
        }
        notices
    }
}

fn give_back(lease: Lease, row: Row, note: Note, then: Outcome, now: Moment, policy: &Policy) -> Phase {
    let what = Conclusion::GivenBack(note);
    Phase::Conclude(Conclude::new(lease, row, what, then, now.wall, policy))
}

impl Send {
    fn begin(lease: Lease, row: Row, now: Moment, policy: &Policy) -> Phase {
        let send = |at| Self { lease, row, at };
        if policy.rules.confirm {
            return Phase::Send(send(Sending::Confirming { again: false }));
        }
        send(Sending::Rereading).confirmed(now, policy)
    }

    fn command(&self) -> Command {
        match self.at {
            Sending::Confirming { .. } => Command::Confirm,
            Sending::Rereading => Command::Read,
            Sending::Rechecking => Command::Peek,
            Sending::Presenting { .. } => Command::Present {
                attempt: self.lease.attempt,
            },
            Sending::RevokingReceived => Command::RevokeReceived,
        }
    }

    fn on(mut self, event: Event, now: Moment, policy: &Policy, notices: &mut Vec<Notice>) -> Phase {
        match (self.at, event) {
            (Sending::Confirming { .. }, Event::Confirmed(true)) => self.confirmed(now, policy),
            (Sending::Confirming { again: false }, Event::Confirmed(false)) => {
                self.at = Sending::Rereading;
                Phase::Send(self)
            }
            (Sending::Rereading, Event::Read(Read::Row(view))) => {
                self.row = view.row;
                if view.changed && holds(&view.row, self.lease.holder) {
                    self.at = Sending::Confirming { again: true };
                    Phase::Send(self)
                } else {
                    self.unconfirmed(now, policy)
                }
            }
            (Sending::Confirming { again: true }, Event::Confirmed(false))
            | (Sending::Rereading, Event::Read(_)) => self.unconfirmed(now, policy),
            (Sending::Rechecking, Event::Read(Read::Row(view))) if holds(&view.row, self.lease.holder) => {
                self.gate(now, policy)
            }
            (Sending::Rechecking, Event::Read(_)) => self.not_sent(now, policy),
            (Sending::Presenting { sent }, Event::Answered(answer)) => {
                self.answered(answer, sent, now, policy, notices)
            }
            (Sending::RevokingReceived, Event::Revoked) => {
                Phase::Expire(Expire::new(&self.lease, 1, Reason::IdentityChanged))
            }
            _ => Phase::Done(Outcome::Broken),
        }
    }

    fn confirmed(mut self, now: Moment, policy: &Policy) -> Phase {
        if self.lease.attempt >= 2 && policy.rules.recheck {
            self.at = Sending::Rechecking;
            return Phase::Send(self);
        }
        self.gate(now, policy)
    }

    /// May the token still be sent? If so, that is the next command, with nothing in between.
    fn gate(mut self, now: Moment, policy: &Policy) -> Phase {
        if !may_still_send(now.boot - self.lease.since, policy) {
            return self.not_sent(now, policy);
        }
        self.at = Sending::Presenting { sent: now.boot };
        Phase::Send(self)
    }

    fn not_sent(self, now: Moment, policy: &Policy) -> Phase {
        give_back(self.lease, self.row, Note::NotSent, Outcome::NotSent, now, policy)
    }

    fn unconfirmed(self, now: Moment, policy: &Policy) -> Phase {
        give_back(
            self.lease,
            self.row,
            Note::NotSent,
            Outcome::NotConfirmed,
            now,
            policy,
        )
    }

    fn answered(
        mut self,
        answer: Answer,
        sent: BootInstant,
        now: Moment,
        policy: &Policy,
        notices: &mut Vec<Notice>,
    ) -> Phase {
        let Self { lease, row, .. } = self;
        let store_time = |at: BootInstant| lease.now.plus(at - lease.asked);
        let quarantined = |reason| Outcome::Unknown {
            reason: Some(reason),
            wait: policy.quarantine,
        };
        let (what, then) = match answer {
            Answer::Received => return Phase::Done(Outcome::Received(lease)),
            Answer::IdentityChanged => {
                self.at = Sending::RevokingReceived;
                return Phase::Send(self);
            }
            Answer::GrantDead(reason) => {
                return Phase::Expire(Expire::new(&lease, lease.attempt, reason));
            }
            Answer::NotSent => return self.not_sent(now, policy),
            Answer::ClientRefused(reason) => (
                Conclusion::GivenBack(Note::ClientRefused(reason)),
                Outcome::Refused,
            ),
            Answer::Unknown(reason) => {
                notices.push(Notice::OutcomeUnknown);
                // If the machine slept between the gate and the send, the request left later than the gate thinks.
                let slept = now.boot - sent > policy.time_limit + SLEPT;
                let sent_by = store_time(if slept { now.boot } else { sent });
                (Conclusion::Unknown { sent_by, reason }, quarantined(reason))
            }
            Answer::InProgress(reason) if !policy.rules.in_progress_unknown => {
                let wait = schedule::cooling(1, None, 0);
                let until = now.wall + wait;
                (
                    Conclusion::Cooling { until, reason },
                    Outcome::Cooling { reason, wait },
                )
            }
            Answer::InProgress(reason) => {
                let at = store_time(now.boot);
                (Conclusion::InProgress { at, reason }, quarantined(reason))
            }
            Answer::NotNow {
                reason,
                retry_after,
                jitter,
            } => {
                let failures = match lease.replaced {
                    Refresh::Cooling { failures, .. } => failures + 1,
                    _ => 1,
                };
                let wait = schedule::cooling(failures, retry_after, jitter);
                notices.push(Notice::Cooling(reason));
                let until = now.wall + wait;
                (
                    Conclusion::Cooling { until, reason },
                    Outcome::Cooling { reason, wait },
                )
            }
        };
        Phase::Conclude(Conclude::new(lease, row, what, then, now.wall, policy))
    }
}
