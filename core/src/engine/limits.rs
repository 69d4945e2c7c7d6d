//! Every duration and bound of the engine. Those that must fit together are tied by assertions at the end.

use std::time::Duration;

// The store.

/// How long somebody whose token lives waits for the store.
pub(crate) const STORE_WAIT: Duration = Duration::from_secs(2);
/// How long the store is waited for to confirm a write. Nothing could be sent any more by then.
pub(crate) const CONFIRM: Duration = Duration::from_secs(5);
/// How often a change of a row is tried when somebody else wrote the row meanwhile.
pub(crate) const UPDATE_TRIES: u32 = 16;
/// How often a write is tried before a new grant is given up.
pub(crate) const CONNECT_WRITES: u32 = 8;
/// How many decisions a connection remembers.
pub(crate) const HISTORY: usize = 16;
/// How long a look at the store's changes counts, in ticks of a millisecond.
pub(crate) const FRESH_TICKS: u64 = 1000;
/// How many integrations are read at a time.
pub(crate) const INTEGRATIONS_PAGE: u32 = 100;

// The provider.

/// How long a provider may take to answer anything but a presentation, which has a limit of its own in the policy.
pub(crate) const UPSTREAM: Duration = Duration::from_secs(20);
/// How long a provider may take to check a client; somebody waits for it.
pub(crate) const VERIFY_CLIENT: Duration = Duration::from_secs(9);
/// So many failures of a token host in a row say that it is the host, and not one grant.
pub(crate) const HOST_FAILURES: u32 = 5;
/// How long an open breaker waits for the probe that it admitted.
pub(crate) const BREAKER_PROBE: Duration = Duration::from_secs(30);
/// A wait that the other side asks a breaker for counts up to here.
pub(crate) const BREAKER_LONGEST: Duration = Duration::from_secs(3600);

// Refresh.

/// After a request that was not sent nobody here tries the connection again for so long.
pub(crate) const NOT_SENT_PAUSE: Duration = Duration::from_secs(2);
/// A refresh takes its lease, is answered and stores what came within this time, unless something is wrong.
pub(crate) const LONGEST_REFRESH: Duration = Duration::from_secs(120);

// Owed revocations.

/// For how long an owed revocation belongs to the process that claimed it; afterwards the sweeps take it for abandoned.
pub(crate) const OWED_CLAIM: Duration = Duration::from_secs(30);
/// After so many refusals an owed revocation is given up; what is left upstream is in the history.
pub(crate) const OWED_TRIES: u32 = 12;
/// How many owed revocations one task runs; the sweep comes back for more.
pub(crate) const OWED_IN_A_ROW: u32 = 32;

// The background.

/// How often the store is asked for changes.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// How long to wait after news, so that what changes together is seen in one look.
pub(crate) const LULL: Duration = Duration::from_millis(20);
/// How often uses are written down.
pub(crate) const FLUSH: Duration = Duration::from_secs(2);
/// How often due rows are looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(20);
/// How many due rows are worked on before the next ones are read.
pub(crate) const SWEEP_PAGE: u32 = 100;
/// How many connect attempts that have ended are removed in a sweep.
pub(crate) const SWEEP_PENDING: u32 = 1000;
/// How long each request of a sweep takes at the least, so that it is no burst.
pub(crate) const SWEEP_PACE: Duration = Duration::from_millis(250);
/// For how long a process leaves a row alone at which nothing could be done.
pub(crate) const POSTPONE: Duration = Duration::from_secs(60);
/// The same for a row that needs nothing which this process would do.
pub(crate) const POSTPONE_LONG: Duration = Duration::from_secs(600);
/// No row is left alone for longer.
pub(crate) const POSTPONE_LONGEST: Duration = Duration::from_secs(3600);
/// How long a freeze takes at the least: a connect attempt that was on its way when it began has ended by then, so that a look
/// at all rows which finds nothing is the last one.
pub(crate) const FREEZE_SETTLES: Duration = Duration::from_secs(60);
/// Rows that are ended at once by a freeze: a store that writes in groups then syncs once for all of them.
pub(crate) const FREEZE_AT_ONCE: usize = 64;
/// How many rows a freeze reads at a time.
pub(crate) const FREEZE_PAGE: u32 = 256;

// Memory.

/// How many incidents are remembered.
pub(crate) const INCIDENTS: usize = 256;

// A claim outlasts whatever its holder does with it.
const _: () = assert!(OWED_CLAIM.as_secs() > CONFIRM.as_secs() + UPSTREAM.as_secs());
// Somebody whose token lives does not wait longer for the store than a cached answer counts twice.
const _: () = assert!(STORE_WAIT.as_millis() <= 2 * FRESH_TICKS as u128);
// Changes are looked for several times before what is in memory ceases to count.
const _: () = assert!(LOOK.as_millis() * 3 < FRESH_TICKS as u128);
// A sweep comes back to what it postponed, and a freeze goes on within a minute.
const _: () = assert!(SWEEP.as_secs() < POSTPONE.as_secs() && SWEEP.as_secs() < FREEZE_SETTLES.as_secs());
const _: () = assert!(POSTPONE.as_secs() < POSTPONE_LONG.as_secs());
const _: () = assert!(POSTPONE_LONG.as_secs() < POSTPONE_LONGEST.as_secs());
