//! Every duration and bound of the engine, and of what is built on it. Assertions at the end tie together those that must
//! fit.
//!
//! The bounds of a caller's request are where they are checked: `proxy::path`, `proxy::headers`, `oauth`, `http`.

use std::time::Duration;

use super::doubling::Doubling;
use crate::transport;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

// The protocol. Every process that shares a store must have the same.

/// How long a lease lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// How long a presentation may take in all.
pub(crate) const PRESENTATION: Duration = Duration::from_secs(20);
/// How soon the token must be sent, counted from before the row was read that the lease replaced.
pub(crate) const GATE: Duration = Duration::from_secs(5);
/// An exchange that took this much longer than [`PRESENTATION`] shows that the machine slept meanwhile.
pub(crate) const SLEPT: Duration = Duration::from_secs(2);
/// How long nothing is presented after the first unknown outcome.
pub(crate) const QUARANTINE: Duration = MINUTE;
/// The quarantine's length after the first, second, … unknown outcome in a row, in [`QUARANTINE`]s; the last one counts for
/// all that follow. An outage marks no connection dead, it only makes the probes rarer.
pub(crate) const QUARANTINES: [u32; 4] = [1, 5, 15, 60];
/// How long a reusable token cools after an unknown outcome, which costs nothing.
pub(crate) const REUSABLE_COOLING: Duration = Duration::from_secs(2);
/// How long refusals that may pass cool, by how many came in a row; never longer than [`COOLING_LONGEST`].
pub(crate) const COOLING: Doubling = Doubling {
    first: Duration::from_secs(5),
    times: 10,
};
/// The longest cooling that a provider did not ask for.
pub(crate) const COOLING_LONGEST: Duration = HOUR;
/// A longer `Retry-After` counts as this: a broken header must not stop a connection for years.
pub(crate) const COOLING_ASKED: Duration = DAY;
/// A cooling that ends further ahead was written by a wrong clock, and does not count. An hour more than [`COOLING_ASKED`],
/// by which two clocks may differ.
pub(crate) const COOLING_BELIEVED: Duration = Duration::from_secs(25 * 3600);
/// How long to wait before a row is read again that another process works on.
pub(crate) const POLL: Doubling = Doubling {
    first: Duration::from_millis(25),
    times: 3,
};
/// How long to wait before a store is asked again that failed.
pub(crate) const STORE_RETRY: Doubling = Doubling {
    first: Duration::from_millis(50),
    times: 6,
};
/// How often an outcome without tokens is written. If none of the writes succeeds, the lease lapses into an unknown outcome,
/// which is safe.
pub(crate) const CONCLUDE_TRIES: u8 = 8;

// The life of tokens.

/// How much of an access token's life must be left when it is handed out, by default.
pub(crate) const MINIMUM: Duration = Duration::from_secs(300);
/// The most that a host may ask for. Of a shorter life half counts at the most.
pub(crate) const MINIMUM_MAX: Duration = DAY;
/// How long, at the least, a set is refreshed in the background before callers would have to wait.
pub(crate) const REFRESH_AHEAD: Duration = Duration::from_secs(10);
/// How much of an access token's life counts as none, when a token may have to be presented again.
pub(crate) const LAST_SECONDS: Duration = Duration::from_secs(30);
/// How near a refresh token's idle limit may come before waiting costs more than it saves.
pub(crate) const IDLE_MARGIN: Duration = DAY;
/// For how long a token set that was found alive counts so, where the provider does not say until when.
pub(crate) const FOUND_ALIVE: Duration = Duration::from_secs(300);

// Callers.

/// How long a caller waits for a refresh, by default.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(24);
/// The most that a host may have callers wait.
pub(crate) const REFRESH_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// The `Retry-After` of a caller who waited in vain.
pub(crate) const COME_BACK: Duration = Duration::from_secs(2);
/// How long, at the most, callers with a live token are served without another try after a refresh failed.
pub(crate) const BACKOFF_LONGEST: Duration = Duration::from_secs(30);
/// How long this process pauses a connection after a request that was not sent.
pub(crate) const NOT_SENT_PAUSE: Duration = Duration::from_secs(2);
/// How long the sweep waits for a refresh. One that takes longer is stuck.
pub(crate) const LONGEST_REFRESH: Duration = Duration::from_secs(120);
/// How long shutdown may take to record last uses and give reserved calls back, once everything else is done.
pub(crate) const LAST_WRITES: Duration = Duration::from_secs(5);

// The store.

/// How long a caller with a live token waits for the store.
pub(crate) const STORE_WAIT: Duration = Duration::from_secs(2);
/// How long the store is waited for to confirm a write. By then a lease could not be used any more.
pub(crate) const CONFIRM: Duration = Duration::from_secs(5);
/// How often a change of a row is retried after conflicts.
pub(crate) const UPDATE_TRIES: u32 = 16;
/// How often a write is tried before a new grant is given up.
pub(crate) const CONNECT_WRITES: u32 = 8;
/// How many decisions a connection remembers.
pub(crate) const HISTORY: usize = 16;
/// How long a look at the store's changes counts, in ticks of a millisecond.
pub(crate) const FRESH_TICKS: u64 = 1000;
/// How many connections are read at a time where all are looked at.
pub(crate) const SCAN_PAGE: u32 = 256;
/// The same of integrations.
pub(crate) const INTEGRATIONS_PAGE: u32 = 100;

// The provider.

/// How long a provider may take to answer anything but a presentation.
pub(crate) const UPSTREAM: Duration = Duration::from_secs(20);
/// How long a provider may take to check a client, for which a caller waits.
pub(crate) const VERIFY_CLIENT: Duration = Duration::from_secs(9);
/// The number of failures in a row after which a token host counts as down.
pub(crate) const HOST_FAILURES: u32 = 5;
/// The number of refusals after which a client's breaker opens. One is certain: no grant is involved.
pub(crate) const CLIENT_REFUSALS: u32 = 1;
/// How long a breaker is open, by how often it opened in a row.
pub(crate) const BREAKER: Doubling = Doubling {
    first: Duration::from_secs(30),
    times: 5,
};
/// How long an open breaker waits for the probe that it admitted.
pub(crate) const BREAKER_PROBE: Duration = Duration::from_secs(30);
/// A wait that the other side asks a breaker for counts up to here.
pub(crate) const BREAKER_LONGEST: Duration = HOUR;

// Owed revocations.

/// How long an owed revocation belongs to the process that claimed it; then it counts as abandoned.
pub(crate) const OWED_CLAIM: Duration = Duration::from_secs(30);
/// The number of refusals after which an owed revocation is given up. The history keeps what is left at the provider.
pub(crate) const OWED_TRIES: u32 = 12;
/// How many owed revocations one task runs; the sweep comes back for more.
pub(crate) const OWED_IN_A_ROW: u32 = 32;

// The background.

/// How often the store is asked for changes.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// How long to wait after news, so that what changes together is seen in one look.
pub(crate) const LULL: Duration = Duration::from_millis(20);
/// How often uses are written down, and reserved calls that were not made are given back.
pub(crate) const FLUSH: Duration = Duration::from_secs(2);
/// How often due rows are looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(20);
/// How many due rows are worked on before the next ones are read.
pub(crate) const SWEEP_PAGE: u32 = 100;
/// How many requests of a sweep one process has under way at a token host, by default.
pub(crate) const SWEEP_AT_ONCE: u8 = 4;
/// How long each request of a sweep takes at the least, so that it is no burst.
pub(crate) const SWEEP_PACE: Duration = Duration::from_millis(250);
/// How many connect attempts that have ended are removed in a sweep.
pub(crate) const SWEEP_PENDING: u32 = 1000;
/// How long a process leaves a row alone when nothing could be done about it.
pub(crate) const POSTPONE: Duration = MINUTE;
/// The same for a row that needs nothing from this process.
pub(crate) const POSTPONE_LONG: Duration = Duration::from_secs(600);
/// No row is left alone for longer.
pub(crate) const POSTPONE_LONGEST: Duration = HOUR;
/// How long a freeze takes at the least: a connect attempt that was being stored when it began is stored by then, so that a
/// look at all rows which finds nothing is the last one.
pub(crate) const FREEZE_SETTLES: Duration = MINUTE;
/// A freeze that began further ahead was written by a wrong clock, and need not settle.
pub(crate) const FREEZE_BELIEVED: Duration = HOUR;
/// Rows that are ended at once by a freeze: a store that writes in groups then syncs once for all of them.
pub(crate) const FREEZE_AT_ONCE: usize = 64;

// Connecting.

/// How long a user may take at the provider.
pub(crate) const ATTEMPT_LIFE: Duration = Duration::from_secs(600);
/// How long a connect link can be used.
pub(crate) const LINK_LIFE: Duration = DAY;
/// The longest connect link that is read, in bytes.
pub(crate) const LINK_BYTES: usize = 32 * 1024;

// API calls.

/// How long a call may take until its response begins, by default.
pub(crate) const CALL: Duration = Duration::from_secs(25);
/// How long resolving, connecting and the TLS handshake may take together.
pub(crate) const CALL_CONNECT: Duration = Duration::from_secs(5);
/// How long nothing may come of a body, either way.
pub(crate) const CALL_IDLE: Duration = MINUTE;

// Lists.

/// How many connections are on a page, by default.
pub(crate) const LIST_PAGE: u32 = 20;
/// The most connections on a page.
pub(crate) const LIST_PAGE_MAX: u32 = 100;
/// The longest text to search for, in bytes.
pub(crate) const LIST_TEXT: usize = 512;
/// How long a cursor can be used.
pub(crate) const CURSOR_LIFE: Duration = DAY;

// Copies.

/// Rows that are moved at once: a store that writes in groups then syncs once for all of them.
pub(crate) const COPY_AT_ONCE: usize = 64;
/// How often a lease that is waited for is looked at, and progress is told.
pub(crate) const COPY_LOOK: Duration = Duration::from_millis(250);
/// How often a store is asked to confirm a write before it counts as failed, [`COPY_LOOK`] apart.
pub(crate) const COPY_CONFIRMS: u32 = 20;
/// The clocks of two stores are read within this time of each other: a moment that is carried over is off by no more.
pub(crate) const COPY_TOGETHER: Duration = Duration::from_secs(1);
/// How often that is tried.
pub(crate) const COPY_READS: u32 = 5;

// What a host may store.

/// The longest name of an integration, in characters.
pub(crate) const NAME: usize = 200;
/// The longest client id, in bytes.
pub(crate) const CLIENT_ID: usize = 512;
/// The longest client secret, in bytes.
pub(crate) const CLIENT_SECRET: usize = 2048;
/// The most scopes of an integration.
pub(crate) const SCOPES: usize = 64;
/// The longest scope, in bytes.
pub(crate) const SCOPE: usize = 128;
/// The most redirect URIs of an integration.
pub(crate) const REDIRECT_URIS: usize = 50;
/// The longest owner, in characters.
pub(crate) const OWNER: usize = 256;
/// The most labels of a connection.
pub(crate) const LABELS: usize = 32;
/// The longest key of a label, in characters.
pub(crate) const LABEL_KEY: usize = 64;
/// The longest value of a label, in characters.
pub(crate) const LABEL_VALUE: usize = 512;

// Memory.

/// How many connections are kept in memory, by default. Each takes about a kilobyte.
pub(crate) const CACHE: usize = 200_000;
/// How many incidents are remembered.
pub(crate) const INCIDENTS: usize = 256;

/// Whether these, one after the other, are over within `limit`.
const fn fit(spans: &[Duration], limit: Duration) -> bool {
    let mut sum = Duration::ZERO;
    let mut at = 0;
    while at < spans.len() {
        sum = sum.saturating_add(spans[at]);
        at += 1;
    }
    sum.as_millis() <= limit.as_millis()
}

/// Whether each is shorter than the next one.
const fn grow(spans: &[Duration]) -> bool {
    let mut at = 1;
    while at < spans.len() {
        if spans[at - 1].as_millis() >= spans[at].as_millis() {
            return false;
        }
        at += 1;
    }
    true
}

const fn quarantine(step: usize) -> Duration {
    QUARANTINE.saturating_mul(QUARANTINES[step])
}

const fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks)
}

// A token that is sent at the last moment is answered, or given up, before its lease lapses. That a lapsed lease was sent no
// later than a presentation before its end is what `take` reckons with.
const _: () = assert!(fit(&[GATE, PRESENTATION, SLEPT], LEASE));
// After waiting for a confirmation for its whole limit nothing can be sent any more, so there is no point in waiting
// longer.
const _: () = assert!(fit(&[CONFIRM], GATE));
// The HTTP client's limits end before the exchange's: a connection that failed is then known not to have sent anything.
const _: () = assert!(grow(&[transport::CONNECT, PRESENTATION]) && fit(&[transport::TOTAL], PRESENTATION));
// A request can be in flight for as long as its sender waits, and is granted as long again to be processed. A copy may read
// the clocks of its two stores that far apart.
const _: () = assert!(fit(
    &[PRESENTATION, SLEPT, PRESENTATION, COPY_TOGETHER],
    QUARANTINE
));
// Nor does another process's lease end after its quarantine would.
const _: () = assert!(grow(&[LEASE, QUARANTINE]));
const _: () = assert!(grow(&[
    quarantine(0),
    quarantine(1),
    quarantine(2),
    quarantine(3)
]));
// Whatever is decided about a row near its idle limit can be tried once more before the limit, by a sweep that was postponed
// for as long as any is, however often it failed before.
const _: () = assert!(fit(
    &[quarantine(3), COOLING_LONGEST, POSTPONE_LONGEST, SWEEP, LEASE],
    IDLE_MARGIN
));
// Each cooling that is written is believed by a process whose clock is slow.
const _: () = assert!(grow(&[COOLING_LONGEST, COOLING_ASKED, COOLING_BELIEVED]));
const _: () =
    assert!(grow(&[REUSABLE_COOLING, COOLING.first]) && grow(&[COOLING_LONGEST, COOLING.longest()]));
// A process that waits for another one's lease polls often.
const _: () = assert!(POLL.longest().as_millis() * 10 < GATE.as_millis());
// A store that comes back is seen before the callers who wait for a lease have gone.
const _: () = assert!(grow(&[STORE_RETRY.longest(), GATE]));

// With the usual minimum no token is served that counts as dead, and a failed refresh is retried several times before
// callers have to wait.
const _: () = assert!(grow(&[LAST_SECONDS, MINIMUM, MINIMUM_MAX]));
const _: () = assert!(fit(&[BACKOFF_LONGEST, BACKOFF_LONGEST, BACKOFF_LONGEST], MINIMUM));
const _: () = assert!(grow(&[REFRESH_AHEAD, MINIMUM]));
// A caller can wait for a whole presentation, and a proxied call ends with the refresh's error instead of its own timeout.
const _: () = assert!(grow(&[PRESENTATION, REFRESH_TIMEOUT, CALL]) && grow(&[CALL_CONNECT, CALL]));
const _: () = assert!(grow(&[REFRESH_TIMEOUT, REFRESH_TIMEOUT_MAX]));
// Another process's lease, then one's own with all that it may take, and a set stored and confirmed after some tries.
const _: () = assert!(fit(
    &[
        LEASE,
        LEASE,
        CONFIRM,
        STORE_RETRY.longest(),
        STORE_RETRY.longest()
    ],
    LONGEST_REFRESH
));

// A revoked or deleted connection is not served anywhere a second later.
const _: () = assert!(FRESH_TICKS <= 1000);
// Changes are polled several times before memory expires.
const _: () = assert!(fit(&[LOOK, LOOK, LOOK, LULL], ticks(FRESH_TICKS)));
// A caller with a live token waits no longer for the store than a look at it counts twice.
const _: () = assert!(fit(&[STORE_WAIT], ticks(2 * FRESH_TICKS)));

// A probe is over, and a claimed revocation is recorded, before another one can begin.
const _: () = assert!(grow(&[PRESENTATION, BREAKER_PROBE]) && grow(&[UPSTREAM, BREAKER_PROBE]));
const _: () = assert!(fit(&[CONFIRM, UPSTREAM, STORE_WAIT], OWED_CLAIM));
// A breaker's own waits do not exceed the longest requested one, and a postponed row can wait for it.
const _: () = assert!(fit(&[BREAKER.after(u32::MAX)], BREAKER_LONGEST));
const _: () = assert!(fit(&[BREAKER_LONGEST], POSTPONE_LONGEST));

// The sweep is frequent enough for what it postponed, for quarantines, and for freezes.
const _: () = assert!(grow(&[SWEEP, POSTPONE, POSTPONE_LONG, POSTPONE_LONGEST]));
const _: () = assert!(grow(&[SWEEP, QUARANTINE]) && grow(&[SWEEP, FREEZE_SETTLES, FREEZE_BELIEVED]));
// Between the last look at the integration's row, which may be a second old, and the end of all tries a new connection waits
// for the store so often. What each write takes comes on top, and is the store's to bound.
const _: () = assert!(fit(
    &[
        ticks(FRESH_TICKS),
        STORE_RETRY.longest().saturating_mul(CONNECT_WRITES)
    ],
    FREEZE_SETTLES
));
// A link outlives the attempt that it begins.
const _: () = assert!(grow(&[ATTEMPT_LIFE, LINK_LIFE]));
// A copy waits for a confirmation no longer than a refresh does.
const _: () = assert!(fit(&[COPY_LOOK.saturating_mul(COPY_CONFIRMS)], CONFIRM));
const _: () = assert!(LIST_PAGE <= LIST_PAGE_MAX);
