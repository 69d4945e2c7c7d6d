//! Requests on their way to the provider, and what it makes of them.

use crate::{
    faults::Fault,
    state::{At, Process, State, Work},
    upstream::{self, Mode, Set, Token},
    world::World,
};

/// More presentations of one token are not told apart.
const COUNTED: u8 = 5;

impl World {
    pub fn send(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let Work { token, attempt, .. } = process.work;
        let mut next = state.with(i, process.to(At::Queued));
        if self.mode != Mode::Reusable {
            if state.in_flight(token, |_| true) {
                self.found.insert("I1: one refresh token is in flight twice");
            }
            let counts = next.counts(token);
            if counts.0 >= 1 && attempt == 1 {
                self.found
                    .insert("I2: presented again, and no unknown outcome is on record");
            }
            *counts = ((counts.0 + 1).min(COUNTED), (counts.1 + 1).min(COUNTED));
        }
        out.push(next);
        if state.left.may(Fault::NotSent) {
            out.push(state.with(i, process.to(At::GiveBack)).but(Fault::NotSent));
        }
    }

    /// A process whose request is on its way or in work.
    pub fn wait(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let process = state.processes[i];
        let token = process.work.token;
        let to = |at| state.with(i, process.to(at));
        if state.left.may(Fault::Late) {
            let mut next = to(At::Unknown).but(Fault::Late);
            next.stray(token, process.at == At::Processing);
            out.push(next);
        }
        if process.at == At::Queued {
            if state.in_flight(token, |processing| processing) {
                out.push(uncounted(to(At::InProgress), token));
            } else {
                out.push(to(At::Processing));
            }
            Self::not_processed(state, token, &to, out);
            return;
        }
        let mut answered = *state;
        let set = self.answer(&mut answered, token);
        let at = if set.is_some() { At::Commit } else { At::Dead };
        let work = Work { set, ..process.work };
        let received = Process { work, ..process }.to(at);
        out.push(answered.with(i, received));
        if state.left.may(Fault::AnswerLost) {
            let mut next = answered.with(i, process.to(At::Unknown)).but(Fault::AnswerLost);
            next.leaked |= set.is_some();
            out.push(next);
        }
    }

    /// A request whose sender is gone.
    pub fn stray(&mut self, state: &State, j: usize, out: &mut Vec<State>) {
        let Some(stray) = state.strays[j] else { return };
        let token = stray.token;
        let mut rest = *state;
        rest.strays[j] = None;
        if stray.processing {
            let set = self.answer(&mut rest, token);
            rest.leaked |= set.is_some();
            out.push(rest);
            return;
        }
        if rest.in_flight(token, |processing| processing) {
            out.push(uncounted(rest, token));
        } else {
            let mut next = rest;
            next.stray(token, true);
            out.push(next);
        }
        Self::not_processed(state, token, &|_| rest, out);
    }

    /// What may happen to a request before anybody works on it.
    fn not_processed(state: &State, token: Token, to: &dyn Fn(At) -> State, out: &mut Vec<State>) {
        for fault in [Fault::RequestLost, Fault::Unprocessed] {
            if state.left.may(fault) {
                out.push(to(At::Unknown).but(fault));
            }
        }
        if state.left.may(Fault::MayPass) {
            out.push(uncounted(to(At::Cool), token).but(Fault::MayPass));
        }
    }

    fn answer(&mut self, state: &mut State, token: Token) -> Option<Set> {
        let before = state.access_dead();
        let family = &mut state.families[usize::from(token.family)];
        let set = upstream::process(self.mode, family, token);
        if !before && state.access_dead() {
            self.notes.insert("a presentation ended a living access token");
        }
        set
    }
}

/// A definite "not now" and "busy" are no presentations: the token is unspent.
fn uncounted(mut state: State, token: Token) -> State {
    let counts = state.counts(token);
    counts.0 = counts.0.saturating_sub(1);
    state
}
