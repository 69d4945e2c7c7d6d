//! What can happen next: the successors of a state.

use std::collections::BTreeSet;

use grantry::{
    connection::Status,
    protocol::{self, Policy},
    provider::Rotation,
};

use crate::{
    classic::Classic,
    faults::Fault,
    met::Met,
    process::{Known, Process, Request},
    row::{self, ANOTHER, Age, Phase, Row},
    runs::Run,
    state::{State, Store},
    upstream::{Family, Mode, Token},
    work::{Number, Work, Works},
};

/// What can go wrong, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub faults: &'static [(Fault, u8)],
    pub store: Store,
    /// A process may sit on received tokens for longer than the quarantine.
    pub hold: bool,
    /// A process may sleep between gate and send for longer than the quarantine.
    pub pause: bool,
    /// The provider does not say when access tokens end.
    pub assumed_ends: bool,
    /// The sets have no refresh token.
    pub no_refresh_token: bool,
    /// How the marks begin of the harm that nothing can prevent here.
    pub excused: &'static [&'static str],
}

impl Scenario {
    /// How often the fault may happen.
    pub fn times(&self, fault: Fault) -> u8 {
        let named = self.faults.iter().find(|(named, _)| *named == fault);
        named.map_or(0, |(_, times)| *times)
    }
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
    pub met: Met,
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
            met: Met::default(),
        }
    }

    /// Something happened that must not.
    pub fn mark(&mut self, mark: &'static str) {
        let excused = self
            .scenario
            .excused
            .iter()
            .any(|begins| mark.starts_with(begins));
        let marks = if excused { &mut self.notes } else { &mut self.found };
        marks.insert(mark);
    }

    pub fn successors(&mut self, state: &State, out: &mut Vec<State>) {
        for i in 0..state.processes.len() {
            self.process(state, i, out);
        }
        for j in 0..state.strays.len() {
            self.stray(state, j, out);
        }
        self.time(state, out);
        self.store(state, out);
        self.people(state, out);
    }

    fn process(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        if process.work == Number::ABSENT {
            return;
        }
        if process.works() {
            self.drive(state, i, out);
        } else {
            let wanted = state.row.status == Status::Connected && !state.row.done(self.refreshes);
            if wanted && !self.outlived(state) {
                self.filtered(state, i, out);
            }
            self.serve(state, i, out);
        }
        if (process.works() || process.memory.is_some()) && state.left.may(Fault::Crash) {
            out.push(self.crash(state, i));
        }
    }

    /// Where presenting again is free for a while, it does not wait for a request whose answer was lost. But a session lasts
    /// longer than a request is on its way: none with a token of before is left when the next refresh begins.
    fn outlived(&self, state: &State) -> bool {
        let of_before = |token: Token| Some(token) != state.row.token;
        let own = |p: &Process| p.request != Request::None && of_before(p.spent);
        let stray = state.strays.iter().flatten().any(|s| of_before(s.token));
        self.mode == Mode::Grace && (stray || state.processes.iter().any(own))
    }

    fn filtered(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let twice =
            matches!(state.row.refresh, Phase::Lease(2..) | Phase::Unknown(2..)) && state.age == Age::Over;
        match self.draft.filter(|_| twice && !state.processes[i].my_lease) {
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

    /// What is left of a process that has nothing to do any more, or died. Its next lease is another holder's.
    pub fn at_rest(&self, process: &Process) -> Process {
        if process.keeper {
            return Process::ABSENT;
        }
        let named = !self.policy.rules().fresh_holder;
        Process {
            my_lease: process.my_lease && named,
            my_set: process.my_set && named,
            memory: process.memory,
            ..Process::IDLE
        }
    }

    fn crash(&self, state: &State, i: usize) -> State {
        let process = state.processes[i];
        let gone = Process {
            memory: None,
            ..self.at_rest(&process)
        };
        let mut next = state.with(i, gone).but(Fault::Crash);
        if process.request.is_out() {
            next.stray(process.spent, process.request == Request::Processing);
        }
        let forgettable = state.older.is_some() && !process.back.set;
        next.leaked |= self.keeps(&process) && (!process.my_set || forgettable);
        next
    }

    /// It has received a set that it keeps until it is safe.
    pub fn keeps(&self, process: &Process) -> bool {
        matches!(self.works.get(process.work), Work::Keep(_) | Work::KeepVerify(..))
    }

    /// A row that is about to be written.
    pub fn judge(&mut self, state: &State, row: Row) {
        let lives = row.token.is_some_and(|token| state.family(token).lives_on(token));
        let lives = lives && !self.scenario.no_refresh_token;
        if row.status == Status::Expired && lives {
            self.mark("NEEDLESS: marked expired while its refresh token lives");
        }
        if state.row.status == Status::Deleted && row.status != Status::Deleted {
            self.mark("REVIVED: a deleted connection lives again");
        }
        if row.version < state.row.version {
            self.mark("BACK: epoch or generation went back");
        }
        let another = |known: Known| known.version == row.version && Some(known.token) != row.token;
        if row.token.is_some() && state.processes.iter().filter_map(|p| p.memory).any(another) {
            self.mark("VERSIONS: a set has the version of another one that is remembered");
        }
    }

    fn people(&mut self, state: &State, out: &mut Vec<State>) {
        let Some(token) = state.row.token else {
            return;
        };
        if state.left.may(Fault::Reconnect) {
            let other = Token {
                family: 1,
                rotation: 0,
            };
            let mut next = self.ended(state, |row| protocol::reconnect(row, ANOTHER), Some(other));
            next.row.owed = state.row.owed.with(token);
            next.families[1] = Family::default();
            out.push(next.but(Fault::Reconnect));
        }
        if state.left.may(Fault::Delete) {
            let mut next = self.ended(state, |row| protocol::end(row, Status::Deleted), None);
            next.row.owed = state.row.owed.with(token);
            out.push(next.but(Fault::Delete));
        }
    }

    /// The connection ended, or began anew with another token; the grant of before is owed a revocation.
    fn ended(
        &mut self,
        state: &State,
        by: impl FnOnce(&protocol::Row) -> protocol::Row,
        token: Option<Token>,
    ) -> State {
        let now = self.now(state, 0);
        let written = row::Written::of(&by(&state.row.full(state.age, false, false, now)), now);
        let row = Row {
            version: written.version,
            token,
            status: written.status,
            refresh: written.refresh,
            ..state.row
        };
        self.judge(state, row);
        let mut next = *state;
        next.write(row, written.age, None, (false, false));
        next
    }
}

/// What a provider's tokens mean to the protocol.
pub fn rotation(mode: Mode) -> Rotation {
    match mode {
        Mode::Reusable => Rotation::Reusable,
        Mode::Reject | Mode::Revoke => Rotation::Strict,
        Mode::Grace => Rotation::Grace(std::time::Duration::from_secs(600)),
    }
}
