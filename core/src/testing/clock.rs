//! A clock that follows tokio's time and can be moved by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::time::{BootInstant, Clock, Timestamp};

/// 2026-01-15T12:00:00Z.
const BEGIN: i64 = 1_768_478_400_000;

/// A clock that follows tokio's time: under `#[tokio::test(start_paused = true)]` it does not advance until every task
/// waits, and then goes to the next timer. [`TestClock::step`] and [`TestClock::jump`] move it without timers noticing.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    /// Milliseconds that both clocks are ahead of tokio's time.
    stepped: AtomicU64,
    /// Milliseconds that the wall clock is ahead of that.
    jumped: AtomicI64,
}

impl TestClock {
    /// A clock that begins at 2026-01-15T12:00:00Z.
    #[expect(
        clippy::disallowed_methods,
        reason = "this clock follows tokio's, which tests pause"
    )]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            origin: Instant::now(),
            stepped: AtomicU64::new(0),
            jumped: AtomicI64::new(0),
        }))
    }

    /// Moves all clocks on, but no timer: as if the machine had slept.
    pub fn step(&self, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.0.stepped.fetch_add(span, Ordering::SeqCst);
    }

    /// Moves the wall clock only, by so many milliseconds, as if it had been set.
    pub fn jump(&self, millis: i64) {
        self.0.jumped.fetch_add(millis, Ordering::SeqCst);
    }

    fn passed(&self) -> u64 {
        let passed = u64::try_from(self.0.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        passed.saturating_add(self.0.stepped.load(Ordering::SeqCst))
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        let passed = i64::try_from(self.passed()).unwrap_or(i64::MAX);
        Timestamp(BEGIN.saturating_add(passed) + self.0.jumped.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootInstant {
        // Nothing booted at zero.
        BootInstant(self.passed().saturating_add(1_000_000))
    }

    fn wall_coarse(&self) -> Timestamp {
        self.wall()
    }

    fn tick(&self) -> u64 {
        self.boot().0
    }
}
