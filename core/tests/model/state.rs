//! A state of the world.

use std::ops::Not;

use crate::{
    faults::{Fault, Faults},
    row::{Age, Phase, Row},
    upstream::{Family, Set, Token},
};

/// More processes do not fit in a packed state.
pub const MOST: usize = 3;

/// Where a process stands in its flight.
///
/// Reading the row and writing it by compare-and-swap is one step: a write between the two makes the swap fail, which
/// changes nothing, and the process reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// This run has fewer processes.
    Absent,
    Idle,
    /// Its write of the turn failed, as far as it knows.
    Take,
    Gate,
    Ready,
    /// Its request is on the way, or waits at the provider.
    Queued,
    /// Its request is being processed.
    Processing,
    /// Holds a new token set.
    Commit,
    /// Tries a set before it counts as healthy.
    Verify,
    /// The grant was refused.
    Dead,
    /// No answer.
    Unknown,
    /// "A request with this token is in work."
    InProgress,
    GiveBack,
    /// Refused for now.
    Cool,
}

impl At {
    pub const ALL: [Self; 14] = [
        Self::Absent,
        Self::Idle,
        Self::Take,
        Self::Gate,
        Self::Ready,
        Self::Queued,
        Self::Processing,
        Self::Commit,
        Self::Verify,
        Self::Dead,
        Self::Unknown,
        Self::InProgress,
        Self::GiveBack,
        Self::Cool,
    ];

    pub fn waits(self) -> bool {
        matches!(self, Self::Queued | Self::Processing)
    }
}

/// The name of a token set: epoch and generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub epoch: u8,
    pub generation: u8,
}

/// What a process holds while it works on a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Which set it spends, or tries.
    pub name: Name,
    pub token: Token,
    pub attempt: u8,
    pub replaced: Phase,
    /// What it received.
    pub set: Option<Set>,
    /// The received set is tried once it is stored.
    pub verify: bool,
}

impl Work {
    pub const NONE: Self = Self {
        name: Name {
            epoch: 0,
            generation: 0,
        },
        token: Token {
            family: 0,
            rotation: 0,
        },
        attempt: 0,
        replaced: Phase::Idle,
        set: None,
        verify: false,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub at: At,
    /// The turn in the row is its own.
    pub holds: bool,
    pub work: Work,
}

impl Process {
    pub const ABSENT: Self = Self {
        at: At::Absent,
        holds: false,
        work: Work::NONE,
    };

    /// The process at its next step, with as much of its memory as that needs.
    pub fn to(self, at: At) -> Self {
        let Work {
            name,
            attempt,
            replaced,
            set,
            verify,
            ..
        } = self.work;
        let work = match at {
            At::Absent | At::Idle => Work::NONE,
            At::Take | At::Gate | At::Ready | At::Queued | At::Processing => self.work,
            At::Commit => Work {
                name,
                set,
                verify,
                ..Work::NONE
            },
            At::Verify => Work {
                name,
                set,
                ..Work::NONE
            },
            At::Dead => Work {
                name,
                attempt,
                ..Work::NONE
            },
            At::Unknown => Work {
                attempt,
                ..Work::NONE
            },
            At::InProgress => Work {
                attempt,
                replaced,
                ..Work::NONE
            },
            At::GiveBack | At::Cool => Work {
                replaced,
                ..Work::NONE
            },
        };
        Self { at, work, ..self }
    }
}

/// A request whose sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    pub token: Token,
    pub processing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub row: Row,
    pub age: Age,
    /// The stored access token has ended.
    pub ended: bool,
    /// A token set was given out and reached nobody who still lives.
    pub leaked: bool,
    pub processes: [Process; MOST],
    pub strays: [Option<Stray>; 3],
    /// The second one is there after a reconnect; until then nothing of it lives.
    pub families: [Family; 2],
    /// Presentations of each token: those that may have spent it, and all.
    pub presented: [(u8, u8); 3],
    pub left: Faults,
}

impl State {
    pub fn start(processes: usize, left: Faults) -> Self {
        let mut state = Self {
            row: Row::FIRST,
            age: Age::Living,
            ended: false,
            leaked: false,
            processes: [Process::ABSENT; MOST],
            strays: [None; 3],
            families: [
                Family::default(),
                Family {
                    living: 0,
                    revoked: true,
                },
            ],
            presented: [(0, 0); 3],
            left,
        };
        for process in &mut state.processes[..processes] {
            process.at = At::Idle;
        }
        state
    }

    pub fn family(&self, token: Token) -> Family {
        self.families[usize::from(token.family)]
    }

    /// The stored refresh token.
    pub fn token(&self) -> Option<Token> {
        self.row.set.map(|set| set.token)
    }

    /// The stored refresh token is the living one.
    pub fn alive(&self) -> bool {
        self.token().is_some_and(|t| self.family(t).lives_on(t))
    }

    /// The stored access token is of no use.
    pub fn access_dead(&self) -> bool {
        self.token().is_some_and(|t| self.ended || self.family(t).revoked)
    }

    /// Where the presentations of a token are counted.
    pub fn counts(&mut self, token: Token) -> &mut (u8, u8) {
        &mut self.presented[match (token.family, token.rotation) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }]
    }

    pub fn with(&self, i: usize, process: Process) -> Self {
        let mut next = *self;
        next.processes[i] = process;
        next
    }

    pub fn but(mut self, fault: Fault) -> Self {
        self.left.spend(fault);
        self
    }

    /// The row is written; `holder` has the turn that it names.
    pub fn write(&mut self, row: Row, age: Age, holder: Option<usize>) {
        self.ended &= self.row.set == row.set;
        (self.row, self.age) = (row, age);
        for (i, process) in self.processes.iter_mut().enumerate() {
            process.holds = holder == Some(i);
        }
    }

    /// A request goes on without its sender.
    pub fn stray(&mut self, token: Token, processing: bool) {
        let place = self.strays.iter_mut().find(|s| s.is_none()).unwrap();
        *place = Some(Stray { token, processing });
    }

    /// Whether a request with this token is at the provider.
    pub fn in_flight(&self, token: Token, processing: impl Fn(bool) -> bool) -> bool {
        let stray = |s: &Stray| s.token == token && processing(s.processing);
        let own = |p: &Process| p.at.waits() && p.work.token == token && processing(p.at == At::Processing);
        self.strays.iter().flatten().any(stray) || self.processes.iter().any(own)
    }

    /// Nobody does anything, and nothing is on its way.
    pub fn rests(&self) -> bool {
        let idle = |p: &Process| matches!(p.at, At::Absent | At::Idle);
        self.processes.iter().all(idle) && self.strays.iter().any(Option::is_some).not()
    }
}
