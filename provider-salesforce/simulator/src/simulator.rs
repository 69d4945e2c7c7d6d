//! The library's handle to a running simulator.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::config::{Client, Config};
use crate::faults::{Faults, TokenFault};
use crate::instance_faults::InstanceFault;
use crate::log::{FamilySnapshot, Presentation, Report};
use crate::server::{Host, accept};
use crate::settings::Settings;
use crate::state::Shared;
use crate::steer;

/// A user or client that the simulator does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for UnknownName {}

/// A running simulator. Dropping it stops it; [`shutdown`](Self::shutdown) also waits for the end.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
}

impl Simulator {
    /// Starts a simulator on the current tokio runtime.
    ///
    /// # Errors
    /// If a port cannot be listened on.
    pub async fn start(config: Config) -> io::Result<Self> {
        let login = TcpListener::bind((config.address, config.login_port)).await?;
        let instance = TcpListener::bind((config.address, config.instance_port)).await?;
        let login_url = format!("http://{}", login.local_addr()?);
        let instance_url = format!("http://{}", instance.local_addr()?);
        let shared = Arc::new(Shared::new(config, login_url, instance_url));
        shared
            .tasks
            .spawn(accept(Arc::clone(&shared), login, Host::Login));
        shared
            .tasks
            .spawn(accept(Arc::clone(&shared), instance, Host::Instance));
        Ok(Self { shared })
    }

    /// The origin of the login host, without a trailing slash.
    pub fn login_url(&self) -> &str {
        &self.shared.login_url
    }

    /// The origin of the instance host, without a trailing slash.
    pub fn instance_url(&self) -> &str {
        &self.shared.instance_url
    }

    /// The URL of the control API.
    pub fn control_url(&self) -> String {
        format!("{}/__control", self.shared.login_url)
    }

    /// The URL of the log.
    pub fn log_url(&self) -> String {
        format!("{}/__log", self.shared.login_url)
    }

    /// Every presentation of a refresh token so far.
    pub fn log(&self) -> Vec<Presentation> {
        self.shared.auth().log.clone()
    }

    /// What `GET /__log?since=` tells: presentations from that number on, living families, counters.
    pub fn report(&self, since: u64) -> Report {
        steer::report(&self.shared, since)
    }

    /// The families that have not ended.
    pub fn families(&self) -> Vec<FamilySnapshot> {
        let now = self.shared.clock.now();
        self.shared.auth().snapshot(now)
    }

    /// Requests since the start, by endpoint.
    pub fn counters(&self) -> Map<String, Value> {
        self.shared.counters.snapshot()
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.shared.auth().settings.clone()
    }

    /// Changes settings. The closure must not call the simulator, which would deadlock.
    pub fn update(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.shared.auth().settings);
    }

    /// The pending faults.
    pub fn faults(&self) -> Faults {
        self.shared.auth().faults.clone()
    }

    /// Orders a fault of the token endpoint.
    pub fn add_token_fault(&self, fault: TokenFault) {
        self.shared.auth().faults.token.push(fault);
    }

    /// Orders a fault of the instance host.
    pub fn add_instance_fault(&self, fault: InstanceFault) {
        self.shared.auth().faults.instance.push(fault);
    }

    /// Removes all pending faults.
    pub fn clear_faults(&self) {
        self.shared.auth().faults = Faults::default();
    }

    /// The simulator's time, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    /// Steps the simulator's clock forward.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// Registers a client, or replaces the one with the same id.
    pub fn register_client(&self, client: Client) {
        self.shared
            .auth()
            .clients
            .insert(client.client_id.clone(), client);
    }

    /// Grants tokens without the pages, as if the user had just allowed the client. `client_id` may be left out if
    /// there is only one client; without a scope it is `api refresh_token id`. Gives the fields of a token answer.
    ///
    /// # Errors
    /// If the simulator does not have the user or the client.
    pub fn grant(
        &self,
        username: &str,
        client_id: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Map<String, Value>, UnknownName> {
        steer::grant(&self.shared, username, client_id, scope).map_err(UnknownName)
    }

    /// Takes over a refresh token that another simulator issued: it begins a family of this user, as generation 1.
    /// `client_id` may be left out if there is only one client.
    ///
    /// # Errors
    /// If the simulator does not have the user or the client.
    pub fn adopt(
        &self,
        username: &str,
        client_id: Option<&str>,
        refresh_token: &str,
    ) -> Result<(), UnknownName> {
        steer::adopt(&self.shared, username, client_id, refresh_token).map_err(UnknownName)
    }

    /// Does what a user does who opens an authorize URL, logs in and allows everything, without the pages. Gives the
    /// URL of the client's callback, with code and state.
    ///
    /// # Errors
    /// If there is no such user, or if the browser would be left on a page of this host.
    pub fn approve(&self, authorize_url: &str, username: &str) -> Result<String, UnknownName> {
        let uri: http::Uri = authorize_url
            .parse()
            .map_err(|_| UnknownName("that is no URL".to_owned()))?;
        let now = self.shared.clock.now();
        let mut auth = self.shared.auth();
        let user = auth.user_named(username).map_err(UnknownName)?;
        crate::authorize::approve(&mut auth, &crate::http::Form::query(&uri), user, now).map_err(UnknownName)
    }

    /// Revokes all tokens of a user, and forgets what the user allowed. Gives the number of ended families.
    ///
    /// # Errors
    /// If the simulator does not have the user.
    pub fn revoke_user(&self, username: &str) -> Result<usize, UnknownName> {
        let mut auth = self.shared.auth();
        let user = auth.user_named(username).map_err(UnknownName)?;
        Ok(auth.revoke_user(user))
    }

    /// Ends the access tokens, and only these, of one user or of all. Gives their number.
    ///
    /// # Errors
    /// If the simulator does not have the user.
    pub fn expire_sessions(&self, username: Option<&str>) -> Result<usize, UnknownName> {
        let mut auth = self.shared.auth();
        let user = username
            .map(|name| auth.user_named(name))
            .transpose()
            .map_err(UnknownName)?;
        Ok(auth.expire_sessions(user))
    }

    /// Activates or deactivates a user.
    ///
    /// # Errors
    /// If the simulator does not have the user.
    pub fn set_active(&self, username: &str, active: bool) -> Result<(), UnknownName> {
        self.shared
            .auth()
            .set_active(username, active)
            .map_err(UnknownName)
    }

    /// Locks an org, or opens it again: `org_id` has 15 or 18 characters.
    ///
    /// # Errors
    /// If the simulator has no user of such an org.
    pub fn set_org_active(&self, org_id: &str, active: bool) -> Result<(), UnknownName> {
        self.shared
            .auth()
            .set_org_active(org_id, active)
            .map_err(UnknownName)
    }

    /// Whether an org's admin lets the client's address get tokens. Valid access tokens keep working from anywhere.
    ///
    /// # Errors
    /// If the simulator has no user of such an org.
    pub fn set_ip_allowed(&self, org_id: &str, allowed: bool) -> Result<(), UnknownName> {
        self.shared
            .auth()
            .set_ip_allowed(org_id, allowed)
            .map_err(UnknownName)
    }

    /// Stops: accepts no new connections, gives open ones half a second to finish, and drops late work.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
    }
}
