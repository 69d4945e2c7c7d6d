//! Refresh: hands out access tokens that work, and presents each refresh token once.
//!
//! | what | where |
//! |---|---|
//! | serve, wait or refresh behind the caller's back | `serve` |
//! | from a row to an entry in memory | `load` |
//! | one refresh per connection and process | `single_flight`, `lead` |
//! | carry out what the machines ask for | `attempt`, `keep_set`, `verify` |
//! | which sets are in this process only | `unsaved` |

mod attempt;
mod context;
mod keep_set;
mod lead;
mod load;
mod serve;
mod single_flight;
mod unsaved;
mod verify;

pub(crate) use context::Context;
pub(crate) use serve::{Refresher, Want};
pub use unsaved::Unsaved;
pub(crate) use unsaved::UnsavedSets;
