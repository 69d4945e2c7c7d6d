//! Writes down how a lease ended that brought no tokens: given back, unknown, in progress elsewhere, or refused for now.
//!
//! A store that fails is tried for a while only: an outcome that is not written lapses into `Unknown`, which is safe. For the
//! same reason none of this is confirmed.

use super::io::{Command, Lease, Outcome};
use crate::{
    connection::Reason,
    engine::{
        limits::CONCLUDE_TRIES,
        protocol::{
            Policy, Row,
            machine::{Backoff, Note, Read, Step, Wait, Write, Written},
            outcome,
        },
    },
    time::{StoreInstant, Timestamp},
};

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Conclusion {
    /// Nothing was sent, for certain.
    GivenBack(Note),
    /// The answer is not known; the request left no later than `sent_by`.
    Unknown { sent_by: StoreInstant, reason: Reason },
    /// Somebody else's request with this token was in work at `at`.
    InProgress { at: StoreInstant, reason: Reason },
    /// Refused, until then.
    Cooling { until: Timestamp, reason: Reason },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Conclude {
    lease: Lease,
    row: Row,
    what: Conclusion,
    left: u8,
    round: Backoff,
    at: At,
    then: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Writing(Row),
    Sleeping,
    Reading,
    Done,
}

impl Conclude {
    pub(super) fn new(
        lease: Lease,
        row: Row,
        what: Conclusion,
        then: Outcome,
        wall: Timestamp,
        policy: &Policy,
    ) -> Self {
        let mut machine = Self {
            lease,
            row,
            what,
            left: CONCLUDE_TRIES,
            round: Backoff::default(),
            at: At::Done,
            then,
        };
        machine.decide(wall, policy);
        machine
    }

    pub(super) fn step(&self) -> Step<Command, Outcome> {
        match self.at {
            At::Writing(row) => Step::Do(Command::Swap(Write {
                row,
                note: self.note(),
            })),
            At::Sleeping => Step::Do(Command::Sleep(Wait::StoreRetry(self.round))),
            At::Reading => Step::Do(Command::Read),
            At::Done => Step::Done(self.then),
        }
    }

    pub(super) fn written(&mut self, written: Written) {
        match written {
            Written::Swapped | Written::Missing => self.at = At::Done,
            Written::Conflict | Written::Failed => {
                self.left -= 1;
                self.at = At::Sleeping;
            }
        }
    }

    pub(super) fn woken(&mut self) {
        self.round.advance();
        self.at = At::Reading;
    }

    pub(super) fn read(&mut self, read: &Read, wall: Timestamp, policy: &Policy) {
        if let Read::Row(view) = read {
            self.row = view.row;
        }
        if self.left == 0 {
            self.at = At::Done;
        } else {
            self.decide(wall, policy);
        }
    }

    fn decide(&mut self, wall: Timestamp, policy: &Policy) {
        let Lease {
            holder,
            attempt,
            replaced,
            ..
        } = self.lease;
        let row = &self.row;
        let next = match self.what {
            Conclusion::GivenBack(_) => outcome::give_back(row, holder, replaced, policy),
            Conclusion::Unknown { sent_by, .. } => {
                outcome::unknown(row, holder, attempt, sent_by, wall, policy)
            }
            Conclusion::InProgress { at, .. } => {
                outcome::in_progress(row, holder, attempt, replaced, at, wall, policy)
            }
            Conclusion::Cooling { until, reason } => {
                outcome::cool(row, holder, replaced, until, reason, policy)
            }
        };
        self.at = next.map_or(At::Done, At::Writing);
    }

    fn note(&self) -> Note {
        match self.what {
            Conclusion::GivenBack(note) => note,
            Conclusion::Unknown { reason, .. } => Note::OutcomeUnknown(reason),
            Conclusion::InProgress { reason, .. } => Note::AlreadyProcessing(reason),
            Conclusion::Cooling { reason, .. } => Note::Cooling(reason),
        }
    }
}
