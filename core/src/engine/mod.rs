//! The broker's machinery. Parts hold what they need and nothing else; `broker::parts` composes them once. Each may use what
//! is below it here, and nothing above.
//!
//! | part | what |
//! |---|---|
//! | `background` | sweep, freeze and loops: work without a caller |
//! | `refresh` | runs the machines; one refresh at a time; sets that are not safe yet |
//! | `revoke` | ends a connection, and runs the revocations that are owed |
//! | `cache` | token sets in memory: the warm path |
//! | `directory` | integrations: decoded, kept, changed; whether they serve |
//! | `upstream` | every call to a provider: time limit, token host, breaker, bounds |
//! | `ledger` | one connection's row: codec, seal, read, swap, when it is due, history |
//! | `runner` | carries out what a machine asks for |
//! | `protocol` | the machines, and what they decide on: pure |
//! | `journal` | events, and the last incidents |
//! | `scope` | which connections a handle reaches |
//! | `limits`, `doubling` | every duration and bound; waits that grow |

// Floor 0: what all of it uses.
mod doubling;
pub(crate) mod freshness;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod pages;
pub(crate) mod scope;

// Floor 1: what is decided.
#[cfg_attr(
    not(feature = "simulation"),
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "some of it is for the tests alone"
    )
)]
pub mod protocol;

// Floor 2: the rows, and whoever runs a machine.
pub(crate) mod ledger;
pub(crate) mod runner;

// Floor 3: the provider.
pub(crate) mod upstream;

// Floor 4: integrations.
pub(crate) mod directory;

// Floor 5: memory.
pub(crate) mod cache;

// Floor 6: ends.
pub(crate) mod revoke;

// Floor 7: refresh.
pub(crate) mod refresh;

// Floor 8: background work.
#[cfg_attr(
    not(feature = "simulation"),
    allow(unreachable_pub, reason = "only tests set intervals")
)]
pub(crate) mod background;
