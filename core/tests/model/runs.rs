//! Many explorations, spread over threads, and how they are told.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use grantry::protocol::Policy;

use crate::{
    explore::{Verdict, explore},
    faults::{Fault, Faults},
    state::{MOST, State, Store},
    upstream::Mode,
    world::{Design, Draft, Scenario, rotation},
};

pub const MODES: [Mode; 4] = [Mode::Reusable, Mode::Reject, Mode::Revoke, Mode::Grace];
pub const STRICT: [Mode; 2] = [Mode::Reject, Mode::Revoke];

/// One exploration.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub mode: Mode,
    pub design: Design,
    /// The protocol's rules, all on but for those whose worth is shown.
    pub policy: Policy,
    pub draft: Option<Draft>,
    /// Others may come in between a read and the swap that follows.
    pub split: bool,
    pub scenario: Scenario,
    pub processes: usize,
    pub refreshes: u8,
    /// One more lapse, crash and failover than the scenario says, if it has any.
    pub stretched: bool,
    /// Stop at the first violation, and find the way to it.
    pub traced: bool,
}

impl Run {
    /// Two processes, one refresh, and the protocol as it is.
    pub fn of(scenario: Scenario, mode: Mode) -> Self {
        Self {
            mode,
            design: Design::Protocol,
            policy: Policy::new(rotation(mode)),
            draft: None,
            split: false,
            scenario,
            processes: 2,
            refreshes: 1,
            stretched: false,
            traced: false,
        }
    }

    pub fn start(&self) -> State {
        let mut faults = Faults::of(self.scenario.faults);
        if self.stretched {
            for fault in [Fault::Lapse, Fault::Crash, Fault::FailOver] {
                faults = faults.stretched(fault);
            }
            if faults.may(Fault::FailOver) {
                // That an access token has ended may be lost, too, and it ends again.
                faults = faults.stretched(Fault::AccessEnds);
            }
        }
        State::start(self.processes, self.scenario.store, faults)
    }

    /// Places for what goes on behind the processes.
    pub fn keepers(&self) -> usize {
        match self.scenario.store {
            Store::Safe => 0,
            Store::Replica | Store::Backup { .. } => MOST - self.processes,
        }
    }
}

/// All pairs.
pub fn each(scenarios: &[Scenario], modes: &[Mode], run: impl Fn(Run) -> Run) -> Vec<Run> {
    let pairs = scenarios
        .iter()
        .flat_map(|s| modes.iter().map(|m| Run::of(*s, *m)));
    pairs.map(run).collect()
}

/// Explores them all, and answers in their order.
pub fn explored(runs: &[Run]) -> Vec<(Run, Verdict)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        // The largest ones come last in a list, and are begun first.
        while let begun = next.fetch_add(1, Ordering::Relaxed) + 1
            && let Some(number) = runs.len().checked_sub(begun)
        {
            let run = runs[number];
            let verdict = explore(&run);
            done.lock().unwrap().push((number, run, verdict));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_unstable_by_key(|(number, ..)| *number);
    done.into_iter().map(|(_, run, verdict)| (run, verdict)).collect()
}

/// One line for each run, and the way to what is wrong.
pub fn tell(runs: &[(Run, Verdict)]) {
    for (run, verdict) in runs {
        let mut found: Vec<String> = verdict.ends.keys().map(|end| format!("{end:?}")).collect();
        found.extend(marks(verdict).map(str::to_owned));
        println!(
            "{:9}| {:42}|{}{} refreshes | {:>9} states | {:>4} machines | at most {} presentations | {}",
            format!("{:?}", run.mode),
            run.scenario.name,
            if run.split { " split | " } else { " " },
            run.refreshes,
            verdict.states,
            verdict.machines,
            verdict.presentations,
            found.join(" | "),
        );
        for state in &verdict.trace {
            println!("    {state}");
        }
    }
}

/// What is wrong, and what harm was done.
pub fn marks(verdict: &Verdict) -> impl Iterator<Item = &'static str> {
    verdict.violations.union(&verdict.notes).copied()
}
