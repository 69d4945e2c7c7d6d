//! Fakes for authors of stores, providers and adapters: a clock that a test moves, a store that fails when told to, and a
//! provider whose own log is the judge.
//!
//! Under tokio's paused time all of them are deterministic: hours of refreshes take milliseconds.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use grantry::{Broker, store::MemoryStore, testing::{FakeProvider, FakeUpstream, FaultyStore, TestClock}, vault::Keyring};
//!
//! let clock = TestClock::new();
//! let upstream = FakeUpstream::new(clock.clone());
//! let store = FaultyStore::over(MemoryStore::new(Arc::new(clock.clone())));
//! let broker = Broker::builder(store, Keyring::parse(&Keyring::generate()?)?)
//!     .provider(FakeProvider::new(&upstream))
//!     .transport(upstream.clone())
//!     .clock(clock)
//!     .public_url("https://app.example/integrations")
//!     .build()?;
//! assert!(upstream.presented().is_empty());
//! # drop(broker);
//! # Ok(())
//! # }
//! ```

mod clock;
mod exchange;
mod grants;
mod provider;
mod roles;
#[cfg(feature = "simulation")]
mod rows;
mod store;
mod upstream;

pub use clock::TestClock;
pub use exchange::{Answer, Request};
pub use grants::Settings;
pub use provider::FakeProvider;
#[cfg(feature = "simulation")]
pub use rows::Seen;
pub use store::{Fault, FaultyStore, Op, Weather};
pub use upstream::FakeUpstream;

#[cfg(feature = "simulation")]
pub use crate::{
    engine::background::Intervals,
    keys::PresentedKey,
    oauth::{Callback, ErrorText, Pkce, State},
    task::Signals,
};

/// From now on all randomness of this thread follows from `seed`, so that a run on a current-thread runtime replays; `None`
/// ends that. Only for simulations: keys that are made meanwhile can be guessed.
#[cfg(feature = "simulation")]
pub fn seed(seed: Option<u64>) {
    crate::random::seeded::seed(seed);
}
