//! The settings that can be changed while the simulator runs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Everything that `PATCH /__control` and [`Simulator::update`](crate::Simulator::update) can change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether each refresh answers with a new refresh token and spends the presented one.
    pub rotation: bool,
    /// Whether presenting a spent refresh token ends its family: the living refresh token and all access tokens.
    pub family_revocation: bool,
    /// For so many seconds after it was spent, the previous refresh token of a family is still answered, with
    /// the living refresh token. Salesforce documents no such window; 0 switches it off.
    pub reuse_grace_seconds: u32,
    /// Whether every authorization needs a code challenge.
    pub pkce_required: bool,
    /// The session timeout of access tokens that are issued from now on.
    pub session_minutes: u32,
    /// Whether using an access token prolongs it (its last activity moves once half the timeout has passed).
    pub sliding_sessions: bool,
    /// How long an authorization code lives.
    pub code_minutes: u32,
    /// How many living refresh tokens one user may have for one client; one more evicts the oldest.
    pub max_approvals: usize,
    /// A refresh token that was not used for so many days is dead; none = it lives until revoked.
    pub refresh_idle_days: Option<u32>,
    /// A family dies so many days after its first refresh token was issued; none = it lives until revoked.
    pub refresh_lifetime_days: Option<u32>,
    /// How long the token endpoint works on a request, in milliseconds. During that time the token or code is
    /// in work, and a second request with it is refused as such. Set it to 0 for benchmarks.
    pub token_latency_ms: u64,
    /// How long the instance works on a request, in milliseconds.
    pub instance_latency_ms: u64,
    /// REST calls that each org may make in 24 hours.
    pub api_daily_limit: u64,
    /// Answer this as `instance_url`.
    pub instance_url: Option<String>,
    /// Add a slash at the end of the `instance_url`.
    pub instance_url_slash: bool,
    /// Answer this as `id`. The signature is computed over it.
    pub id: Option<String>,
    /// Answer this as `signature`.
    pub signature: Option<String>,
    /// Leave these fields out of token answers.
    pub omit_fields: Vec<String>,
    /// Add these fields to token answers; they replace fields of the same name.
    pub extra_fields: Map<String, Value>,
    /// Send the errors of the revocation endpoint as JSON instead of form-encoded.
    pub revoke_errors_as_json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rotation: true,
            family_revocation: true,
            reuse_grace_seconds: 0,
            pkce_required: false,
            session_minutes: 120,
            sliding_sessions: true,
            code_minutes: 15,
            max_approvals: 5,
            refresh_idle_days: None,
            refresh_lifetime_days: None,
            token_latency_ms: 10,
            instance_latency_ms: 0,
            api_daily_limit: 5_000_000,
            instance_url: None,
            instance_url_slash: false,
            id: None,
            signature: None,
            omit_fields: Vec::new(),
            extra_fields: Map::new(),
            revoke_errors_as_json: false,
        }
    }
}

impl Settings {
    /// Settings that differ from these in the given fields only; `null` empties an optional field.
    ///
    /// # Errors
    /// Says which field is not known, or has the wrong type.
    pub fn merged(&self, changes: Map<String, Value>) -> Result<Self, String> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self) else {
            return Err("the settings cannot be written as JSON".to_owned());
        };
        fields.extend(changes);
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
    }
}
