//! What the simulator remembers for judges: presented refresh tokens, living families, counters.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How the presentation of a refresh token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An access token was issued (and, with rotation, a new refresh token).
    Granted,
    /// The token was spent already, but within the grace window: answered with the living refresh token.
    GrantedInGrace,
    /// The token was spent already. With family revocation, its family is dead from here on.
    Reused,
    /// The token is not spent, but dead: revoked, evicted, idle too long, or its family was ended.
    Expired,
    /// The token was never issued.
    Unknown,
    /// Another request with this token was in work; nothing happened to the token.
    Busy,
    /// The token belongs to another client; nothing happened to it.
    WrongClient,
    /// Client id or secret were refused, so the token was not looked at.
    ClientRefused,
    /// The user is deactivated; nothing happened to the token.
    InactiveUser,
    /// The user's org is locked; nothing happened to the token.
    InactiveOrg,
    /// The org does not let this address get tokens; nothing happened to the token.
    IpRestricted,
    /// A fault kept the request from being processed; nothing happened to the token.
    NotProcessed,
}

/// One presentation of a refresh token at the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// The place in the log, from 0.
    pub seq: u64,
    /// When it was decided: milliseconds since 1970 by the simulator's clock.
    pub at: i64,
    /// When the request arrived, by the same clock.
    pub arrived_at: i64,
    /// The client id of the request.
    pub client_id: String,
    /// The first 16 hexadecimal digits of the SHA-256 of the presented token.
    pub token_fingerprint: String,
    /// The family of the token; none if it was never issued, or not looked up.
    pub family: Option<u64>,
    /// The user of the family.
    pub username: Option<String>,
    /// The generation of the presented token: 1 for the one of the code exchange, 1 more for each rotation.
    pub generation: Option<u64>,
    /// The generation that was alive before this request; none if the family was dead.
    pub living_generation: Option<u64>,
    /// How it ended.
    pub result: Outcome,
    /// Whether this request ended the family.
    pub family_revoked: bool,
    /// The fault that this request met, if any.
    pub fault: Option<String>,
    /// Whether another request with the same token was in flight when this one arrived.
    pub in_flight_overlap: bool,
    /// The fingerprint of the refresh token that replaced the presented one.
    pub new_fingerprint: Option<String>,
}

/// A living family: all tokens that stem from one approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilySnapshot {
    /// The number of the family.
    pub family: u64,
    /// Its user.
    pub username: String,
    /// The user's org, 18 characters.
    pub org_id: String,
    /// Its client.
    pub client_id: String,
    /// The generation of the living refresh token; 0 if the grant has none.
    pub generation: u64,
    /// The fingerprint of the living refresh token, if the grant has one.
    pub token_fingerprint: Option<String>,
    /// How many of its access tokens are alive.
    pub access_tokens_alive: usize,
    /// When the family began.
    pub issued_at: i64,
}

/// What `GET /__log` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The simulator's time.
    pub now: i64,
    /// Pass this as `since` to get only what is new.
    pub next: u64,
    /// Presentations, oldest first.
    pub entries: Vec<Presentation>,
    /// Families that are alive.
    pub families: Vec<FamilySnapshot>,
    /// Refresh tokens that are in flight right now, by fingerprint.
    pub in_flight: Vec<String>,
    /// Requests since the start, by endpoint.
    pub counters: Map<String, Value>,
}

/// The endpoints that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Authorize,
    Login,
    Consent,
    TokenCode,
    TokenRefresh,
    TokenOther,
    Revoke,
    Introspect,
    Userinfo,
    Identity,
    Discovery,
    Versions,
    Query,
    Sobjects,
    RestOther,
    ApexRest,
    RestRefused,
}

const NAMES: [(Endpoint, &str); 17] = [
    (Endpoint::Authorize, "authorize"),
    (Endpoint::Login, "login"),
    (Endpoint::Consent, "consent"),
    (Endpoint::TokenCode, "token_authorization_code"),
    (Endpoint::TokenRefresh, "token_refresh_token"),
    (Endpoint::TokenOther, "token_other"),
    (Endpoint::Revoke, "revoke"),
    (Endpoint::Introspect, "introspect"),
    (Endpoint::Userinfo, "userinfo"),
    (Endpoint::Identity, "identity"),
    (Endpoint::Discovery, "discovery"),
    (Endpoint::Versions, "versions"),
    (Endpoint::Query, "query"),
    (Endpoint::Sobjects, "sobjects"),
    (Endpoint::RestOther, "rest_other"),
    (Endpoint::ApexRest, "apexrest"),
    (Endpoint::RestRefused, "rest_refused"),
];

/// Requests by endpoint. Refused REST calls (401, 403, forced faults) count as `rest_refused` only.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; NAMES.len()]);

impl Counters {
    pub(crate) fn add(&self, endpoint: Endpoint) {
        if let Some(counter) = self.0.get(endpoint as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Map<String, Value> {
        NAMES
            .iter()
            .map(|(endpoint, name)| {
                let count = self
                    .0
                    .get(*endpoint as usize)
                    .map_or(0, |counter| counter.load(Ordering::Relaxed));
                ((*name).to_owned(), Value::from(count))
            })
            .collect()
    }
}
