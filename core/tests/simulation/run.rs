//! Seeds, one after the other, each in a runtime of its own whose time is paused.

use std::sync::atomic::{AtomicU64, Ordering};

use grantry::testing;

use crate::{
    dice::Dice,
    herd,
    plan::Plan,
    sim::Sim,
    world::{Rules, World},
};

/// What came of one seed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub hash: u64,
    pub faults: u64,
    pub unrecorded: u64,
    pub violations: Vec<String>,
    pub tail: String,
}

/// Runs one seed on this thread.
pub fn seed(number: u64, aloud: bool) -> Report {
    seed_without(number, aloud, |builder| builder)
}

/// Runs one seed with some rules switched off.
pub fn seed_without(seed: u64, aloud: bool, rules: Rules) -> Report {
    inside(seed, async move {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        if aloud {
            println!("seed {seed}: {plan:?}");
        }
        let herd = seed.is_multiple_of(16);
        let sim = Sim::new(plan, dice, aloud);
        let mut world = World::new(sim.clone(), rules).await;
        if herd {
            herd::drive(&world).await;
        } else {
            world.drive().await;
        }
        world.converge().await;
        world.close();
        report(&sim)
    })
}

/// A panic is a violation, too.
fn caught(number: u64) -> Report {
    std::panic::catch_unwind(|| seed(number, false)).unwrap_or_else(|_| Report {
        violations: vec!["panicked".to_owned()],
        ..Report::default()
    })
}

/// Runs a world in paused time, with all randomness from `seed`.
pub fn inside<T>(seed: u64, world: impl Future<Output = T>) -> T {
    testing::seed(Some(seed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let result = runtime.block_on(world);
    drop(runtime);
    testing::seed(None);
    result
}

pub fn report(sim: &Sim) -> Report {
    let state = sim.state();
    Report {
        hash: state.trace.hash(),
        faults: state.faults,
        unrecorded: state.judge.unrecorded,
        violations: state.judge.violations.clone(),
        tail: if state.judge.violations.is_empty() {
            String::new()
        } else {
            state.trace.tail(80)
        },
    }
}

/// Sums over many seeds.
#[derive(Debug, Default)]
pub struct Sums {
    pub seeds: AtomicU64,
    pub faults: AtomicU64,
    pub unrecorded: AtomicU64,
    pub violations: AtomicU64,
    /// All hashes, in no order: two builds with the same digest made the same calls in every seed.
    pub digest: AtomicU64,
}

/// Runs seeds from `from` to below `to` on some threads.
pub fn seeds(from: u64, to: u64, threads: u64) -> Sums {
    let sums = Sums::default();
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        return;
                    }
                    add(&sums, number, &caught(number));
                }
            });
        }
    });
    sums
}

fn add(sums: &Sums, number: u64, report: &Report) {
    sums.seeds.fetch_add(1, Ordering::Relaxed);
    sums.faults.fetch_add(report.faults, Ordering::Relaxed);
    sums.unrecorded.fetch_add(report.unrecorded, Ordering::Relaxed);
    let hash = (report.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    sums.digest.fetch_xor(hash.rotate_left(29), Ordering::Relaxed);
    let count = u64::try_from(report.violations.len()).unwrap();
    let earlier = sums.violations.fetch_add(count, Ordering::Relaxed);
    if count > 0 {
        println!("seed {number}: {}", report.violations.join("\n    "));
        if earlier < 3 {
            println!("{}replay it with GRANTRY_SEED={number}\n", report.tail);
        }
    }
}
