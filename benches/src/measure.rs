//! Clocks, rounds and medians.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The short form for continuous integration.
    pub quick: bool,
    /// Also what takes gigabytes.
    pub million: bool,
}

impl Scale {
    /// `full`, or `quick` in the short form.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What a row is timed with.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// CPU time of this thread: for what only computes.
    Cpu,
    /// The wall clock.
    Wall,
}

impl Timer {
    /// Nanoseconds on this clock.
    pub fn now(self) -> u64 {
        let time = clock_gettime(match self {
            Self::Cpu => ClockId::ThreadCPUTime,
            Self::Wall => ClockId::Monotonic,
        });
        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
    }
}

/// One of the things that are compared: `run` makes `calls` calls.
pub struct Variant<'a> {
    name: &'static str,
    calls: u32,
    run: Box<dyn FnMut() -> Option<u64> + 'a>,
}

impl<'a> Variant<'a> {
    /// A variant that is timed from outside.
    pub fn new(name: &'static str, calls: u32, mut run: impl FnMut() + 'a) -> Self {
        let run = Box::new(move || {
            run();
            None
        });
        Self { name, calls, run }
    }

    /// A variant whose call is repeated.
    pub fn each(name: &'static str, calls: u32, mut call: impl FnMut() + 'a) -> Self {
        Self::new(name, calls, move || (0..calls).for_each(|_| call()))
    }

    /// A variant that prepares something and tells the nanoseconds of the rest itself.
    pub fn timed(name: &'static str, calls: u32, mut run: impl FnMut() -> u64 + 'a) -> Self {
        let run = Box::new(move || Some(run()));
        Self { name, calls, run }
    }
}

impl std::fmt::Debug for Variant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variant")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Nanoseconds per call of one variant, a figure for each round.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The variant.
    pub name: &'static str,
    rounds: Vec<f64>,
}

impl Samples {
    /// The median round.
    pub fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    /// The median over the rounds of this over `other`.
    pub fn over(&self, other: &Self) -> f64 {
        median(
            self.rounds
                .iter()
                .zip(&other.rounds)
                .map(|(a, b)| a / b)
                .collect(),
        )
    }
}

/// Lets the variants take turns, each round in another order, after one round that does not count.
pub fn interleave<const N: usize>(
    timer: Timer,
    rounds: usize,
    mut variants: [Variant<'_>; N],
) -> [Samples; N] {
    let mut samples = std::array::from_fn(|i| Samples {
        name: variants[i].name,
        rounds: Vec::with_capacity(rounds),
    });
    for round in 0..=rounds {
        for turn in 0..N {
            let i = (turn + round) % N;
            let variant = &mut variants[i];
            let begun = timer.now();
            let told = (variant.run)();
            let spent = told.unwrap_or_else(|| timer.now() - begun);
            if round > 0 {
                samples[i]
                    .rounds
                    .push(Duration::from_nanos(spent).as_secs_f64() * 1e9 / f64::from(variant.calls));
            }
        }
    }
    samples
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The figure that 99 of 100 do not exceed.
pub fn p99(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

/// Numbers below `n` in an order that looks random and is the same in every run.
pub fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..n).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (i as u64 + 1)).unwrap();
        order.swap(i, other);
    }
    order
}

/// Keeps this thread and those that it starts on one core, so that loopback calls take one way only. Without effect
/// where that cannot be done.
pub fn pin(core: Option<usize>) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_setaffinity};
        let mut set = CpuSet::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match core {
            Some(core) => set.set(core),
            None => (0..cores.max(64)).for_each(|core| set.set(core)),
        }
        let _ = sched_setaffinity(None, &set);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}
