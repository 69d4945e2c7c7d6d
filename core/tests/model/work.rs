//! What a process works on: the machines that the broker runs, as they are. A state of the world holds their numbers only,
//! since a run meets few different ones.

use std::collections::HashMap;

use grantry::{
    protocol::{Attempt, KeepSet, Machine, Step, Verify},
    time::BootInstant,
};

use crate::{classic::Lock, row::LONG};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// This run has fewer processes.
    Absent,
    Idle,
    Attempt(Attempt),
    Keep(KeepSet),
    /// A stored set is tried on behalf of the machine that keeps it.
    KeepVerify(KeepSet, Verify),
    Verify(Verify),
    /// One of the usual designs.
    Lock(Lock),
}

impl Work {
    /// What it asks for, for people.
    pub fn brief(&self) -> String {
        fn step<M: Machine>(machine: &M) -> String {
            match machine.step() {
                Step::Do(command) => format!("{command:?}"),
                Step::Done(outcome) => format!("{outcome:?}"),
            }
        }
        match self {
            Self::Absent | Self::Idle => "idle".into(),
            Self::Attempt(machine) => step(machine),
            Self::Keep(machine) => step(machine),
            Self::Verify(machine) | Self::KeepVerify(_, machine) => step(machine),
            Self::Lock(lock) => step(lock),
        }
    }
}

/// A machine in a state, by its number in [`Works`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u16);

impl Number {
    pub const ABSENT: Self = Self(0);
    pub const IDLE: Self = Self(1);
    /// So many bits are enough.
    pub const BITS: u32 = 12;
}

/// All machines that a run has met.
#[derive(Debug)]
pub struct Works {
    list: Vec<Work>,
    numbers: HashMap<Work, Number, foldhash::fast::RandomState>,
}

impl Works {
    pub fn new() -> Self {
        let mut works = Self {
            list: Vec::new(),
            numbers: HashMap::default(),
        };
        assert_eq!(works.number(&Work::Absent), Number::ABSENT);
        assert_eq!(works.number(&Work::Idle), Number::IDLE);
        works
    }

    pub fn number(&mut self, work: &Work) -> Number {
        if let Some(number) = self.numbers.get(work) {
            return *number;
        }
        let number = Number(u16::try_from(self.list.len()).unwrap());
        assert!(
            number.0 >> Number::BITS == 0,
            "more machines than fit in a packed state"
        );
        self.list.push(*work);
        self.numbers.insert(*work, number);
        number
    }

    pub fn get(&self, number: Number) -> Work {
        self.list[usize::from(number.0)]
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }
}

/// No access token ends by itself.
pub const NEVER: BootInstant = BootInstant(u64::MAX);

/// A process's boot time after so many pauses.
pub fn boot(pauses: u8) -> BootInstant {
    BootInstant(u64::from(pauses) * LONG)
}
