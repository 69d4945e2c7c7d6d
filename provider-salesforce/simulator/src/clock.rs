//! The simulator's clock: real time plus an offset that tests move forward.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Milliseconds since 1970, by the simulator's clock.
pub(crate) type Millis = i64;

/// Real time plus a stepped offset. It never goes back unless the machine's clock does.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// The simulator's current time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the simulator reads the machine's clock"
    )]
    pub(crate) fn now(&self) -> Millis {
        let real = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        real.saturating_add(self.offset.load(Ordering::Relaxed))
    }

    /// Steps the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        let step = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
        self.offset.fetch_add(step, Ordering::Relaxed);
    }

    /// How far the clock is ahead of real time.
    pub(crate) fn offset(&self) -> Millis {
        self.offset.load(Ordering::Relaxed)
    }
}

/// A number of minutes as milliseconds.
pub(crate) fn minutes(count: u32) -> Millis {
    i64::from(count) * 60_000
}

/// The form of date and time in REST records: `2026-04-10T14:32:00.000+0000`.
pub(crate) fn rest_time(at: Millis) -> String {
    Timestamp::from_millisecond(at).map_or_else(
        |_| String::from("1970-01-01T00:00:00.000+0000"),
        |stamp| stamp.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
    )
}

/// The form of date and time in identity answers: `2026-04-10T14:32:00Z`.
pub(crate) fn iso_time(at: Millis) -> String {
    Timestamp::from_second(at.div_euclid(1000)).map_or_else(|_| String::new(), |stamp| stamp.to_string())
}

/// Reads a SOQL date-time literal and gives it in the form of [`rest_time`].
pub(crate) fn read_time(literal: &str) -> Option<String> {
    literal
        .parse::<Timestamp>()
        .ok()
        .map(|stamp| rest_time(stamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_wire_forms() {
        assert_eq!(rest_time(1_795_334_400_123), "2026-11-22T08:00:00.123+0000");
        assert_eq!(iso_time(1_795_334_400_123), "2026-11-22T08:00:00Z");
        assert_eq!(
            read_time("2026-11-22T08:00:00Z").as_deref(),
            Some("2026-11-22T08:00:00.000+0000")
        );
        assert_eq!(read_time("yesterday"), None);
    }

    #[test]
    fn the_clock_steps_forward() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance(Duration::from_secs(2 * 3600));
        assert!(clock.now() - before >= 7_200_000);
    }
}
