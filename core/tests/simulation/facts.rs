//! What the judges write down: tokens, grants, presentations, rows and processes.

use grantry::{connection::GrantVersion, store::Stored, testing::Seen};

/// A refresh token: of which grant, and which rotation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub family: usize,
    pub rotation: usize,
}

impl Token {
    pub fn parse(text: &str) -> Option<Self> {
        let (family, rotation) = text.strip_prefix("refresh-")?.split_once('-')?;
        Some(Self {
            family: family.parse().ok()?,
            rotation: rotation.parse().ok()?,
        })
    }

    pub fn text(self) -> String {
        format!("refresh-{}-{}", self.family, self.rotation)
    }

    pub fn numbers(self) -> [u64; 3] {
        [self.family as u64, self.rotation as u64, 0]
    }
}

/// The grant that an access token belongs to.
pub fn family_of_access(text: &str) -> Option<usize> {
    text.strip_prefix("access-")?.split_once('-')?.0.parse().ok()
}

/// What whoever presented a token came to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Tokens,
    Dead,
    /// Refused for now, or for the client's sake, or never sent.
    Unspent,
    Unknown,
}

/// One presentation of a refresh token.
#[derive(Clone, Debug)]
pub struct Presentation {
    pub process: usize,
    pub incarnation: u32,
    pub token: Token,
    /// When its lease was written, and over which set.
    pub lease_at: u64,
    pub set: GrantVersion,
    /// When the engine handed the request over: right after its gate.
    pub handed: u64,
    /// When it left the process.
    pub left: Option<u64>,
    pub processed: Option<u64>,
    pub told: Option<Told>,
    /// The refresh token that it was answered with.
    pub gave: Option<Token>,
    /// A later success with the same token made it meaningless.
    pub settled: bool,
}

/// A grant at the provider.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub connection: Option<usize>,
    /// An admin of the org ended it.
    pub ended_by_admin: bool,
    /// A request left a process long after its gate: nothing can help against that.
    pub left_too_late: bool,
    /// When the broker asked to revoke its living token, and that was done.
    pub revoked_by_broker: Option<u64>,
    /// The presentation of a spent token that ended it.
    pub ended_by: Option<usize>,
    /// The answer with its first set reached a living process.
    pub arrived: bool,
}

#[derive(Clone, Debug, Default)]
pub struct TokenFacts {
    /// The presentation that spent it.
    pub spent_by: Option<usize>,
    /// When a row first held it.
    pub stored: Option<u64>,
    pub presentations: Vec<usize>,
}

/// A connection's row as it was last written.
#[derive(Clone, Debug)]
pub struct Connection {
    pub seen: Seen,
    /// Since when it has its set.
    pub changed_at: u64,
    /// When it began its epoch.
    pub reconnected_at: u64,
    /// Since when it is revoked or deleted.
    pub ended_at: Option<u64>,
    pub rolled_back: bool,
    pub rolled_back_at: u64,
    /// A replica took over that did not know of the epoch.
    pub end_lost: bool,
    pub snapshots: Vec<Stored>,
    /// The process that marked it as expired had a clock that was wrong.
    pub expired_by_wrong_clock: bool,
    /// Per process: the last lease that it wrote.
    pub leases: Vec<Option<Lease>>,
}

/// A lease as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub attempt: u32,
    pub at: u64,
    pub set: GrantVersion,
}

/// A process as the simulation drives it.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    pub incarnation: u32,
    pub alive: bool,
    pub stopped: bool,
    /// When its store last failed it, or it was stopped or continued.
    pub trouble: u64,
    /// When its wall clock was last set.
    pub jumped: u64,
    /// Counts everything that may excuse a slow or failing call.
    pub disturbances: u64,
}
