//! Requests on their way to the provider, and what it makes of them.

use grantry::{
    connection::Reason,
    protocol::{
        Machine as _, Step,
        attempt::{Answer, Command},
    },
};

use crate::{
    drive::Way,
    faults::Fault,
    process::Request,
    state::State,
    upstream::{self, Mode, Token},
    work::Work,
    world::World,
};

/// More presentations of one token are not told apart.
const COUNTED: u8 = 5;

const LOST: Answer = Answer::Unknown(Reason::AnswerLost);
const NOT_NOW: Answer = Answer::NotNow {
    reason: Reason::ServerUnavailable,
    retry_after: None,
    jitter: 0,
};

impl World {
    /// What may become of the process's request next.
    pub fn request(&mut self, way: &Way, out: &mut Vec<State>) {
        if way.state.processes[way.i].request == Request::Ready {
            self.send(way, out);
        } else {
            self.wait(&way.state, way.i, out);
        }
    }

    /// The gate lets a presentation through.
    pub fn at_the_gate(&mut self, state: &State, token: Token, attempt: u32) {
        let newer = |t: Token| t.family == token.family && t.rotation > token.rotation;
        if attempt >= 2 && self.mode != Mode::Reusable && state.row.token.is_some_and(newer) {
            self.mark("SPENT: let through, and the row has what came of that token");
        }
    }

    fn send(&mut self, way: &Way, out: &mut Vec<State>) {
        let (state, i) = (&way.state, way.i);
        let mut process = state.processes[i];
        process.request = Request::Queued;
        let token = process.spent;
        let mut next = state.with(i, process);
        if self.mode != Mode::Reusable {
            // Within a grace period presenting again is free.
            let strict = self.mode != Mode::Grace;
            if strict && state.in_flight(token, |_| true) {
                self.mark("I1: one refresh token is in flight twice");
            }
            let counts = next.counts(token);
            if strict && counts.0 >= 1 && attempt(&way.work) == 1 {
                self.mark("I2: presented again, and no unknown outcome is on record");
            }
            *counts = ((counts.0 + 1).min(COUNTED), (counts.1 + 1).min(COUNTED));
        }
        out.push(next);
        if state.left.may(Fault::NotSent) {
            self.answered(&state.but(Fault::NotSent), i, Answer::NotSent, out);
        }
    }

    /// A process whose request is on its way or in work.
    fn wait(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let mut process = state.processes[i];
        let token = process.spent;
        if state.left.may(Fault::Late) {
            let mut next = state.but(Fault::Late);
            next.processes[i].request = Request::None;
            next.stray(token, process.request == Request::Processing);
            self.answered(&next, i, LOST, out);
        }
        if process.request == Request::Queued {
            if state.in_flight(token, |processing| processing) {
                let busy = Answer::InProgress(Reason::AlreadyProcessing);
                self.answered(&uncounted(*state, token), i, busy, out);
            } else {
                process.request = Request::Processing;
                out.push(state.with(i, process));
            }
            for fault in [Fault::RequestLost, Fault::Unprocessed] {
                if state.left.may(fault) {
                    self.answered(&state.but(fault), i, LOST, out);
                }
            }
            for (fault, answer) in [
                (Fault::MayPass, NOT_NOW),
                (Fault::ClientRefused, Answer::ClientRefused(Reason::ClientInvalid)),
            ] {
                if state.left.may(fault) {
                    let next = uncounted(state.but(fault), token);
                    self.answered(&next, i, answer, out);
                }
            }
            return;
        }
        let mut answered = *state;
        let set = self.process_request(&mut answered, token);
        let answer = match set {
            Some(_) => Answer::Received,
            None => Answer::GrantDead(Reason::GrantExpiredOrRevoked),
        };
        let mut told = answered;
        told.processes[i].set = set;
        self.answered(&told, i, answer, out);
        if set.is_some() && state.left.may(Fault::OtherUser) {
            let mut next = told.but(Fault::OtherUser);
            // Nobody can use them, and they are revoked.
            next.leaked = true;
            self.answered(&next, i, Answer::IdentityChanged, out);
        }
        if state.left.may(Fault::AnswerLost) {
            let mut next = answered.but(Fault::AnswerLost);
            next.leaked |= set.is_some();
            self.answered(&next, i, LOST, out);
        }
    }

    /// A request whose sender is gone.
    pub fn stray(&mut self, state: &State, j: usize, out: &mut Vec<State>) {
        let Some(stray) = state.strays[j] else { return };
        let token = stray.token;
        let mut rest = *state;
        rest.strays[j] = None;
        if stray.processing {
            let set = self.process_request(&mut rest, token);
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
        for fault in [Fault::RequestLost, Fault::Unprocessed] {
            if state.left.may(fault) {
                out.push(rest.but(fault));
            }
        }
        if state.left.may(Fault::MayPass) {
            out.push(uncounted(rest, token).but(Fault::MayPass));
        }
    }

    fn process_request(&mut self, state: &mut State, token: Token) -> Option<Token> {
        let before = state.access_dead();
        let set = upstream::process(self.mode, &mut state.families[usize::from(token.family)], token);
        if !before && state.access_dead() {
            self.mark("a presentation ended a living access token");
        }
        set
    }
}

/// Which presentation of the token this is, as far as is recorded.
fn attempt(work: &Work) -> u32 {
    let command = match work {
        Work::Attempt(machine) => machine.step().command(),
        Work::Lock(lock) => lock.step().command(),
        _ => None,
    };
    match command {
        Some(Command::Present { attempt }) => attempt,
        _ => unreachable!(),
    }
}

/// A definite "not now" and "busy" are no presentations: the token is unspent.
fn uncounted(mut state: State, token: Token) -> State {
    let counts = state.counts(token);
    counts.0 = counts.0.saturating_sub(1);
    state
}

trait Commanded {
    fn command(self) -> Option<Command>;
}

impl<O> Commanded for Step<Command, O> {
    fn command(self) -> Option<Command> {
        match self {
            Step::Do(command) => Some(command),
            Step::Done(_) => None,
        }
    }
}
