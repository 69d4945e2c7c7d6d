//! Refresh with real processes on one file: herds, kills and pauses at every step and at random, and a disk that fails.
//!
//! The processes are this very test program: it starts itself to run one test, `child::child`, which holds a real broker
//! with the real Salesforce provider. The simulator runs in the program that starts the children, and its log of
//! presented refresh tokens is the judge.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod child;
mod clock;
mod disk;
mod faults;
mod herd;
mod judge;
mod kill_steps;
mod pause_steps;
mod process;
mod random;
mod steps;
mod world;
