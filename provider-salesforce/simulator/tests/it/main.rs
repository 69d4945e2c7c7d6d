//! The simulator over real HTTP.

#![expect(clippy::unwrap_used, reason = "in tests, that includes their helpers")]

mod admin;
mod authorize;
mod control;
mod faults;
mod instance_faults;
mod refresh;
mod rest;
mod support;
mod tokens;
