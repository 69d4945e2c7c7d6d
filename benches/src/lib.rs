//! Grantry's hot paths beside the bare parts that they are made of, in one run, as ratios.
//!
//! ```text
//! cargo bench -p grantry-benches               # about six minutes
//! cargo bench -p grantry-benches -- --quick    # under a minute; or GRANTRY_BENCH=quick
//! cargo bench -p grantry-benches -- --million  # with a million connections; some gigabytes and minutes more
//! cargo bench -p grantry-benches -- C          # only areas with a row whose id begins with C; N for allocations
//! ```
//! `--strict` ends with status 1 if a row misses its goal. `GRANTRY_BENCH_DATE` is printed with the machine.
//!
//! # Why no harness
//! Absolute times move by a third between two runs on a shared machine; ratios between things that take turns within
//! one run do not. Criterion and divan measure one function to its end and then the next, and print no ratios between
//! them. So [`measure`] does what is needed: all variants of a row take turns, round by round, in an order that changes;
//! a ratio is the median of the ratios of the rounds, and a time the median of the rounds. Rows that only compute are
//! measured in CPU time of the thread, which other programs disturb least; all others on the wall clock.
//!
//! Allocations are counted by a process of its own (`grantry-allocations`), since a counting allocator slows down
//! whoever allocates, which would be the peers.
//!
//! # What is compared with what
//! | file | rows | with |
//! |---|---|---|
//! | [`warm`] | A1–A5 | cached calls of huskarl and yup-oauth2, a locked map, a concurrent map ([`peers`]) |
//! | [`vault`] | B1 | the bare cipher |
//! | [`sqlite`] | C1–C3 | one table with two columns, same settings of SQLite |
//! | [`list`] | C4, C5 | the bare keyset SELECT on the same file |
//! | [`redis`] | D1, D2 | SQLite; a GET by the same driver and one opening |
//! | [`redis_write`] | D3 | a script that compares and sets one key, and does nothing else |
//! | [`redis_list`] | D4–D7 | the bare range and MGET; the same page out of 64 buckets; bytes |
//! | [`proxy`] | E1 | the same call by reqwest |
//! | [`refresh`] | F1, F2 | the same exchange by reqwest, the bare cipher, as many bare commits |
//! | [`herd`] | H1 | `tokio::sync::OnceCell` around the same exchange |
//! | [`storm`] | H2 | the same call while nothing is refreshed |
//!
//! Left out: peers in other languages and other processes (E2, F3). Of Rust peers also
//! google-cloud-auth, azure_identity and aws-smithy-runtime, to keep the build small. In earlier measurements (one key,
//! another machine state) google-cloud-auth's cached call took 0.94 × that of yup-oauth2, the other two took longer; so
//! "the fastest peer" here is the faster of the two that are built, not of all.
//!
//! # Reading the table
//! C2, C3 and F2 wait for the disk. While other programs write, their ratios move by half and more from run to run, and
//! the gain of commits in groups (C3) looks larger than on a quiet disk. C1 compares with a row that holds a sealed set
//! and nothing else, while ours has all facts about a connection: that is the limit, not a rival.
//!
//! The rows of D start a `redis-server` of their own, and are left out where there is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_errors_doc,
    reason = "a bench that cannot go on ends"
)]

pub mod herd;
pub mod list;
pub mod measure;
pub mod peers;
pub mod proxy;
pub mod redis;
pub mod redis_fixture;
pub mod redis_list;
pub mod redis_write;
pub mod refresh;
pub mod report;
pub mod sqlite;
pub mod storm;
pub mod upstream;
pub mod vault;
pub mod warm;
pub mod world;
