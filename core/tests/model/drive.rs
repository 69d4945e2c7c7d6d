//! Runs a process's machine against the world, from one point at which another process may come in between to the next.
//!
//! Such points are: before a lease is confirmed, before a request is sent, before a set is tried, before what an answer led
//! to is done, and wherever a machine sleeps after a store error. Reading the row and swapping it is one step: a write
//! between the two makes the swap fail, which changes nothing, and the row is read again. In a *split* run each read is such
//! a point, too.

use grantry::{
    protocol::{
        Attempt, KeepSet, Machine, Moment, Refresh, Row, Step, Verify,
        attempt::{Answer, Ask, Command, Event, Lease, Life, Notice, Outcome, Pass},
        machine::{Note, Read, View, Wait},
    },
    time::Timestamp,
};

use crate::{
    classic::Lock,
    faults::Fault,
    process::{Process, Request},
    row::{ANOTHER, ME, WALL},
    state::State,
    store::confirm,
    upstream,
    work::{Work, boot},
    world::{Design, World},
};

/// A process on its way through one step.
#[derive(Clone, Copy)]
pub struct Way {
    pub state: State,
    pub i: usize,
    pub work: Work,
    /// Nothing was done in this step yet.
    pub first: bool,
    /// The store failed in this step.
    pub failed: bool,
    /// So many more calls to the store fail.
    pub away: u8,
    /// So much was done in this step.
    pub done: u8,
}

/// More than any machine does before others may come in between.
const CIRCLE: u8 = 100;

impl Way {
    pub fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.i]
    }

    pub fn now(&self) -> Moment {
        Moment {
            boot: boot(self.state.processes[self.i].pauses),
            wall: WALL,
        }
    }

    /// Whether a machine that sleeps is done with its step.
    pub fn sleeps(&self) -> bool {
        self.failed && self.away == 0
    }
}

impl World {
    pub fn way(&self, state: &State, i: usize, first: bool) -> Way {
        Way {
            state: *state,
            i,
            work: self.works.get(state.processes[i].work),
            first,
            failed: false,
            away: 0,
            done: 0,
        }
    }

    /// All that process `i` may come to in one step.
    pub fn drive(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        self.go(self.way(state, i, true), out);
    }

    /// Somebody wants a newer set than the present one.
    pub fn begin(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let mut way = self.way(state, i, true);
        if way
            .me()
            .memory
            .is_none_or(|known| known.version < state.row.version)
        {
            way.remember();
        }
        let seen = way.me().memory.map_or(state.row.version, |known| known.version);
        way.work = match self.design {
            Design::Protocol => {
                let ask = Ask {
                    holder: ME,
                    seen: seen.full(),
                    held_until: Timestamp(0),
                };
                Work::Attempt(Attempt::new(ask, way.now()))
            }
            Design::Classic(classic) => Work::Lock(Lock::new(classic)),
        };
        self.go(way, out);
    }

    /// The answer to a process's request.
    pub fn answered(&mut self, state: &State, i: usize, answer: Answer, out: &mut Vec<State>) {
        let mut way = self.way(state, i, false);
        way.me().request = Request::None;
        self.met.insert(crate::met::answered(&answer));
        self.tell(&mut way, Event::Answered(answer));
        match way.work {
            Work::Attempt(machine) => match machine.step() {
                Step::Done(outcome) => self.attempt_ended(way, outcome, out),
                Step::Do(_) => self.stop(way, out),
            },
            _ => self.stop(way, out),
        }
    }

    fn tell(&self, way: &mut Way, event: Event) {
        let now = way.now();
        match &mut way.work {
            Work::Attempt(machine) => {
                let notices = machine.on(event, now, &self.policy);
                if notices
                    .iter()
                    .any(|n| matches!(n, Notice::Forget | Notice::Expired(_)))
                {
                    way.me().memory = None;
                }
            }
            Work::Lock(lock) => drop(lock.on(event, now, &self.policy)),
            _ => unreachable!(),
        }
    }

    /// Feeds machines until others may come in between.
    pub fn go(&mut self, mut way: Way, out: &mut Vec<State>) {
        let first = std::mem::replace(&mut way.first, false);
        way.done += 1;
        if way.done > CIRCLE {
            self.mark("CIRCLE: a machine comes to no end, and nobody can come in between");
            return self.rest(way, out);
        }
        let command = match way.work {
            Work::Absent | Work::Idle => return self.stop(way, out),
            Work::Keep(machine) => return self.keep(way, machine, first, out),
            Work::Verify(machine) | Work::KeepVerify(_, machine) => {
                return self.verify(&way, machine, first, out);
            }
            Work::Attempt(machine) => match machine.step() {
                Step::Done(outcome) => return self.attempt_ended(way, outcome, out),
                Step::Do(command) => command,
            },
            Work::Lock(lock) => match lock.step() {
                Step::Done(()) => return self.rest(way, out),
                Step::Do(command) => command,
            },
        };
        let read = matches!(command, Command::Read | Command::Peek);
        for (mut way, event) in self.attempt(way, command, first, out) {
            self.met.insert(crate::met::attempt(&command, &event));
            self.tell(&mut way, event);
            if self.split && read && wants_more(&way) {
                self.stop(way, out);
            } else {
                self.go(way, out);
            }
        }
    }

    /// Others may come in between.
    pub fn stop(&mut self, mut way: Way, out: &mut Vec<State>) {
        way.me().work = self.works.number(&way.work);
        out.push(way.state);
    }

    /// The process has nothing to do any more.
    pub fn rest(&mut self, mut way: Way, out: &mut Vec<State>) {
        *way.me() = self.at_rest(way.me());
        out.push(way.state);
    }

    pub fn broken(&mut self) {
        self.mark("BROKEN: an event that answers no command");
    }

    /// Does what an attempt asks for, in all ways; none if the step ends there.
    fn attempt(
        &mut self,
        mut way: Way,
        command: Command,
        first: bool,
        out: &mut Vec<State>,
    ) -> Vec<(Way, Event)> {
        let refused = way.state.left.may(Fault::Refused);
        let refused = refused.then(|| Way {
            state: way.state.but(Fault::Refused),
            ..way
        });
        let or = |refused: Option<Way>, no: Event, yes: Event| {
            let refused = refused.map(|way| (way, no));
            refused.into_iter().chain([(way, yes)]).collect()
        };
        match command {
            Command::Read => events(self.read(&way), Event::Read),
            Command::Peek => events(self.peek(&way), Event::Read),
            Command::Swap(write) => {
                let me = way.me();
                let refused = matches!(write.note, Note::Expired { refusal: Some(_), .. });
                if refused && !me.my_lease && !me.stale {
                    self.mark("I6: marked as expired by somebody who has no lease");
                }
                events(self.swap(&way, &write.row), Event::Written)
            }
            Command::Prepare { .. } if self.scenario.no_refresh_token => {
                let alive = !way.state.access_dead();
                vec![(way, Event::NoRefreshToken { alive })]
            }
            Command::Prepare { .. } => or(refused, Event::Refused, Event::Prepared(Pass::Free)),
            Command::CheckClient => or(
                refused,
                Event::Client { serves: false },
                Event::Client { serves: true },
            ),
            Command::Open => or(refused, Event::Refused, Event::Opened),
            Command::RevokeReceived => {
                if let Some(set) = way.me().set {
                    upstream::revoke(&mut way.state.families, set);
                }
                vec![(way, Event::Revoked)]
            }
            Command::Repair => events(self.repair(&way), Event::Repaired),
            // A process that sleeps in a poll can do nothing that an idle one cannot.
            Command::Sleep(Wait::Poll(_)) => {
                self.rest(way, out);
                Vec::new()
            }
            Command::Sleep(Wait::StoreRetry(_)) if !way.sleeps() => vec![(way, Event::Woken)],
            Command::Confirm if first => events(confirm(&way), Event::Confirmed),
            Command::Probe if first => {
                let dead = way.state.access_dead();
                let life = if dead { Life::Dead } else { Life::Alive(None) };
                or(refused, Event::Probed(Life::Unknown), Event::Probed(life))
            }
            Command::Present { .. } if first => {
                self.request(&way, out);
                Vec::new()
            }
            Command::Present { attempt } => {
                let token = way.me().spent;
                self.at_the_gate(&way.state, token, attempt);
                way.me().request = Request::Ready;
                self.stop(way, out);
                Vec::new()
            }
            Command::Sleep(_) | Command::Confirm | Command::Probe => {
                self.stop(way, out);
                Vec::new()
            }
        }
    }

    fn attempt_ended(&mut self, mut way: Way, outcome: Outcome, out: &mut Vec<State>) {
        match outcome {
            Outcome::Received(lease) => {
                let in_hand = View {
                    row: leased(&lease),
                    changed: false,
                    owed: false,
                    ..self.view(&way.state, way.i)
                };
                let in_hand = Read::Row(in_hand);
                let (machine, _) =
                    KeepSet::new(lease.spent, ME, lease.since, in_hand, way.now(), &self.policy);
                way.work = Work::Keep(machine);
                self.stop(way, out);
            }
            Outcome::AdoptAndVerify { spent } => {
                way.work = Work::Verify(Verify::successor(spent));
                self.go(way, out);
            }
            Outcome::Adopt => {
                way.remember();
                self.rest(way, out);
            }
            Outcome::Broken => {
                self.broken();
                self.rest(way, out);
            }
            _ => self.rest(way, out),
        }
    }
}

/// Of a machine that has read: it would do more before others may come in between.
fn wants_more(way: &Way) -> bool {
    let Work::Attempt(machine) = way.work else {
        return false;
    };
    !matches!(
        machine.step(),
        Step::Done(_)
            | Step::Do(Command::Sleep(_) | Command::Confirm | Command::Probe | Command::Present { .. })
    )
}

pub fn events<R, E>(ways: Vec<(Way, R)>, event: impl Fn(R) -> E) -> Vec<(Way, E)> {
    ways.into_iter()
        .map(|(way, result)| (way, event(result)))
        .collect()
}

/// The row as it was written with this lease.
fn leased(lease: &Lease) -> Row {
    Row {
        version: lease.spent,
        write_id: ANOTHER,
        status: grantry::connection::Status::Connected,
        reason: None,
        refresh: Refresh::Leased {
            holder: ME,
            until: lease.now,
            attempt: lease.attempt,
        },
    }
}
