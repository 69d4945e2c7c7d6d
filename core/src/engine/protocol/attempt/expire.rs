//! The provider says that the grant is gone. The row is read before anything is marked: somebody may have stored a newer
//! set meanwhile, and only the holder of the lease may speak for the stored one (I6).
//!
//! It does not give up, whatever the store does: the refused presentation may have ended the family of a newer set, and
//! nobody else would try that. The mark itself need not be confirmed: if it is lost, the lease stands there again.

use super::io::{Command, Lease, Notice, Outcome};
use crate::{
    connection::{GrantVersion, Reason, Status},
    engine::protocol::{
        Policy, Row,
        machine::{Backoff, Note, Read, Step, Wait, Write, Written},
        outcome::{Dead, dead},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Expire {
    holder: u128,
    spent: GrantVersion,
    attempt: u32,
    reason: Reason,
    /// A write of mine got no answer.
    unsure: bool,
    round: Backoff,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Reading,
    Writing(Row),
    Sleeping,
    Done(Outcome),
}

impl Expire {
    pub(super) fn new(lease: &Lease, attempt: u32, reason: Reason) -> Self {
        Self {
            holder: lease.holder,
            spent: lease.spent,
            attempt,
            reason,
            unsure: false,
            round: Backoff::default(),
            at: At::Reading,
        }
    }

    pub(super) fn step(&self) -> Step<Command, Outcome> {
        match self.at {
            At::Reading => Step::Do(Command::Read),
            At::Writing(row) => Step::Do(Command::Swap(Write {
                row,
                note: Note::Expired {
                    refusal: Some(self.reason),
                    reason: row.reason.unwrap_or(self.reason),
                },
            })),
            At::Sleeping => Step::Do(Command::Sleep(Wait::StoreRetry(self.round))),
            At::Done(outcome) => Step::Done(outcome),
        }
    }

    pub(super) fn read(&mut self, read: &Read, policy: &Policy) -> Option<Notice> {
        let view = match read {
            Read::Row(view) => view,
            Read::Missing => {
                self.at = At::Done(Outcome::NotFound);
                return None;
            }
            Read::Unreadable | Read::Failed => {
                self.at = At::Sleeping;
                return None;
            }
        };
        let row = &view.row;
        match dead(row, self.holder, self.spent, self.attempt, self.reason) {
            Dead::Expire(row) => self.at = At::Writing(row),
            Dead::Newer if policy.rules.verify_newer => {
                let spent = self.spent;
                self.at = At::Done(Outcome::AdoptAndVerify { spent });
            }
            Dead::Newer => self.at = At::Done(Outcome::Adopt),
            Dead::NotMine => {
                self.at = At::Done(if row.status == Status::Connected {
                    Outcome::InProgress(Some(self.reason))
                } else {
                    Outcome::Ended
                });
                // My write was applied though its answer was lost.
                let stands = row.version == self.spent && row.status == Status::Expired;
                if self.unsure && stands {
                    return Some(Notice::Expired(row.reason.unwrap_or(self.reason)));
                }
            }
        }
        None
    }

    pub(super) fn written(&mut self, written: Written) -> Option<Notice> {
        let At::Writing(row) = self.at else { return None };
        match written {
            Written::Swapped => {
                let why = row.reason.unwrap_or(self.reason);
                self.at = At::Done(Outcome::Expired(why));
                return Some(Notice::Expired(why));
            }
            Written::Conflict => {
                self.round.advance();
                self.at = At::Reading;
            }
            Written::Missing => self.at = At::Done(Outcome::NotFound),
            Written::Failed => {
                self.unsure = true;
                self.at = At::Sleeping;
            }
        }
        None
    }

    pub(super) fn woken(&mut self) {
        self.round.advance();
        self.at = At::Reading;
    }
}
