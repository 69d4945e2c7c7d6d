//! Time passes: leases lapse, quarantines end, processes stand still, access tokens end.

use grantry::{
    connection::Status,
    protocol::{Machine as _, Step, attempt::Command},
};

use crate::{
    faults::Fault,
    process::{Process, Request},
    row::{Age, Phase},
    state::{Pending, State},
    upstream::Mode,
    work::Work,
    world::World,
};

impl World {
    pub fn time(&mut self, state: &State, out: &mut Vec<State>) {
        match state.age {
            Age::Living => Self::lapses(state, out),
            // Reusable tokens know no quarantine.
            Age::Lapsed if state.row.refresh.is_timed() && self.mode != Mode::Reusable => {
                if self.quiet(state) {
                    let mut next = *state;
                    self.grow_old(&mut next);
                    out.push(next);
                }
            }
            Age::Lapsed | Age::Over | Age::Foreign => {}
        }
        if state.row.refresh.is_timed() && state.left.may(Fault::ClockGone) {
            let age = Age::Foreign;
            out.push(State { age, ..*state }.but(Fault::ClockGone));
        }
        self.stand_still(state, out);
        if !state.row.done(self.refreshes)
            && state.left.may(Fault::AccessEnds)
            && state.row.status == Status::Connected
            && !state.ended
        {
            let ended = true;
            out.push(State { ended, ..*state }.but(Fault::AccessEnds));
        }
    }

    fn lapses(state: &State, out: &mut Vec<State>) {
        if !matches!(state.row.refresh, Phase::Lease(_)) {
            return;
        }
        let age = Age::Lapsed;
        let mut next = State { age, ..*state };
        let holds = |p: &Process| p.my_lease && p.works() && !p.keeper;
        match state.processes.iter().position(holds) {
            None => out.push(next),
            // Of a holder that lives: it stood still, for the lease outlasts whatever it does.
            Some(holder) if state.left.may(Fault::Lapse) => {
                next.processes[holder].stands_still();
                out.push(next.but(Fault::Lapse));
            }
            Some(_) => {}
        }
    }

    /// A process stands still while the lease that it wants is not written yet. When it is, it has lapsed long since.
    fn stand_still(&self, state: &State, out: &mut Vec<State>) {
        if !state.left.may(Fault::Lapse) {
            return;
        }
        for (i, process) in state.processes.iter().enumerate() {
            let wants = self.asks(process, |command| matches!(command, Command::Prepare { .. }));
            if wants || process.wrote {
                let mut next = state.but(Fault::Lapse);
                next.processes[i].stands_still();
                if process.wrote {
                    next.pending = state.pending.map(lapsed);
                }
                out.push(next);
            }
        }
    }

    /// What the attempt of a process will do next.
    fn asks(&self, process: &Process, is: impl Fn(&Command) -> bool) -> bool {
        match self.works.get(process.work) {
            Work::Attempt(machine) => matches!(machine.step(), Step::Do(command) if is(&command)),
            _ => false,
        }
    }

    /// The assumption behind the quarantine: when it is over, nothing of this set is on its way.
    pub fn quiet(&self, state: &State) -> bool {
        if state.row.token.is_some_and(|t| state.in_flight(t, |_| true)) {
            return false;
        }
        let of_this_set = |p: &&Process| Some(p.spent) == state.row.token;
        state.processes.iter().filter(of_this_set).all(|p| {
            let holds_set = self.keeps(p) && !p.my_set;
            (p.request != Request::Ready || self.scenario.pause) && (!holds_set || self.scenario.hold)
        })
    }

    /// The quarantine is over.
    fn grow_old(&self, state: &mut State) {
        state.age = Age::Over;
        Self::end_grace(state);
        for process in &mut state.processes {
            let before_the_gate = |c: &Command| matches!(c, Command::Confirm | Command::Peek);
            if process.my_lease && self.asks(process, |_| true) {
                // Its attempt is not written down yet.
                process.stands_still();
            } else if self.asks(process, before_the_gate) {
                // Its lease was taken away by a clock that began anew.
                process.pauses = process.pauses.max(1);
            }
        }
    }

    /// The provider's grace period is longer than a request takes, and shorter than what is remembered.
    pub fn end_grace(state: &mut State) {
        if let Some(token) = state.row.token {
            state.families[usize::from(token.family)].grace = false;
        }
    }
}

/// A lease that comes to the row long after its moment.
fn lapsed(pending: Pending) -> Pending {
    let age = match pending.row.refresh {
        Phase::Lease(_) => Age::Over,
        _ => pending.age,
    };
    Pending { age, ..pending }
}
