//! Keeps a received token set until it is safe: stored, and not to be lost with a machine; or superseded; or owed a
//! revocation, since its connection has ended.
//!
//! ```text
//!             ┌──────────── failed, conflict ─────────────┐
//!             ▼                                           │
//!  judge ── look ── seal ── store ── stored ── (verify) ── answer ── confirm ── safe
//!             │                                                        │  ▲
//!             ├─ superseded: answer, and drop it                       └──┘ look again
//!             └─ ended: answer ── confirm the reconnect ── owe a revocation, unless it is the living token
//! ```
//!
//! Its tokens may be the only living ones, so it never gives up, and whoever holds the lease by now does not matter: what
//! came back for the stored set is stored. The callers who wait for the refresh are answered as early as that is safe; what
//! follows happens behind their backs.

mod io;
mod owe;

pub use io::{Answer, Command, Compared, Confirm, Event, Notice, Outcome};
use owe::{Owe, Owed};

use super::{
    Policy, Row,
    commit::{Commit, commit},
    holds,
    machine::{Backoff, Machine, Moment, Note, Read, Step, View, Wait, Write, Written},
};
use crate::{
    connection::{GrantVersion, Status},
    time::BootInstant,
};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeepSet {
    /// The set that was spent for it.
    spent: GrantVersion,
    write_id: u128,
    /// One of the tries to store it would have it verified, and that was not done yet.
    verify: bool,
    /// It came back for an expired connection.
    recovers: bool,
    /// It came after its lease had lapsed.
    late: bool,
    /// The store took it once.
    taken: bool,
    /// It could not be made safe at once, which was said.
    unsaved: bool,
    /// The callers who wait for it have their answer.
    answered: bool,
    /// The store or the vault did not do its part once.
    failed: bool,
    /// What the row in hand is to the set, and so what must be safe before it is let go. `None`: nothing.
    stands: Option<Stands>,
    round: Backoff,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stands {
    /// The row in hand holds the set.
    Set,
    /// The row in hand is a reconnect: should it be lost, the connection lives on the set.
    Reconnect,
    /// What was deleted or revoked is to end at once, whatever becomes of its row.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Looking,
    Sealing(Plan),
    Storing(Plan),
    Verifying { then_confirm: bool },
    Revoking,
    Answering(Answer, Next),
    Confirming,
    Owing(Owe),
    Sleeping(Next),
    Done(Outcome),
}

/// The write that would store the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    /// The row in hand still shows the lease.
    held: bool,
    expired: bool,
    row: Row,
    verify: bool,
    rolled_back: bool,
    /// The row in hand stayed behind when the connection was copied to another store.
    migrated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Look,
    Confirm,
    Owe,
    Finish(Outcome),
}

impl KeepSet {
    /// The set `write_id` came back for `spent`. `since`: see [`Lease`](super::attempt::Lease). `in_hand` is the row as it was
    /// read or written last.
    pub fn new(
        spent: GrantVersion,
        write_id: u128,
        since: BootInstant,
        in_hand: Read,
        now: Moment,
        policy: &Policy,
    ) -> (Self, Vec<Notice>) {
        let mut machine = Self {
            spent,
            write_id,
            verify: false,
            recovers: false,
            late: false,
            taken: false,
            unsaved: false,
            answered: false,
            failed: false,
            stands: None,
            round: Backoff::default(),
            at: At::Looking,
        };
        let mut notices = Vec::new();
        if now.boot - since > policy.lease {
            machine.came_late(&mut notices);
        }
        notices.extend(machine.on(Event::Read(in_hand), now, policy));
        (machine, notices)
    }

    fn came_late(&mut self, notices: &mut Vec<Notice>) {
        if !std::mem::replace(&mut self.late, true) {
            notices.push(Notice::Late);
        }
    }

    fn judge(&mut self, view: &View, policy: &Policy, notices: &mut Vec<Notice>) {
        let migrated = view.migrated.is_some();
        let row = view.migrated.as_ref().unwrap_or(&view.row);
        match commit(row, self.spent, self.write_id, policy) {
            Commit::Write {
                row: next,
                verify,
                rolled_back,
            } => {
                self.stands = None;
                self.at = At::Sealing(Plan {
                    held: holds(row, self.write_id),
                    expired: row.status == Status::Expired,
                    row: next,
                    verify,
                    rolled_back,
                    migrated,
                });
            }
            Commit::Stored if migrated => self.migrated(notices),
            Commit::Superseded | Commit::Ended if migrated => {
                notices.push(Notice::LeftOver);
                self.migrated(notices);
            }
            Commit::Stored => self.stored(false, view.changed, policy, notices),
            Commit::Superseded => self.superseded(policy, notices),
            Commit::Ended => self.ended(
                match row.status {
                    Status::Deleted | Status::Revoked => Stands::Over,
                    Status::Connected | Status::Expired => Stands::Reconnect,
                },
                Answer::InHand,
                policy,
                notices,
            ),
        }
    }

    fn stored(&mut self, written: bool, changed: bool, policy: &Policy, notices: &mut Vec<Notice>) {
        let first = !std::mem::replace(&mut self.taken, true);
        let news = written || changed || self.stands != Some(Stands::Set);
        self.stands = Some(Stands::Set);
        if first {
            let recovers = self.recovers;
            notices.push(Notice::Stored { recovers });
        }
        let then_confirm = !self.answered || (news && (first || !written));
        // Also if the write got no answer, and the set is found stored.
        if self.verify {
            self.at = At::Verifying { then_confirm };
        } else {
            self.verified(then_confirm, policy, notices);
        }
    }

    fn verified(&mut self, then_confirm: bool, policy: &Policy, notices: &mut Vec<Notice>) {
        if !self.answered {
            let next = if policy.rules.confirm {
                Next::Confirm
            } else {
                Next::Finish(Outcome::Safe)
            };
            self.answer(Answer::Stored, next);
        } else if then_confirm {
            self.confirm(policy, notices);
        } else {
            self.pause(notices);
        }
    }

    fn superseded(&mut self, policy: &Policy, notices: &mut Vec<Notice>) {
        if self.answered {
            return self.finish(Outcome::Superseded, notices);
        }
        notices.push(Notice::Superseded);
        if policy.rules.superseded_kept {
            self.answer(Answer::InHand, Next::Finish(Outcome::Superseded));
        } else {
            self.at = At::Revoking;
        }
    }

    fn ended(&mut self, by: Stands, answer: Answer, policy: &Policy, notices: &mut Vec<Notice>) {
        let known = matches!(self.stands.replace(by), Some(Stands::Reconnect | Stands::Over));
        if !self.answered {
            notices.push(Notice::Forget);
            self.answer(answer, Next::Confirm);
        } else if known {
            self.pause(notices);
        } else {
            self.confirm(policy, notices);
        }
    }

    fn migrated(&mut self, notices: &mut Vec<Notice>) {
        if self.answered {
            return self.finish(Outcome::Migrated, notices);
        }
        notices.push(Notice::Forget);
        self.answer(Answer::Migrated, Next::Finish(Outcome::Migrated));
    }

    fn answer(&mut self, answer: Answer, next: Next) {
        self.round = Backoff::default();
        self.at = At::Answering(answer, next);
    }

    /// The store or the vault did not do it. In the foreground the second failure is said, and callers are served from
    /// memory.
    fn did_not(&mut self, notices: &mut Vec<Notice>) {
        if self.answered {
            return self.pause(notices);
        }
        let again = std::mem::replace(&mut self.failed, true);
        if again && !std::mem::replace(&mut self.unsaved, true) {
            notices.push(Notice::Unsaved);
        }
        self.at = At::Sleeping(Next::Look);
    }

    fn pause(&mut self, notices: &mut Vec<Notice>) {
        if !std::mem::replace(&mut self.unsaved, true) {
            notices.push(Notice::AtRisk);
        }
        let next = if self.stands.is_some() {
            Next::Confirm
        } else {
            Next::Look
        };
        self.at = At::Sleeping(next);
    }

    fn confirm(&mut self, policy: &Policy, notices: &mut Vec<Notice>) {
        match self.stands {
            Some(Stands::Reconnect) if !policy.rules.confirm => self.go(Next::Owe, policy, notices),
            Some(Stands::Over) => self.go(Next::Owe, policy, notices),
            _ => self.at = At::Confirming,
        }
    }

    fn finish(&mut self, outcome: Outcome, notices: &mut Vec<Notice>) {
        if self.unsaved {
            notices.push(Notice::Saved);
        }
        self.at = At::Done(outcome);
    }

    fn go(&mut self, next: Next, policy: &Policy, notices: &mut Vec<Notice>) {
        match next {
            Next::Look => self.at = At::Looking,
            Next::Confirm => self.confirm(policy, notices),
            Next::Owe if !policy.rules.owe_late => self.finish(Outcome::Ended, notices),
            Next::Owe => self.at = At::Owing(Owe::Reading),
            Next::Finish(outcome) => self.finish(outcome, notices),
        }
    }

    fn owe(&mut self, owed: Owed, notices: &mut Vec<Notice>) {
        match owed {
            Owed::Next(owe) => self.at = At::Owing(owe),
            Owed::NotNow => self.at = At::Sleeping(Next::Owe),
            Owed::Done { owes } => {
                if owes {
                    notices.push(Notice::Owed);
                }
                self.finish(Outcome::Ended, notices);
            }
            Owed::Broken => self.at = At::Done(Outcome::Broken),
        }
    }
}

impl Machine for KeepSet {
    type Command = Command;
    type Event = Event;
    type Outcome = Outcome;
    type Notice = Notice;

    fn step(&self) -> Step<Command, Outcome> {
        Step::Do(match self.at {
            At::Looking => Command::Read,
            At::Sealing(plan) => Command::Seal(plan.row.version),
            At::Storing(plan) => Command::Store {
                write: Write {
                    row: plan.row,
                    note: match (plan.migrated, self.taken) {
                        (true, _) => Note::CameAfterCopy,
                        (false, true) => Note::StoredAgain,
                        (false, false) => Note::Refreshed,
                    },
                },
                migrated: plan.migrated,
            },
            At::Verifying { .. } => Command::Verify,
            At::Revoking => Command::RevokeReceived,
            At::Answering(answer, _) => Command::Answer(answer),
            At::Confirming => Command::Confirm(match self.stands {
                Some(Stands::Reconnect) => Confirm::Reconnect,
                _ => Confirm::Set,
            }),
            At::Owing(owe) => owe.command(),
            At::Sleeping(_) => Command::Sleep(Wait::StoreRetry(self.round)),
            At::Done(outcome) => return Step::Done(outcome),
        })
    }

    fn on(&mut self, event: Event, _: Moment, policy: &Policy) -> Vec<Notice> {
        let mut notices = Vec::new();
        let n = &mut notices;
        match (self.at, event) {
            (At::Looking, Event::Read(read)) => match read {
                Read::Row(view) => self.judge(&view, policy, n),
                Read::Missing => self.ended(Stands::Over, Answer::NotFound, policy, n),
                Read::Unreadable | Read::Failed => self.did_not(n),
            },
            (At::Sealing(plan), Event::Sealed(true)) => {
                if !plan.migrated {
                    if !plan.held {
                        self.came_late(n);
                    }
                    self.verify |= plan.verify;
                    self.recovers |= plan.expired;
                    if plan.rolled_back || self.taken {
                        n.push(Notice::RolledBack);
                    }
                }
                self.at = At::Storing(plan);
            }
            (At::Sealing(_), Event::Sealed(false)) | (At::Storing(_), Event::Written(Written::Failed)) => {
                self.did_not(n);
            }
            (At::Storing(_), Event::Written(Written::Missing)) => {
                self.ended(Stands::Over, Answer::NotFound, policy, n);
            }
            (At::Storing(plan), Event::Written(Written::Swapped)) if plan.migrated => {
                n.push(Notice::CameAfterCopy);
                self.migrated(n);
            }
            (At::Storing(_), Event::Written(Written::Swapped)) => self.stored(true, true, policy, n),
            (At::Verifying { then_confirm }, Event::Done) => {
                self.verify = false;
                self.verified(then_confirm, policy, n);
            }
            (At::Revoking, Event::Done) => {
                self.answer(Answer::InHand, Next::Finish(Outcome::Superseded));
            }
            (At::Answering(_, next), Event::Done) => {
                self.answered = true;
                self.go(next, policy, n);
            }
            (At::Confirming, Event::Confirmed(true)) if self.stands == Some(Stands::Set) => {
                self.finish(Outcome::Safe, n);
            }
            (At::Confirming, Event::Confirmed(true)) => self.go(Next::Owe, policy, n),
            (At::Confirming, Event::Confirmed(false))
            | (At::Storing(_), Event::Written(Written::Conflict)) => {
                self.at = At::Looking;
            }
            (At::Owing(owe), event) => self.owe(owe.on(event, self.write_id), n),
            (At::Sleeping(next), Event::Woken) => {
                self.round.advance();
                self.go(next, policy, n);
            }
            _ => self.at = At::Done(Outcome::Broken),
        }
        notices
    }
}
