//! The refresh protocol: machines without I/O, and the pure functions of (row, event, now, policy) that they share.
//! Nothing else in the workspace decides anything about a refresh. `engine::runner` does what the machines ask for;
//! `core/tests/model` explores them exhaustively.
//!
//! The row's refresh state is one of
//!
//! ```text
//!            take                      commit
//!   Idle ──────────► Leased ────────────────────────────► Idle, generation + 1
//!    ▲                │ ├── give back, unspent ──────► what it replaced
//!    │                │ ├── refused for now ─────────► Cooling (carries an unresolved unknown)
//!    │                │ ├── answer lost, or lapsed ──► Unknown
//!    │                │ └── grant refused ───────────► Idle, status expired
//!    └── reconnect, revoke, delete: epoch + 1
//! ```
//!
//! | file | what it decides |
//! |---|---|
//! | `policy` | times and rules |
//! | `take` | whether a token may be presented, and until when the lease allows it |
//! | `outcome` | what is written after a presentation that brought no tokens |
//! | `commit` | what becomes of tokens that came |

pub mod attempt;
mod commit;
pub mod keep_set;
pub mod machine;
mod outcome;
mod policy;
pub(crate) mod schedule;
mod take;
pub mod verify;

pub use attempt::Attempt;
pub use commit::{Commit, Repair, commit, follows, found_dead, repair};
pub use keep_set::KeepSet;
pub use machine::{Machine, Moment, Step};
pub use outcome::{Dead, cool, dead, give_back, in_progress, unknown};
pub use policy::{Policy, Rules};
use serde::{Deserialize, Serialize};
pub use take::{Claim, Take, may_still_send, take};
pub use verify::Verify;

use crate::{
    connection::{Attention, GrantVersion, Reason, Status},
    time::{StoreInstant, Timestamp},
};

/// The part of a connection's row that the protocol decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// Which token set is stored.
    #[serde(rename = "name")]
    pub version: GrantVersion,
    /// Random id of the stored set, by which a writer that got no answer knows its own work again.
    #[serde(rename = "set")]
    pub write_id: u128,
    /// Where the connection stands.
    pub status: Status,
    /// Why.
    pub reason: Option<Reason>,
    /// Where its refresh stands.
    pub refresh: Refresh,
}

/// Where a refresh stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refresh {
    /// Nobody refreshes.
    Idle,
    /// `holder` is about to present the refresh token: lease and write-ahead intent in one.
    #[serde(rename = "Turn")]
    Leased {
        /// Random per lease, so that a restarted process is another holder.
        holder: u128,
        /// From then on the lease reads as `Unknown`.
        until: StoreInstant,
        /// How often the token will then have been presented, as far as is recorded.
        attempt: u32,
    },
    /// The token may have been spent, and the answer is not known.
    Unknown {
        /// The latest moment at which it can have been sent.
        since: StoreInstant,
        /// How often it was presented.
        attempt: u32,
    },
    /// A definite refusal that may pass. Nobody asks before `until`.
    Cooling {
        /// Until when.
        until: Timestamp,
        /// How many in a row.
        failures: u32,
        /// Why.
        reason: Reason,
        /// An unknown outcome from before that is still unresolved.
        unresolved: Option<Unresolved>,
    },
}

/// An unknown outcome that is carried along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unresolved {
    /// See [`Refresh::Unknown`].
    pub since: StoreInstant,
    /// See [`Refresh::Unknown`].
    pub attempt: u32,
}

/// Whether the row still shows `holder`'s lease.
pub fn holds(row: &Row, holder: u128) -> bool {
    matches!(row.refresh, Refresh::Leased { holder: h, .. } if h == holder)
}

/// The user connected again, and the new set works.
pub fn reconnect(row: &Row, write_id: u128) -> Row {
    Row {
        version: GrantVersion {
            epoch: row.version.epoch + 1,
            generation: row.version.generation + 1,
        },
        write_id,
        status: Status::Connected,
        reason: None,
        refresh: Refresh::Idle,
    }
}

/// The connection is revoked or deleted.
pub fn end(row: &Row, status: Status) -> Row {
    Row {
        version: GrantVersion {
            epoch: row.version.epoch + 1,
            ..row.version
        },
        write_id: 0,
        status,
        reason: Some(Reason::ByRequest),
        refresh: Refresh::Idle,
    }
}

/// What about the row may need somebody's eyes.
pub fn attention(row: &Row) -> Option<Attention> {
    match (row.status, row.refresh) {
        (Status::Expired, _) => Some(Attention::Expired),
        (Status::Revoked | Status::Deleted, _) | (Status::Connected, Refresh::Idle) => None,
        (Status::Connected, Refresh::Leased { .. }) => Some(Attention::Refreshing),
        (Status::Connected, Refresh::Unknown { .. }) => Some(Attention::OutcomeUnknown),
        (Status::Connected, Refresh::Cooling { unresolved, .. }) => Some(match unresolved {
            Some(_) => Attention::OutcomeUnknown,
            None => Attention::Cooling,
        }),
    }
}

/// Whether somebody has the lease, so that there is nothing to do for others.
pub fn is_held(row: &Row, now: StoreInstant) -> bool {
    matches!(row.refresh, Refresh::Leased { until, .. } if now.since(until).is_some() && now.millis < until.millis)
}

/// The first row of a new connection.
pub fn first(write_id: u128) -> Row {
    Row {
        version: GrantVersion {
            epoch: 1,
            generation: 1,
        },
        write_id,
        status: Status::Connected,
        reason: None,
        refresh: Refresh::Idle,
    }
}
