//! A state of the world.

use std::ops::Not;

use crate::{
    faults::{Fault, Faults},
    row::{Age, Row},
    upstream::{Family, Token},
    work::Number,
};

/// More processes do not fit in a packed state.
pub const MOST: usize = 3;

/// The name of a token set: epoch and generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub epoch: u8,
    pub generation: u8,
}

/// How far a presentation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// There is none.
    None,
    /// The gate is passed, and nothing has left the process.
    Ready,
    /// It is on the way, or waits at the provider.
    Queued,
    Processing,
}

impl Request {
    pub const ALL: [Self; 4] = [Self::None, Self::Ready, Self::Queued, Self::Processing];

    pub fn is_out(self) -> bool {
        matches!(self, Self::Queued | Self::Processing)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which machine it runs, in which state.
    pub work: Number,
    /// The turn in the row is its own.
    pub my_turn: bool,
    /// The set in the row is the one that it received.
    pub my_set: bool,
    /// The row was written by somebody else since it took it in hand.
    pub stale: bool,
    pub request: Request,
    /// The refresh token in the row that it has in hand.
    pub spent: Token,
    /// The set that it received, or tries.
    pub set: Option<Token>,
    /// How often it stood still for an hour since its machine began.
    pub pauses: u8,
}

impl Process {
    pub const ABSENT: Self = Self {
        work: Number::ABSENT,
        my_turn: false,
        my_set: false,
        stale: false,
        request: Request::None,
        spent: Token {
            family: 0,
            rotation: 0,
        },
        set: None,
        pauses: 0,
    };

    pub const IDLE: Self = Self {
        work: Number::IDLE,
        ..Self::ABSENT
    };

    pub fn works(&self) -> bool {
        self.work != Number::ABSENT && self.work != Number::IDLE
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
        state.processes[..processes].fill(Process::IDLE);
        state
    }

    pub fn family(&self, token: Token) -> Family {
        self.families[usize::from(token.family)]
    }

    /// The stored refresh token is the living one.
    pub fn alive(&self) -> bool {
        self.row.token.is_some_and(|t| self.family(t).lives_on(t))
    }

    /// The stored access token is of no use.
    pub fn access_dead(&self) -> bool {
        self.row
            .token
            .is_some_and(|t| self.ended || self.family(t).revoked)
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

    /// The row is written by process `by`, or by people. `my_turn` and `my_set`: it names that process.
    pub fn write(&mut self, row: Row, age: Age, by: Option<usize>, (my_turn, my_set): (bool, bool)) {
        let new_set = my_set && by.is_some_and(|i| !self.processes[i].my_set);
        let same_set = self.row.token == row.token && !new_set;
        self.ended &= same_set;
        let same_turn = !my_turn && matches!(row.refresh, crate::row::Phase::Turn(_));
        (self.row, self.age) = (row, age);
        for (i, process) in self.processes.iter_mut().enumerate() {
            if by == Some(i) {
                (process.my_turn, process.my_set) = (my_turn, my_set);
                process.stale = false;
            } else {
                process.my_turn &= same_turn;
                process.my_set &= same_set;
                process.stale |= process.works();
            }
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
        let own = |p: &Process| {
            p.request.is_out() && p.spent == token && processing(p.request == Request::Processing)
        };
        self.strays.iter().flatten().any(stray) || self.processes.iter().any(own)
    }

    /// Nobody does anything, and nothing is on its way.
    pub fn rests(&self) -> bool {
        self.processes.iter().any(Process::works).not() && self.strays.iter().any(Option::is_some).not()
    }
}
