//! What goes wrong in each run: processes, requests and people here; the store, the vault and what the provider tells in
//! `parts`; a store that forgets in `forgetful`.

mod forgetful;
mod parts;

pub use forgetful::*;
pub use parts::*;

use crate::{faults::Fault, state::Store, world::Scenario};

/// Who sits on tokens for longer than the quarantine is not waited for.
const RISKED: &str = "a presentation ended";

const fn scenario(name: &'static str, faults: &'static [(Fault, u8)]) -> Scenario {
    Scenario {
        name,
        faults,
        store: Store::Safe,
        hold: false,
        pause: false,
        assumed_ends: false,
        no_refresh_token: false,
        excused: &[],
    }
}

use Fault::{
    AccessEnds, AnswerLost, Crash, Delete, ErrorAfter, ErrorBefore, Lapse, Late, MayPass, NotSent, Reconnect,
    RequestLost, Unprocessed,
};

pub const CALM: Scenario = scenario("no faults", &[]);
pub const PAUSES: Scenario = scenario("pauses", &[(Lapse, 2), (AccessEnds, 2)]);
pub const ERROR_BEFORE: Scenario = scenario(
    "store error before the commit",
    &[(Lapse, 1), (ErrorBefore, 2), (AccessEnds, 2)],
);
pub const ERROR_AFTER: Scenario = scenario(
    "store error after the commit",
    &[(Lapse, 1), (ErrorAfter, 1), (AccessEnds, 2)],
);
pub const REQUEST_LOST: Scenario = scenario("request lost", &[(RequestLost, 1), (Lapse, 1), (AccessEnds, 2)]);
pub const ANSWER_LOST: Scenario = scenario("answer lost", &[(AnswerLost, 1), (Lapse, 1), (AccessEnds, 2)]);
pub const LATE: Scenario = scenario(
    "timeout, processed late",
    &[(Late, 1), (Lapse, 1), (AccessEnds, 2)],
);
pub const CRASH: Scenario = scenario("crash", &[(Crash, 1), (Lapse, 1), (AccessEnds, 2)]);
pub const THEN_REFUSED: Scenario = scenario(
    "unknown, then not sent or refused for now",
    &[
        (RequestLost, 2),
        (Late, 1),
        (MayPass, 2),
        (NotSent, 1),
        (AccessEnds, 2),
    ],
);
pub const OUTAGE: Scenario = scenario("outage, not processed", &[(Unprocessed, 2), (AccessEnds, 2)]);
pub const RECONNECT: Scenario = scenario(
    "reconnect meanwhile",
    &[(Reconnect, 1), (Lapse, 1), (Late, 1), (Crash, 1), (AccessEnds, 2)],
);
pub const DELETE: Scenario = scenario(
    "delete meanwhile",
    &[(Delete, 1), (Lapse, 1), (Late, 1), (AccessEnds, 2)],
);
pub const SITS: Scenario = Scenario {
    hold: true,
    excused: &[RISKED],
    ..scenario(
        "sits on tokens beyond the quarantine",
        &[(Lapse, 1), (AccessEnds, 2)],
    )
};
pub const MANY: Scenario = scenario(
    "many faults",
    &[
        (RequestLost, 1),
        (AnswerLost, 1),
        (Late, 1),
        (Crash, 1),
        (ErrorAfter, 1),
        (MayPass, 1),
        (Lapse, 1),
        (AccessEnds, 2),
    ],
);

/// In all of these nothing may be lost.
pub const ALL: [Scenario; 13] = [
    PAUSES,
    ERROR_BEFORE,
    ERROR_AFTER,
    REQUEST_LOST,
    ANSWER_LOST,
    LATE,
    CRASH,
    THEN_REFUSED,
    OUTAGE,
    RECONNECT,
    DELETE,
    SITS,
    MANY,
];

/// A process sleeps between gate and send for longer than the quarantine. No protocol can close this hole: the provider
/// knows no fencing token.
pub const ASLEEP: Scenario = Scenario {
    pause: true,
    excused: &["I1", "I2", RISKED],
    ..scenario("asleep between gate and send", &[(Lapse, 1), (AccessEnds, 2)])
};
