//! Which commands of the machines the model has met, and which answers to each.

use grantry::protocol::{
    attempt::{self, Answer, Life, Repaired},
    keep_set::{self, Compared, Confirm},
    machine::{Note, Read, Written},
    verify,
};

use crate::row::{Age, Phase};

macro_rules! names {
    ($($name:ident)*) => {
        /// A command, and what came of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Pair { $($name),* }

        impl Pair {
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

names! {
    // Attempt
    ReadRow ReadMissing ReadFailed PeekRow PeekFailed
    LeaseSwapped LeaseConflict LeaseMissing LeaseFailed
    RestampSwapped RestampConflict RestampFailed
    ConcludeSwapped ConcludeConflict ConcludeMissing ConcludeFailed
    ExpireSwapped ExpireConflict ExpireMissing ExpireFailed
    Prepared PrepareRefused NoRefreshTokenAlive NoRefreshTokenDead
    ClientServes ClientDoesNot Opened OpenRefused LeaseConfirmed LeaseUnconfirmed
    Received IdentityChanged NotSent Unknown ClientRefused GrantDead InProgress NotNow
    ProbedDead ProbedAlive ProbedUnknown RepairKept RepairGone RepairFailed Revoked Woken
    // KeepSet
    KeepReadRow KeepReadMissing KeepReadFailed Sealed NotSealed
    StoreSwapped StoreConflict StoreMissing StoreFailed
    AnsweredStored AnsweredInHand AnsweredNotFound
    SetConfirmed SetUnconfirmed ReconnectConfirmed ReconnectUnconfirmed
    ComparedSame ComparedOther ComparedUnknown
    OweSwapped OweConflict OweMissing OweFailed RevokedAtOnce KeepWoken
    // Verify
    TriedGood TriedDead VerifyReadRow VerifyReadMissing VerifyReadFailed
    MarkSwapped MarkConflict MarkMissing MarkFailed Loaded LoadRefused
    MarkConfirmed MarkUnconfirmed VerifyWoken
    // What is not modelled, and what the world takes into its own hands.
    Other
}

/// What no run can meet: a user who comes back with the very same token, and what is not told apart here.
pub const ELSEWHERE: [Pair; 2] = [Pair::ComparedSame, Pair::Other];

/// What was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    pairs: u128,
    rows: u64,
}

impl Met {
    pub fn insert(&mut self, pair: Pair) {
        self.pairs |= 1 << pair as u32;
    }

    pub fn insert_row(&mut self, phase: Phase, age: Age) {
        self.rows |= 1 << row_bit(phase, age);
    }

    pub fn extend(&mut self, other: Self) {
        self.pairs |= other.pairs;
        self.rows |= other.rows;
    }

    /// The commands and answers that were not.
    pub fn unmet(self) -> Vec<Pair> {
        let unmet = |pair: &Pair| self.pairs >> *pair as u32 & 1 == 0 && !ELSEWHERE.contains(pair);
        Pair::ALL.iter().copied().filter(unmet).collect()
    }

    /// The refresh states that were not, at each age that they can have. On a clock that is gone attempts are alike.
    pub fn unmet_rows(self) -> Vec<(Phase, Age)> {
        let of = |n| [Phase::Lease(n), Phase::Unknown(n), Phase::Cooling(n)];
        let still = [Phase::Idle, Phase::Cooling(0)]
            .into_iter()
            .chain((1..=3).map(Phase::Lease));
        let aging = (1..=3).flat_map(of);
        still
            .map(|phase| (phase, Age::Living))
            .chain(aging.flat_map(|phase| [Age::Lapsed, Age::Over].map(|age| (phase, age))))
            .chain(of(1).map(|phase| (phase, Age::Foreign)))
            .filter(|(phase, age)| self.rows >> row_bit(*phase, *age) & 1 == 0)
            .collect()
    }
}

fn row_bit(phase: Phase, age: Age) -> u32 {
    u32::from(phase.code()) * 4 + age as u32
}

fn read(read: &Read, [row, missing, failed]: [Pair; 3]) -> Pair {
    match read {
        Read::Row(_) => row,
        Read::Missing => missing,
        Read::Unreadable | Read::Failed => failed,
    }
}

fn written(written: Written, [swapped, conflict, missing, failed]: [Pair; 4]) -> Pair {
    match written {
        Written::Swapped => swapped,
        Written::Conflict => conflict,
        Written::Missing => missing,
        Written::Failed => failed,
    }
}

pub fn attempt(command: &attempt::Command, event: &attempt::Event) -> Pair {
    use Pair::*;
    use attempt::{Command, Event};
    match (command, event) {
        (Command::Peek, Event::Read(r)) => read(r, [PeekRow, PeekFailed, PeekFailed]),
        (_, Event::Read(r)) => read(r, [ReadRow, ReadMissing, ReadFailed]),
        (Command::Swap(write), Event::Written(w)) => {
            let pairs = match write.note {
                Note::Leased => [LeaseSwapped, LeaseConflict, LeaseMissing, LeaseFailed],
                Note::Restamped => [RestampSwapped, RestampConflict, Other, RestampFailed],
                Note::Expired { .. } => [ExpireSwapped, ExpireConflict, ExpireMissing, ExpireFailed],
                _ => [ConcludeSwapped, ConcludeConflict, ConcludeMissing, ConcludeFailed],
            };
            written(*w, pairs)
        }
        (_, Event::Prepared(_)) => Prepared,
        (Command::Prepare { .. }, Event::Refused) => PrepareRefused,
        (_, Event::Refused) => OpenRefused,
        (_, Event::NoRefreshToken { alive: true }) => NoRefreshTokenAlive,
        (_, Event::NoRefreshToken { alive: false }) => NoRefreshTokenDead,
        (_, Event::Client { serves: true }) => ClientServes,
        (_, Event::Client { serves: false }) => ClientDoesNot,
        (_, Event::Opened) => Opened,
        (_, Event::Confirmed(true)) => LeaseConfirmed,
        (_, Event::Confirmed(false)) => LeaseUnconfirmed,
        (_, Event::Answered(answer)) => answered(answer),
        (_, Event::Probed(Life::Dead)) => ProbedDead,
        (_, Event::Probed(Life::Alive(_))) => ProbedAlive,
        (_, Event::Probed(Life::Unknown | Life::Refused)) => ProbedUnknown,
        (_, Event::Repaired(Repaired::Kept)) => RepairKept,
        (_, Event::Repaired(Repaired::Gone)) => RepairGone,
        (_, Event::Repaired(Repaired::Failed)) => RepairFailed,
        (_, Event::Revoked) => Revoked,
        (_, Event::Woken) => Woken,
        _ => Other,
    }
}

pub fn answered(answer: &Answer) -> Pair {
    match answer {
        Answer::Received => Pair::Received,
        Answer::IdentityChanged => Pair::IdentityChanged,
        Answer::NotSent => Pair::NotSent,
        Answer::Unknown(_) => Pair::Unknown,
        Answer::ClientRefused(_) => Pair::ClientRefused,
        Answer::GrantDead(_) => Pair::GrantDead,
        Answer::InProgress(_) => Pair::InProgress,
        Answer::NotNow { .. } => Pair::NotNow,
    }
}

pub fn keep_set(command: &keep_set::Command, event: &keep_set::Event) -> Pair {
    use Pair::*;
    use keep_set::{Command, Event};
    match (command, event) {
        (_, Event::Read(r)) => read(r, [KeepReadRow, KeepReadMissing, KeepReadFailed]),
        (_, Event::Sealed(true)) => Sealed,
        (_, Event::Sealed(false)) => NotSealed,
        (Command::Store { .. }, Event::Written(w)) => {
            written(*w, [StoreSwapped, StoreConflict, StoreMissing, StoreFailed])
        }
        (_, Event::Written(w)) => written(*w, [OweSwapped, OweConflict, OweMissing, OweFailed]),
        (Command::Answer(keep_set::Answer::Stored), _) => AnsweredStored,
        (Command::Answer(keep_set::Answer::InHand), _) => AnsweredInHand,
        (Command::Answer(keep_set::Answer::NotFound), _) => AnsweredNotFound,
        (Command::RevokeReceived, _) => RevokedAtOnce,
        (Command::Confirm(Confirm::Reconnect), Event::Confirmed(true)) => ReconnectConfirmed,
        (Command::Confirm(Confirm::Reconnect), Event::Confirmed(false)) => ReconnectUnconfirmed,
        (_, Event::Confirmed(true)) => SetConfirmed,
        (_, Event::Confirmed(false)) => SetUnconfirmed,
        (_, Event::Compared(Compared::Same)) => ComparedSame,
        (_, Event::Compared(Compared::Other)) => ComparedOther,
        (_, Event::Compared(Compared::Unknown)) => ComparedUnknown,
        (_, Event::Woken) => KeepWoken,
        _ => Other,
    }
}

pub fn verify(_: &verify::Command, event: &verify::Event) -> Pair {
    use Pair::*;
    use verify::Event;
    match event {
        Event::Tried { dead: false } => TriedGood,
        Event::Tried { dead: true } => TriedDead,
        Event::Read(r) => read(r, [VerifyReadRow, VerifyReadMissing, VerifyReadFailed]),
        Event::Written(w) => written(*w, [MarkSwapped, MarkConflict, MarkMissing, MarkFailed]),
        Event::Loaded { .. } => Loaded,
        Event::Refused { .. } => LoadRefused,
        Event::Confirmed(true) => MarkConfirmed,
        Event::Confirmed(false) => MarkUnconfirmed,
        Event::Woken => VerifyWoken,
    }
}
