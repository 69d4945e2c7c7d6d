//! What happens in a world, as its dice want it.

use std::time::Duration;

use grantry::{store::ConnectionStore as _, testing::Fault, time::Clock as _};

use crate::{
    calls::Wish,
    sim::{Air, End, Snare},
    store::observe,
    trace::Who,
    trip::rough,
    world::World,
};

const YEAR: i64 = 365 * 24 * 3600 * 1000;

impl World {
    /// Lets a number of things happen.
    pub async fn drive(&mut self) {
        for _ in 0..self.plan().actions {
            let gap = self.gap();
            self.pass_until(self.sim.now() + gap).await;
            if let Some(end) = self.act().await {
                let span = self.fault_span(end);
                let at = self.sim.now() + span;
                self.sim.state().ends.push((at, end));
            }
        }
    }

    /// Lets time pass, and ends what comes to its end meanwhile.
    pub async fn pass_until(&mut self, until: u64) {
        loop {
            let next = {
                let ends = &mut self.sim.state().ends;
                ends.sort_by_key(|(at, _)| *at);
                let due = ends.first().is_some_and(|(at, _)| *at <= until);
                due.then(|| ends.remove(0))
            };
            let Some((at, end)) = next else { break };
            self.sim.until(at).await;
            self.end(end);
        }
        self.sim.until(until).await;
    }

    fn gap(&self) -> u64 {
        let dice = &mut self.sim.state().dice;
        let span = match dice.below(10) {
            0..4 => dice.span(0, 100),
            4..7 => dice.span(0, 8000),
            7..9 => dice.span(0, 40_000),
            _ => dice.span(0, 120_000),
        };
        span.as_millis() as u64
    }

    fn fault_span(&self, end: End) -> u64 {
        let dice = &mut self.sim.state().dice;
        let span = match (end, dice.below(10)) {
            (End::Dead(_), 0..5) => dice.span(0, 2000),
            (_, 0..3) => dice.span(100, 5000),
            (_, 3..7) => dice.span(5000, 45_000),
            (_, 7..9) => dice.span(30_000, 120_000),
            _ => dice.span(100_000, 1_000_000),
        };
        span.as_millis() as u64
    }

    fn end(&mut self, end: End) {
        match end {
            End::Store(process) => self.store_air(process, Air::Calm),
            End::Wire => {
                let mut state = self.sim.state();
                state.wire = Air::Calm;
                state.say(Who::World, "wire", "calm", [0; 3]);
            }
            End::Replica => {
                let mut state = self.sim.state();
                state.replica.cut_off = false;
                state.say(Who::World, "the replica", "back", [0; 3]);
            }
            End::Stop(process) => self.sim.state().cont(process),
            End::Dead(process) => self.restart(process),
            End::Secret => self.set_secret("secret"),
        }
    }

    fn set_secret(&self, secret: &str) {
        self.sim.say(
            Who::World,
            "the provider's secret",
            "",
            [secret.len() as u64, 0, 0],
        );
        self.sim.upstream.set(|s| secret.clone_into(&mut s.client_secret));
    }

    /// One thing; some have an end.
    async fn act(&mut self) -> Option<End> {
        let faults = self.plan().faults;
        let (process, kind) = {
            let dice = &mut self.sim.state().dice;
            (dice.below(self.sim.plan.processes), dice.below(100))
        };
        match kind {
            0..12 => self.pass_by(),
            12..18 if faults.store => {
                let air = self.sim.state().dice.pick(&[Air::Rough, Air::Rough, Air::Down]);
                self.store_air(process, air);
                return Some(End::Store(process));
            }
            18..26 if faults.upstream => {
                let mut state = self.sim.state();
                state.wire = state.dice.pick(&[Air::Rough, Air::Rough, Air::Rough, Air::Down]);
                state.fault(Who::World, "wire", "troubled");
                return Some(End::Wire);
            }
            26..36 if faults.upstream => {
                self.script();
                self.provoke();
            }
            36..50 => self.lay_snares(process),
            50..53 if faults.crash => {
                self.sim.state().kill(process);
                return Some(End::Dead(process));
            }
            53..56 if faults.stop => {
                self.sim.state().stop(process);
                return Some(End::Stop(process));
            }
            56..60 if faults.clock => self.jump(process),
            60..66 if faults.admin => self.administer(process),
            66..68 if faults.client => {
                self.sim.state().faults += 1;
                self.set_secret("another");
                return Some(End::Secret);
            }
            68..70 if faults.rollback => self.roll_back().await,
            70..74 if faults.failover => self.sim.fail_over().await,
            74..78 if faults.failover => {
                let mut state = self.sim.state();
                state.replica.cut_off = true;
                state.fault(Who::World, "the replica", "cut off");
                return Some(End::Replica);
            }
            _ => self.callers(),
        }
        None
    }

    /// What the next requests with a refresh token lead to.
    fn script(&self) {
        let mut state = self.sim.state();
        for _ in 0..state.dice.pick(&[1, 1, 2, 3]) {
            let fate = rough(&mut state.dice);
            state.script.push_back(fate);
        }
    }

    /// Something waits for a process at one of its next calls; and then it has reason to call.
    fn lay_snares(&self, process: usize) {
        let faults = self.plan().faults;
        let span = self.fault_span(End::Stop(process));
        let mut state = self.sim.state();
        let dice = &mut state.dice;
        let calls = u32::try_from(dice.below(12)).unwrap();
        let snare = match dice.below(12) {
            0..3 if faults.crash => Snare::Kill,
            3..6 if faults.stop => Snare::Stop(span),
            6 if faults.store => Snare::Store(Fault::Before),
            7 if faults.store => Snare::Store(Fault::After),
            8 if faults.store => Snare::Later,
            9 if faults.store => Snare::Store(Fault::SlowAnswer(dice.span(0, 40_000))),
            10..12 if faults.failover => Snare::FailOver,
            _ => {
                drop(state);
                return self.provoke();
            }
        };
        state.snares[process] = Some((calls, snare));
        drop(state);
        self.provoke();
    }

    /// Tokens end, or are refused, and callers come.
    fn provoke(&self) {
        let (ends, comes) = {
            let dice = &mut self.sim.state().dice;
            (dice.percent(40), dice.percent(85))
        };
        if ends {
            self.pass_by();
        }
        if comes {
            self.callers();
        }
    }

    /// Time passes at once: mostly until tokens are about to end.
    fn pass_by(&self) {
        let session = self.plan().session.as_millis() as u64;
        let span = {
            let dice = &mut self.sim.state().dice;
            match dice.below(10) {
                0..3 => dice.span(1000, 100_000),
                3..6 => dice.span(session.saturating_sub(400_000), session),
                6..9 => dice.span(session, session + 60_000),
                _ => dice.span(0, 2 * session),
            }
        };
        self.sim.step(span);
    }

    fn jump(&self, process: usize) {
        let mut state = self.sim.state();
        let far = state.dice.pick(&[60_000, 3_600_000, 86_400_000, YEAR]);
        let by = if state.dice.percent(50) { far } else { -far };
        state.fault(
            Who::Process(process),
            "clock jumps",
            if by > 0 { "ahead" } else { "back" },
        );
        let now = state.now;
        let facts = &mut state.judge.processes[process];
        facts.disturbances += 1;
        facts.jumped = now;
        drop(state);
        self.sim.machines[process].jump(by);
    }

    /// A few callers, here and there.
    fn callers(&self) {
        let (process, connection, burst) = {
            let dice = &mut self.sim.state().dice;
            let burst = dice.pick(&[1, 1, 2, 3, 6]);
            (
                dice.below(self.sim.plan.processes),
                dice.below(self.sim.plan.connections),
                burst,
            )
        };
        for _ in 0..burst {
            let mut state = self.sim.state();
            let plan = self.plan();
            let spreads = state.dice.percent(40);
            let process = if spreads {
                state.dice.below(plan.processes)
            } else {
                process
            };
            let served = state.served[connection];
            let wish = match (state.dice.below(10), served) {
                (0..5, _) => Wish::Credentials,
                (5..7, Some(set)) => Wish::Refused(set),
                (7, _) => Wish::ValidFor(Duration::ZERO),
                _ => Wish::ValidFor(state.dice.span(0, 2 * plan.session.as_millis() as u64)),
            };
            let wait = if state.dice.percent(60) {
                Duration::ZERO
            } else {
                state.dice.span(0, 2000)
            };
            let drops = plan.faults.cancel && state.dice.percent(30);
            let patience = drops.then(|| state.dice.span(0, 3000));
            drop(state);
            drop(self.call(process, connection, wish, wait, patience));
        }
    }

    /// A row comes back as it was once.
    async fn roll_back(&self) {
        let sim = &self.sim;
        let old = {
            let mut state = sim.state();
            let connection = state.dice.below(sim.plan.connections);
            let snapshots = state.judge.connections[connection].snapshots.len();
            let at = state.dice.below(snapshots);
            state.fault(Who::World, "rolled back", "");
            state.judge.connections[connection].snapshots[at].row.clone()
        };
        let (now, _) = sim.memory.connection(&old.id).await.unwrap();
        let swapped = sim
            .memory
            .swap_connection(&old, now.unwrap().revision)
            .await
            .unwrap();
        let grantry::store::Swap::Swapped(revision) = swapped else {
            panic!("rolled back")
        };
        observe(sim, None, &old, revision).await;
        let mut state = sim.state();
        let (now, connection) = (state.now, state.ids.iter().position(|id| *id == old.id));
        state.judge.rolled_back(now, connection.unwrap());
        // A backup is restored everywhere.
        state.replica.has(&old.id);
    }

    /// The faults stop: processes go on or start again, the store and the provider are right.
    pub fn heal(&mut self) {
        self.set_secret("secret");
        self.end(End::Wire);
        self.end(End::Replica);
        let mut state = self.sim.state();
        state.script.clear();
        state.replica.takes_over = false;
        state.ends.clear();
        drop(state);
        for process in 0..self.plan().processes {
            self.store_air(process, Air::Calm);
            self.sim.state().cont(process);
            self.sim.state().snares[process] = None;
            self.restart(process);
            let now = self.sim.now();
            let jumped = &mut self.sim.state().judge.processes[process].jumped;
            *jumped = if *jumped > 0 { now } else { 0 };
            let machine = &self.sim.machines[process];
            machine.jump(self.sim.provider_clock.wall().0 - machine.wall().0);
        }
        self.sim.say(Who::World, "all faults stop", "", [0; 3]);
    }
}
