//! The host as people run it: real processes on loopback ports, SQLite files and Redis servers, and a Salesforce simulator in the test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in tests, that includes their helpers"
)]

mod canary;
mod configuration;
mod connect;
mod copy;
mod demo;
mod doctor;
mod drain;
mod herd;
mod kill;
mod old;
mod python_client;
mod redis;
mod status;
mod support;
