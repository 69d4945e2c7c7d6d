//! A stand-in for Salesforce's login and instance hosts, strict enough to test OAuth clients against: rotation of
//! refresh tokens with revocation of reused families, PKCE, consent, sliding sessions, a piece of the REST API,
//! faults on order, and a log of every refresh token that was presented.
//!
//! ```no_run
//! use grantry_salesforce_simulator::{Config, Simulator};
//!
//! # async fn example() -> std::io::Result<()> {
//! let simulator = Simulator::start(Config::default()).await?;
//! println!("log in at {}", simulator.login_url());
//! simulator.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod authorize;
mod client_auth;
mod clock;
mod config;
mod control;
mod fault_bodies;
mod faults;
mod grants;
mod http;
mod id_token;
mod identity;
mod ids;
mod in_flight;
mod log;
mod pages;
mod rest;
mod revoke;
mod server;
mod settings;
mod simulator;
mod state;
mod steer;
mod token;
mod token_answer;
mod token_code;
mod token_refresh;

pub use config::{Client, Config, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, DEFAULT_PASSWORD, Org, User};
pub use faults::{Faults, InstanceFault, InstanceFaultKind, TokenFault, TokenFaultKind};
pub use log::{FamilySnapshot, Outcome, Presentation, Report};
pub use settings::Settings;
pub use simulator::{Simulator, UnknownName};
