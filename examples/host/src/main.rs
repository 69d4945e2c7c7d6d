//! `grantry-host`: the broker as a service. Deliberately thin: its features are those of the `grantry` crate.

mod cli;
mod commands;
mod copy;
mod demo;
mod doctor;
mod files;
mod person;
mod problem;
mod secrets;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Command};
use problem::with_causes;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // One TLS backend for the whole process. This fails only if one is installed already, which is as good.
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

/// Structured logs on standard error, at the level of `RUST_LOG` or `info`.
fn start_logs(json: bool) {
    use std::io::IsTerminal as _;

    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Colours only on a terminal.
    let colours = std::io::stderr().is_terminal();
    let logs = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    if json { logs.json().init() } else { logs.init() }
}
