//! The row, without what the protocol does not look at. Its times have no numbers: the refresh state is living, lapsed
//! or past its quarantine, and moves from one to the next at any moment; machines are shown times that fit.

use std::time::Duration;

use grantry::{
    connection::{GrantVersion, Reason, Status},
    protocol::{self, Refresh, Unresolved},
    time::{StoreInstant, Timestamp},
};

use crate::{state::Version, upstream::Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: Version,
    /// The stored refresh token; none once the connection was ended here.
    pub token: Option<Token>,
    pub status: Status,
    pub refresh: Phase,
    /// The tokens whose revocation it owes the provider.
    pub owed: Owed,
    /// It was removed.
    pub gone: bool,
}

/// Where the refresh stands, with the number of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Lease(u8),
    Unknown(u8),
    /// Zero: no unknown outcome is carried along.
    Cooling(u8),
}

/// How far the refresh state has aged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Living,
    Lapsed,
    /// The quarantine is over.
    Over,
    /// Its moment is on a clock that is gone.
    Foreign,
}

/// A set of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed(pub u8);

impl Owed {
    pub fn has(self, token: Token) -> bool {
        self.0 & Self::bit(token) != 0
    }

    #[must_use]
    pub fn with(self, token: Token) -> Self {
        Self(self.0 | Self::bit(token))
    }

    #[must_use]
    pub fn without(self, token: Token) -> Self {
        Self(self.0 & !Self::bit(token))
    }

    pub fn first(self) -> Option<Token> {
        (0..8).map(Token::of).find(|token| self.has(*token))
    }

    fn bit(token: Token) -> u8 {
        1 << token.code()
    }
}

/// The wall clock. Every cooling is over by then, since waiting longer only hides interleavings.
pub const WALL: Timestamp = Timestamp(1);

/// The store's time, for a process that stood still so often: what ages otherwise are the times in the row. The store's
/// clock began anew `clock_id` times.
pub fn now(clock_id: u64, pauses: u8) -> StoreInstant {
    StoreInstant {
        clock_id,
        millis: 10_000_000_000_000 + u64::from(pauses) * LONG,
    }
}

/// Longer than any quarantine: how old a row is whose quarantine is over, and how long a process stands still.
pub const LONG: u64 = 1_000_000_000;
/// A lapsed lease reads as an outcome that has been unknown since that long before its end.
const SENT_BEFORE_END: u64 = 20_000;

/// How a machine sees itself, and anybody else, in the row: as a lease's holder, and as the writer of the set.
pub const ME: u128 = 1;
pub const ANOTHER: u128 = 2;

/// Attempts are counted so far; more of them are alike.
fn capped(attempt: u32) -> u8 {
    u8::try_from(attempt.min(3)).unwrap()
}

fn ago(now: StoreInstant, millis: u64) -> StoreInstant {
    StoreInstant {
        millis: now.millis - millis,
        ..now
    }
}

impl Version {
    pub fn full(self) -> GrantVersion {
        GrantVersion {
            epoch: self.epoch.into(),
            generation: self.generation.into(),
        }
    }

    pub fn of(version: GrantVersion) -> Self {
        let part = |n: u64| u8::try_from(n).unwrap();
        Self {
            epoch: part(version.epoch),
            generation: part(version.generation),
        }
    }
}

impl Phase {
    fn full(self, age: Age, holder: u128, now: StoreInstant) -> Refresh {
        let clock_id = if age == Age::Foreign {
            now.clock_id - 1
        } else {
            now.clock_id
        };
        let now = StoreInstant { clock_id, ..now };
        let since = match age {
            Age::Living | Age::Lapsed | Age::Foreign => ago(now, SENT_BEFORE_END),
            Age::Over => ago(now, LONG),
        };
        match self {
            Self::Idle => Refresh::Idle,
            Self::Lease(attempt) => Refresh::Leased {
                holder,
                until: match age {
                    Age::Living => now.plus(Duration::from_millis(1)),
                    Age::Lapsed | Age::Foreign => now,
                    Age::Over => ago(now, LONG - SENT_BEFORE_END),
                },
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

    /// The phase and how old it is.
    fn of(refresh: Refresh, now: StoreInstant) -> (Self, Age) {
        let aged = |at| match now.since(at) {
            None => Age::Foreign,
            Some(span) if span.as_millis() > u128::from(LONG / 2) => Age::Over,
            Some(_) => Age::Lapsed,
        };
        match refresh {
            Refresh::Idle => (Self::Idle, Age::Living),
            Refresh::Leased { until, attempt, .. } => {
                let lives = until.clock_id == now.clock_id && until.millis > now.millis;
                let age = if lives { Age::Living } else { aged(until) };
                (Self::Lease(capped(attempt)), age)
            }
            Refresh::Unknown { since, attempt } => (Self::Unknown(capped(attempt)), aged(since)),
            Refresh::Cooling { unresolved: None, .. } => (Self::Cooling(0), Age::Living),
            Refresh::Cooling {
                unresolved: Some(Unresolved { since, attempt }),
                ..
            } => (Self::Cooling(capped(attempt)), aged(since)),
        }
    }

    /// So many bits are enough for a code.
    pub const BITS: u32 = 4;

    pub fn code(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Lease(attempt) => attempt,
            Self::Unknown(attempt) => 3 + attempt,
            Self::Cooling(attempt) => 7 + attempt,
        }
    }

    pub fn coded(code: u8) -> Self {
        match code {
            0 => Self::Idle,
            1..4 => Self::Lease(code),
            4..7 => Self::Unknown(code - 3),
            _ => Self::Cooling(code - 7),
        }
    }

    /// It has a moment of the store's clock in it.
    pub fn is_timed(self) -> bool {
        matches!(self, Self::Lease(_) | Self::Unknown(_) | Self::Cooling(1..))
    }
}

/// What a machine wants to write.
pub struct Written {
    pub version: Version,
    pub status: Status,
    pub refresh: Phase,
    pub age: Age,
    /// The row names it as the holder of the lease.
    pub my_lease: bool,
    /// The row names it as the writer of the set.
    pub my_set: bool,
    /// The row has a set.
    pub has_set: bool,
}

impl Written {
    pub fn of(row: &protocol::Row, now: StoreInstant) -> Self {
        let (refresh, age) = Phase::of(row.refresh, now);
        Self {
            version: Version::of(row.version),
            status: row.status,
            refresh,
            age,
            my_lease: matches!(row.refresh, Refresh::Leased { holder: ME, .. }),
            my_set: row.write_id == ME,
            has_set: row.write_id != 0,
        }
    }
}

impl Row {
    pub const FIRST: Self = Self {
        version: Version {
            epoch: 0,
            generation: 0,
        },
        token: Some(Token {
            family: 0,
            rotation: 0,
        }),
        status: Status::Connected,
        refresh: Phase::Idle,
        owed: Owed(0),
        gone: false,
    };

    /// The run's refreshes are done, or were overtaken by a reconnect.
    pub fn done(self, refreshes: u8) -> bool {
        self.version.generation >= refreshes || self.version.epoch > 0
    }

    /// As somebody sees it whose lease or set it may be.
    pub fn full(self, age: Age, my_lease: bool, my_set: bool, now: StoreInstant) -> protocol::Row {
        let who = |mine: bool| if mine { ME } else { ANOTHER };
        protocol::Row {
            version: self.version.full(),
            write_id: if self.token.is_some() { who(my_set) } else { 0 },
            status: self.status,
            reason: None,
            refresh: self.refresh.full(age, who(my_lease), now),
        }
    }
}
