//! What the parts of a simulated world share: its clocks, its randomness, its trace and its judge.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use grantry::{
    id::ConnectionId,
    secret::Secret,
    store::MemoryStore,
    testing::{FakeUpstream, Fault, Signals, TestClock},
    time::Clock as _,
    vault::Keyring,
};
use tokio::sync::Notify;

use crate::{
    dice::Dice,
    judge::Judge,
    plan::Plan,
    replica::Replica,
    trace::{Trace, Who},
};

/// How a way behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Air {
    #[default]
    Calm,
    Rough,
    Down,
}

/// What happens to the next request with a refresh token, in scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Right,
    NotSent,
    RequestLost,
    AnswerLost,
    /// Processed so much later; the answer comes right after.
    Late(Duration),
    /// It leaves the process so much later.
    Leaves(Duration),
    /// Answered so much later than it was processed.
    Slow(Duration),
    Garbage,
    GarbageUnprocessed,
    MayPass(u64),
    InProgress,
}

/// What waits for a process at one of its next calls to the store or the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snare {
    Kill,
    /// For so many milliseconds.
    Stop(u64),
    Store(Fault),
    /// The store's machine is lost, and a replica takes over.
    FailOver,
    /// A write is answered with an error, and applied later.
    Later,
}

/// What ends a fault by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Store(usize),
    Replica,
    Wire,
    Stop(usize),
    Dead(usize),
    Secret,
}

pub struct State {
    pub dice: Dice,
    pub trace: Trace,
    pub judge: Judge,
    /// The weather between each process and the store.
    pub stores: Vec<Air>,
    /// What a machine has that takes over.
    pub replica: Replica,
    pub wire: Air,
    pub script: std::collections::VecDeque<Fate>,
    pub faults: u64,
    /// Per process: after how many calls, and what.
    pub snares: Vec<Option<(u32, Snare)>>,
    /// Per process: the next write is applied later.
    pub later: Vec<bool>,
    pub signals: Vec<Signals>,
    /// When which fault ends.
    pub ends: Vec<(u64, End)>,
    pub ids: Vec<ConnectionId>,
    /// Codes that users gave, and for which connection.
    pub codes: Vec<(String, usize)>,
    /// Since when the integration is certainly disabled.
    pub disabled_since: Option<u64>,
    /// How many are about to enable it.
    pub enabling: usize,
    /// Somebody asked to disable or freeze it once.
    pub perhaps_disabled: bool,
    /// The last set that a caller was given, per connection.
    pub served: Vec<Option<grantry::connection::GrantVersion>>,
    /// Calls and errands that are not over.
    pub open: usize,
    said: usize,
}

pub struct Shared {
    pub plan: Plan,
    pub upstream: FakeUpstream,
    pub memory: MemoryStore,
    pub keys: Secret,
    pub vault: Keyring,
    pub store_clock: TestClock,
    pub provider_clock: TestClock,
    pub machines: Vec<TestClock>,
    /// All clocks were stepped.
    pub stepped: Notify,
    origin: u64,
    state: Mutex<State>,
}

/// Clones are the same world.
#[derive(Clone)]
pub struct Sim(Arc<Shared>);

impl Deref for Sim {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sim")
    }
}

impl Sim {
    pub fn new(plan: Plan, dice: Dice, aloud: bool) -> Self {
        let keys = Keyring::generate().unwrap();
        let (store_clock, provider_clock) = (TestClock::new(), TestClock::new());
        let upstream = FakeUpstream::new(provider_clock.clone());
        upstream.set(|settings| plan.apply(settings));
        let machines: Vec<_> = (0..plan.processes).map(|_| TestClock::new()).collect();
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                dice,
                trace: Trace::new(aloud),
                judge: Judge::new(plan.mode, plan.processes),
                stores: vec![Air::Calm; plan.processes],
                replica: Replica::default(),
                wire: Air::Calm,
                script: std::collections::VecDeque::new(),
                faults: 0,
                snares: vec![None; plan.processes],
                later: vec![false; plan.processes],
                signals: vec![Signals::default(); plan.processes],
                ends: Vec::new(),
                ids: Vec::new(),
                codes: Vec::new(),
                disabled_since: None,
                enabling: 0,
                perhaps_disabled: false,
                served: Vec::new(),
                open: 0,
                said: 0,
            }),
            memory: MemoryStore::new(Arc::new(store_clock.clone())),
            vault: Keyring::parse(&keys).unwrap(),
            origin: store_clock.boot().0,
            stepped: Notify::new(),
            plan,
            upstream,
            keys,
            store_clock,
            provider_clock,
            machines,
        }))
    }

    /// Milliseconds since the world began; no jump touches it.
    pub fn now(&self) -> u64 {
        self.store_clock.boot().0 - self.origin
    }

    pub fn state(&self) -> Held<'_> {
        Held {
            now: self.now(),
            state: self.state.lock().unwrap(),
        }
    }

    pub fn say(&self, who: Who, what: &'static str, about: &'static str, numbers: [u64; 3]) {
        self.state().say(who, what, about, numbers);
    }

    /// All machines sleep, and no timer notices.
    pub fn step(&self, span: Duration) {
        self.store_clock.step(span);
        self.provider_clock.step(span);
        self.machines.iter().for_each(|machine| machine.step(span));
        self.stepped.notify_waiters();
        let mut state = self.state();
        state.judge.processes.iter_mut().for_each(|p| p.disturbances += 1);
        let seconds = span.as_secs();
        state.say(Who::World, "all machines sleep", "seconds", [seconds, 0, 0]);
    }

    /// Waits until the world's time is `due`, however it passes.
    pub async fn until(&self, due: u64) {
        loop {
            let stepped = self.stepped.notified();
            let now = self.now();
            if now >= due {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(due - now), stepped).await;
        }
    }
}

/// The state, held.
pub struct Held<'a> {
    pub now: u64,
    state: MutexGuard<'a, State>,
}

impl Held<'_> {
    pub fn say(&mut self, who: Who, what: &'static str, about: &'static str, numbers: [u64; 3]) {
        let now = self.now;
        self.state.trace.say(now, who, what, about, numbers);
    }

    /// A process makes a call, to the store or to the provider: what waits for it there.
    pub fn spring(&mut self, process: usize, of_store: bool) -> Option<Snare> {
        let (calls, snare) = self.snares[process]?;
        if !of_store && matches!(snare, Snare::Store(_) | Snare::FailOver | Snare::Later) {
            return None;
        }
        if calls > 0 {
            self.snares[process] = Some((calls - 1, snare));
            return None;
        }
        self.snares[process] = None;
        Some(snare)
    }

    pub fn kill(&mut self, process: usize) {
        if self.judge.processes[process].alive {
            self.fault(Who::Process(process), "killed", "");
            self.judge.processes[process].alive = false;
            self.trouble(process);
            self.signals[process].kill();
        }
    }

    pub fn stop(&mut self, process: usize) {
        let facts = &mut self.judge.processes[process];
        if facts.alive && !facts.stopped {
            facts.stopped = true;
            self.fault(Who::Process(process), "stopped", "");
            self.trouble(process);
            self.signals[process].stop();
        }
    }

    pub fn cont(&mut self, process: usize) {
        if std::mem::take(&mut self.judge.processes[process].stopped) {
            self.say(Who::Process(process), "goes on", "", [0; 3]);
            self.trouble(process);
            self.signals[process].cont();
        }
    }

    /// Kills or stops the process, if that is what waited for it.
    pub fn seize(&mut self, process: usize, snare: Snare) {
        let now = self.now;
        match snare {
            Snare::Kill => {
                self.kill(process);
                let span = self.dice.span(0, 20_000).as_millis() as u64;
                self.ends.push((now + span, End::Dead(process)));
            }
            Snare::Stop(span) => {
                self.stop(process);
                self.ends.push((now + span, End::Stop(process)));
            }
            Snare::Store(_) | Snare::FailOver | Snare::Later => {}
        }
    }

    /// The process's way to the store, or the process itself, is not what it should be.
    pub fn trouble(&mut self, process: usize) {
        let now = self.now;
        let facts = &mut self.judge.processes[process];
        facts.trouble = now;
        facts.disturbances += 1;
    }

    /// Something was done to the world on purpose.
    pub fn fault(&mut self, who: Who, what: &'static str, about: &'static str) {
        self.state.faults += 1;
        self.say(who, what, about, [0, 0, 0]);
    }
}

/// What was found meanwhile stands in the trace, too.
impl Drop for Held<'_> {
    fn drop(&mut self) {
        while self.said < self.judge.violations.len() {
            self.said += 1;
            let number = self.said as u64;
            self.say(Who::World, "VIOLATION", "", [number, 0, 0]);
        }
    }
}

impl Deref for Held<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
