//! The command line of `grantry-host`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Holds your users' OAuth connections and calls the provider on their behalf.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    /// Write logs as JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything against a Salesforce simulator: no account needed.
    Demo(DemoArgs),
    /// Run the service.
    Serve(ServeArgs),
    /// Generate and rotate the keys that seal everything.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Move everything from one store to another, for example from SQLite to Redis. Start the service on the new
    /// store afterwards; the old one is no longer used. If it is interrupted, run it again: it resumes.
    Copy(CopyArgs),
    /// Report problems with connections, keys and apps, and what to do about them. Changes nothing.
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The directory of the database; a new temporary directory by default.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Write addresses, keys and ids to this file once everything is up. Only its owner can read it.
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The URL under which browsers reach this service: https, or http on a loopback IP literal. By default the
    /// address it listens on, which must then be a loopback address.
    #[arg(long)]
    pub(crate) public_url: Option<String>,
    /// The store: `sqlite:FILE`, `redis://SERVER`, `redis+sentinel://HOST,HOST/SERVICE` or
    /// `redis+cluster://HOST,HOST`; the last three with `rediss` for TLS. Pass an address with a password in the
    /// environment, since other users can read arguments.
    #[arg(long, env = "GRANTRY_STORE", hide_env_values = true)]
    pub(crate) store: String,
    /// Allow an integration's `loginUrl` to be http on a loopback address. For tests only.
    #[arg(long)]
    pub(crate) allow_loopback_upstream: bool,
    /// Let unused refresh tokens run into the provider's idle limit (Salesforce: 30 days).
    #[arg(long)]
    pub(crate) no_keep_alive: bool,
    /// On SIGTERM, how many seconds requests in progress may take to end, and then refreshes in progress. A refresh
    /// that is cut short may cost its user a new login.
    #[arg(long, default_value_t = 30)]
    pub(crate) drain_seconds: u16,
    /// Write `{"baseUrl"}` to this file once the service listens; with port 0 it contains the chosen port.
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The store to move, as for `serve`. A service may be running on it: from now on it responds with `store_moved`.
    #[arg(long, env = "GRANTRY_COPY_FROM", hide_env_values = true)]
    pub(crate) from: String,
    /// The store to move to, as for `serve`. It must be empty, or contain a part of this copy.
    #[arg(long, env = "GRANTRY_COPY_TO", hide_env_values = true)]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The store, as for `serve`. A service may be running on it.
    #[arg(long, env = "GRANTRY_STORE", hide_env_values = true)]
    pub(crate) store: String,
    /// As for `serve`. For tests only.
    #[arg(long)]
    pub(crate) allow_loopback_upstream: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a new key line for `GRANTRY_KEYS`.
    Generate,
    /// Print the line of `GRANTRY_KEYS` with an additional key that opens but does not seal yet, or promote that key
    /// to the first place.
    Rotate {
        /// The id of the key that seals from now on.
        #[arg(long)]
        promote: Option<String>,
    },
    /// Print how many connections each key has sealed.
    Usage {
        /// The store, as for `serve`.
        #[arg(long, env = "GRANTRY_STORE", hide_env_values = true)]
        store: String,
    },
}
