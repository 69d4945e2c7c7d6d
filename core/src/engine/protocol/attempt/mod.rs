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

mod acquire;
mod conclude;
mod expire;
mod io;

use acquire::{Acquire, Acquired};
use conclude::{Conclude, Conclusion};
use expire::Expire;
pub use io::{Answer, Ask, Command, Event, Lease, Life, Notice, Outcome, Pass, Repaired};

use super::{
    Policy, Refresh, Row, holds,
    machine::{Machine, Moment, Note, Read, Step},
    may_still_send, schedule,
};
use crate::{connection::Reason, engine::limits::SLEPT, time::BootInstant};

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
