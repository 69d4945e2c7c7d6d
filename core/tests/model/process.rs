//! What is known of a process, beside the state of its machine.

use crate::{state::Version, upstream::Token, work::Number};

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

/// A process, or what one of them does behind the backs of those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which machine it runs, in which state.
    pub work: Number,
    /// It begins nothing: it keeps a set that its process has answered with, or tries one.
    pub keeper: bool,
    /// The lease in the row is its own.
    pub my_lease: bool,
    /// The set in the row is the one that it received.
    pub my_set: bool,
    /// The row was written by somebody else since it took it in hand.
    pub stale: bool,
    /// The three of these, for the older row.
    pub back: Back,
    /// The row in the hand of the machine that keeps a set, while another one tries the set.
    pub kept: Option<Hand>,
    /// A write of its own is on the way to the store.
    pub wrote: bool,
    pub request: Request,
    /// The refresh token in the row that it has in hand.
    pub spent: Token,
    /// The set that it received, or tries.
    pub set: Option<Token>,
    /// How often it stood still for long since its machine began.
    pub pauses: u8,
    /// The set that it serves from memory.
    pub memory: Option<Known>,
}

/// What a process would be to the row if that went back to the older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    pub lease: bool,
    pub set: bool,
    pub stale: bool,
}

/// A row in hand: whether it is another one than is stored, and another one than the older row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hand {
    pub stale: bool,
    pub back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub version: Version,
    pub token: Token,
}

impl Process {
    pub const ABSENT: Self = Self {
        work: Number::ABSENT,
        keeper: false,
        my_lease: false,
        my_set: false,
        stale: false,
        back: Back {
            lease: false,
            set: false,
            stale: false,
        },
        kept: None,
        wrote: false,
        request: Request::None,
        spent: Token {
            family: 0,
            rotation: 0,
        },
        set: None,
        pauses: 0,
        memory: None,
    };

    pub const IDLE: Self = Self {
        work: Number::IDLE,
        ..Self::ABSENT
    };

    /// For long: whatever it has read is old.
    pub fn stands_still(&mut self) {
        self.pauses += 1;
        assert!(self.pauses < 8, "more pauses than fit in a packed state");
    }

    pub fn works(&self) -> bool {
        self.work != Number::ABSENT && self.work != Number::IDLE
    }
}
