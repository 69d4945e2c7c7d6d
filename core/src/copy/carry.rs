//! Carries a row's moments over to another store: they are on its own store's clock, and mean nothing on another. Pure.

use crate::{
    engine::protocol::{Policy, Refresh, Row, Unresolved},
    provider::Rotation,
    time::StoreInstant,
};

/// Whether the row's lease can be over only at a later moment: who has it may still present the token. `first` is the first
/// moment of the present clock that was seen.
pub(super) fn may_present(row: &Row, now: StoreInstant, first: StoreInstant) -> bool {
    let Refresh::Leased { until, .. } = row.refresh else {
        return false;
    };
    match now.since(until) {
        Some(_) => now.millis < until.millis,
        // Of a clock that is gone: it was taken before, so it is over a lease later at the latest.
        None => now.since(first).is_none_or(|passed| passed < policy().lease),
    }
}

/// Whether it contains a moment of the store's clock.
pub(super) fn has_moment(refresh: Refresh) -> bool {
    !matches!(refresh, Refresh::Idle | Refresh::Cooling { unresolved: None, .. })
}

/// The same state on the target's clock, which shows `to` when the source's shows `from`. A lease that is over becomes the
/// unknown outcome that it stands for. A moment of a clock that no longer exists counts from now.
pub(super) fn carry(refresh: Refresh, from: StoreInstant, to: StoreInstant) -> Refresh {
    let moment = |since: StoreInstant| match from.since(since) {
        Some(age) => earlier(to, age),
        None => to,
    };
    match refresh {
        Refresh::Idle => Refresh::Idle,
        Refresh::Leased { until, attempt, .. } => Refresh::Unknown {
            since: moment(earlier(until, policy().time_limit)),
            attempt,
        },
        Refresh::Unknown { since, attempt } => Refresh::Unknown {
            since: moment(since),
            attempt,
        },
        Refresh::Cooling {
            until,
            failures,
            reason,
            unresolved,
        } => Refresh::Cooling {
            until,
            failures,
            reason,
            unresolved: unresolved.map(|Unresolved { since, attempt }| Unresolved {
                since: moment(since),
                attempt,
            }),
        },
    }
}

fn earlier(at: StoreInstant, span: std::time::Duration) -> StoreInstant {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    StoreInstant {
        millis: at.millis.saturating_sub(span),
        ..at
    }
}

/// Any rotation will do: the times are the same for every provider.
pub(super) fn policy() -> Policy {
    Policy::new(Rotation::Strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connection::Reason, engine::protocol::first, time::Timestamp};

    const FROM: StoreInstant = StoreInstant {
        clock_id: 1,
        millis: 500_000,
    };
    const TO: StoreInstant = StoreInstant {
        clock_id: 9,
        millis: 70_000_000,
    };

    fn at(millis: u64) -> StoreInstant {
        StoreInstant { millis, ..FROM }
    }

    fn since(refresh: Refresh) -> Option<StoreInstant> {
        match refresh {
            Refresh::Unknown { since, .. } => Some(since),
            Refresh::Cooling { unresolved, .. } => unresolved.map(|u| u.since),
            _ => None,
        }
    }

    #[test]
    fn an_unknown_outcome_is_as_old_on_the_other_clock() {
        let unknown = Refresh::Unknown {
            since: at(460_000),
            attempt: 2,
        };
        let expected = StoreInstant {
            millis: 70_000_000 - 40_000,
            ..TO
        };
        assert_eq!(
            carry(unknown, FROM, TO),
            Refresh::Unknown {
                since: expected,
                attempt: 2
            }
        );
        let cooling = Refresh::Cooling {
            until: Timestamp(5),
            failures: 3,
            reason: Reason::RateLimited,
            unresolved: Some(Unresolved {
                since: at(460_000),
                attempt: 2,
            }),
        };
        assert_eq!(since(carry(cooling, FROM, TO)), Some(expected));
    }

    #[test]
    fn a_lapsed_lease_was_sent_in_its_first_ten_seconds_at_the_latest() {
        let lease = Refresh::Leased {
            holder: 3,
            until: at(490_000),
            attempt: 1,
        };
        let expected = StoreInstant {
            millis: 70_000_000 - 30_000,
            ..TO
        };
        assert_eq!(since(carry(lease, FROM, TO)), Some(expected));
    }

    #[test]
    fn what_is_of_a_clock_that_is_gone_begins_anew() {
        let gone = StoreInstant {
            clock_id: 2,
            millis: 7,
        };
        let unknown = Refresh::Unknown {
            since: gone,
            attempt: 1,
        };
        assert_eq!(since(carry(unknown, FROM, TO)), Some(TO));
        // The target's clock may be younger than the outcome is old.
        let young = StoreInstant {
            clock_id: 9,
            millis: 10,
        };
        let old = Refresh::Unknown {
            since: at(100),
            attempt: 1,
        };
        assert_eq!(
            since(carry(old, FROM, young)),
            Some(StoreInstant {
                clock_id: 9,
                millis: 0
            })
        );
    }

    #[test]
    fn a_lease_is_waited_for_until_it_is_over_on_any_clock() {
        let lease = |until| Row {
            refresh: Refresh::Leased {
                holder: 3,
                until,
                attempt: 1,
            },
            ..first(1)
        };
        assert!(may_present(&lease(at(500_001)), FROM, FROM));
        assert!(!may_present(&lease(FROM), FROM, FROM));
        let gone = StoreInstant {
            clock_id: 2,
            millis: 7,
        };
        assert!(may_present(&lease(gone), FROM, at(470_001)));
        assert!(!may_present(&lease(gone), FROM, at(470_000)));
        assert!(!may_present(&first(1), FROM, FROM));
    }
}
