//! A state of the world.

use crate::{
    faults::{Fault, Faults},
    process::{Back, Known, Process, Request},
    row::{Age, Owed, Phase, Row},
    upstream::{Family, Token},
};

/// More processes and keepers do not fit in a packed state.
pub const MOST: usize = 4;

/// Which token set: epoch and generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub epoch: u8,
    pub generation: u8,
}

/// A request whose sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    pub token: Token,
    pub processing: bool,
}

/// What a store may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Nothing.
    Safe,
    /// What its replica does not have yet.
    Replica,
    /// What was written since a backup.
    Backup {
        /// It is put back while nobody has a lease.
        at_rest: bool,
    },
}

impl Store {
    pub fn is_backed_up(self) -> bool {
        matches!(self, Self::Backup { .. })
    }
}

/// The row that the store may go back to: as the replica has it, or the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Older {
    pub row: Row,
    pub age: Age,
    pub ended: bool,
}

/// A write that the store has not answered and may still apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub row: Row,
    pub age: Age,
    /// The row will name the writer as the holder of the lease, and as the writer of the set.
    pub marks: (bool, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub row: Row,
    pub age: Age,
    /// The stored access token has ended.
    pub ended: bool,
    pub store: Store,
    pub older: Option<Older>,
    pub pending: Option<Pending>,
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
    pub fn start(processes: usize, store: Store, left: Faults) -> Self {
        let mut state = Self {
            row: Row::FIRST,
            age: Age::Living,
            ended: false,
            store,
            older: None,
            pending: None,
            leaked: false,
            processes: [Process::ABSENT; MOST],
            strays: [None; 3],
            families: [
                Family::default(),
                Family {
                    revoked: true,
                    ..Family::default()
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

    /// The grant of the stored set was ended at the provider.
    pub fn revoked(&self) -> bool {
        self.row.token.is_some_and(|t| self.family(t).revoked)
    }

    /// The stored access token is of no use.
    pub fn access_dead(&self) -> bool {
        self.row.token.is_some() && (self.ended || self.revoked())
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

    /// The row is written by process `by`, or by people. `my_lease` and `my_set`: it names that process.
    pub fn write(&mut self, row: Row, age: Age, by: Option<usize>, (my_lease, my_set): (bool, bool)) {
        self.falls_behind();
        self.pending = None;
        let new_set = my_set && by.is_some_and(|i| !self.processes[i].my_set);
        let same_set = self.row.token == row.token && !new_set;
        self.ended &= same_set;
        let same_lease = !my_lease && matches!(row.refresh, Phase::Lease(_));
        (self.row, self.age) = (row, age);
        for (i, process) in self.processes.iter_mut().enumerate() {
            process.wrote = false;
            if let Some(kept) = &mut process.kept {
                kept.stale = true;
            }
            if by == Some(i) {
                (process.my_lease, process.my_set) = (my_lease, my_set);
                process.stale = false;
                process.back.stale = self.older.is_some();
            } else {
                process.my_lease &= same_lease;
                process.my_set &= same_set;
                process.stale |= process.works();
            }
        }
    }

    /// The row is written for a reason that has nothing to do with a refresh.
    pub fn touch(&mut self, owed: Owed) {
        let row = Row { owed, ..self.row };
        self.write(row, self.age, None, (false, false));
    }

    /// Before the row is written: what may be gone back to stays.
    fn falls_behind(&mut self) {
        let left = |fault| self.left.may(fault);
        let behind = match self.store {
            Store::Safe => false,
            Store::Replica => true,
            // It was taken, and is of use.
            Store::Backup { .. } => !left(Fault::BackUp) && left(Fault::RollBack),
        };
        if !behind || self.older.is_some() {
            return;
        }
        self.older = Some(Older {
            row: self.row,
            age: self.age,
            ended: self.ended,
        });
        for process in &mut self.processes {
            process.back = Back {
                lease: process.my_lease,
                set: process.my_set,
                stale: process.stale,
            };
            if let Some(kept) = &mut process.kept {
                kept.back = kept.stale;
            }
        }
    }

    /// The replica has all that was written.
    pub fn catches_up(&mut self) {
        self.older = None;
        for process in &mut self.processes {
            process.back = Back::default();
            if let Some(kept) = &mut process.kept {
                kept.back = false;
            }
        }
    }

    /// The row is the older one again.
    pub fn goes_back(&mut self) {
        let Some(older) = self.older else { return };
        self.ended |= older.ended;
        (self.row, self.age) = (older.row, older.age);
        self.pending = None;
        for process in &mut self.processes {
            let back = process.back;
            (process.my_lease, process.my_set, process.stale) = (back.lease, back.set, back.stale);
            process.wrote = false;
            if let Some(kept) = &mut process.kept {
                kept.stale = kept.back;
            }
        }
        self.catches_up();
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

    /// A process serves a newer set of the same grant than the row has.
    pub fn remembered(&self) -> bool {
        let newer = |known: Known| {
            known.version.epoch == self.row.version.epoch
                && known.version > self.row.version
                && self.row.token.is_some()
        };
        self.processes.iter().filter_map(|p| p.memory).any(newer)
    }

    /// Nobody does anything, and nothing is on its way.
    pub fn rests(&self) -> bool {
        !self.processes.iter().any(Process::works)
            && self.strays.iter().all(Option::is_none)
            && self.pending.is_none()
            && self.row.owed == Owed::default()
            && !self.remembered()
    }
}
