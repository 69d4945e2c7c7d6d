//! Waits that grow: pure.

use std::time::Duration;

/// A wait that doubles with each try, up to `times` times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubling {
    pub(crate) first: Duration,
    pub(crate) times: u32,
}

impl Doubling {
    /// The wait that follows `before` earlier ones.
    pub(crate) const fn after(self, before: u32) -> Duration {
        let times = if before < self.times { before } else { self.times };
        self.first.saturating_mul(1 << times)
    }

    /// The same plus up to a quarter of jitter, by `random` (0 to 255).
    pub(crate) fn jittered(self, before: u32, random: u8) -> Duration {
        let wait = self.after(before);
        wait + wait * u32::from(random) / 1024
    }

    /// An upper bound of all jittered waits.
    pub(crate) const fn longest(self) -> Duration {
        let wait = self.after(self.times);
        match wait.checked_div(4) {
            Some(quarter) => wait.saturating_add(quarter),
            None => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_so_many_times() {
        let wait = Doubling {
            first: Duration::from_secs(2),
            times: 3,
        };
        let waits = [0, 1, 2, 3, 4, u32::MAX].map(|before| wait.after(before).as_secs());
        assert_eq!(waits, [2, 4, 8, 16, 16, 16]);
        assert_eq!(wait.longest(), Duration::from_secs(20));
        assert!(wait.jittered(9, 0) == wait.after(9) && wait.jittered(9, 255) < wait.longest());
    }
}
