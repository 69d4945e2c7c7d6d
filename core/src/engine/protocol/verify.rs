//! Tries a set that may have been ended by another presentation. Dead, the connection is marked as expired, visibly.
//! Unknown, it is served, and the first refused call will tell.
//!
//! ```text
//!         ┌────────── replaced: load ──────────┐
//!         ▼                                    │
//!  try ── read ── mark as expired ── confirm ──┤
//!   │      ▲            │ failed, conflict     │ would be lost with a machine
//!   good   └────────────┴──────────────────────┘
//! ```
//!
//! Nobody else may notice that the set is dead: what ended its family is written nowhere. So the machine does not give up,
//! whatever the store does, until a mark stands that would survive the loss of a machine. (The mark that a refused lease
//! leaves need not: under it is that lease, which was confirmed, and which somebody resolves.) Those who wait for the
//! refresh do so no longer than they want to; the leader's place stays taken meanwhile.

use super::{
    Policy, Row,
    commit::{follows, found_dead, is_marked},
    machine::{Backoff, Machine, Moment, Note, Read, Step, Wait, Write, Written},
};
use crate::{
    connection::{GrantVersion, Reason},
    time::BootInstant,
};

const REASON: Reason = Reason::OutcomeUnknown;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verify {
    version: GrantVersion,
    /// The access token ends by itself then, whatever was done to the wall clock since it was given.
    ends: BootInstant,
    /// A write of the mark got no answer.
    unsure: bool,
    round: Backoff,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Trying,
    Reading,
    Marking(Row),
    Confirming,
    Loading,
    Sleeping,
    Done(Outcome),
}

/// What it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Ask the provider whether the set's access token works.
    Try,
    /// Read the row and take it in hand.
    Read,
    /// Write over the row in hand.
    Swap(Write),
    /// Wait until the row in hand would survive the loss of a machine.
    Confirm,
    /// Take the row in hand into memory: it is the set to try from now on.
    Load,
    /// Sleep.
    Sleep(Wait),
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
pub enum Event {
    /// Of `Try`.
    Tried {
        /// The provider says that it does not work. If that cannot be found out, it does.
        dead: bool,
    },
    /// Of `Read`.
    Read(Read),
    /// Of `Swap`.
    Written(Written),
    /// Of `Confirm`.
    Confirmed(bool),
    /// Of `Load`.
    Loaded {
        /// The set.
        version: GrantVersion,
        /// When its access token ends.
        ends: BootInstant,
    },
    /// Of `Load`: it could not be; the runner knows why.
    Refused {
        /// That may pass.
        retryable: bool,
    },
    /// Of `Sleep`.
    Woken,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The set that was tried last is good, as far as is known.
    Good,
    /// It is dead.
    Dead,
    /// There is no such connection.
    NotFound,
    /// What replaced it cannot be opened, which shows; the runner knows why.
    Refused,
    /// An event came that answers no command.
    Broken,
}

/// What became known on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The set that was tried serves nobody any more.
    TriedIsDead,
    /// The connection is marked as expired.
    Expired(Reason),
}

impl Verify {
    /// Try the set `version`, whose access token ends by itself at `ends`.
    pub fn new(version: GrantVersion, ends: BootInstant) -> Self {
        Self {
            version,
            ends,
            unsure: false,
            round: Backoff::default(),
            at: At::Trying,
        }
    }

    /// The set `version` is dead: try the one that replaced it.
    pub fn successor(version: GrantVersion) -> Self {
        Self {
            at: At::Reading,
            ..Self::new(version, BootInstant::default())
        }
    }

    fn read(&mut self, row: &Row, policy: &Policy) -> Option<Notice> {
        if let Some(row) = found_dead(row, self.version, REASON) {
            self.at = At::Marking(row);
        } else if is_marked(row, self.version) {
            self.marked(policy);
            // My write was applied though its answer was lost.
            return self
                .unsure
                .then_some(Notice::Expired(row.reason.unwrap_or(REASON)));
        } else if follows(row, self.version) && policy.rules.verify_follows {
            // What replaced it meanwhile may be of the family that was ended, and then nobody else would notice.
            self.at = At::Loading;
        } else {
            self.at = At::Done(Outcome::Dead);
        }
        None
    }

    fn marked(&mut self, policy: &Policy) {
        self.at = if policy.rules.confirm {
            At::Confirming
        } else {
            At::Done(Outcome::Dead)
        };
    }
}

impl Machine for Verify {
    type Command = Command;
    type Event = Event;
    type Outcome = Outcome;
    type Notice = Notice;

    fn step(&self) -> Step<Command, Outcome> {
        Step::Do(match self.at {
            At::Trying => Command::Try,
            At::Reading => Command::Read,
            At::Marking(row) => Command::Swap(Write {
                row,
                note: Note::Expired {
                    refusal: None,
                    reason: REASON,
                },
            }),
            At::Confirming => Command::Confirm,
            At::Loading => Command::Load,
            At::Sleeping => Command::Sleep(Wait::StoreRetry(self.round)),
            At::Done(outcome) => return Step::Done(outcome),
        })
    }

    fn on(&mut self, event: Event, now: Moment, policy: &Policy) -> Vec<Notice> {
        match (self.at, event) {
            // A token that came to its own end on the way, while the machine slept for instance, says nothing about its
            // family.
            (At::Trying, Event::Tried { dead }) if dead && now.boot < self.ends => {
                self.at = At::Reading;
                return vec![Notice::TriedIsDead];
            }
            (At::Trying, Event::Tried { .. }) => self.at = At::Done(Outcome::Good),
            (At::Reading, Event::Read(read)) => match read {
                Read::Row(view) => return self.read(&view.row, policy).into_iter().collect(),
                Read::Missing => self.at = At::Done(Outcome::Dead),
                Read::Unreadable | Read::Failed => self.at = At::Sleeping,
            },
            (At::Marking(_), Event::Written(written)) => match written {
                Written::Swapped => {
                    self.marked(policy);
                    return vec![Notice::Expired(REASON)];
                }
                Written::Conflict => self.at = At::Reading,
                Written::Missing => self.at = At::Done(Outcome::NotFound),
                Written::Failed => {
                    self.unsure = true;
                    self.at = At::Sleeping;
                }
            },
            (At::Confirming, Event::Confirmed(true)) => self.at = At::Done(Outcome::Dead),
            (At::Confirming, Event::Confirmed(false)) | (At::Loading, Event::Refused { retryable: true }) => {
                self.at = At::Sleeping;
            }
            (At::Sleeping, Event::Woken) => {
                self.round.advance();
                self.at = At::Reading;
            }
            (At::Loading, Event::Loaded { version, ends }) => *self = Self::new(version, ends),
            (At::Loading, Event::Refused { retryable: false }) => self.at = At::Done(Outcome::Refused),
            _ => self.at = At::Done(Outcome::Broken),
        }
        Vec::new()
    }
}
