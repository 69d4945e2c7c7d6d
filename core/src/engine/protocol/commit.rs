//! What becomes of tokens that came, and of those that the store lost.

use super::{Policy, Refresh, Row};
use crate::connection::{GrantVersion, Reason, Status};

/// What to do with a received token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Write this row with the set.
    Write {
        /// The row to write.
        row: Row,
        /// Try the set's access token afterwards: another presentation may have ended its family.
        verify: bool,
        /// The store had lost what it once acknowledged.
        rolled_back: bool,
    },
    /// It is stored already.
    Stored,
    /// A newer set is stored: drop this one, and never revoke it, since both may share a refresh token.
    Superseded,
    /// The connection was reconnected, revoked or deleted meanwhile: do not revive it. Revoke this set, unless its
    /// refresh token is the stored one.
    Ended,
}

/// What becomes of the set `write_id`, which came back for `spent`. Holding the lease is deliberately not required: a presenter that was paused and
/// wakes up holds the only living tokens.
pub fn commit(row: &Row, spent: GrantVersion, write_id: u128, policy: &Policy) -> Commit {
    if row.version.epoch != spent.epoch && policy.rules.epoch {
        return Commit::Ended;
    }
    if matches!(row.status, Status::Deleted | Status::Revoked) && policy.rules.epoch {
        return Commit::Ended;
    }
    if row.write_id == write_id && policy.rules.own_write {
        return Commit::Stored;
    }
    if row.version.generation > spent.generation {
        return Commit::Superseded;
    }
    Commit::Write {
        row: Row {
            version: GrantVersion {
                generation: spent.generation + 1,
                ..row.version
            },
            write_id,
            status: Status::Connected,
            reason: None,
            refresh: Refresh::Idle,
        },
        verify: is_doubtful(row, write_id, row.version.generation < spent.generation)
            && policy.rules.verify_late,
        rolled_back: row.version.generation < spent.generation,
    }
}

/// A set that was tried after it was stored turned out dead, and so did its grant. `None`: a newer set is stored, or nothing
/// that lives. An older one is as dead: the store has lost this one, and whoever keeps it would store it again as healthy.
pub fn found_dead(row: &Row, version: GrantVersion, reason: Reason) -> Option<Row> {
    (is_of(row, version) && row.status == Status::Connected).then_some(Row {
        status: Status::Expired,
        reason: Some(reason),
        refresh: Refresh::Idle,
        ..*row
    })
}

/// Whether the grant of the set `version` is marked as dead.
pub(super) fn is_marked(row: &Row, version: GrantVersion) -> bool {
    is_of(row, version) && row.status == Status::Expired
}

/// Whether the row has the set `version`, or an older one of its grant.
fn is_of(row: &Row, version: GrantVersion) -> bool {
    row.version.epoch == version.epoch && row.version <= version
}

/// Whether the stored set came from the set `version`, later: what ended the one may have ended the other.
pub fn follows(row: &Row, version: GrantVersion) -> bool {
    row.version.epoch == version.epoch && row.version > version && row.status == Status::Connected
}

/// Whether `set`, which is written over this row, should be tried: another presentation than its own may have ended the
/// family of both. Over an `older` row than the set came from, any other presentation was one of a spent token.
fn is_doubtful(row: &Row, write_id: u128, older: bool) -> bool {
    let (attempt, own) = match row.refresh {
        Refresh::Leased { attempt, holder, .. } => (attempt, holder == write_id),
        Refresh::Unknown { attempt, .. } => (attempt, false),
        Refresh::Cooling { unresolved, .. } => (unresolved.map_or(0, |u| u.attempt), false),
        Refresh::Idle => (0, false),
    };
    attempt >= 2 || (older && attempt == 1 && !own) || row.status == Status::Expired
}

/// A set that is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The row to write.
    pub row: Row,
    /// Try the set's access token afterwards.
    pub verify: bool,
}

/// The store shows an older set than it once acknowledged: write the one that I hold again. `None`: it does not.
pub fn repair(row: &Row, held: GrantVersion, write_id: u128, policy: &Policy) -> Option<Repair> {
    (row.version.epoch == held.epoch
        && row.version.generation < held.generation
        && matches!(row.status, Status::Connected | Status::Expired))
    .then_some(Repair {
        row: Row {
            version: held,
            write_id,
            status: Status::Connected,
            reason: None,
            refresh: Refresh::Idle,
        },
        verify: is_doubtful(row, write_id, true) && policy.rules.verify_late,
    })
}
