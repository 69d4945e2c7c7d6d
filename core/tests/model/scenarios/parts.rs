//! A store, a vault, a provider that do not do their part, each of its own: beside the other faults they would make too many
//! states.

use super::{RISKED, scenario};
use crate::{faults::Fault, world::Scenario};

use Fault::{
    AccessEnds, AnswerLost, ClientRefused, ClockGone, Crash, Delete, ErrorAfter, ErrorBefore, Lapse, Late,
    LateWrite, MayPass, OtherUser, Outage, Purge, ReadFails, Reconnect, Refused, RequestLost, Touch,
    Unconfirmed,
};

pub const READS_FAIL: Scenario = scenario(
    "the store fails to read",
    &[
        (ReadFails, 2),
        (RequestLost, 1),
        (ErrorAfter, 1),
        (Lapse, 1),
        (AccessEnds, 2),
    ],
);
pub const STORE_AWAY: Scenario = scenario(
    "the store is away",
    &[(Outage, 1), (Late, 1), (Lapse, 1), (AccessEnds, 2)],
);
pub const UNCONFIRMED: Scenario = scenario(
    "leases are not confirmed, and rows touched",
    &[
        (Unconfirmed, 2),
        (Touch, 1),
        (ReadFails, 1),
        (RequestLost, 1),
        (Lapse, 1),
        (AccessEnds, 2),
    ],
);
pub const LATE_WRITES: Scenario = scenario(
    "a write is applied after its answer",
    &[
        (LateWrite, 1),
        (ErrorBefore, 1),
        (RequestLost, 1),
        (Lapse, 1),
        (AccessEnds, 2),
    ],
);
pub const REFUSED: Scenario = scenario(
    "vault, client or user are refused",
    &[
        (Refused, 2),
        (ClientRefused, 1),
        (OtherUser, 1),
        (RequestLost, 1),
        (ErrorAfter, 1),
        (AccessEnds, 2),
    ],
);
pub const NO_REFRESH_TOKEN: Scenario = Scenario {
    no_refresh_token: true,
    ..scenario(
        "no refresh token",
        &[
            (ErrorBefore, 1),
            (ErrorAfter, 1),
            (Touch, 1),
            (Delete, 1),
            (Purge, 1),
            (AccessEnds, 2),
        ],
    )
};
pub const PURGED: Scenario = scenario(
    "deleted and removed meanwhile",
    &[
        (Delete, 1),
        (Purge, 1),
        (ErrorBefore, 1),
        (Lapse, 1),
        (Late, 1),
        (AccessEnds, 2),
    ],
);
pub const OWING: Scenario = scenario(
    "ended meanwhile, by a store with errors",
    &[
        (Reconnect, 1),
        (Delete, 1),
        (ErrorAfter, 1),
        (ErrorBefore, 1),
        (ReadFails, 1),
        (Refused, 1),
        (AccessEnds, 2),
    ],
);
pub const CLOCK_GONE: Scenario = scenario(
    "the store's clock begins anew",
    &[
        (ClockGone, 1),
        (RequestLost, 1),
        (MayPass, 1),
        (ErrorBefore, 1),
        (AccessEnds, 2),
    ],
);
pub const ASSUMED_ENDS: Scenario = Scenario {
    assumed_ends: true,
    ..scenario(
        "ends of access tokens are assumed",
        &[
            (RequestLost, 1),
            (AnswerLost, 1),
            (Crash, 1),
            (Refused, 1),
            (AccessEnds, 2),
        ],
    )
};
pub const SITS_WITHOUT_STORE: Scenario = Scenario {
    hold: true,
    excused: &[RISKED],
    ..scenario(
        "sits on tokens, and the store fails",
        &[
            (Outage, 1),
            (ErrorAfter, 1),
            (Refused, 1),
            (Lapse, 1),
            (AccessEnds, 2),
        ],
    )
};
pub const SITS_AND_CONFLICTS: Scenario = Scenario {
    hold: true,
    excused: &[RISKED],
    ..scenario(
        "sits on tokens, and rows are touched",
        &[(Touch, 3), (Lapse, 1), (AccessEnds, 2)],
    )
};

pub const PARTS_FAIL: [Scenario; 12] = [
    READS_FAIL,
    STORE_AWAY,
    UNCONFIRMED,
    LATE_WRITES,
    REFUSED,
    NO_REFRESH_TOKEN,
    PURGED,
    OWING,
    CLOCK_GONE,
    ASSUMED_ENDS,
    SITS_WITHOUT_STORE,
    SITS_AND_CONFLICTS,
];
