//! Time as two types that never compare: wall time for expiry, boot time for time limits.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(pub i64);

/// The last moment that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
const LAST: i64 = 253_402_300_799_999;

impl Timestamp {
    /// Later than every other time.
    pub const MAX: Self = Self(LAST);

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Time from `self` until `later`; zero if `later` is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// `self` minus `span`.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// The calendar month in UTC as `yyyymm`, and the day of the month.
    pub fn calendar(self) -> (u32, u8) {
        let date = self.civil();
        let month = u32::from(date.year().unsigned_abs()) * 100 + u32::from(date.month().unsigned_abs());
        (month, date.day().unsigned_abs())
    }

    /// The first moment of the next calendar month in UTC.
    pub fn next_month(self) -> Self {
        let first = self.civil().first_of_month();
        first
            .checked_add(jiff::Span::new().months(1))
            .ok()
            .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .map_or(Self::MAX, |z| Self(z.timestamp().as_millisecond()))
    }

    fn civil(self) -> jiff::civil::Date {
        self.datetime().date()
    }

    /// In UTC. Reckoned on the calendar, since a `jiff::Timestamp` ends some hours before [`LAST`].
    fn datetime(self) -> jiff::civil::DateTime {
        let since = jiff::SignedDuration::from_millis(self.0.clamp(0, LAST));
        jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0).saturating_add(since)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-04-10T14:32:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}Z", self.datetime())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)).min(LAST))
    }
}

/// Time since the machine started, suspends included, in milliseconds. Comparable only within one boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(pub u64);

impl Sub for BootInstant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for BootInstant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// A moment on a store's own clock. Leases are compared on it, because every process that shares the store shares it.
///
/// `clock_id` names the clock: the boot of the machine for a store on a local file, the run of a server for a store on one.
/// Moments of two clocks do not compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct StoreInstant {
    /// Which clock was read.
    #[serde(rename = "era")]
    pub clock_id: u64,
    /// Milliseconds on that clock.
    pub millis: u64,
}

impl StoreInstant {
    /// Time from `earlier` to `self`: `None` across clocks, zero if `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        (self.clock_id == earlier.clock_id)
            .then(|| Duration::from_millis(self.millis.saturating_sub(earlier.millis)))
    }

    /// `self` plus `span`.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            millis: self.millis.saturating_add(span),
            ..self
        }
    }
}

/// Where the broker reads time. Tests step it; nothing else in the workspace reads a clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall time.
    fn wall(&self) -> Timestamp;
    /// Boot time: never goes back, and counts while the machine sleeps.
    fn boot(&self) -> BootInstant;
    /// Wall time that may lag by some milliseconds, for the path that runs on every call.
    fn wall_coarse(&self) -> Timestamp;
    /// Milliseconds on a cheap steady scale of its own, for the age of cached things; it may stand still while the
    /// machine sleeps and lag by some milliseconds.
    fn tick(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(target_os = "linux")]
mod machine {
    use rustix::time::{ClockId, clock_gettime};

    pub(super) const WALL: ClockId = ClockId::Realtime;
    pub(super) const WALL_COARSE: ClockId = ClockId::RealtimeCoarse;
    pub(super) const BOOT: ClockId = ClockId::Boottime;
    pub(super) const STEADY_COARSE: ClockId = ClockId::MonotonicCoarse;

    pub(super) fn read(clock: ClockId) -> i64 {
        let t = clock_gettime(clock);
        t.tv_sec * 1000 + t.tv_nsec / 1_000_000
    }
}

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp(machine::read(machine::WALL))
    }

    fn boot(&self) -> BootInstant {
        BootInstant(u64::try_from(machine::read(machine::BOOT)).unwrap_or(0))
    }

    fn wall_coarse(&self) -> Timestamp {
        Timestamp(machine::read(machine::WALL_COARSE))
    }

    fn tick(&self) -> u64 {
        u64::try_from(machine::read(machine::STEADY_COARSE)).unwrap_or(0)
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clocks"
)]
impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(millis(since))
    }

    fn boot(&self) -> BootInstant {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(std::time::Instant::now);
        BootInstant(
            u64::try_from(std::time::Instant::now().duration_since(start).as_millis()).unwrap_or(u64::MAX),
        )
    }

    fn wall_coarse(&self) -> Timestamp {
        self.wall()
    }

    fn tick(&self) -> u64 {
        self.boot().0
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_rfc_3339_with_milliseconds() {
        assert_eq!(
            Timestamp(1_775_831_520_000).to_string(),
            "2026-04-10T14:32:00.000Z"
        );
        assert_eq!(
            Timestamp(1_775_831_520_007).to_string(),
            "2026-04-10T14:32:00.007Z"
        );
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(-5).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn months_are_calendar_months_in_utc() {
        let t = Timestamp(1_798_761_599_999); // 2026-12-31T23:59:59.999Z
        assert_eq!(t.calendar(), (202_612, 31));
        assert_eq!(t.next_month().to_string(), "2027-01-01T00:00:00.000Z");
    }

    #[test]
    fn instants_of_two_eras_do_not_compare() {
        let a = StoreInstant {
            clock_id: 1,
            millis: 5,
        };
        let b = StoreInstant {
            clock_id: 2,
            millis: 9,
        };
        assert_eq!(b.since(a), None);
        assert_eq!(
            a.plus(Duration::from_millis(4)).since(a),
            Some(Duration::from_millis(4))
        );
    }
}
