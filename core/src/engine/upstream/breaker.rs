//! A circuit breaker: after repeated failures it rejects calls, then admits one probe.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    connection::Reason,
    engine::limits::{BREAKER, BREAKER_LONGEST, BREAKER_PROBE},
    time::BootInstant,
};

/// Opens after a number of failures in a row, for 30 seconds at first and up to 16 minutes.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    trip: Mutex<Option<Trip>>,
}

#[derive(Clone, Copy, Debug)]
struct Trip {
    reason: Reason,
    /// It admits no call until then; in the past while there were too few failures.
    until: BootInstant,
    failures: u32,
    /// A probe was admitted.
    probed: bool,
}

/// Why a call is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Nothing is wrong.
    Free,
    /// Something was wrong, and this call finds out whether it is over.
    Probe,
}

impl Breaker {
    /// A breaker that opens at the `threshold`th failure in a row.
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            trip: Mutex::new(None),
        }
    }

    /// One more failure. Returns whether it opened now for the first time.
    pub(crate) fn trip(&self, reason: Reason, asked: Option<Duration>, now: BootInstant) -> bool {
        let mut trip = self.trip.lock().unwrap_or_else(PoisonError::into_inner);
        if trip.is_some_and(|t| now < t.until && !t.probed) {
            // A call that was admitted before it opened.
            return false;
        }
        let failures = trip.map_or(0, |t| t.failures).saturating_add(1);
        let wait = match failures.checked_sub(self.threshold) {
            Some(more) => BREAKER
                .after(more)
                .max(asked.unwrap_or_default().min(BREAKER_LONGEST)),
            None => Duration::ZERO,
        };
        *trip = Some(Trip {
            reason,
            until: now + wait,
            failures,
            probed: false,
        });
        failures == self.threshold
    }

    /// A success. Returns whether it had been open.
    pub(crate) fn mend(&self) -> bool {
        let trip = self.trip.lock().unwrap_or_else(PoisonError::into_inner).take();
        trip.is_some_and(|t| t.failures >= self.threshold)
    }

    /// Admits the call, or returns why not and for how long. After it was open it admits one probe, and the others wait for
    /// its outcome.
    pub(crate) fn pass(&self, now: BootInstant) -> Result<Pass, (Reason, Duration)> {
        let mut trip = self.trip.lock().unwrap_or_else(PoisonError::into_inner);
        match trip.as_mut() {
            Some(trip) if trip.failures >= self.threshold => {
                if now < trip.until {
                    return Err((trip.reason, trip.until - now));
                }
                trip.until = now + BREAKER_PROBE;
                trip.probed = true;
                Ok(Pass::Probe)
            }
            _ => Ok(Pass::Free),
        }
    }

    /// Why it is open, and for how long; `None` if it is not.
    pub(crate) fn open(&self, now: BootInstant) -> Option<(Reason, Duration)> {
        let trip = (*self.trip.lock().unwrap_or_else(PoisonError::into_inner))?;
        (now < trip.until).then(|| (trip.reason, trip.until - now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: Reason = Reason::ServerUnavailable;

    fn at(seconds: u64) -> BootInstant {
        BootInstant(seconds * 1000)
    }

    #[test]
    fn opens_at_the_threshold_and_lets_one_ask_afterwards() {
        let breaker = Breaker::new(3);
        assert!(!breaker.trip(REASON, None, at(1)));
        assert!(!breaker.trip(REASON, None, at(1)));
        assert_eq!(breaker.pass(at(1)), Ok(Pass::Free));
        assert!(breaker.trip(REASON, None, at(1)), "the third is news");
        assert_eq!(breaker.pass(at(2)), Err((REASON, Duration::from_secs(29))));
        assert_eq!(breaker.pass(at(31)), Ok(Pass::Probe));
        assert_eq!(
            breaker.pass(at(31)),
            Err((REASON, BREAKER_PROBE)),
            "the others wait"
        );
        assert!(!breaker.trip(REASON, None, at(32)), "no news");
        assert_eq!(
            breaker.pass(at(32)),
            Err((REASON, Duration::from_secs(60))),
            "twice as long"
        );
        assert!(breaker.mend());
        assert_eq!(breaker.pass(at(33)), Ok(Pass::Free));
        assert!(!breaker.mend());
    }

    #[test]
    fn failures_of_those_on_their_way_count_once() {
        let breaker = Breaker::new(1);
        assert!(breaker.trip(REASON, None, at(1)));
        for _ in 0..100 {
            assert!(!breaker.trip(REASON, None, at(2)));
        }
        assert_eq!(breaker.open(at(2)), Some((REASON, Duration::from_secs(29))));
        assert_eq!(breaker.open(at(31)), None);
    }

    #[test]
    fn waits_as_asked_but_not_for_ever() {
        let breaker = Breaker::new(1);
        breaker.trip(REASON, Some(Duration::from_secs(300)), at(0));
        assert_eq!(breaker.open(at(0)), Some((REASON, Duration::from_secs(300))));
        breaker.mend();
        breaker.trip(REASON, Some(Duration::MAX), at(0));
        assert_eq!(breaker.open(at(0)), Some((REASON, BREAKER_LONGEST)));
    }
}
