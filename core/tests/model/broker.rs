//! The broker: what the engine makes of the protocol's answers. Each habit can be switched off, to show its worth.

use grantry::{
    connection::{Reason, Status},
    refresh::protocol::{self, Ask, Commit, Dead, Policy, Take},
    time::Timestamp,
};

use crate::{
    row::{self, Age, MOMENT, Phase, Row, WALL, capped},
    state::{At, Process, State, Work},
    upstream::{self, Mode},
    world::{World, rotation},
};

#[derive(Clone, Copy, Debug)]
pub struct Broker {
    pub policy: Policy,
    /// Each turn has a holder of its own; else it is named after its process, as it is again after a restart.
    pub holder_per_turn: bool,
    /// A writer knows the set that it has written.
    pub knows_its_set: bool,
    /// A superseded set is dropped, not revoked.
    pub drops_superseded: bool,
    /// A set for an ended connection is revoked.
    pub revokes_late: bool,
    /// After a refusal a newer set is tried before it is adopted.
    pub tries_newer: bool,
    /// A set that is tried and dead, and was replaced meanwhile, leads to a try of the one that replaced it.
    pub tries_on: bool,
    /// "In work" is an unknown outcome, no refusal that passes.
    pub busy_is_unknown: bool,
    /// What a second unknown outcome leads to.
    pub second_unknown: Second,
}

/// What a second presentation without a known outcome leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// A longer quarantine.
    Waits,
    /// The connection is marked dead, by whoever sees it.
    KillsByAnyone,
    /// The connection is marked dead by the holder of the turn only.
    KillsByHolder,
}

impl Broker {
    pub fn new(mode: Mode) -> Self {
        Self {
            policy: Policy::new(rotation(mode)),
            holder_per_turn: true,
            knows_its_set: true,
            drops_superseded: true,
            revokes_late: true,
            tries_newer: true,
            tries_on: true,
            busy_is_unknown: true,
            second_unknown: Second::Waits,
        }
    }
}

impl World {
    pub fn by_protocol(&mut self, broker: &Broker, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let work = process.work;
        let holder = row::holder(i);
        let holds = state.processes.iter().position(|p| p.holds);
        let row = state.row.full(holds);
        let policy = &broker.policy;
        let attempt = work.attempt.into();
        let replaced = work.replaced.replaced();
        let passes = Reason::ServerUnavailable;
        let decided = match process.at {
            At::Idle | At::Take => return self.take(broker, state, i, out),
            At::Commit => return self.commit(broker, state, i, out),
            At::Verify => return self.verify(broker, state, i, out),
            At::Dead => match protocol::dead(
                &row,
                holder,
                work.name.full(),
                attempt,
                Reason::GrantExpiredOrRevoked,
            ) {
                Dead::Expire(row) => Some(row),
                Dead::Newer if broker.tries_newer => {
                    let (name, set) = (state.row.name, state.row.set);
                    let work = Work { name, set, ..work };
                    return out.push(state.with(i, Process { work, ..process }.to(At::Verify)));
                }
                Dead::Newer | Dead::NotMine => None,
            },
            At::Unknown if attempt >= 2 && broker.second_unknown != Second::Waits && process.holds => {
                Some(expired(&row))
            }
            At::Unknown => protocol::unknown(&row, holder, attempt, MOMENT, WALL, policy),
            At::InProgress if broker.busy_is_unknown => {
                protocol::in_progress(&row, holder, attempt, replaced, MOMENT, WALL, policy)
            }
            At::InProgress | At::Cool => protocol::cool(&row, holder, replaced, Timestamp(0), passes, policy),
            At::GiveBack => protocol::give_back(&row, holder, replaced, policy),
            _ => None,
        };
        let rest = self.rest(process);
        match decided {
            None => out.push(state.with(i, rest)),
            Some(row) => self.swap(state, i, Row::of(&row), rest, process, out),
        }
    }

    fn take(&mut self, broker: &Broker, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let rest = self.rest(process);
        let row = state.row.full(state.processes.iter().position(|p| p.holds));
        if let Phase::Turn(2..) | Phase::Unknown(2..) = state.row.refresh
            && state.row.status == Status::Connected
            && state.age == Age::Over
            && !process.holds
            && broker.second_unknown != Second::Waits
        {
            return match broker.second_unknown {
                Second::KillsByAnyone => self.swap(state, i, Row::of(&expired(&row)), rest, rest, out),
                _ => out.push(state.with(i, rest)),
            };
        }
        // Who begins has seen the present set, and wants a newer one.
        let seen = if process.at == At::Take {
            process.work.name
        } else {
            state.row.name
        };
        let ask = Ask {
            seen: seen.full(),
            holder: row::holder(i),
            now: row::now(state.age),
            wall: WALL,
            nothing_to_lose: state.access_dead(),
        };
        let work = |attempt, replaced| Work {
            name: state.row.name,
            token: state.token().unwrap(),
            attempt,
            replaced,
            ..Work::NONE
        };
        match protocol::take(&row, &ask, &broker.policy) {
            Take::Turn {
                row,
                attempt,
                replaced,
            } => {
                let work = work(capped(attempt), Phase::of(replaced).0);
                let mine = Process { work, ..process };
                self.swap(state, i, Row::of(&row), mine.to(At::Gate), mine.to(At::Take), out);
            }
            // The write of before was applied though its answer was lost.
            Take::Mine if process.at == At::Take => out.push(state.with(i, process.to(At::Gate))),
            // A restarted process finds the turn of before under its own name.
            Take::Mine => {
                let Phase::Turn(attempt) = state.row.refresh else {
                    return;
                };
                let replaced = if attempt > 1 {
                    Phase::Unknown(attempt - 1)
                } else {
                    Phase::Idle
                };
                let work = work(attempt, replaced);
                out.push(state.with(i, Process { work, ..process }.to(At::Gate)));
            }
            _ => out.push(state.with(i, rest)),
        }
    }

    fn commit(&mut self, broker: &Broker, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let work = process.work;
        let (rest, set) = (self.rest(process), work.set.unwrap());
        let stored = |mut work: Work| {
            work.name.generation += 1;
            if work.verify {
                Process { work, ..process }.to(At::Verify)
            } else {
                rest
            }
        };
        let lives = state.family(set.token).lives_on(set.token);
        let row = state.row.full(state.processes.iter().position(|p| p.holds));
        let id = if broker.knows_its_set { set.id() } else { u128::MAX };
        let mut next = state.with(i, rest);
        match protocol::commit(&row, work.name.full(), id, &broker.policy) {
            Commit::Write { row, verify, .. } => {
                if row.name.epoch != u64::from(work.name.epoch) {
                    self.found
                        .insert("NAMES: a set was stored in another epoch than its own");
                }
                let row = protocol::Row { set: set.id(), ..row };
                let work = Work {
                    verify: work.verify || verify,
                    ..work
                };
                let again = Process { work, ..process };
                self.swap(state, i, Row::of(&row), stored(work), again, out);
            }
            Commit::Stored => out.push(state.with(i, stored(work))),
            Commit::Superseded => {
                if !broker.drops_superseded {
                    upstream::revoke(&mut next.families, set.token);
                } else if lives && state.token() != Some(set.token) {
                    self.found.insert("LOST: a living set was dropped");
                }
                out.push(next);
            }
            Commit::Ended => {
                // Never the token that the connection lives on.
                if state.token() != Some(set.token) && broker.revokes_late {
                    upstream::revoke(&mut next.families, set.token);
                }
                out.push(next);
            }
        }
    }

    /// The set is tried with its own access token, which dies with its grant.
    fn verify(&mut self, broker: &Broker, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let (rest, work, row) = (self.rest(process), process.work, state.row);
        let works = work.set.is_none_or(|set| !state.family(set.token).revoked);
        let full = row.full(state.processes.iter().position(|p| p.holds));
        if works {
            return out.push(state.with(i, rest));
        }
        match protocol::found_dead(&full, work.name.full(), Reason::OutcomeUnknown) {
            Some(dead) => self.swap(state, i, Row::of(&dead), rest, process, out),
            None if protocol::follows(&full, work.name.full()) && broker.tries_on => {
                let (name, set) = (row.name, row.set);
                let work = Work { name, set, ..work };
                out.push(state.with(i, Process { work, ..process }.to(At::Verify)));
            }
            None => out.push(state.with(i, rest)),
        }
    }
}

fn expired(row: &protocol::Row) -> protocol::Row {
    protocol::Row {
        status: Status::Expired,
        refresh: protocol::Refresh::Idle,
        ..*row
    }
}
