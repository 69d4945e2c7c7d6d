//! What `grantry-host` can be told on its command line.

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
    /// Bring everything up against a Salesforce simulator: no account needed.
    Demo(DemoArgs),
    /// Run the service.
    Serve(ServeArgs),
    /// Make and change the keys that seal everything.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Move everything from one store to another one, such as from SQLite to Redis. What was moved is used in the new store
    /// only: start the service there afterwards. If it ends early, run it again; it goes on.
    Copy(CopyArgs),
    /// Say what is the matter with connections, keys and apps, and what to do. It changes nothing.
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where to keep the database; a new temporary directory by default.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Write addresses, keys and ids to this file once all is up. It is made readable for its owner only.
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The URL under which browsers reach this service; https, or http on a loopback IP literal. Left out, it is the
    /// address that it listens on, which must be a loopback address then.
    #[arg(long)]
    pub(crate) public_url: Option<String>,
    /// The store: `sqlite:FILE`, `redis://SERVER`, `redis+sentinel://HOST,HOST/SERVICE` or `redis+cluster://HOST,HOST`; the
    /// last three with `rediss` for TLS. An address with a password is better given in the environment, since others can
    /// read arguments.
    #[arg(long, env = "GRANTRY_STORE", hide_env_values = true)]
    pub(crate) store: String,
    /// Lets an integration's `loginUrl` be http on a loopback address. For tests only.
    #[arg(long)]
    pub(crate) allow_loopback_upstream: bool,
    /// Let refresh tokens that nobody uses run into the provider's idle limit (Salesforce: 30 days).
    #[arg(long)]
    pub(crate) no_keep_alive: bool,
    /// On SIGTERM, how long running requests may take to end, and after them running refreshes. A refresh that has not
    /// ended by then may cost its user a new login.
    #[arg(long, default_value_t = 30)]
    pub(crate) drain_seconds: u16,
    /// Write `{"baseUrl"}` to this file once it listens; with port 0 that tells which port it got.
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The store to move, as for `serve`. A service may be running on it: it answers `store_moved` from now on.
    #[arg(long, env = "GRANTRY_COPY_FROM", hide_env_values = true)]
    pub(crate) from: String,
    /// The store to move to, as for `serve`. It must be empty, or hold a part of this copy.
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
    /// Print the line of `GRANTRY_KEYS` with one more key, which opens but does not seal yet; or put that key first.
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
