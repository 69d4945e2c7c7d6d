//! What can happen next: the successors of a state.

use std::collections::BTreeSet;

use grantry::{connection::Status, protocol::Policy, provider::Rotation};

use crate::{
    classic::Classic,
    faults::Fault,
    row::{Age, Phase, Row},
    runs::Run,
    state::{Name, Process, Request, State},
    upstream::{self, Family, Mode, Token},
    work::{Number, Work, Works},
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
    Protocol,
    Classic(Classic),
}

/// What an earlier draft made of a second presentation whose outcome stays unknown: a filter before the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draft {
    /// Whoever sees it marks the connection dead.
    AnybodyKills,
    /// Its holder may, and nobody else does anything.
    HolderKills,
}

pub struct World {
    pub mode: Mode,
    pub design: Design,
    pub policy: Policy,
    pub draft: Option<Draft>,
    pub split: bool,
    pub scenario: Scenario,
    /// How many refreshes the run has.
    pub refreshes: u8,
    pub works: Works,
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
            policy: run.policy,
            draft: run.draft,
            split: run.split,
            scenario: run.scenario,
            refreshes: run.refreshes,
            works: Works::new(),
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
        if process.work == Number::ABSENT {
            return;
        }
        if process.work == Number::IDLE {
            if state.row.status == Status::Connected && !state.row.done(self.refreshes) {
                self.filtered(state, i, out);
            }
            return;
        }
        self.drive(state, i, out);
        if state.left.may(Fault::Crash) {
            out.push(self.crash(state, i));
        }
    }

    fn filtered(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let twice =
            matches!(state.row.refresh, Phase::Turn(2..) | Phase::Unknown(2..)) && state.age == Age::Over;
        match self.draft.filter(|_| twice && !state.processes[i].my_turn) {
            Some(Draft::AnybodyKills) => {
                let row = Row {
                    status: Status::Expired,
                    refresh: Phase::Idle,
                    ..state.row
                };
                self.judge(state, row);
                let mut next = *state;
                next.write(row, Age::Living, None, (false, false));
                out.push(next);
            }
            Some(Draft::HolderKills) => {}
            None => self.begin(state, i, out),
        }
    }

    fn crash(&self, state: &State, i: usize) -> State {
        let process = state.processes[i];
        let named = !self.policy.rules().fresh_holder;
        let gone = Process {
            my_turn: process.my_turn && named,
            my_set: process.my_set && named,
            ..Process::IDLE
        };
        let mut next = state.with(i, gone).but(Fault::Crash);
        if process.request.is_out() {
            next.stray(process.spent, process.request == Request::Processing);
        }
        let holds_set = matches!(self.works.get(process.work), Work::Keep(_));
        next.leaked |= holds_set && !process.my_set;
        next
    }

    /// A row that is about to be written.
    pub fn judge(&mut self, state: &State, row: Row) {
        let lives = row.token.is_some_and(|token| state.family(token).lives_on(token));
        if row.status == Status::Expired && lives {
            self.found
                .insert("NEEDLESS: marked expired while its refresh token lives");
        }
        if state.row.status == Status::Deleted && row.status != Status::Deleted {
            self.found.insert("REVIVED: a deleted connection lives again");
        }
        if row.name < state.row.name {
            self.found.insert("BACK: epoch or generation went back");
        }
    }

    fn time(&self, state: &State, out: &mut Vec<State>) {
        let aged = |age| State { age, ..*state };
        match (state.row.refresh, state.age) {
            (Phase::Turn(_), Age::Living) => {
                // Of a holder that lives: it stood still, for the turn outlasts whatever it does.
                match state.processes.iter().position(|p| p.my_turn && p.works()) {
                    None => out.push(aged(Age::Lapsed)),
                    Some(holder) if state.left.may(Fault::Lapse) => {
                        let mut next = aged(Age::Lapsed).but(Fault::Lapse);
                        next.processes[holder].pauses += 1;
                        out.push(next);
                    }
                    Some(_) => {}
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
        if state.row.token.is_some_and(|t| state.in_flight(t, |_| true)) {
            return false;
        }
        let of_this_set = |p: &&Process| Some(p.spent) == state.row.token;
        state.processes.iter().filter(of_this_set).all(|p| {
            let holds_set = matches!(self.works.get(p.work), Work::Keep(_)) && !p.my_set;
            (p.request != Request::Ready || self.scenario.pause) && (!holds_set || self.scenario.hold)
        })
    }

    fn people(state: &State, out: &mut Vec<State>) {
        let Some(token) = state.row.token else {
            return;
        };
        let Name { epoch, generation } = state.row.name;
        let ended = |row: Row| {
            let mut next = *state;
            upstream::revoke(&mut next.families, token);
            next.write(row, Age::Living, None, (false, false));
            next
        };
        if state.left.may(Fault::Reconnect) {
            let token = Token {
                family: 1,
                rotation: 0,
            };
            let mut next = ended(Row {
                name: Name {
                    epoch: epoch + 1,
                    generation: generation + 1,
                },
                token: Some(token),
                status: Status::Connected,
                refresh: Phase::Idle,
            });
            next.families[1] = Family::default();
            out.push(next.but(Fault::Reconnect));
        }
        if state.left.may(Fault::Delete) {
            let name = Name {
                epoch: epoch + 1,
                generation,
            };
            let deleted = Row {
                name,
                token: None,
                status: Status::Deleted,
                refresh: Phase::Idle,
            };
            out.push(ended(deleted).but(Fault::Delete));
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
