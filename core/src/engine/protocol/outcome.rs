//! What is written if no tokens came.

use super::{Policy, Refresh, Row, Unresolved, holds};
use crate::{
    connection::{GrantVersion, Reason, Status},
    engine::limits::REUSABLE_COOLING,
    provider::Rotation,
    time::{StoreInstant, Timestamp},
};

fn may_write(row: &Row, holder: u128, policy: &Policy) -> bool {
    holds(row, holder) || (row.status == Status::Connected && !policy.rules.holder_only)
}

fn unresolved_of(replaced: Refresh, policy: &Policy) -> Option<Unresolved> {
    if !policy.rules.keep_unknown {
        return None;
    }
    match replaced {
        Refresh::Unknown { since, attempt } => Some(Unresolved { since, attempt }),
        Refresh::Cooling { unresolved, .. } => unresolved,
        Refresh::Idle | Refresh::Leased { .. } => None,
    }
}

/// The lease is given back: nothing was sent, for certain. `None`: it is not mine any more.
pub fn give_back(row: &Row, holder: u128, replaced: Refresh, policy: &Policy) -> Option<Row> {
    let refresh = match replaced {
        Refresh::Cooling { .. } if policy.rules.keep_unknown => replaced,
        _ => unresolved_of(replaced, policy).map_or(Refresh::Idle, |Unresolved { since, attempt }| {
            Refresh::Unknown { since, attempt }
        }),
    };
    may_write(row, holder, policy).then_some(Row { refresh, ..*row })
}

/// The answer is not known. `sent_by` is the latest moment at which the request can have been sent.
pub fn unknown(
    row: &Row,
    holder: u128,
    attempt: u32,
    sent_by: StoreInstant,
    wall: Timestamp,
    policy: &Policy,
) -> Option<Row> {
    let refresh = match policy.rotation {
        Rotation::Reusable => Refresh::Cooling {
            until: wall + REUSABLE_COOLING,
            failures: 1,
            reason: Reason::AnswerLost,
            unresolved: None,
        },
        Rotation::Grace(_) | Rotation::Strict => Refresh::Unknown {
            since: sent_by,
            attempt,
        },
    };
    let (status, reason) = if attempt >= 2 && !policy.rules.no_cap {
        (Status::Expired, Some(Reason::OutcomeUnknown))
    } else {
        (row.status, row.reason)
    };
    may_write(row, holder, policy).then_some(Row {
        status,
        reason,
        refresh,
        ..*row
    })
}

/// "A request with this token is in work": somebody presented it, and how that ends is not known. It counts as no
/// presentation of ours, but nothing may be presented until the other one's outcome is certain.
pub fn in_progress(
    row: &Row,
    holder: u128,
    attempt: u32,
    replaced: Refresh,
    now: StoreInstant,
    wall: Timestamp,
    policy: &Policy,
) -> Option<Row> {
    if policy.rotation == Rotation::Reusable {
        let until = wall + REUSABLE_COOLING;
        return cool(row, holder, replaced, until, Reason::AlreadyProcessing, policy);
    }
    may_write(row, holder, policy).then_some(Row {
        refresh: Refresh::Unknown { since: now, attempt },
        ..*row
    })
}

/// Refused for now. The token is unspent, so the attempt is not counted; an unknown outcome of before stays unresolved.
pub fn cool(
    row: &Row,
    holder: u128,
    replaced: Refresh,
    until: Timestamp,
    reason: Reason,
    policy: &Policy,
) -> Option<Row> {
    let failures = match replaced {
        Refresh::Cooling { failures, .. } => failures.saturating_add(1),
        _ => 1,
    };
    let refresh = Refresh::Cooling {
        until,
        failures,
        reason,
        unresolved: unresolved_of(replaced, policy),
    };
    may_write(row, holder, policy).then_some(Row { refresh, ..*row })
}

/// What a definite refusal of the grant means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// Write this row: the connection is expired.
    Expire(Row),
    /// The row has a newer set: adopt it, after one check, since the refusal may have ended its family.
    Newer,
    /// It is not for me to say (I6).
    NotMine,
}

/// The provider says that the grant of the set `spent` is gone.
pub fn dead(row: &Row, holder: u128, spent: GrantVersion, attempt: u32, reason: Reason) -> Dead {
    if row.version.epoch != spent.epoch || row.status != Status::Connected {
        return Dead::NotMine;
    }
    if row.version > spent {
        return Dead::Newer;
    }
    if !holds(row, holder) {
        return Dead::NotMine;
    }
    // After an unknown outcome the refusal most likely means that the lost answer had spent the token.
    let reason = if attempt >= 2 {
        Reason::OutcomeUnknown
    } else {
        reason
    };
    Dead::Expire(Row {
        status: Status::Expired,
        reason: Some(reason),
        refresh: Refresh::Idle,
        ..*row
    })
}
