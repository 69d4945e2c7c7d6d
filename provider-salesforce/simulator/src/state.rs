//! The state of a running simulator: one lock for everything that OAuth decides about, one per org for its records.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Millis};
use crate::config::{Client, Config, Org};
use crate::family::{Family, RefreshRecord, Session};
use crate::faults::Faults;
use crate::flow::{Code, Flow};
use crate::id_token::Signer;
use crate::ids::{Digest, to_18};
use crate::log::{Counters, Presentation};
use crate::rest::records::OrgData;
use crate::settings::Settings;
use crate::users::{self, UserState};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) login_url: String,
    pub(crate) instance_url: String,
    pub(crate) orgs: Vec<OrgState>,
    pub(crate) signer: Signer,
    /// Cancelled when the simulator shuts down.
    pub(crate) stop: CancellationToken,
    /// Owns every task of the simulator.
    pub(crate) tasks: TaskTracker,
    auth: Mutex<Auth>,
}

/// An org and its records.
#[derive(Debug)]
pub(crate) struct OrgState {
    pub(crate) org: Org,
    pub(crate) id18: String,
    pub(crate) data: Mutex<OrgData>,
}

/// Everything that OAuth decides about.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    pub(crate) settings: Settings,
    pub(crate) clients: HashMap<String, Client>,
    pub(crate) users: Vec<UserState>,
    pub(crate) usernames: HashMap<String, usize>,
    /// Orgs that are locked.
    pub(crate) locked_orgs: HashSet<usize>,
    /// Orgs whose list of allowed addresses excludes the client's.
    pub(crate) ip_restricted_orgs: HashSet<usize>,
    /// Logged-in browsers: cookie → user.
    pub(crate) browsers: HashMap<String, usize>,
    pub(crate) flows: HashMap<String, Flow>,
    /// What users allowed clients: (user, client id) → scopes.
    pub(crate) approvals: HashMap<(usize, String), BTreeSet<String>>,
    pub(crate) codes: HashMap<String, Code>,
    /// All families ever issued, by number.
    pub(crate) families: Vec<Family>,
    /// Families that have not ended and have a refresh token, oldest first.
    pub(crate) living: HashMap<(usize, String), VecDeque<usize>>,
    pub(crate) refresh: HashMap<Digest, RefreshRecord>,
    pub(crate) sessions: HashMap<Box<str>, Session>,
    /// Open requests by presented refresh token.
    pub(crate) waiting: HashMap<Digest, u32>,
    /// Refresh tokens that are being processed.
    pub(crate) processing: HashSet<Digest>,
    pub(crate) faults: Faults,
    pub(crate) log: Vec<Presentation>,
}

impl Shared {
    /// A fresh state for these addresses.
    pub(crate) fn new(config: Config, login_url: String, instance_url: String) -> Self {
        let clock = Clock::default();
        let now = clock.now();
        let users = users::of(&config);
        let orgs = config
            .orgs
            .iter()
            .enumerate()
            .map(|(index, org)| OrgState {
                org: org.clone(),
                id18: to_18(&org.id),
                data: Mutex::new(OrgData::generate(
                    index,
                    org,
                    &users,
                    config.accounts,
                    config.contacts,
                    now,
                )),
            })
            .collect();
        let auth = Auth {
            settings: config.settings,
            clients: config
                .clients
                .into_iter()
                .map(|client| (client.client_id.clone(), client))
                .collect(),
            usernames: users
                .iter()
                .enumerate()
                .map(|(index, user)| (user.user.username.clone(), index))
                .collect(),
            users,
            ..Auth::default()
        };
        Self {
            clock,
            counters: Counters::default(),
            login_url,
            instance_url,
            orgs,
            signer: Signer::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            auth: Mutex::new(auth),
        }
    }

    /// Locks the OAuth state. Never held across an await.
    pub(crate) fn auth(&self) -> MutexGuard<'_, Auth> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps, but not beyond the simulator's shutdown. `false` if that came first.
    pub(crate) async fn pause(&self, duration: Duration) -> bool {
        if duration.is_zero() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(duration) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// The identity URL of a user.
    pub(crate) fn identity_url(&self, user: &UserState) -> String {
        format!("{}/id/{}/{}", self.login_url, user.org_id18, user.id18)
    }
}

impl OrgState {
    /// Locks the org's records.
    pub(crate) fn data(&self) -> MutexGuard<'_, OrgData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Auth {
    /// Drops abandoned logins and codes, so that long runs do not grow without bound.
    pub(crate) fn forget_stale(&mut self, now: Millis) {
        const MANY: usize = 1024;
        const DAY: Millis = 86_400_000;
        if self.flows.len() > MANY {
            self.flows.retain(|_, flow| now - flow.created_at < DAY);
        }
        if self.codes.len() > MANY {
            self.codes.retain(|_, code| now - code.issued_at < DAY);
        }
    }
}
