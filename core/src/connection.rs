//! Connections: one provider account that an end user connected to an integration.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    secret::Secret,
    time::Timestamp,
};

/// A connection's status. A closed list: stores keep it, and callers branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its tokens work, as far as the broker knows.
    Connected,
    /// The provider no longer accepts its grant; the user needs to reconnect.
    Expired,
    /// It was revoked here; the user needs to reconnect.
    Revoked,
    /// It was deleted.
    Deleted,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Connected, Self::Expired, Self::Revoked, Self::Deleted];

    /// The status in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
        }
    }

    /// The status that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// What about a connection may need somebody's eyes. Stores keep it as a column, so that finding such connections takes no
/// scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// A refresh is on its way; if that was long ago, its process died and the outcome is not known.
    Refreshing,
    /// A refresh was sent and its outcome is not known.
    OutcomeUnknown,
    /// A refresh was refused for now.
    Cooling,
    /// The grant is dead; the user needs to reconnect.
    Expired,
}

impl Attention {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Refreshing,
        Self::OutcomeUnknown,
        Self::Cooling,
        Self::Expired,
    ];

    /// The kind in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refreshing => "refreshing",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Cooling => "cooling",
            Self::Expired => "expired",
        }
    }

    /// The kind that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == text)
    }
}

macro_rules! reasons {
    ($($variant:ident = $text:literal: $doc:literal;)*) => {
        /// Why a connection has its status, or why a refresh was refused. A closed list, so that no foreign text gets into
        /// rows, events and logs: providers map their own codes to the reason that fits, or to [`Reason::Unrecognized`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The reason in snake_case.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

reasons! {
    GrantExpiredOrRevoked = "grant_expired_or_revoked": "The provider says that the refresh token is expired, revoked or spent; it does not say which.";
    OutcomeUnknown = "outcome_unknown": "A refresh was sent, its answer was lost, and the provider then refused the token.";
    UserInactive = "user_inactive": "The provider's user is deactivated or frozen.";
    AuthenticationFailure = "authentication_failure": "The provider's user can no longer log in, for instance after a password change.";
    ApprovalMissing = "approval_missing": "Neither the user nor an administrator of the account has approved the app.";
    SessionLevel = "session_level": "The provider asks for stronger authentication (RFC 9470).";
    OrgInactive = "org_inactive": "The account is locked, closed or suspended.";
    AppBlocked = "app_blocked": "The app is blocked or not installed in the account.";
    IpRestricted = "ip_restricted": "The account or the app does not accept this machine's address or the time of day.";
    RateLimited = "rate_limited": "The provider asks for fewer logins.";
    ServerUnavailable = "server_unavailable": "The provider is unavailable for now.";
    AlreadyProcessing = "already_processing": "Another request with the same token was in work at the provider.";
    ClientInvalid = "client_invalid": "The provider refuses the client id or secret.";
    ClientIdInvalid = "client_id_invalid": "The provider does not know the client id.";
    ClientSecretInvalid = "client_secret_invalid": "The provider knows the client id and refuses the secret.";
    ClientMisconfigured = "client_misconfigured": "The app's settings at the provider do not allow this.";
    RequestRejected = "request_rejected": "The provider calls the request malformed.";
    ScopeRejected = "scope_rejected": "The provider refuses a scope.";
    CodeRejected = "code_rejected": "The provider refuses the authorization code.";
    IdentityChanged = "identity_changed": "A refresh answered with tokens of another user or account.";
    InstanceUrlRejected = "instance_url_rejected": "The provider named an instance URL to which no token may be sent.";
    NotSent = "not_sent": "The provider could not be reached; nothing was sent.";
    AnswerLost = "answer_lost": "The request may have been processed; its answer did not come.";
    AnswerInvalid = "answer_invalid": "The answer is not one that the protocol knows.";
    AnswerIncomplete = "answer_incomplete": "The answer lacks a part that is needed at connect.";
    TokenTypeUnsupported = "token_type_unsupported": "The answer holds tokens of another type than bearer.";
    SignatureInvalid = "signature_invalid": "The answer is not signed with the client's secret.";
    IdentityUrlRejected = "identity_url_rejected": "The answer names its user by a URL of a foreign host.";
    Unrecognized = "unrecognized": "The provider gave an error that is not known here.";
    ByRequest = "by_request": "The host asked for it.";
}

/// The user who connected, as the provider describes them. Unknown fields are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The provider's id of the user.
    pub user_id: String,
    /// E-mail address.
    pub email: String,
    /// Full name.
    pub name: String,
    /// The provider's id of the organisation, workspace or tenant that the user belongs to.
    pub org_id: String,
    /// Its name.
    pub org_name: String,
    /// Where its data lives, in the provider's words.
    pub region: String,
}

/// A connection as the broker shows it, without tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Its id, which a reconnect keeps.
    pub id: ConnectionId,
    /// The integration that it belongs to.
    pub integration: IntegrationId,
    /// The provider's name.
    pub provider: String,
    /// The offering's environment.
    pub environment: Environment,
    /// Its status.
    pub status: Status,
    /// The reason for the status, if there is one.
    pub reason: Option<Reason>,
    /// Who connected.
    pub profile: Profile,
    /// The host's own id of its user; empty if none was given.
    pub owner: String,
    /// The host's labels.
    pub metadata: BTreeMap<String, String>,
    /// Scopes that the provider granted.
    pub scopes: Vec<String>,
    /// When the user connected; a reconnect resets it.
    pub connected_at: Timestamp,
    /// When it was last used; `connected_at` until it is.
    pub last_active_at: Timestamp,
    /// Counts reconnects, revocation and deletion.
    pub epoch: u64,
    /// Counts stored token sets.
    pub generation: u64,
}

impl ConnectionView {
    /// A minimal view, for implementations of [`Connection`](crate::Connection), which set the rest: connected, in
    /// production, with times at the Unix epoch.
    pub fn new(id: ConnectionId, integration: IntegrationId) -> Self {
        Self {
            id,
            integration,
            provider: String::new(),
            environment: Environment::PRODUCTION,
            status: Status::Connected,
            reason: None,
            profile: Profile::default(),
            owner: String::new(),
            metadata: BTreeMap::new(),
            scopes: Vec::new(),
            connected_at: Timestamp(0),
            last_active_at: Timestamp(0),
            epoch: 1,
            generation: 1,
        }
    }
}

/// Which token set of a connection, by both numbers: a reconnect begins an epoch, a refresh a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantVersion {
    /// Counts reconnects, revocation and deletion.
    pub epoch: u64,
    /// Counts stored token sets.
    pub generation: u64,
}

impl fmt::Display for GrantVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.generation)
    }
}

/// What a caller needs to call the provider itself.
#[non_exhaustive]
pub struct Credentials {
    /// The access token.
    pub access_token: Secret,
    /// Origin to which it may be sent, without trailing slash.
    pub instance_url: String,
    /// The offering's environment.
    pub environment: Environment,
    /// Where the account's data lives, in the provider's words; empty if not known.
    pub region: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// When the access token ends, as far as is known.
    pub expires_at: Timestamp,
    /// Which token set it belongs to; `ConnectionHandle::refused` takes it.
    pub version: GrantVersion,
    /// The ready `Authorization` value, marked sensitive.
    pub authorization: http::HeaderValue,
}

impl Credentials {
    /// Bearer credentials.
    ///
    /// # Errors
    /// `connection_corrupt`: the access token is not a valid header value.
    pub fn new(
        access_token: Secret,
        instance_url: String,
        environment: Environment,
        region: String,
        expires_at: Timestamp,
        version: GrantVersion,
    ) -> Result<Self, Error> {
        let authorization = bearer(&access_token)?;
        Ok(Self {
            access_token,
            instance_url,
            environment,
            region,
            token_type: "Bearer",
            expires_at,
            version,
            authorization,
        })
    }
}

/// The ready `Authorization` value of an access token, marked sensitive.
///
/// # Errors
/// `connection_corrupt`: it is not a valid header value.
pub(crate) fn bearer(access_token: &Secret) -> Result<http::HeaderValue, Error> {
    let mut value = http::HeaderValue::from_str(&format!("Bearer {}", access_token.expose()))
        .map_err(|_| Error::new(Code::ConnectionCorrupt).because("access_token"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("instance_url", &self.instance_url)
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// One decision in a connection's history. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What was decided, in snake_case.
    pub what: String,
    /// Which token set it was about.
    #[serde(rename = "set")]
    pub version: GrantVersion,
    /// Why, where there is a reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Fingerprint of the refresh token concerned, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
}

impl Decision {
    /// A decision without reason and token, for those who implement [`Connection`](crate::Connection).
    pub fn new(at: Timestamp, what: impl Into<String>, version: GrantVersion) -> Self {
        Self {
            at,
            what: what.into(),
            version,
            reason: None,
            token: None,
        }
    }
}
