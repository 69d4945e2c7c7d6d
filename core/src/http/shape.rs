//! What API key routes read and write: the only place where their JSON is described.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::json::{Pairs, Verbatim};
use crate::{
    connect::Link,
    connection::{ConnectionView, Credentials, Decision},
    usage::Usage,
};

/// A connection in a list: these nine fields, all of them texts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionItem {
    /// The connection's id; it survives a reconnect.
    connection_id: String,
    /// The user's e-mail address at the provider.
    user_email: String,
    /// The user's name at the provider.
    user_name: String,
    /// The name of the organisation, workspace or tenant that the user belongs to.
    org_name: String,
    /// The offering's environment, such as `production` or `sandbox`.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9_-]{0,31}$"))]
    environment: String,
    /// Where its data lives, in the provider's words; empty if not known.
    region: String,
    /// Where the connection stands.
    #[schemars(extend("enum" = ["connected", "expired", "revoked", "deleted"]))]
    status: String,
    /// When the user connected.
    #[schemars(extend("format" = "date-time"))]
    connected_at: String,
    /// When the connection was last used; begins as `connectedAt`.
    #[schemars(extend("format" = "date-time"))]
    last_active_at: String,
}

impl From<&ConnectionView> for ConnectionItem {
    fn from(connection: &ConnectionView) -> Self {
        let profile = &connection.profile;
        Self {
            connection_id: connection.id.to_string(),
            user_email: profile.email.clone(),
            user_name: profile.name.clone(),
            org_name: profile.org_name.clone(),
            environment: connection.environment.as_str().to_owned(),
            region: profile.region.clone(),
            status: connection.status.as_str().to_owned(),
            connected_at: connection.connected_at.to_string(),
            last_active_at: connection.last_active_at.to_string(),
        }
    }
}

/// A page of connections, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionList {
    pub(super) connections: Vec<ConnectionItem>,
    /// How many are on this page.
    pub(super) total_count: usize,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// A connection with everything that is known about it but its tokens.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionDetail {
    #[serde(flatten)]
    item: ConnectionItem,
    /// The integration that it belongs to.
    integration_id: String,
    /// The provider's name.
    provider: String,
    /// Why it stands where it stands; empty when there is nothing to say.
    reason: String,
    /// The provider's id of the user.
    user_id: String,
    /// The provider's id of the organisation, workspace or tenant.
    org_id: String,
    /// The host's own id of its user.
    owner: String,
    /// The host's labels.
    metadata: BTreeMap<String, String>,
    /// Scopes that the provider granted.
    scopes: Vec<String>,
}

impl From<&ConnectionView> for ConnectionDetail {
    fn from(connection: &ConnectionView) -> Self {
        Self {
            item: connection.into(),
            integration_id: connection.integration.to_string(),
            provider: connection.provider.clone(),
            reason: connection.reason.map_or("", |reason| reason.as_str()).to_owned(),
            user_id: connection.profile.user_id.clone(),
            org_id: connection.profile.org_id.clone(),
            owner: connection.owner.clone(),
            metadata: connection.metadata.clone(),
            scopes: connection.scopes.clone(),
        }
    }
}

/// What to change of a connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateConnection {
    /// A new owner: up to 256 characters.
    pub(super) owner: Option<String>,
    /// New labels, in place of all old ones: at most 32, keys of up to 64 and values of up to 512 characters.
    pub(super) metadata: Option<BTreeMap<String, String>>,
}

/// Credentials: these six fields, all of them texts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CredentialsBody<'a> {
    /// The access token. Keep it on the server.
    access_token: &'a str,
    /// Origin to which it may be sent, without trailing slash.
    instance_url: &'a str,
    /// The offering's environment, such as `production` or `sandbox`.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9_-]{0,31}$"))]
    environment: &'a str,
    /// Where the account's data lives, in the provider's words; empty if not known.
    region: &'a str,
    /// `Bearer`.
    token_type: &'a str,
    /// When the access token ends, as far as is known.
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
}

impl<'a> From<&'a Credentials> for CredentialsBody<'a> {
    fn from(credentials: &'a Credentials) -> Self {
        Self {
            access_token: credentials.access_token.expose(),
            instance_url: &credentials.instance_url,
            environment: credentials.environment.as_str(),
            region: &credentials.region,
            token_type: credentials.token_type,
            expires_at: credentials.expires_at.to_string(),
        }
    }
}

/// A call to the provider's API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyCall {
    /// The method, in capitals.
    #[schemars(extend("enum" = ["GET", "POST", "PUT", "PATCH", "DELETE"]))]
    pub(super) method: String,
    /// The path below the instance URL, percent-encoded, such as `/api/v2/contacts`. It may have a query.
    pub(super) path: String,
    /// More query parameters. Null values are left out.
    pub(super) query: Option<Pairs>,
    /// The JSON body. Left out with GET.
    pub(super) data: Option<Verbatim>,
}

/// What a connect link carries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewConnectLink {
    /// The host's own id of its user: up to 256 characters.
    pub(super) owner: Option<String>,
    /// Where to send the browser afterwards: one of the integration's redirect URIs.
    pub(super) redirect_uri: Option<String>,
    /// The host's labels.
    pub(super) metadata: Option<BTreeMap<String, String>>,
}

/// A link that can be used once.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinkBody {
    /// The URL to give to the user.
    url: String,
    /// From then on it cannot be used.
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
}

impl From<Link> for LinkBody {
    fn from(link: Link) -> Self {
        Self {
            url: link.url,
            expires_at: link.expires_at.to_string(),
        }
    }
}

/// The calls of the present calendar month (UTC).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageBody {
    /// `2026-04`.
    month: String,
    /// Calls made.
    calls: u64,
    /// Calls allowed; null if there is no limit.
    limit: Option<u64>,
    /// Days that have calls, ascending.
    days: Vec<DayBody>,
    /// When the next month begins.
    #[schemars(extend("format" = "date-time"))]
    resets_at: String,
}

/// The calls of one day (UTC).
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DayBody {
    /// `2026-04-10`.
    #[schemars(extend("format" = "date"))]
    date: String,
    /// Calls made.
    calls: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        let month = format!("{:04}-{:02}", usage.month / 100, usage.month % 100);
        let day = |day: &crate::store::DayCount| DayBody {
            date: format!("{month}-{:02}", day.day),
            calls: day.calls,
        };
        Self {
            days: usage.days.iter().map(day).collect(),
            calls: usage.calls,
            limit: usage.limit,
            resets_at: usage.resets_at.to_string(),
            month,
        }
    }
}

/// The last decisions about a connection, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryBody {
    pub(super) history: Vec<DecisionBody>,
}

/// A refresh or a change of state.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DecisionBody {
    /// When.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// What was decided, in snake_case.
    what: String,
    /// Why; empty when there is nothing to say.
    reason: String,
    /// Which token set it was about: reconnects and sets are counted, as in `1.7`.
    token_set: String,
    /// Fingerprint of the refresh token concerned; empty where there is none.
    token: String,
}

impl From<Decision> for DecisionBody {
    fn from(decision: Decision) -> Self {
        Self {
            at: decision.at.to_string(),
            what: decision.what,
            reason: decision.reason.map_or("", |reason| reason.as_str()).to_owned(),
            token_set: decision.version.to_string(),
            token: decision.token.unwrap_or_default(),
        }
    }
}
