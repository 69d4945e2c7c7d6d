//! What can happen next: the successors of a state.

use std::collections::BTreeSet;

use grantry::{connection::Status, provider::Rotation, refresh::protocol};

use crate::{
    broker::Broker,
    classic::Classic,
    faults::Fault,
    row::{Age, Phase, Row},
    runs::Run,
    state::{At, Process, State},
    upstream::{self, Family, Mode, Set, Token},
};

/// What can go wrong, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub faults: &'static [(Fault, u8)],
    /// A process may sit on received tokens for longer than the quarantine.
    pub hold: bool,
    /// A process may sleep between gate and send for longer than the quarantine.
    pub pause: bool,
}

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub enum Design {
    Protocol(Broker),
    Classic(Classic),
}

pub struct World {
    pub mode: Mode,
    pub design: Design,
    pub scenario: Scenario,
    /// How many refreshes the run has.
    pub refreshes: u8,
    /// What must never happen.
    pub found: BTreeSet<&'static str>,
    /// Harm that no rule can prevent, and that is counted.
    pub notes: BTreeSet<&'static str>,
}

impl World {
    pub fn new(run: &Run) -> Self {
        Self {
            mode: run.mode,
            design: run.design,
            scenario: run.scenario,
            refreshes: run.refreshes,
            found: BTreeSet::new(),
            notes: BTreeSet::new(),
        }
    }

    pub fn successors(&mut self, state: &State, out: &mut Vec<State>) {
        for i in 0..state.processes.len() {
            self.process(state, i, out);
        }
        for j in 0..state.strays.len() {
            self.stray(state, j, out);
        }
        self.time(state, out);
        Self::people(state, out);
    }

    fn process(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        match process.at {
            At::Absent => return,
            At::Idle => {
                if state.row.status == Status::Connected && !state.row.done(self.refreshes) {
                    self.decide(state, i, out);
                }
                return;
            }
            At::Gate => {
                let open = process.holds && state.age == Age::Living;
                out.push(state.with(i, process.to(if open { At::Ready } else { At::GiveBack })));
            }
            At::Ready => self.send(state, i, out),
            At::Queued | At::Processing => self.wait(state, i, out),
            _ => self.decide(state, i, out),
        }
        if state.left.may(Fault::Crash) {
            out.push(self.crash(state, i));
        }
    }

    fn decide(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        match self.design {
            Design::Protocol(broker) => self.by_protocol(&broker, state, i, out),
            Design::Classic(classic) => self.by_lock(classic, state, i, out),
        }
    }

    fn crash(&self, state: &State, i: usize) -> State {
        let process = state.processes[i];
        let mut next = state.with(i, self.rest(process)).but(Fault::Crash);
        if process.at.waits() {
            next.stray(process.work.token, process.at == At::Processing);
        }
        let received = process.work.set.filter(|_| process.at == At::Commit);
        next.leaked |= received.is_some() && received != state.row.set;
        next
    }

    /// The flight is over. The next one is another holder, whoever flies it.
    pub fn rest(&self, process: Process) -> Process {
        let named = matches!(
            self.design,
            Design::Protocol(Broker {
                holder_per_turn: false,
                ..
            })
        );
        Process {
            holds: process.holds && named,
            ..process.to(At::Idle)
        }
    }

    /// A compare-and-swap on the row as it was read: applied, failed before it was, or applied without an answer.
    /// Whoever fails goes on as `again`.
    pub fn swap(
        &mut self,
        state: &State,
        i: usize,
        (row, age, turn_of): (Row, Age, Option<usize>),
        then: Process,
        again: Process,
        out: &mut Vec<State>,
    ) {
        if row.status == Status::Expired && row.set.is_some_and(|s| state.family(s.token).lives_on(s.token)) {
            self.found
                .insert("NEEDLESS: marked expired while its refresh token lives");
        }
        if state.row.status == Status::Deleted && row.status != Status::Deleted {
            self.found.insert("REVIVED: a deleted connection lives again");
        }
        if row.name < state.row.name {
            self.found.insert("BACK: epoch or generation went back");
        }
        let put = |process: Process| {
            let mut next = state.with(i, process);
            next.write(row, age, turn_of);
            next
        };
        out.push(put(then));
        if state.left.may(Fault::ErrorBefore) {
            out.push(state.with(i, again).but(Fault::ErrorBefore));
        }
        if state.left.may(Fault::ErrorAfter) {
            out.push(put(again).but(Fault::ErrorAfter));
        }
    }

    fn time(&self, state: &State, out: &mut Vec<State>) {
        let aged = |age| State { age, ..*state };
        match (state.row.refresh, state.age) {
            (Phase::Turn(_), Age::Living) => {
                let lives = state.processes.iter().any(|p| p.holds && p.at != At::Idle);
                if !lives {
                    out.push(aged(Age::Lapsed));
                } else if state.left.may(Fault::Lapse) {
                    out.push(aged(Age::Lapsed).but(Fault::Lapse));
                }
            }
            // Reusable tokens know no quarantine.
            (Phase::Turn(_) | Phase::Unknown(_) | Phase::Cooling(1..), Age::Lapsed)
                if self.mode != Mode::Reusable && self.quiet(state) =>
            {
                out.push(aged(Age::Over));
            }
            _ => {}
        }
        if !state.row.done(self.refreshes)
            && state.left.may(Fault::AccessEnds)
            && state.row.status == Status::Connected
            && !state.ended
        {
            let ended = true;
            out.push(State { ended, ..*state }.but(Fault::AccessEnds));
        }
    }

    /// The assumption behind the quarantine: when it is over, nothing of this set is on its way.
    fn quiet(&self, state: &State) -> bool {
        if state.token().is_some_and(|t| state.in_flight(t, |_| true)) {
            return false;
        }
        state.processes.iter().all(|p| match p.at {
            At::Ready if p.work.name == state.row.name => self.scenario.pause,
            At::Commit if p.work.name == state.row.name => self.scenario.hold,
            _ => true,
        })
    }

    fn people(state: &State, out: &mut Vec<State>) {
        let Some(Set { token, .. }) = state.row.set else {
            return;
        };
        let ended = |row: protocol::Row| {
            let mut next = *state;
            upstream::revoke(&mut next.families, token);
            let (row, age, turn_of) = Row::of(&row);
            next.write(row, age, turn_of);
            next
        };
        let row = state.row.full(None);
        if state.left.may(Fault::Reconnect) {
            let token = Token {
                family: 1,
                rotation: 0,
            };
            let serial = 0;
            let mut next = ended(protocol::reconnect(&row, Set { token, serial }.id()));
            next.families[1] = Family::default();
            out.push(next.but(Fault::Reconnect));
        }
        if state.left.may(Fault::Delete) {
            out.push(ended(protocol::end(&row, Status::Deleted)).but(Fault::Delete));
        }
    }
}

/// What a provider's tokens mean to the protocol.
pub fn rotation(mode: Mode) -> Rotation {
    match mode {
        Mode::Reusable => Rotation::Reusable,
        Mode::Reject | Mode::Revoke => Rotation::Strict,
    }
}
