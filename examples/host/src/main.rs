//! `grantry-host`: the broker as a running service, thin on purpose. What it can do lives in the `grantry` crate.

mod commands;
mod copy;
mod demo;
mod doctor;
mod files;
mod person;
mod secrets;
mod serve;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Holds your users' OAuth connections and calls the provider on their behalf.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    /// Write logs as JSON, one object a line.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
struct DemoArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to keep the database; a new temporary directory by default.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write addresses, keys and ids to this file once all is up. It is made readable for its owner only.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The URL under which browsers reach this service; https, or http on a loopback IP literal. Left out, it is the
    /// address that it listens on, which must be a loopback address then.
    #[arg(long)]
    public_url: Option<String>,
    /// The store: `sqlite:FILE`, `redis://SERVER`, `redis+sentinel://HOST,HOST/SERVICE` or `redis+cluster://HOST,HOST`; the
    /// last three with `rediss` for TLS. An address with a password is better given in the environment, since others can
    /// read arguments.
    #[arg(long, env = "GRANTRY_STORE", hide_env_values = true)]
    store: String,
    /// Lets an integration's `loginUrl` be http on a loopback address. For tests only.
    #[arg(long)]
    allow_loopback_upstream: bool,
    /// Let refresh tokens that nobody uses run into the provider's idle limit (Salesforce: 30 days).
    #[arg(long)]
    no_keep_alive: bool,
    /// On SIGTERM, how long running requests may take to end, and after them running refreshes. A refresh that has not
    /// ended by then may cost its user a new login.
    #[arg(long, default_value_t = 30)]
    drain_seconds: u16,
    /// Write `{"baseUrl"}` to this file once it listens; with port 0 that tells which port it got.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CopyArgs {
    /// The store to move, as for `serve`. A service may be running on it: it answers `store_moved` from now on.
    #[arg(long, env = "GRANTRY_COPY_FROM", hide_env_values = true)]
    from: String,
    /// The store to move to, as for `serve`. It must be empty, or hold a part of this copy.
    #[arg(long, env = "GRANTRY_COPY_TO", hide_env_values = true)]
    to: String,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// The store, as for `serve`. A service may be running on it.
    #[arg(long, env = "GRANTRY_STORE", hide_env_values = true)]
    store: String,
    /// As for `serve`. For tests only.
    #[arg(long)]
    allow_loopback_upstream: bool,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
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

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // One TLS backend for everything in this process. It can only be set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    start_logs(cli.log_json);
    let done = match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Keys(command) => commands::keys(command).await,
        Command::Copy(args) => copy::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("grantry-host: {}", with_causes(&*problem));
            ExitCode::FAILURE
        }
    }
}

/// What went wrong and what led to it, such as a disk that is full.
fn with_causes(problem: &dyn std::error::Error) -> String {
    let causes = grantry::error::causes(problem);
    let colon = if causes.is_empty() { "" } else { ": " };
    format!("{problem}{colon}{causes}")
}

/// Structured logs on standard error, at the level of `RUST_LOG` or `info`.
fn start_logs(json: bool) {
    use std::io::IsTerminal as _;

    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Colours are for people.
    let colours = std::io::stderr().is_terminal();
    let logs = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    if json { logs.json().init() } else { logs.init() }
}
