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

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    connection::{Concern, Reason, SetName, Status},
    provider::Rotation,
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

/// The longest cooling, a day as a provider may ask for, and what two clocks may differ by.
const LONGEST_COOLING: Duration = Duration::from_secs(25 * 3600);

/// The protocol's times and rules. Every process that shares a store must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What presenting a token twice means.
    pub rotation: Rotation,
    /// How long a turn lasts.
    pub turn: Duration,
    /// How long a presentation may take in all.
    pub time_limit: Duration,
    /// How soon after the turn was taken it must be sent.
    pub gate: Duration,
    /// How long nothing is presented after an unknown outcome.
    pub quarantine: Duration,
    pub(crate) rules: Rules,
}

impl Policy {
    /// The times that the broker uses.
    pub fn new(rotation: Rotation) -> Self {
        Self {
            rotation,
            turn: Duration::from_secs(30),
            time_limit: Duration::from_secs(20),
            gate: Duration::from_secs(5),
            quarantine: Duration::from_secs(60),
            rules: Rules::ALL,
        }
    }

    /// How long nothing is presented after the `attempt`th presentation had no known outcome. An outage marks nobody
    /// dead; it only makes the probes rarer.
    pub(crate) fn quarantine_after(&self, attempt: u32) -> Duration {
        match attempt {
            0 | 1 => self.quarantine,
            2 => self.quarantine * 5,
            3 => self.quarantine * 15,
            _ => self.quarantine * 60,
        }
    }

    /// The same policy with some protective rules switched off, to show what they are worth.
    #[cfg(any(test, feature = "conformance"))]
    #[must_use]
    pub fn without(mut self, off: impl FnOnce(&mut Rules)) -> Self {
        off(&mut self.rules);
        self
    }
}

/// The protective rules. All are on; only tests can switch one off, and then something dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Cooling and give-back keep an unresolved unknown.
    pub keep_unknown: bool,
    /// A later presentation waits until the access token is dead.
    pub wait_for_death: bool,
    /// A set that came late is tried before it counts as healthy.
    pub verify_late: bool,
    /// Unknown outcomes, refusals and give-backs are written by the turn's holder only.
    pub holder_only: bool,
    /// Nothing is presented during the quarantine.
    pub quarantine: bool,
    /// A set of an earlier epoch is not stored.
    pub epoch: bool,
    /// A turn that lapsed is an unknown outcome.
    pub intent: bool,
    /// However often the outcome is unknown, that alone marks nothing dead.
    pub no_cap: bool,
    /// One's own write is known again by the set's id.
    pub own_write: bool,
    /// A set that another one was stored before is dropped, and not revoked.
    pub superseded_kept: bool,
    /// Each turn has a holder of its own.
    pub fresh_holder: bool,
}

impl Rules {
    const ALL: Self = Self {
        keep_unknown: true,
        wait_for_death: true,
        verify_late: true,
        holder_only: true,
        quarantine: true,
        epoch: true,
        intent: true,
        no_cap: true,
        own_write: true,
        superseded_kept: true,
        fresh_holder: true,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}

/// Somebody wants a newer token set than `seen`.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The set that is not good enough.
    pub seen: SetName,
    /// Random, for this turn only.
    pub holder: u128,
    /// The store's time, read with the row.
    pub now: StoreInstant,
    /// Wall time.
    pub wall: Timestamp,
    /// The stored access token is known to be dead, or its end is near, or the refresh token's idle limit is.
    pub nothing_to_lose: bool,
}

/// What the one who asks may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The row has a newer set: adopt it.
    Newer,
    /// The row has an older set than was seen: the store was rolled back. Its token was spent and is not presented.
    Older,
    /// The connection is not connected.
    Ended,
    /// Refused for now; ask again after `until`.
    Cooling {
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// Another holder has the turn: wait and read again.
    Busy,
    /// The turn is mine already: my write was applied though its answer was lost.
    Mine,
    /// The outcome of a presentation is not known, and nothing may be presented before this time has passed.
    Quarantine {
        /// How long.
        wait: Duration,
    },
    /// The outcome is not known; the access token still lives, so nothing is risked.
    LetLive,
    /// Write this row first and look again: a moment on a clock that is gone was carried over to the present one.
    Rewrite(Row),
    /// Write this row; if that succeeds the turn is mine.
    Turn {
        /// The row to write.
        row: Row,
        /// How often the token will then have been presented.
        attempt: u32,
        /// What to restore if the turn is given back unspent.
        replaced: Refresh,
    },
}

/// What the row's refresh state is worth at `now`.
enum Reading {
    Free {
        unresolved: Option<Unresolved>,
    },
    Held {
        holder: u128,
    },
    Cooling {
        until: Timestamp,
        reason: Reason,
    },
    /// Of a clock that is gone.
    Foreign {
        attempt: u32,
    },
}

fn read(refresh: Refresh, now: StoreInstant, wall: Timestamp, policy: &Policy) -> Reading {
    match refresh {
        Refresh::Idle => Reading::Free { unresolved: None },
        Refresh::Turn {
            holder,
            until,
            attempt,
        } => match now.since(until) {
            None => Reading::Foreign { attempt },
            Some(_) if now.millis < until.millis => Reading::Held { holder },
            Some(_) => Reading::Free {
                unresolved: policy.rules.intent.then(|| lapsed(until, attempt, policy)),
            },
        },
        Refresh::Unknown { since, attempt } => match now.since(since) {
            None => Reading::Foreign { attempt },
            Some(_) => Reading::Free {
                unresolved: Some(Unresolved { since, attempt }),
            },
        },
        Refresh::Cooling { until, reason, .. } if cools(wall, until) => Reading::Cooling { until, reason },
        Refresh::Cooling { unresolved, .. } => match unresolved {
            Some(Unresolved { since, attempt }) if now.since(since).is_none() => Reading::Foreign { attempt },
            _ => Reading::Free { unresolved },
        },
    }
}

/// Whether it still cools. What would cool for longer than anything does was written by a clock that was wrong.
fn cools(wall: Timestamp, until: Timestamp) -> bool {
    wall < until && wall.until(until) <= LONGEST_COOLING
}

/// A lapsed turn: its holder may have sent until the gate would have closed on it.
fn lapsed(until: StoreInstant, attempt: u32, policy: &Policy) -> Unresolved {
    let limit = u64::try_from(policy.time_limit.as_millis()).unwrap_or(u64::MAX);
    Unresolved {
        since: StoreInstant {
            millis: until.millis.saturating_sub(limit),
            ..until
        },
        attempt,
    }
}

/// Step 3: may I present the row's refresh token?
pub fn take(row: &Row, ask: &Ask, policy: &Policy) -> Take {
    if row.name > ask.seen {
        return Take::Newer;
    }
    if row.name < ask.seen {
        return Take::Older;
    }
    if row.status != Status::Connected {
        return Take::Ended;
    }
    let unresolved = match read(row.refresh, ask.now, ask.wall, policy) {
        Reading::Held { holder } if holder == ask.holder => return Take::Mine,
        Reading::Held { .. } => return Take::Busy,
        Reading::Cooling { until, reason } => return Take::Cooling { until, reason },
        Reading::Foreign { attempt } => {
            return Take::Rewrite(Row {
                refresh: Refresh::Unknown {
                    since: ask.now,
                    attempt,
                },
                ..*row
            });
        }
        Reading::Free { unresolved } => unresolved,
    };
    let attempt = match unresolved {
        None => 1,
        Some(unresolved) => match after_unknown(unresolved, ask, policy) {
            Ok(attempt) => attempt,
            Err(wait) => return wait,
        },
    };
    let turn = Refresh::Turn {
        holder: ask.holder,
        until: ask.now.plus(policy.turn),
        attempt,
    };
    // What is restored must be as it reads now: a lapsed turn comes back as the unknown outcome that it stands for.
    let replaced = match (row.refresh, unresolved) {
        (Refresh::Turn { .. }, Some(Unresolved { since, attempt })) => Refresh::Unknown { since, attempt },
        (other, _) => other,
    };
    Take::Turn {
        row: Row {
            refresh: turn,
            ..*row
        },
        attempt,
        replaced,
    }
}

/// Step 7: the attempt that may be made now after an unknown outcome, or what to do instead.
#[expect(
    clippy::result_large_err,
    reason = "both are the same decision, made once per flight"
)]
fn after_unknown(unresolved: Unresolved, ask: &Ask, policy: &Policy) -> Result<u32, Take> {
    let passed = ask.now.since(unresolved.since).unwrap_or_default();
    let again = unresolved.attempt.saturating_add(1);
    match policy.rotation {
        Rotation::Reusable => return Ok(1),
        Rotation::Grace(grace) if passed < grace.saturating_sub(policy.time_limit) => return Ok(again),
        Rotation::Grace(_) | Rotation::Strict => {}
    }
    let quarantine = policy.quarantine_after(unresolved.attempt);
    if passed < quarantine && policy.rules.quarantine {
        return Err(Take::Quarantine {
            wait: quarantine.saturating_sub(passed),
        });
    }
    if !ask.nothing_to_lose && policy.rules.wait_for_death {
        return Err(Take::LetLive);
    }
    Ok(again)
}

/// Step 4: may I still send? `passed` is counted on the boot clock from before the row was read that the turn was written
/// over: the turn's end is reckoned from the store's time that came with it.
pub fn gate(passed: Duration, policy: &Policy) -> bool {
    passed < policy.gate && policy.turn.saturating_sub(passed) > policy.time_limit
}

/// Whether the row still shows `holder`'s turn.
pub fn holds(row: &Row, holder: u128) -> bool {
    matches!(row.refresh, Refresh::Turn { holder: h, .. } if h == holder)
}

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
        Refresh::Idle | Refresh::Turn { .. } => None,
    }
}

/// The turn is given back: nothing was sent, for certain. `None`: it is not mine any more.
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
            until: wall + Duration::from_secs(2),
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
        let until = wall + Duration::from_secs(2);
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

/// Step 8: the provider says that the grant of the set `spent` is gone.
pub fn dead(row: &Row, holder: u128, spent: SetName, attempt: u32, reason: Reason) -> Dead {
    if row.name.epoch != spent.epoch || row.status != Status::Connected {
        return Dead::NotMine;
    }
    if row.name > spent {
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

/// Step 6: `set` came back for `spent`. Holding the turn is deliberately not required: a presenter that was paused and
/// wakes up holds the only living tokens.
pub fn commit(row: &Row, spent: SetName, set: u128, policy: &Policy) -> Commit {
    if row.name.epoch != spent.epoch && policy.rules.epoch {
        return Commit::Ended;
    }
    if matches!(row.status, Status::Deleted | Status::Revoked) && policy.rules.epoch {
        return Commit::Ended;
    }
    if row.set == set && policy.rules.own_write {
        return Commit::Stored;
    }
    if row.name.generation > spent.generation {
        return Commit::Superseded;
    }
    let attempt = match row.refresh {
        Refresh::Turn { attempt, .. } | Refresh::Unknown { attempt, .. } => attempt,
        Refresh::Cooling { unresolved, .. } => unresolved.map_or(0, |u| u.attempt),
        Refresh::Idle => 0,
    };
    Commit::Write {
        row: Row {
            name: SetName {
                generation: spent.generation + 1,
                ..row.name
            },
            set,
            status: Status::Connected,
            reason: None,
            refresh: Refresh::Idle,
        },
        verify: (attempt >= 2 || row.status == Status::Expired) && policy.rules.verify_late,
        rolled_back: row.name.generation < spent.generation,
    }
}

/// A set that was tried after it was stored turned out dead. `None`: it is not the stored set any more.
pub fn found_dead(row: &Row, name: SetName, reason: Reason) -> Option<Row> {
    (row.name == name && row.status == Status::Connected).then_some(Row {
        status: Status::Expired,
        reason: Some(reason),
        refresh: Refresh::Idle,
        ..*row
    })
}

/// Whether the stored set came from the set `name`, later: what ended the one may have ended the other.
pub fn follows(row: &Row, name: SetName) -> bool {
    row.name.epoch == name.epoch && row.name > name && row.status == Status::Connected
}

/// The store shows an older set than it once acknowledged: write the one that I hold again. `None`: it does not.
pub fn repair(row: &Row, held: SetName, set: u128) -> Option<Row> {
    (row.name.epoch == held.epoch
        && row.name.generation < held.generation
        && matches!(row.status, Status::Connected | Status::Expired))
    .then_some(Row {
        name: held,
        set,
        status: Status::Connected,
        reason: None,
        refresh: Refresh::Idle,
    })
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
