//! A store that forgets what it acknowledged.

use super::{RISKED, scenario};
use crate::{faults::Fault, state::Store, world::Scenario};

use Fault::{
    AccessEnds, AnswerLost, BackUp, ErrorAfter, ErrorBefore, FailOver, Lapse, Late, MayPass, ReadFails,
    Reconnect, Refused, RequestLost, RollBack, Touch, Unconfirmed,
};

const fn replica(name: &'static str, faults: &'static [(Fault, u8)]) -> Scenario {
    Scenario {
        store: Store::Replica,
        ..scenario(name, faults)
    }
}

pub const TAKEN_OVER: Scenario = replica(
    "a replica takes over",
    &[
        (FailOver, 1),
        (Unconfirmed, 1),
        (Touch, 1),
        (Lapse, 1),
        (AccessEnds, 2),
    ],
);
pub const TAKEN_OVER_AFTER_UNKNOWN: Scenario = replica(
    "unknown outcomes, and a replica takes over",
    &[
        (FailOver, 1),
        (RequestLost, 1),
        (AnswerLost, 1),
        (Late, 1),
        (MayPass, 1),
        (AccessEnds, 3),
    ],
);
/// That a set is owed a revocation is not confirmed: it is revoked in the same moment. A replica that takes over just then
/// leaves the grant of before.
pub const TAKEN_OVER_AND_RECONNECT: Scenario = Scenario {
    excused: &["LEFT OVER"],
    ..replica(
        "reconnect meanwhile, and a replica takes over",
        &[
            (FailOver, 1),
            (Unconfirmed, 1),
            (Reconnect, 1),
            (Lapse, 1),
            (AccessEnds, 3),
        ],
    )
};
/// A set that was lost is to be stored again, by a store and a vault that do not do it at once.
pub const TAKEN_OVER_AND_FAILS: Scenario = replica(
    "parts fail, and a replica takes over",
    &[
        (FailOver, 1),
        (ErrorBefore, 1),
        (ReadFails, 1),
        (Refused, 1),
        (AccessEnds, 2),
    ],
);
pub const TAKEN_OVER_AND_SITS: Scenario = Scenario {
    hold: true,
    excused: &[RISKED],
    ..replica(
        "sits on tokens, and a replica takes over",
        &[(FailOver, 1), (ErrorAfter, 1), (Lapse, 1), (AccessEnds, 3)],
    )
};

/// A store whose leases are confirmed, since it may forget what its replica does not have.
pub const FAIL_OVER: [Scenario; 5] = [
    TAKEN_OVER,
    TAKEN_OVER_AFTER_UNKNOWN,
    TAKEN_OVER_AND_RECONNECT,
    TAKEN_OVER_AND_FAILS,
    TAKEN_OVER_AND_SITS,
];

/// The row is put back to what it was, while nobody has a lease. A token that was spent since may be presented again, as
/// nobody knows better who did not see it. But who has the newer set writes it again, and nothing dies silently.
pub const ROLLED_BACK: Scenario = Scenario {
    store: Store::Backup { at_rest: true },
    excused: &["I2", RISKED],
    ..scenario(
        "the store is rolled back",
        &[
            (BackUp, 1),
            (RollBack, 1),
            (ErrorBefore, 1),
            (ReadFails, 1),
            (Lapse, 1),
            (AccessEnds, 3),
        ],
    )
};

/// The user's reconnect is lost, and the grant of before was revoked by then: who asks it for tokens will be told.
pub const ROLLED_BACK_AND_RECONNECT: Scenario = Scenario {
    store: Store::Backup { at_rest: true },
    excused: &["I1", "I2", "SILENT", RISKED],
    ..scenario(
        "reconnect meanwhile, and the store is rolled back",
        &[(BackUp, 1), (RollBack, 1), (Reconnect, 1), (AccessEnds, 2)],
    )
};

/// The lease of somebody who presents is lost with it, so that another one presents, too, and nobody knows that his set is
/// doubtful: if the provider ends grants for that, the first call that is refused will tell.
pub const ROLLED_BACK_MEANWHILE: Scenario = Scenario {
    store: Store::Backup { at_rest: false },
    excused: &["I1", "I2", "SILENT", RISKED],
    ..scenario(
        "the store is rolled back under a lease",
        &[(BackUp, 1), (RollBack, 1), (Lapse, 1), (AccessEnds, 3)],
    )
};

/// A store that is put back to a backup.
pub const ROLL_BACK: [Scenario; 3] = [ROLLED_BACK, ROLLED_BACK_AND_RECONNECT, ROLLED_BACK_MEANWHILE];
