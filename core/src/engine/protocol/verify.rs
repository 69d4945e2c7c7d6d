//! Tries a set that may have been ended by another presentation. Dead, the connection is marked as expired, visibly.
//! Unknown, it is served, and the first refused call will tell.

use super::{
    Policy, Row,
    commit::{follows, found_dead},
    machine::{Machine, Moment, Note, Read, Step, Write, Written},
};
use crate::{
    connection::{Reason, SetName},
    time::BootInstant,
};

const REASON: Reason = Reason::OutcomeUnknown;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verify {
    name: SetName,
    /// The access token ends by itself then, whatever was done to the wall clock since it was given.
    ends: BootInstant,
    left: u8,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Trying,
    Reading,
    Expiring(Row),
    Loading,
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
    /// Take the row in hand into memory: it is the set to try from now on.
    Load,
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
    /// Of `Load`.
    Loaded {
        /// The set.
        name: SetName,
        /// When its access token ends.
        ends: BootInstant,
    },
    /// Of `Load`: it could not be; the runner knows why.
    Refused,
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
    /// The set that was tried serves nobody any more.
    TriedIsDead,
    /// The connection is marked as expired.
    Expired(Reason),
}

impl Verify {
    /// Try the set `name`, whose access token ends by itself at `ends`.
    pub fn new(name: SetName, ends: BootInstant) -> Self {
        Self {
            name,
            ends,
            left: 3,
            at: At::Trying,
        }
    }

    fn read(&mut self, row: &Row, policy: &Policy) {
        self.at = match found_dead(row, self.name, REASON) {
            Some(row) => At::Expiring(row),
            // What replaced it meanwhile may be of the family that was ended, and then nobody else would notice.
            None if follows(row, self.name) && policy.rules.verify_follows => At::Loading,
            None => At::Done(Outcome::Dead),
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
            At::Expiring(row) => Command::Swap(Write {
                row,
                note: Note::Expired {
                    refusal: None,
                    reason: REASON,
                },
            }),
            At::Loading => Command::Load,
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
                Read::Row(view) => self.read(&view.row, policy),
                Read::Missing => self.at = At::Done(Outcome::Dead),
                Read::Unreadable | Read::Failed => self.at = At::Done(Outcome::StoreFailed),
            },
            (At::Expiring(_), Event::Written(written)) => match written {
                Written::Swapped => {
                    self.at = At::Done(Outcome::Dead);
                    return vec![Notice::Expired(REASON)];
                }
                Written::Conflict => {
                    self.left -= 1;
                    self.at = if self.left == 0 {
                        At::Done(Outcome::Dead)
                    } else {
                        At::Reading
                    };
                }
                Written::Missing => self.at = At::Done(Outcome::NotFound),
                Written::Failed => self.at = At::Done(Outcome::StoreFailed),
            },
            (At::Loading, Event::Loaded { name, ends }) => *self = Self::new(name, ends),
            (At::Loading, Event::Refused) => self.at = At::Done(Outcome::Refused),
            _ => self.at = At::Done(Outcome::Broken),
        }
        Vec::new()
    }
}
