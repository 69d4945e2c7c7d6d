//! Runs the machines that keep a received set and that try one: see `drive`.

use grantry::protocol::{
    KeepSet, Machine as _, Step, Verify,
    keep_set::{self, Compared},
    machine::Read,
    verify,
};

use crate::{
    drive::{Way, events},
    faults::Fault,
    process::{Hand, Process},
    row::Row,
    state::{State, Store},
    store::confirm,
    upstream,
    work::{NEVER, Number, Work},
    world::World,
};

impl World {
    pub fn keep(&mut self, mut way: Way, machine: KeepSet, first: bool, out: &mut Vec<State>) {
        use keep_set::Command;
        let command = match machine.step() {
            Step::Do(command) => command,
            Step::Done(outcome) => {
                self.kept(&mut way, outcome);
                return self.rest(way, out);
            }
        };
        if command == Command::Verify {
            let version = way.state.row.version;
            let me = way.me();
            let (stale, back) = (me.stale, me.back.stale);
            me.kept = Some(Hand { stale, back });
            way.work = Work::KeepVerify(machine, Verify::new(version.full(), NEVER));
            return self.go(way, out);
        }
        for (mut way, event) in self.keeping(way, command, first, out) {
            self.met.insert(crate::met::keep_set(&command, &event));
            let mut machine = machine;
            let notices = machine.on(event, way.now(), &self.policy);
            if notices.contains(&keep_set::Notice::Forget) {
                way.me().memory = None;
            }
            if notices
                .iter()
                .any(|n| matches!(n, keep_set::Notice::Stored { .. }))
            {
                way.remember();
            }
            way.work = Work::Keep(machine);
            let step = machine.step();
            if matches!(command, Command::Answer(_)) {
                Self::goes_on_behind(&mut way, &step);
            }
            let pauses = matches!(step, Step::Done(_) | Step::Do(Command::Sleep(_)));
            if self.split && command == Command::Read && !pauses {
                self.stop(way, out);
            } else {
                self.go(way, out);
            }
        }
    }

    /// Those who wait have their answer: the process may begin anew, while the set is kept until it is safe.
    fn goes_on_behind<C, O>(way: &mut Way, step: &Step<C, O>) {
        if way.state.store == Store::Safe || way.me().keeper || matches!(step, Step::Done(_)) {
            return;
        }
        let me = *way.me();
        let keeper = Process {
            keeper: true,
            memory: None,
            ..me
        };
        let place = way.state.processes.iter().position(|p| p.work == Number::ABSENT);
        let Some(place) = place else { return };
        way.state.processes[place] = keeper;
        let memory = me.memory;
        *way.me() = Process {
            memory,
            ..Process::IDLE
        };
        way.i = place;
    }

    /// Does what is asked for, in all ways; none if the step ends there.
    fn keeping(
        &mut self,
        mut way: Way,
        command: keep_set::Command,
        first: bool,
        out: &mut Vec<State>,
    ) -> Vec<(Way, keep_set::Event)> {
        use keep_set::{Command, Event};
        let Some(set) = way.me().set else { unreachable!() };
        let refused = |sure: Event, not: Event| {
            let refused = way.state.left.may(Fault::Refused);
            let state = || way.state.but(Fault::Refused);
            let refused = refused.then(|| {
                (
                    Way {
                        state: state(),
                        failed: true,
                        ..way
                    },
                    not,
                )
            });
            refused.into_iter().chain([(way, sure)]).collect()
        };
        match command {
            Command::Read => events(self.read(&way), Event::Read),
            Command::Seal(_) => refused(Event::Sealed(true), Event::Sealed(false)),
            Command::Store { write, .. } => {
                if write.row.version.epoch != u64::from(way.me().spent.family) {
                    self.mark("NAMES: a set was stored in another epoch than its own");
                }
                events(self.swap(&way, &write.row), Event::Written)
            }
            Command::Answer(_) | Command::Verify => vec![(way, Event::Done)],
            // Where it is nothing to wait for, nobody comes in between.
            Command::Confirm(_) if !first && way.state.store == Store::Replica => {
                self.stop(way, out);
                Vec::new()
            }
            Command::Confirm(_) => events(confirm(&way), Event::Confirmed),
            Command::Compare => {
                let same = way.state.row.token == Some(set);
                let sure = if same { Compared::Same } else { Compared::Other };
                refused(Event::Compared(sure), Event::Compared(Compared::Unknown))
            }
            Command::Owe => {
                let row = way.state.row;
                let owed = row.owed.with(set);
                let (age, me) = (way.state.age, *way.me());
                let marks = (me.my_lease, me.my_set);
                events(self.put(&way, Row { owed, ..row }, age, marks), Event::Written)
            }
            Command::RevokeReceived => {
                upstream::revoke(&mut way.state.families, set);
                vec![(way, Event::Done)]
            }
            Command::Sleep(_) if way.sleeps() => {
                self.stop(way, out);
                Vec::new()
            }
            Command::Sleep(_) => vec![(way, Event::Woken)],
        }
    }

    /// What became of a received set.
    fn kept(&mut self, way: &mut Way, outcome: keep_set::Outcome) {
        let Some(set) = way.me().set else { unreachable!() };
        let lives = way.state.family(set).lives_on(set);
        match outcome {
            keep_set::Outcome::Superseded if lives && way.state.row.token != Some(set) => {
                self.mark("LOST: a living set was dropped");
            }
            keep_set::Outcome::Broken => self.broken(),
            _ => {}
        }
    }

    /// The set is tried with its own access token, which dies with its grant.
    pub fn verify(&mut self, way: &Way, machine: Verify, first: bool, out: &mut Vec<State>) {
        use verify::{Command, Event};
        let command = match machine.step() {
            Step::Do(command) => command,
            Step::Done(outcome) => return self.verified(*way, outcome, out),
        };
        for (mut way, event) in self.trying(*way, command, first, out) {
            self.met.insert(crate::met::verify(&command, &event));
            let mut machine = machine;
            let notices = machine.on(event, way.now(), &self.policy);
            if notices.iter().any(|n| matches!(n, verify::Notice::Expired(_))) {
                way.me().memory = None;
            }
            way.work = match way.work {
                Work::KeepVerify(keep, _) => Work::KeepVerify(keep, machine),
                _ => Work::Verify(machine),
            };
            let acts = matches!(machine.step(), Step::Do(Command::Swap(_) | Command::Load));
            if self.split && matches!(event, Event::Read(Read::Row(_))) && acts {
                self.stop(way, out);
            } else {
                self.go(way, out);
            }
        }
    }

    fn verified(&mut self, mut way: Way, outcome: verify::Outcome, out: &mut Vec<State>) {
        if outcome == verify::Outcome::Broken {
            self.broken();
        }
        let Work::KeepVerify(mut keep, _) = way.work else {
            return self.rest(way, out);
        };
        drop(keep.on(keep_set::Event::Done, way.now(), &self.policy));
        way.work = Work::Keep(keep);
        let me = way.me();
        if let Some(Hand { stale, back }) = me.kept.take() {
            (me.stale, me.back.stale) = (stale, back);
        }
        self.go(way, out);
    }

    fn trying(
        &mut self,
        mut way: Way,
        command: verify::Command,
        first: bool,
        out: &mut Vec<State>,
    ) -> Vec<(Way, verify::Event)> {
        use verify::{Command, Event};
        match command {
            Command::Try if !first => {
                self.stop(way, out);
                Vec::new()
            }
            Command::Try => {
                let dead = way.me().set.is_some_and(|set| way.state.family(set).revoked);
                vec![(way, Event::Tried { dead })]
            }
            Command::Read => events(self.read(&way), Event::Read),
            Command::Swap(write) => events(self.swap(&way, &write.row), Event::Written),
            Command::Confirm if !first && way.state.store == Store::Replica => {
                self.stop(way, out);
                Vec::new()
            }
            Command::Confirm => events(confirm(&way), Event::Confirmed),
            Command::Sleep(_) if way.sleeps() => {
                self.stop(way, out);
                Vec::new()
            }
            Command::Sleep(_) => vec![(way, Event::Woken)],
            Command::Load => {
                let mut ways = Vec::new();
                if way.state.left.may(Fault::Refused) {
                    let state = way.state.but(Fault::Refused);
                    let failed = true;
                    let retryable = true;
                    ways.push((Way { state, failed, ..way }, Event::Refused { retryable }));
                }
                // Of the same family; whoever keeps the other set goes on with that.
                if matches!(way.work, Work::Verify(_)) {
                    way.me().set = way.state.row.token;
                }
                way.remember();
                let loaded = Event::Loaded {
                    version: way.state.row.version.full(),
                    ends: NEVER,
                };
                ways.push((way, loaded));
                ways
            }
        }
    }
}
