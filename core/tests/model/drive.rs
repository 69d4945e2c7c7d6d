//! Runs a process's machine against the world, from one point at which another process may come in between to the next.
//!
//! Such points are: before a turn is confirmed, before a request is sent, before a set is tried, before what an answer led
//! to is done, and wherever a machine sleeps after a store error. Reading the row and swapping it is one step: a write
//! between the two makes the swap fail, which changes nothing, and the row is read again. In a *split* run each read is such
//! a point, too.

use grantry::{
    protocol::{
        self, Attempt, KeepSet, Machine, Moment, Refresh, Step, Verify,
        attempt::{self, Answer, Ask, Lease, Outcome, Pass},
        keep_set::{self, Compared},
        machine::{Access, Read, View, Wait, Written},
        verify,
    },
    time::{BootInstant, Timestamp},
};

use crate::{
    classic::Lock,
    faults::Fault,
    row::{self, ANOTHER, ME, NOW, Row, WALL},
    state::{Process, Request, State},
    upstream,
    work::{Work, boot},
    world::{Design, World},
};

/// No access token ends by itself.
const NEVER: BootInstant = BootInstant(u64::MAX);

/// A process on its way through one step.
#[derive(Clone, Copy)]
pub struct Way {
    pub state: State,
    pub i: usize,
    pub work: Work,
    /// Nothing was done in this step yet.
    first: bool,
    /// The store failed in this step.
    failed: bool,
}

impl Way {
    pub fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.i]
    }

    fn now(&self) -> Moment {
        Moment {
            boot: boot(self.state.processes[self.i].pauses),
            wall: WALL,
        }
    }

    fn view(&self) -> View {
        let (state, me) = (&self.state, &self.state.processes[self.i]);
        let dead = state.access_dead();
        View {
            row: state.row.full(state.age, me.my_turn, me.my_set),
            migrated: None,
            changed: me.stale,
            owed: false,
            access: Access {
                ends: if dead { Timestamp(0) } else { Timestamp::MAX },
                known: true,
                refresh_by: None,
                refused: dead,
            },
            asked: boot(me.pauses),
            now: NOW,
        }
    }

    /// Reads the row and takes it in hand.
    fn read(&mut self) -> Read {
        let (view, token) = (self.view(), self.state.row.token);
        let me = self.me();
        me.stale = false;
        if let Some(token) = token.filter(|_| me.set.is_none()) {
            me.spent = token;
        }
        Read::Row(view)
    }
}

impl World {
    /// All that process `i` may come to in one step.
    pub fn drive(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let way = Way {
            state: *state,
            i,
            work: self.works.get(state.processes[i].work),
            first: true,
            failed: false,
        };
        self.go(way, out);
    }

    /// Somebody wants a newer set than the present one.
    pub fn begin(&mut self, state: &State, i: usize, out: &mut Vec<State>) {
        let mut way = Way {
            state: *state,
            i,
            work: Work::Idle,
            first: true,
            failed: false,
        };
        way.work = match self.design {
            Design::Protocol => {
                let ask = Ask {
                    holder: ME,
                    seen: state.row.name.full(),
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
        let mut way = Way {
            state: *state,
            i,
            work: self.works.get(state.processes[i].work),
            first: false,
            failed: false,
        };
        way.me().request = Request::None;
        self.tell(&mut way, attempt::Event::Answered(answer));
        match way.work {
            Work::Attempt(machine) => match machine.step() {
                Step::Done(outcome) => self.attempt_ended(way, outcome, out),
                Step::Do(_) => self.stop(way, out),
            },
            _ => self.stop(way, out),
        }
    }

    fn tell(&self, way: &mut Way, event: attempt::Event) {
        let now = way.now();
        match &mut way.work {
            Work::Attempt(machine) => drop(machine.on(event, now, &self.policy)),
            Work::Lock(lock) => drop(lock.on(event, now, &self.policy)),
            _ => unreachable!(),
        }
    }

    /// Feeds machines until others may come in between.
    fn go(&mut self, mut way: Way, out: &mut Vec<State>) {
        loop {
            let first = std::mem::replace(&mut way.first, false);
            let ended = match way.work {
                Work::Absent | Work::Idle => return self.stop(way, out),
                Work::Attempt(machine) => match machine.step() {
                    Step::Done(outcome) => return self.attempt_ended(way, outcome, out),
                    Step::Do(command) => self.attempt(&mut way, command, first, out),
                },
                Work::Lock(lock) => match lock.step() {
                    Step::Done(()) => return self.rest(way, out),
                    Step::Do(command) => self.attempt(&mut way, command, first, out),
                },
                Work::Keep(machine) => self.keep(&mut way, machine, out),
                Work::Verify(machine) | Work::KeepVerify(_, machine) => {
                    self.verify(&mut way, machine, first, out)
                }
            };
            if ended {
                return;
            }
        }
    }

    /// Others may come in between.
    fn stop(&mut self, mut way: Way, out: &mut Vec<State>) {
        way.me().work = self.works.number(&way.work);
        out.push(way.state);
    }

    /// The process has nothing to do any more. Its next turn is another holder's.
    fn rest(&mut self, mut way: Way, out: &mut Vec<State>) {
        let named = !self.policy.rules().fresh_holder;
        let me = way.me();
        *me = Process {
            my_turn: me.my_turn && named,
            my_set: me.my_set && named,
            ..Process::IDLE
        };
        out.push(way.state);
    }

    /// Does what an attempt asks for; whether the step ends there.
    fn attempt(
        &mut self,
        way: &mut Way,
        command: attempt::Command,
        first: bool,
        out: &mut Vec<State>,
    ) -> bool {
        use attempt::{Command, Event};
        let event = match command {
            Command::Read => Event::Read(way.read()),
            Command::Peek => Event::Read(Read::Row(way.view())),
            Command::Prepare { .. } => Event::Prepared(Pass::Free),
            Command::CheckClient => Event::Client { serves: true },
            Command::Open => Event::Opened,
            Command::RevokeReceived => Event::Revoked,
            Command::Swap(write) => {
                for (mut way, written) in self.swap(way, &write.row) {
                    self.tell(&mut way, Event::Written(written));
                    self.go(way, out);
                }
                return true;
            }
            // A process that sleeps in a poll can do nothing that an idle one cannot.
            Command::Sleep(Wait::Poll(_)) => {
                self.rest(*way, out);
                return true;
            }
            Command::Sleep(Wait::StoreRetry(_)) if !way.failed => Event::Woken,
            Command::Confirm if first => Event::Confirmed(true),
            Command::Present { .. } if first => {
                self.request(way, out);
                return true;
            }
            Command::Present { .. } => {
                way.me().request = Request::Ready;
                self.stop(*way, out);
                return true;
            }
            Command::Sleep(_) | Command::Confirm => {
                self.stop(*way, out);
                return true;
            }
            Command::Probe | Command::Repair => unreachable!("{command:?}"),
        };
        self.tell(way, event);
        // What was read may be overtaken.
        if self.split && matches!(command, Command::Read) && Self::goes_on(way) {
            self.stop(*way, out);
            return true;
        }
        false
    }

    fn goes_on(way: &Way) -> bool {
        match way.work {
            Work::Attempt(machine) => !matches!(
                machine.step(),
                Step::Done(_) | Step::Do(attempt::Command::Sleep(_))
            ),
            _ => false,
        }
    }

    fn attempt_ended(&mut self, mut way: Way, outcome: Outcome, out: &mut Vec<State>) {
        match outcome {
            Outcome::Received(lease) => {
                let in_hand = View {
                    row: leased(&lease),
                    changed: false,
                    ..way.view()
                };
                let (machine, _) = KeepSet::new(
                    lease.spent,
                    ME,
                    lease.since,
                    Read::Row(in_hand),
                    way.now(),
                    &self.policy,
                );
                way.work = Work::Keep(machine);
                self.stop(way, out);
            }
            Outcome::AdoptAndVerify { spent } => {
                way.work = Work::Verify(Verify::successor(spent));
                self.go(way, out);
            }
            Outcome::Broken => {
                self.found.insert("BROKEN: an event that answers no command");
                self.rest(way, out);
            }
            _ => self.rest(way, out),
        }
    }

    fn keep(&mut self, way: &mut Way, mut machine: KeepSet, out: &mut Vec<State>) -> bool {
        use keep_set::{Command, Event};
        let set = way.me().set.unwrap();
        let event = match machine.step() {
            Step::Done(outcome) => {
                self.kept(way, outcome);
                self.rest(*way, out);
                return true;
            }
            Step::Do(Command::Read) => Event::Read(way.read()),
            Step::Do(Command::Seal(_)) => Event::Sealed(true),
            Step::Do(Command::Store { write, .. }) => {
                if write.row.name.epoch != u64::from(way.me().spent.family) {
                    self.found
                        .insert("NAMES: a set was stored in another epoch than its own");
                }
                for (mut way, written) in self.swap(way, &write.row) {
                    let mut machine = machine;
                    drop(machine.on(Event::Written(written), way.now(), &self.policy));
                    way.work = Work::Keep(machine);
                    self.go(way, out);
                }
                return true;
            }
            Step::Do(Command::Verify) => {
                let tried = Verify::new(way.state.row.name.full(), NEVER);
                way.work = Work::KeepVerify(machine, tried);
                return false;
            }
            Step::Do(Command::Answer(_)) => Event::Done,
            Step::Do(Command::Confirm(_)) => Event::Confirmed(true),
            Step::Do(Command::Compare) => Event::Compared(if way.state.row.token == Some(set) {
                Compared::Same
            } else {
                Compared::Other
            }),
            // What is owed is done at once.
            Step::Do(Command::Owe) => {
                upstream::revoke(&mut way.state.families, set);
                Event::Written(Written::Swapped)
            }
            Step::Do(Command::RevokeReceived) => {
                upstream::revoke(&mut way.state.families, set);
                Event::Done
            }
            Step::Do(Command::Sleep(_)) if way.failed => {
                way.failed = false;
                way.work = Work::Keep(machine);
                self.stop(*way, out);
                return true;
            }
            Step::Do(Command::Sleep(_)) => Event::Woken,
        };
        drop(machine.on(event, way.now(), &self.policy));
        way.work = Work::Keep(machine);
        false
    }

    /// What became of a received set.
    fn kept(&mut self, way: &mut Way, outcome: keep_set::Outcome) {
        let set = way.me().set.unwrap();
        let lives = way.state.family(set).lives_on(set);
        match outcome {
            keep_set::Outcome::Superseded if lives && way.state.row.token != Some(set) => {
                self.found.insert("LOST: a living set was dropped");
            }
            keep_set::Outcome::Broken => {
                self.found.insert("BROKEN: an event that answers no command");
            }
            _ => {}
        }
    }

    /// The set is tried with its own access token, which dies with its grant.
    fn verify(&mut self, way: &mut Way, mut machine: Verify, first: bool, out: &mut Vec<State>) -> bool {
        use verify::{Command, Event};
        let again = |way: &Way, machine| match way.work {
            Work::KeepVerify(keep, _) => Work::KeepVerify(keep, machine),
            _ => Work::Verify(machine),
        };
        let event = match machine.step() {
            Step::Done(outcome) => {
                if outcome == verify::Outcome::Broken {
                    self.found.insert("BROKEN: an event that answers no command");
                }
                let Work::KeepVerify(mut keep, _) = way.work else {
                    self.rest(*way, out);
                    return true;
                };
                drop(keep.on(keep_set::Event::Done, way.now(), &self.policy));
                way.work = Work::Keep(keep);
                return false;
            }
            Step::Do(Command::Try) if !first => {
                self.stop(*way, out);
                return true;
            }
            Step::Do(Command::Try) => Event::Tried {
                dead: way.me().set.is_some_and(|set| way.state.family(set).revoked),
            },
            Step::Do(Command::Read) => Event::Read(way.read()),
            Step::Do(Command::Swap(write)) => {
                for (mut way, written) in self.swap(way, &write.row) {
                    let mut machine = machine;
                    drop(machine.on(Event::Written(written), way.now(), &self.policy));
                    way.work = again(&way, machine);
                    self.go(way, out);
                }
                return true;
            }
            Step::Do(Command::Confirm) => Event::Confirmed(true),
            Step::Do(Command::Sleep(_)) if way.failed => {
                way.failed = false;
                way.work = again(way, machine);
                self.stop(*way, out);
                return true;
            }
            Step::Do(Command::Sleep(_)) => Event::Woken,
            Step::Do(Command::Load) => {
                way.me().set = way.state.row.token;
                Event::Loaded {
                    name: way.state.row.name.full(),
                    ends: NEVER,
                }
            }
        };
        drop(machine.on(event, way.now(), &self.policy));
        way.work = again(way, machine);
        false
    }

    /// A compare-and-swap on the row in hand: applied, failed before it was, or applied without an answer; or the row was
    /// written by somebody else meanwhile.
    fn swap(&mut self, way: &mut Way, row: &protocol::Row) -> Vec<(Way, Written)> {
        if way.me().stale {
            return vec![(*way, Written::Conflict)];
        }
        let written = row::Written::of(row);
        let me = *way.me();
        let new_set = written.my_set && !me.my_set;
        let next = Row {
            name: written.name,
            token: match way.state.row.token {
                _ if new_set => me.set,
                token => token.filter(|_| written.has_set),
            },
            status: written.status,
            refresh: written.refresh,
        };
        self.judge(&way.state, next);
        let mut applied = *way;
        let marks = (written.my_turn, written.my_set);
        applied.state.write(next, written.age, Some(way.i), marks);
        let mut ways = vec![(applied, Written::Swapped)];
        if way.state.left.may(Fault::ErrorBefore) {
            let state = way.state.but(Fault::ErrorBefore);
            let failed = true;
            ways.push((
                Way {
                    state,
                    failed,
                    ..*way
                },
                Written::Failed,
            ));
        }
        if way.state.left.may(Fault::ErrorAfter) {
            let mut state = applied.state.but(Fault::ErrorAfter);
            // It knows nothing of its own write.
            state.processes[way.i].stale = true;
            let failed = true;
            ways.push((
                Way {
                    state,
                    failed,
                    ..*way
                },
                Written::Failed,
            ));
        }
        ways
    }
}

/// The row as it was written with this lease.
fn leased(lease: &Lease) -> protocol::Row {
    protocol::Row {
        name: lease.spent,
        set: ANOTHER,
        status: grantry::connection::Status::Connected,
        reason: None,
        refresh: Refresh::Turn {
            holder: ME,
            until: NOW.plus(std::time::Duration::from_millis(1)),
            attempt: lease.attempt,
        },
    }
}
