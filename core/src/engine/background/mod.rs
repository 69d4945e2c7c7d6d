//! Background work: the sweep, freezes, and the loops that follow other processes' changes and record uses.

mod context;
mod freeze;
mod loops;
mod postponed;
mod sweep;

pub(crate) use context::Context;
pub use loops::Intervals;
pub(crate) use loops::{flush_uses, start};
pub(crate) use postponed::Postponed;
