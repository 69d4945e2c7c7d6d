//! The refresh protocol as pure functions of (row, event, now, policy). Nothing else in the workspace decides anything
//! about a refresh; the engine writes what these functions answer by compare-and-swap, and applies them again to the
//! new row on a conflict. `core/tests/model` explores them exhaustively.
//!
//! The row's refresh state is one of
//!
//! ```text
//!            take                      commit
//!   Idle ──────────► Turn ───────────────────────────► Idle, generation + 1
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
//! | `take` | whether a token may be presented, and until when the turn allows it |
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
    connection::{Concern, Reason, SetName, Status},
    time::{StoreInstant, Timestamp},
};

/// The part of a connection's row that the protocol decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// Which token set is stored.
    pub name: SetName,
    /// Random id of the stored set, by which a writer that got no answer knows its own work again.
    pub set: u128,
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
    Turn {
        /// Random per turn, so that a restarted process is another holder.
        holder: u128,
        /// From then on the turn reads as `Unknown`.
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

/// Whether the row still shows `holder`'s turn.
pub fn holds(row: &Row, holder: u128) -> bool {
    matches!(row.refresh, Refresh::Turn { holder: h, .. } if h == holder)
}

/// Step 11: the user connected again, and the new set works.
pub fn reconnect(row: &Row, set: u128) -> Row {
    Row {
        name: SetName {
            epoch: row.name.epoch + 1,
            generation: row.name.generation + 1,
        },
        set,
        status: Status::Connected,
        reason: None,
        refresh: Refresh::Idle,
    }
}

/// Step 11: the connection is revoked or deleted.
pub fn end(row: &Row, status: Status) -> Row {
    Row {
        name: SetName {
            epoch: row.name.epoch + 1,
            ..row.name
        },
        set: 0,
        status,
        reason: Some(Reason::ByRequest),
        refresh: Refresh::Idle,
    }
}

/// What about the row may need somebody's eyes.
pub fn concern(row: &Row) -> Option<Concern> {
    match (row.status, row.refresh) {
        (Status::Expired, _) => Some(Concern::Expired),
        (Status::Revoked | Status::Deleted, _) | (Status::Connected, Refresh::Idle) => None,
        (Status::Connected, Refresh::Turn { .. }) => Some(Concern::Refreshing),
        (Status::Connected, Refresh::Unknown { .. }) => Some(Concern::OutcomeUnknown),
        (Status::Connected, Refresh::Cooling { unresolved, .. }) => Some(match unresolved {
            Some(_) => Concern::OutcomeUnknown,
            None => Concern::Cooling,
        }),
    }
}

/// Whether somebody has the turn, so that there is nothing to do for others.
pub fn is_held(row: &Row, now: StoreInstant) -> bool {
    matches!(row.refresh, Refresh::Turn { until, .. } if now.since(until).is_some() && now.millis < until.millis)
}

/// The first row of a new connection.
pub fn first(set: u128) -> Row {
    Row {
        name: SetName {
            epoch: 1,
            generation: 1,
        },
        set,
        status: Status::Connected,
        reason: None,
        refresh: Refresh::Idle,
    }
}
