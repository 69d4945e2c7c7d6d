//! The first half of an attempt: read the row until it can be leased, or says that there is nothing to do.

use std::time::Duration;

use super::io::{Ask, Command, Event, Lease, Life, Notice, Outcome, Pass, Repaired};
use crate::{
    connection::{GrantVersion, Reason},
    engine::{
        limits::{FOUND_ALIVE, IDLE_MARGIN, LAST_SECONDS},
        protocol::{
            Policy, Refresh, Row, found_dead,
            machine::{Backoff, Moment, Note, Read, Step, View, Wait, Write, Written},
            take,
            take::{Claim, Take},
        },
    },
    time::{BootInstant, StoreInstant, Timestamp},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Acquire {
    holder: u128,
    seen: GrantVersion,
    held_until: Timestamp,
    begun: BootInstant,
    /// The provider said that the stored access token does not work.
    found_dead: bool,
    pass: Option<Pass>,
    tries: Option<Tries>,
    round: Backoff,
    at: At,
}

/// My writes of the lease so far, of which one may have been applied, be it at a later moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tries {
    since: BootInstant,
    attempt: u32,
    replaced: Refresh,
    /// One of them got no answer.
    unsure: bool,
}

/// The lease that could be written, and what is to be restored if it is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    row: Row,
    /// As it was read.
    before: Row,
    attempt: u32,
    replaced: Refresh,
    since: BootInstant,
    asked: BootInstant,
    now: StoreInstant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Reading,
    Sleeping(Wait),
    /// A moment on a clock that is gone is carried over to the present one.
    Restamping(Row),
    Repairing {
        stored: GrantVersion,
    },
    Probing,
    Preparing(Plan),
    Taking(Plan),
    CheckingClient(Plan),
    /// A write of mine was applied though its answer was lost.
    Opening(Plan),
    /// There is nothing to refresh with, and the access token has ended.
    Expiring(Row),
}

/// How far it got.
pub(super) enum Acquired {
    NotYet,
    /// The lease is mine, in this row.
    Lease(Lease, Row),
    /// It is mine, and may not be used.
    Unused(Lease, Row),
    Done(Outcome),
}

use Acquired::{Done, NotYet};

impl Acquire {
    pub(super) fn new(ask: Ask, begun: BootInstant) -> Self {
        Self {
            holder: ask.holder,
            seen: ask.seen,
            held_until: ask.held_until,
            begun,
            found_dead: false,
            pass: None,
            tries: None,
            round: Backoff::default(),
            at: At::Reading,
        }
    }

    pub(super) fn step(&self) -> Step<Command, Outcome> {
        let swap = |row, note| Command::Swap(Write { row, note });
        Step::Do(match self.at {
            At::Reading => Command::Read,
            At::Sleeping(wait) => Command::Sleep(wait),
            At::Restamping(row) => swap(row, Note::Restamped),
            At::Repairing { .. } => Command::Repair,
            At::Probing => Command::Probe,
            At::Preparing(plan) => Command::Prepare {
                pass: self.pass.is_none(),
                host: plan.attempt >= 2,
            },
            At::Taking(plan) => swap(plan.row, Note::Leased),
            At::CheckingClient(_) => Command::CheckClient,
            At::Opening(_) => Command::Open,
            At::Expiring(row) => swap(
                row,
                Note::Expired {
                    refusal: None,
                    reason: Reason::GrantExpiredOrRevoked,
                },
            ),
        })
    }

    pub(super) fn on(
        &mut self,
        event: Event,
        now: Moment,
        policy: &Policy,
        notices: &mut Vec<Notice>,
    ) -> Acquired {
        match (self.at, event) {
            (At::Reading, Event::Read(Read::Row(view))) => self.read(&view, now, policy),
            (At::Reading, Event::Read(Read::Missing)) => Done(Outcome::NotFound),
            (At::Reading, Event::Read(read)) => {
                // After a write without an answer the row must be seen: a lease of mine may stand there.
                let retries = read == Read::Failed && self.tries.is_some();
                if retries && now.boot - self.begun < policy.lease {
                    return self.sleep(Wait::StoreRetry(self.round));
                }
                Done(Outcome::StoreFailed)
            }
            // On a conflict the row is read again.
            (At::Restamping(_), Event::Written(Written::Swapped | Written::Conflict | Written::Missing))
            | (At::Sleeping(_), Event::Woken) => self.again(),
            // A store that takes no writes gets no lease, either.
            (At::Restamping(_), Event::Written(Written::Failed)) => Done(Outcome::StoreFailed),
            (At::Repairing { stored }, Event::Repaired(repaired)) => match repaired {
                Repaired::Kept if now.boot - self.begun < policy.gate => {
                    self.sleep(Wait::StoreRetry(self.round))
                }
                Repaired::Kept => Done(Outcome::StoreUnavailable),
                Repaired::Failed => Done(Outcome::StoreFailed),
                Repaired::Gone => {
                    // What was seen cannot be brought back; the store's word counts.
                    notices.push(Notice::Forget);
                    self.seen = stored;
                    self.again()
                }
            },
            (At::Probing, Event::Probed(life)) => self.probed(life, now, notices),
            (At::Preparing(mut plan), Event::Prepared(pass)) => {
                if !policy.rules.gate_from_read {
                    plan.since = now.boot;
                }
                self.pass.get_or_insert(pass);
                self.tries = Some(Tries {
                    since: plan.since,
                    attempt: plan.attempt,
                    replaced: plan.replaced,
                    unsure: self.tries.is_some_and(|tries| tries.unsure),
                });
                self.at = At::Taking(plan);
                NotYet
            }
            (At::Preparing(plan), Event::NoRefreshToken { alive }) => {
                self.without_refresh_token(&plan, alive, now)
            }
            (At::Preparing(_), Event::Refused) => Done(Outcome::Refused),
            (At::Taking(plan), Event::Written(written)) => self.taken(&plan, written),
            (At::CheckingClient(plan), Event::Client { serves: true })
            | (At::Opening(plan), Event::Opened) => Acquired::Lease(self.lease(&plan), plan.row),
            (At::CheckingClient(plan), Event::Client { serves: false })
            | (At::Opening(plan), Event::Refused | Event::NoRefreshToken { .. }) => {
                Acquired::Unused(self.lease(&plan), plan.row)
            }
            (At::Expiring(_), Event::Written(written)) => {
                if written == Written::Swapped {
                    notices.push(Notice::Expired(Reason::GrantExpiredOrRevoked));
                }
                Done(match written {
                    Written::Swapped | Written::Conflict => Outcome::NoRefreshToken { left: None },
                    Written::Missing => Outcome::NotFound,
                    Written::Failed => Outcome::StoreFailed,
                })
            }
            _ => Done(Outcome::Broken),
        }
    }

    fn again(&mut self) -> Acquired {
        self.round.advance();
        self.at = At::Reading;
        NotYet
    }

    fn sleep(&mut self, wait: Wait) -> Acquired {
        self.at = At::Sleeping(wait);
        NotYet
    }

    fn read(&mut self, view: &View, now: Moment, policy: &Policy) -> Acquired {
        let claim = Claim {
            seen: self.seen,
            holder: self.holder,
            now: view.now,
            wall: now.wall,
            nothing_to_lose: self.nothing_to_lose(view, now.wall),
        };
        match take::take(&view.row, &claim, policy) {
            Take::Newer => Done(Outcome::Adopt),
            Take::Ended => Done(Outcome::Ended),
            Take::Older => {
                let stored = view.row.version;
                self.at = At::Repairing { stored };
                NotYet
            }
            Take::Cooling { until, reason } => Done(Outcome::Cooling {
                reason,
                wait: now.wall.until(until),
            }),
            Take::Quarantine { wait } => self.outcome_unknown(view, &claim, wait),
            Take::LetLive => self.outcome_unknown(view, &claim, LAST_SECONDS),
            Take::Busy if now.boot - self.begun > policy.lease + policy.gate => {
                Done(Outcome::InProgress(None))
            }
            Take::Busy => self.sleep(Wait::Poll(self.round)),
            Take::Rewrite(row) => {
                self.at = At::Restamping(row);
                NotYet
            }
            Take::Mine => {
                let Some(tries) = self.tries.or_else(|| named_after_its_process(view, policy)) else {
                    return Done(Outcome::Broken);
                };
                self.at = At::Opening(Plan {
                    row: view.row,
                    before: view.row,
                    attempt: tries.attempt,
                    replaced: tries.replaced,
                    since: tries.since,
                    asked: view.asked,
                    now: view.now,
                });
                NotYet
            }
            Take::Lease {
                row,
                attempt,
                replaced,
            } => {
                let since = self.tries.map_or(view.asked, |tries| tries.since);
                if now.boot - since > policy.gate {
                    // This process stood still since it read the row, or the store takes that long.
                    if self.tries.is_none() && now.boot - self.begun < policy.lease {
                        return self.again();
                    }
                    // The store answers reads and no writes; nothing could be sent any more.
                    return Done(Outcome::StoreUnavailable);
                }
                self.at = At::Preparing(Plan {
                    row,
                    before: view.row,
                    attempt,
                    replaced,
                    since,
                    asked: view.asked,
                    now: view.now,
                });
                NotYet
            }
        }
    }

    /// Whether presenting the token once more could not end anything that lives.
    fn nothing_to_lose(&self, view: &View, wall: Timestamp) -> bool {
        let access = &view.access;
        let ended = access.known && wall.until(access.ends) <= LAST_SECONDS;
        let idle = access.refresh_by.is_some_and(|by| wall.until(by) <= IDLE_MARGIN);
        access.refused || ended || idle || self.found_dead
    }

    /// An assumed end is no proof of death: the provider is asked, which risks nothing.
    fn outcome_unknown(&mut self, view: &View, claim: &Claim, wait: Duration) -> Acquired {
        let assumed = !view.access.known && claim.wall >= self.held_until;
        if self.found_dead || !assumed || claim.nothing_to_lose {
            return Done(Outcome::Unknown { reason: None, wait });
        }
        self.at = At::Probing;
        NotYet
    }

    fn probed(&mut self, life: Life, now: Moment, notices: &mut Vec<Notice>) -> Acquired {
        let (ends, known) = match life {
            Life::Dead => {
                notices.push(Notice::HeldIsDead);
                self.found_dead = true;
                return self.again();
            }
            Life::Refused => return Done(Outcome::Refused),
            Life::Alive(Some(until)) => (until, true),
            Life::Alive(None) => (now.wall + FOUND_ALIVE, false),
            // It is served on: if it is dead, a refused call will say so.
            Life::Unknown => (now.wall + LAST_SECONDS, false),
        };
        Done(Outcome::AdoptUntil { ends, known })
    }

    fn without_refresh_token(&mut self, plan: &Plan, alive: bool, now: Moment) -> Acquired {
        if alive {
            let left = Some(now.wall.until(self.held_until));
            return Done(Outcome::NoRefreshToken { left });
        }
        match found_dead(&plan.before, plan.before.version, Reason::GrantExpiredOrRevoked) {
            Some(row) => {
                self.at = At::Expiring(row);
                NotYet
            }
            None => Done(Outcome::NoRefreshToken { left: None }),
        }
    }

    fn taken(&mut self, plan: &Plan, written: Written) -> Acquired {
        let unsure = self.tries.is_some_and(|tries| tries.unsure);
        match written {
            Written::Swapped if self.pass == Some(Pass::Probe) => Acquired::Lease(self.lease(plan), plan.row),
            Written::Swapped => {
                self.at = At::CheckingClient(*plan);
                NotYet
            }
            Written::Missing => Done(Outcome::NotFound),
            Written::Conflict => {
                // Certainly not applied: the next try is a first one, unless an earlier one may still be.
                if !unsure {
                    self.tries = None;
                }
                self.again()
            }
            Written::Failed => {
                self.tries = self.tries.map(|tries| Tries {
                    unsure: true,
                    ..tries
                });
                self.sleep(Wait::StoreRetry(self.round))
            }
        }
    }

    fn lease(&self, plan: &Plan) -> Lease {
        Lease {
            holder: self.holder,
            spent: plan.row.version,
            attempt: plan.attempt,
            replaced: plan.replaced,
            since: plan.since,
            asked: plan.asked,
            now: plan.now,
        }
    }
}

/// What an earlier draft did, in which a process that was restarted had its name again: it went on with the lease of before.
fn named_after_its_process(view: &View, policy: &Policy) -> Option<Tries> {
    let Refresh::Leased { attempt, until, .. } = view.row.refresh else {
        return None;
    };
    (!policy.rules.fresh_holder).then_some(Tries {
        since: view.asked,
        attempt,
        replaced: if attempt > 1 {
            Refresh::Unknown {
                since: until,
                attempt: attempt - 1,
            }
        } else {
            Refresh::Idle
        },
        unsure: false,
    })
}
