//! The store on real servers, each started by the test that needs it.
#![allow(missing_docs, reason = "the cases are documented where they are defined")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod conformance;
mod cut;
mod disk;
mod failover;
mod memory;
mod news;
mod opening;
mod outage;
mod reaching;
mod replica;
mod slugs;
