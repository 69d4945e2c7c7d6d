//! Every duration and bound of the engine. Those that must fit together are tied by assertions.

use std::time::Duration;

/// How long somebody whose token lives waits for the store.
pub(crate) const STORE_WAIT: Duration = Duration::from_secs(2);
/// How long the store is waited for to confirm a write. Nothing could be sent any more by then.
pub(crate) const CONFIRM: Duration = Duration::from_secs(5);
/// How often a change of a row is tried when somebody else wrote the row meanwhile.
pub(crate) const UPDATE_TRIES: u32 = 16;
/// How long a provider may take to answer anything but a presentation, which has a limit of its own in the policy.
pub(crate) const UPSTREAM: Duration = Duration::from_secs(20);
/// How long a provider may take to check a client; somebody waits for it.
pub(crate) const VERIFY_CLIENT: Duration = Duration::from_secs(9);
/// How long a freeze takes at the least: a connect attempt that was on its way when it began has ended by then, so that a look
/// at all rows which finds nothing is the last one.
pub(crate) const FREEZE_SETTLES: Duration = Duration::from_secs(60);
/// For how long an owed revocation belongs to the process that claimed it; afterwards the sweeps take it for abandoned.
pub(crate) const OWED_CLAIM: Duration = Duration::from_secs(30);
/// After so many refusals an owed revocation is given up; what is left upstream is in the history.
pub(crate) const OWED_TRIES: u32 = 12;
/// How many owed revocations one task runs; the sweep comes back for more.
pub(crate) const OWED_IN_A_ROW: u32 = 32;
/// How often a write is tried before a new grant is given up.
pub(crate) const CONNECT_WRITES: u32 = 8;

// A claim outlasts whatever its holder does with it.
const _: () = assert!(OWED_CLAIM.as_secs() > CONFIRM.as_secs() + UPSTREAM.as_secs());
/// After a request that was not sent nobody here tries the connection again for so long.
pub(crate) const NOT_SENT_PAUSE: Duration = Duration::from_secs(2);
/// A refresh takes its lease, is answered and stores what came within this time, unless something is wrong.
pub(crate) const LONGEST_REFRESH: Duration = Duration::from_secs(120);
