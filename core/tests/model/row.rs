//! The row, without what the protocol does not look at. Its times have no numbers: the refresh state is living, lapsed
//! or past its quarantine, and moves from one to the next at any moment; the protocol is called with a `now` that fits.

use std::time::Duration;

use grantry::{
    connection::{Reason, SetName, Status},
    refresh::protocol::{self, Refresh, Unresolved},
    time::{StoreInstant, Timestamp},
};

use crate::{
    state::Name,
    upstream::{Set, Token},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: Name,
    pub set: Option<Set>,
    pub status: Status,
    pub refresh: Phase,
}

/// Where the refresh stands, with the number of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Turn(u8),
    Unknown(u8),
    /// Zero: no unknown outcome is carried along.
    Cooling(u8),
}

/// How far the refresh state has aged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    Living,
    Lapsed,
    /// The quarantine is over.
    Over,
}

/// The wall clock. Every cooling is over by then, since waiting longer only hides interleavings.
pub const WALL: Timestamp = Timestamp(1);

/// Every turn ends at this moment, and every new unknown outcome is of this moment; [`Age`] says how long ago it is.
pub const MOMENT: StoreInstant = StoreInstant {
    era: 1,
    millis: 1_000_000_000_000,
};
const LONG: Duration = Duration::from_secs(1_000_000);
/// Unknown outcomes whose quarantine was over when a turn replaced them.
const LONG_AGO: StoreInstant = StoreInstant {
    era: 1,
    millis: 1_000,
};

const NOBODY: u128 = 99;

/// Attempts are counted so far; more of them are alike.
pub fn capped(attempt: u32) -> u8 {
    u8::try_from(attempt.min(3)).unwrap()
}

pub fn holder(i: usize) -> u128 {
    i as u128 + 1
}

/// The store's time, as the row's age asks for it.
pub fn now(age: Age) -> StoreInstant {
    match age {
        Age::Living => StoreInstant {
            millis: MOMENT.millis - 1,
            ..MOMENT
        },
        Age::Lapsed => MOMENT,
        Age::Over => MOMENT.plus(LONG),
    }
}

impl Name {
    pub fn full(self) -> SetName {
        SetName {
            epoch: self.epoch.into(),
            generation: self.generation.into(),
        }
    }
}

impl Phase {
    /// As what a turn has replaced: a quarantine that was over stays over.
    pub fn full(self, since: StoreInstant, turn_of: Option<usize>) -> Refresh {
        match self {
            Self::Idle => Refresh::Idle,
            Self::Turn(attempt) => Refresh::Turn {
                holder: turn_of.map_or(NOBODY, holder),
                until: MOMENT,
                attempt: attempt.into(),
            },
            Self::Unknown(attempt) => Refresh::Unknown {
                since,
                attempt: attempt.into(),
            },
            Self::Cooling(attempt) => Refresh::Cooling {
                until: Timestamp(0),
                failures: 1,
                reason: Reason::ServerUnavailable,
                unresolved: (attempt > 0).then_some(Unresolved {
                    since,
                    attempt: attempt.into(),
                }),
            },
        }
    }

    pub fn replaced(self) -> Refresh {
        self.full(LONG_AGO, None)
    }

    /// The phase and how old it is.
    pub fn of(refresh: Refresh) -> (Self, Age) {
        let aged = |since| if since == LONG_AGO { Age::Over } else { Age::Lapsed };
        match refresh {
            Refresh::Idle => (Self::Idle, Age::Living),
            Refresh::Turn { attempt, .. } => (Self::Turn(capped(attempt)), Age::Living),
            Refresh::Unknown { since, attempt } => (Self::Unknown(capped(attempt)), aged(since)),
            Refresh::Cooling { unresolved: None, .. } => (Self::Cooling(0), Age::Living),
            Refresh::Cooling {
                unresolved: Some(Unresolved { since, attempt }),
                ..
            } => (Self::Cooling(capped(attempt)), aged(since)),
        }
    }
}

impl Row {
    pub const FIRST: Self = Self {
        name: Name {
            epoch: 0,
            generation: 0,
        },
        set: Some(Set {
            token: Token {
                family: 0,
                rotation: 0,
            },
            serial: 0,
        }),
        status: Status::Connected,
        refresh: Phase::Idle,
    };

    /// The run's refreshes are done, or were overtaken by a reconnect.
    pub fn done(&self, refreshes: u8) -> bool {
        self.name.generation >= refreshes || self.name.epoch > 0
    }

    pub fn full(&self, turn_of: Option<usize>) -> protocol::Row {
        protocol::Row {
            name: self.name.full(),
            set: self.set.map_or(0, Set::id),
            status: self.status,
            reason: None,
            refresh: self.refresh.full(MOMENT, turn_of),
        }
    }

    /// What the protocol wants to write, how old its refresh state is, and whose turn it names.
    pub fn of(row: &protocol::Row) -> (Self, Age, Option<usize>) {
        let (refresh, age) = Phase::of(row.refresh);
        let turn_of = match row.refresh {
            Refresh::Turn { holder, .. } if holder != NOBODY => usize::try_from(holder - 1).ok(),
            _ => None,
        };
        let part = |n: u64| u8::try_from(n).unwrap();
        let short = Self {
            name: Name {
                epoch: part(row.name.epoch),
                generation: part(row.name.generation),
            },
            set: Set::of(row.set),
            status: row.status,
            refresh,
        };
        (short, age, turn_of)
    }
}
