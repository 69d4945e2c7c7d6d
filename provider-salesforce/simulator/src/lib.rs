#![doc = include_str!("../README.md")]

mod admin;
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
mod instance_faults;
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
pub use faults::{Faults, TokenFault, TokenFaultKind};
pub use instance_faults::{InstanceFault, InstanceFaultKind};
pub use log::{FamilySnapshot, Outcome, Presentation, Report};
pub use settings::Settings;
pub use simulator::{Simulator, UnknownName};
