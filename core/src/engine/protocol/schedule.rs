//! Pure arithmetic: how long a token is good, and how long to wait.

use std::time::Duration;

use crate::{
    engine::limits::{COOLING, COOLING_ASKED, COOLING_LONGEST, POLL, REFRESH_AHEAD, STORE_RETRY},
    time::Timestamp,
};

/// Until when a token set is good enough for a caller who asks for `minimum` more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Until then it is served, and nothing happens.
    pub(crate) soft: Timestamp,
    /// Until then it is served while a refresh runs behind; afterwards the caller waits for the refresh.
    pub(crate) hard: Timestamp,
}

impl Window {
    /// The window of a set that lives from `obtained` to `ends`. `jitter` (0 to 255) moves the soft end, so that many
    /// sets of one age are not refreshed at one moment. The window never takes more than half of the set's life, so
    /// that short sessions are not refreshed on every call.
    pub(crate) fn new(obtained: Timestamp, ends: Timestamp, minimum: Duration, jitter: u8) -> Self {
        let half = obtained.until(ends) / 2;
        let hard = minimum.min(half);
        let soft = (hard + hard * u32::from(jitter) / 1024 + REFRESH_AHEAD.min(hard)).min(half);
        Self {
            soft: ends.before(soft),
            hard: ends.before(hard),
        }
    }
}

/// How long to cool after the `failures`th refusal in a row, jittered by `random` (0 to 255), but never less than the
/// provider asked for.
pub(crate) fn cooling(failures: u32, asked: Option<Duration>, random: u8) -> Duration {
    COOLING
        .jittered(failures.saturating_sub(1), random)
        .min(COOLING_LONGEST)
        .max(asked.unwrap_or_default().min(COOLING_ASKED))
}

/// How long to wait before reading a row again that somebody else is working on.
pub(crate) fn poll(round: u32, random: u8) -> Duration {
    POLL.jittered(round, random)
}

/// How long to wait before writing again to a store that failed.
pub(crate) fn store_retry(round: u32, random: u8) -> Duration {
    STORE_RETRY.jittered(round, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_long_session_has_the_asked_window() {
        let window = Window::new(Timestamp(0), Timestamp(0) + 2 * HOUR, Duration::from_secs(300), 0);
        assert_eq!(window.hard, Timestamp(0) + Duration::from_secs(6900));
        assert_eq!(window.soft, Timestamp(0) + Duration::from_secs(6890));
        let jitter = Window::new(
            Timestamp(0),
            Timestamp(0) + 2 * HOUR,
            Duration::from_secs(300),
            255,
        );
        assert!(jitter.soft < window.soft);
        assert_eq!(jitter.hard, window.hard);
    }

    #[test]
    fn a_short_session_keeps_half_of_its_life() {
        let window = Window::new(Timestamp(0), Timestamp(60_000), Duration::from_secs(300), 255);
        assert_eq!((window.soft, window.hard), (Timestamp(30_000), Timestamp(30_000)));
    }

    #[test]
    fn cooling_grows_and_honours_retry_after() {
        assert_eq!(cooling(1, None, 0), Duration::from_secs(5));
        assert_eq!(cooling(2, None, 0), Duration::from_secs(10));
        assert_eq!(cooling(60, None, 255), HOUR);
        assert_eq!(cooling(1, Some(2 * HOUR), 0), 2 * HOUR);
        assert_eq!(cooling(1, Some(Duration::MAX), 255), 24 * HOUR);
    }

    /// Every jitter, with sessions from nothing to a month and wishes from nothing to a day.
    #[test]
    fn no_window_is_upside_down_or_takes_more_than_half_of_a_life() {
        let begin = Timestamp(1_000_000_000);
        let spans = || (0..32).map(|n| Duration::from_millis((1 << n) - 1));
        for (life, minimum) in spans().flat_map(|life| spans().map(move |minimum| (life, minimum))) {
            for jitter in 0..=255 {
                let ends = begin + life;
                let Window { soft, hard } = Window::new(begin, ends, minimum, jitter);
                assert!(soft <= hard && hard <= ends, "{life:?} {minimum:?} {jitter}");
                assert!(begin.until(soft) >= (life / 2).saturating_sub(Duration::from_millis(1)));
                assert!(hard.until(ends) <= minimum);
            }
        }
    }

    #[test]
    fn no_wait_overflows_and_none_shrinks() {
        for random in 0..=255 {
            let waits: Vec<_> = (0..100).map(|failures| cooling(failures, None, random)).collect();
            assert!(waits.windows(2).all(|w| w[0] <= w[1]));
            assert!(waits[0] >= Duration::from_secs(5) && waits[99] == HOUR);
            let retries: Vec<_> = (0..100).map(|round| store_retry(round, random)).collect();
            assert!(retries.windows(2).all(|w| w[0] <= w[1]));
        }
        assert_eq!(cooling(u32::MAX, None, 255), HOUR);
        assert!(store_retry(u32::MAX, 255) <= Duration::from_secs(5));
        assert!(poll(u32::MAX, 255) <= Duration::from_millis(250));
    }

    #[test]
    fn polls_stay_between_25_and_250_ms() {
        assert_eq!(poll(0, 0), Duration::from_millis(25));
        assert!(poll(99, 255) <= Duration::from_millis(250));
        assert!(store_retry(99, 255) <= Duration::from_secs(5));
    }
}
