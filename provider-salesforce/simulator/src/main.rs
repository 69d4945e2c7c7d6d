//! `grantry-salesforce-simulator`: the simulator as a program.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use grantry_salesforce_simulator::{Client, Config, Settings, Simulator};

/// A stand-in for Salesforce (login host and instance host on loopback) to test OAuth integrations against.
///
/// Log in with sarah@acme.com and the password `simulator`. GET /__control on the login host shows all users,
/// clients and settings; GET /__log shows every refresh token that was presented.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on. The control API has no password: keep it on loopback
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The port of the login host; 0 takes a free one
    #[arg(long, default_value_t = 8090)]
    login_port: u16,
    /// The port of the instance host; 0 takes a free one
    #[arg(long, default_value_t = 8091)]
    instance_port: u16,
    /// The consumer key of the client
    #[arg(long, default_value = grantry_salesforce_simulator::DEFAULT_CLIENT_ID)]
    client_id: String,
    /// The consumer secret of the client
    #[arg(long, env = "SIMULATOR_CLIENT_SECRET", default_value = grantry_salesforce_simulator::DEFAULT_CLIENT_SECRET, hide_env_values = true)]
    client_secret: String,
    /// A callback of the client; may be given several times. Without it, there are three on localhost
    #[arg(long = "callback", value_name = "URL")]
    callbacks: Vec<String>,
    /// Answer token requests that carry no client secret, too
    #[arg(long)]
    secret_optional: bool,
    /// Rotate refresh tokens, and revoke the family when a spent one is presented (the default)
    #[arg(long, conflicts_with_all = ["reusable", "rotation", "family_revocation"])]
    strict: bool,
    /// Refresh tokens can be used again and again: the same as --rotation off
    #[arg(long, conflicts_with = "rotation")]
    reusable: bool,
    /// Whether each refresh answers with a new refresh token
    #[arg(long, value_enum, default_value_t = Switch::On)]
    rotation: Switch,
    /// Whether presenting a spent refresh token revokes the living one and all access tokens
    #[arg(long, value_enum, default_value_t = Switch::On)]
    family_revocation: Switch,
    /// Answer the previous refresh token for so many seconds after it was spent
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    grace: u32,
    /// Whether every authorization needs a PKCE challenge
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pkce_required: Switch,
    /// The session timeout of access tokens
    #[arg(long, default_value_t = 120)]
    session_minutes: u32,
    /// Access tokens end at a fixed time instead of sliding with their use
    #[arg(long)]
    fixed_sessions: bool,
    /// How many living refresh tokens a user may have for one client
    #[arg(long, default_value_t = 5)]
    max_approvals: usize,
    /// REST calls that each org may make in 24 hours
    #[arg(long, default_value_t = 5_000_000)]
    api_daily_limit: u64,
    /// How long the token endpoint works on a request; 0 for benchmarks
    #[arg(long, default_value_t = 10, value_name = "MILLISECONDS")]
    token_latency: u64,
    /// This many more users in the first org: user1@acme.com, user2@acme.com and so on
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    extra_users: usize,
    /// Contacts in each org at the start
    #[arg(long, default_value_t = 2_500, value_name = "COUNT")]
    contacts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Arguments {
    fn config(self) -> Config {
        let defaults = Client::default();
        let client = Client {
            client_id: self.client_id,
            client_secret: self.client_secret,
            callbacks: if self.callbacks.is_empty() {
                defaults.callbacks
            } else {
                self.callbacks
            },
            secret_required: !self.secret_optional,
            ..Client::default()
        };
        Config {
            address: self.address,
            login_port: self.login_port,
            instance_port: self.instance_port,
            clients: vec![client],
            extra_users: self.extra_users,
            contacts: self.contacts,
            settings: Settings {
                rotation: self.rotation == Switch::On && !self.reusable,
                family_revocation: self.family_revocation == Switch::On,
                reuse_grace_seconds: self.grace,
                pkce_required: self.pkce_required == Switch::On,
                session_minutes: self.session_minutes,
                sliding_sessions: !self.fixed_sessions,
                max_approvals: self.max_approvals,
                api_daily_limit: self.api_daily_limit,
                token_latency_ms: self.token_latency,
                ..Settings::default()
            },
            ..Config::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "grantry-salesforce-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let config = arguments.config();
    let client = config.clients.first().cloned().unwrap_or_default();
    let simulator = Simulator::start(config).await?;
    let mut out = io::stdout();
    writeln!(out, "login host     {}", simulator.login_url())?;
    writeln!(out, "instance host  {}", simulator.instance_url())?;
    writeln!(out, "control        {}", simulator.control_url())?;
    writeln!(out, "log            {}", simulator.log_url())?;
    writeln!(out, "client id      {}", client.client_id)?;
    writeln!(out, "callbacks      {}", client.callbacks.join(" "))?;
    writeln!(
        out,
        "log in as      sarah@acme.com, password: {}",
        grantry_salesforce_simulator::DEFAULT_PASSWORD
    )?;
    out.flush()?;
    wait_for_end().await?;
    simulator.shutdown().await;
    Ok(())
}

#[cfg(unix)]
async fn wait_for_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn wait_for_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
