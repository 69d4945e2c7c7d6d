//! The contract between the broker and a provider.
//!
//! A provider has three parts. Its [`ProviderFacts`] are data: what it offers, and what its API takes beside plain HTTP.
//! Its pure functions build URLs, read answers and judge refusals. Its async functions send, through what core hands them:
//! [`TokenHttp`] for requests that spend something (it sends once and is consumed), [`ProviderHttp`] for the rest. It keeps
//! no state and reads no clock. Core knows no provider: all knowledge that is specific to one comes through this trait.

mod authorize_error;
mod facts;
mod http_client;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use url::Url;

pub use authorize_error::AuthorizeError;
pub use facts::{HeaderPattern, ProviderFacts};
pub use http_client::{
    MAX_ANSWER, Presentation, ProviderHttp, Sent, TokenHttp, Transport, TransportError, TransportFault,
};

use crate::{
    connection::{Profile, Reason},
    integration::{Client, Offering, Options},
    secret::Secret,
    time::Timestamp,
};

/// What presenting a refresh token twice means. It is a property of the app at the provider and can change any day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Each refresh token works once, and presenting a spent one may end the grant. The default, and the safe one.
    Strict,
    /// A spent refresh token still works for this long.
    Grace(Duration),
    /// The refresh token stays the same.
    Reusable,
}

/// When an access token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As the provider stated.
    Known(Timestamp),
    /// Not stated; the provider's usual session length is assumed.
    Assumed(Timestamp),
}

impl Expiry {
    /// The moment, known or assumed.
    pub fn at(self) -> Timestamp {
        match self {
            Self::Known(at) | Self::Assumed(at) => at,
        }
    }
}

/// What a token endpoint answered. Omitted parts of a refresh answer keep their stored values.
#[derive(Debug)]
pub struct TokenSet {
    /// `access_token`.
    pub access_token: Secret,
    /// `refresh_token`, if one came.
    pub refresh_token: Option<Secret>,
    /// Origin for API calls, if one came; already passed by [`Provider::check_instance_url`].
    pub instance_url: Option<String>,
    /// Granted scopes, if stated.
    pub scopes: Option<Vec<String>>,
    /// When the access token ends.
    pub expiry: Expiry,
    /// A stable name of the provider's user, such as OpenID Connect's `sub`, if one came.
    pub subject: Option<String>,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The grant is gone; only the user can bring it back.
    GrantDead,
    /// The OAuth client is wrong; its connections are not affected.
    ClientMisconfigured,
    /// Not now; the token is unspent.
    MayPass,
    /// Another request with the same token is in work.
    InProgress,
}

/// A definite refusal: the provider read the request and rejected it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub verdict: Verdict,
    /// Why, from a closed list.
    pub reason: Reason,
    /// `Retry-After`, if given.
    pub retry_after: Option<Duration>,
}

/// How a request to the provider failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Definitely not sent.
    NotSent,
    /// It may have been processed; its outcome is unknown.
    Unknown(Reason),
    /// Answered, and refused.
    Refused(Refusal),
}

impl Failure {
    /// A refusal without `Retry-After`.
    pub fn refused(verdict: Verdict, reason: Reason) -> Self {
        Self::Refused(Refusal {
            verdict,
            reason,
            retry_after: None,
        })
    }

    /// The reason, from a closed list.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotSent => Reason::NotSent,
            Self::Unknown(reason) => *reason,
            Self::Refused(refusal) => refusal.reason,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::NotSent => "not sent",
            Self::Unknown(_) => "outcome unknown",
            Self::Refused(_) => "refused",
        };
        write!(f, "{what}: {}", self.reason().as_str())
    }
}

impl std::error::Error for Failure {}

/// Parameters of the authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
pub struct AuthorizeRequest<'a> {
    /// `state`.
    pub state: &'a str,
    /// `code_challenge`, method S256.
    pub code_challenge: &'a str,
    /// `login_hint`, when a known user reconnects.
    pub login_hint: Option<&'a str>,
}

/// Without the state, and without the user's address.
impl fmt::Debug for AuthorizeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeRequest").finish_non_exhaustive()
    }
}

/// Parameters of the code exchange (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
#[derive(Debug)]
pub struct CodeExchange<'a> {
    /// `code`.
    pub code: &'a Secret,
    /// `code_verifier`.
    pub code_verifier: &'a Secret,
    /// The present time, from which expiry is calculated.
    pub now: Timestamp,
}

/// Whether an access token still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLife {
    /// It does, until the given time if the provider states one.
    Alive(Option<Timestamp>),
    /// It does not.
    Dead,
}

/// What an API response tells besides its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiVerdict {
    /// The access token was refused, and a new one may help. The call did not run.
    pub token_refused: bool,
    /// A limit of the provider is reached.
    pub limit_reached: bool,
    /// The account's API usage: used and allowed.
    pub api_usage: Option<(u64, u64)>,
}

/// An option that a provider does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option not accepted: {name}")]
pub struct OptionError {
    /// The option's name, from the provider's own list, or `unknown`.
    pub name: &'static str,
}

/// A URL to which no token may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("URL not accepted: {why}")]
pub struct UrlError {
    /// What is wrong with it: `scheme`, `host`, `userinfo`, `port`, `path`, `ip`, `not_ascii`, `trailing_dot`, `length`.
    pub why: &'static str,
}

/// A place where users log in and tokens are issued.
///
/// To be correct, an implementation must
/// - send a request that spends a code or a refresh token only through the [`TokenHttp`] that it was given;
/// - answer [`Failure::Refused`] only for an answer that the provider's token endpoint certainly gave, and
///   [`Verdict::GrantDead`] only where the provider's documents say that the grant is gone;
/// - put no secret, URL or foreign text in anything but the fields meant for it;
/// - accept an instance or identity URL only after its own check, since tokens are sent there.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// Facts that hold for all its integrations. Every call returns the same.
    fn facts(&self) -> &ProviderFacts;

    /// Checks the provider's own options of an integration. `allow_loopback` permits http on loopback literals.
    ///
    /// # Errors
    /// [`OptionError`] names the option.
    fn check_options(
        &self,
        offering: &Offering,
        options: &Options,
        allow_loopback: bool,
    ) -> Result<(), OptionError>;

    /// What presenting a refresh token twice means for this app.
    fn rotation(&self, client: &Client<'_>) -> Rotation;

    /// How long a refresh token lives unused, if the provider ends idle ones.
    fn idle_limit(&self, client: &Client<'_>) -> Option<Duration>;

    /// How many grants of one user for this app the provider keeps, if it ends the oldest beyond that.
    fn grants_per_user(&self, client: &Client<'_>) -> Option<u32>;

    /// The token endpoint's host, the unit of breakers and of bounded concurrency.
    fn token_host(&self, client: &Client<'_>) -> String;

    /// The issuer that an `iss` in a callback must equal (RFC 9207), if the provider has one.
    fn issuer(&self, client: &Client<'_>) -> Option<String>;

    /// Where to send the browser. Pure.
    ///
    /// # Errors
    /// [`UrlError`] if the integration's login URL is not acceptable.
    fn authorize_url(&self, client: &Client<'_>, request: &AuthorizeRequest<'_>) -> Result<Url, UrlError>;

    /// Exchanges an authorization code. The answer must hold an access token, a subject and an instance URL.
    ///
    /// # Errors
    /// [`Failure::NotSent`] if the code is certainly unspent, [`Failure::Refused`] if the token endpoint answered so,
    /// [`Failure::Unknown`] if the code may have been exchanged and the answer is lost or unreadable.
    ///
    /// # Cancel safety
    /// The code may be spent, leaving a grant at the provider that no one holds. Nothing is sent after the drop.
    async fn exchange_code(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        request: CodeExchange<'_>,
    ) -> Result<TokenSet, Failure>;

    /// Presents a refresh token, once, without a `scope` parameter.
    ///
    /// # Errors
    /// [`Failure::NotSent`] if the token is certainly unspent, [`Failure::Refused`] if the token endpoint answered so,
    /// [`Failure::Unknown`] if the token may be spent and the answer is lost or unreadable.
    ///
    /// # Cancel safety
    /// The token may be spent, and its successor lost: what a dropped future leaves is [`Failure::Unknown`]. Nothing is
    /// sent after the drop. The broker drops it at its own time limit only, never because a caller was dropped.
    async fn refresh(
        &self,
        http: TokenHttp,
        client: &Client<'_>,
        refresh_token: &Secret,
        now: Timestamp,
    ) -> Result<TokenSet, Failure>;

    /// Revokes a token (RFC 7009). A token that the provider no longer knows counts as revoked.
    ///
    /// # Errors
    /// [`Failure`] if it is not certain that the token is gone. Revoking again does no harm.
    ///
    /// # Cancel safety
    /// The token may be revoked. Nothing is sent after the drop.
    async fn revoke(&self, http: &ProviderHttp, client: &Client<'_>, token: &Secret) -> Result<(), Failure>;

    /// Asks whether an access token works and until when, by introspection (RFC 7662) or a harmless call.
    ///
    /// # Errors
    /// [`Failure`] if that could not be determined. It says nothing about the token.
    ///
    /// # Cancel safety
    /// Cancel safe: asking spends nothing.
    async fn access_life(
        &self,
        http: &ProviderHttp,
        client: &Client<'_>,
        set: &TokenSet,
    ) -> Result<AccessLife, Failure>;

    /// Finds out who connected.
    ///
    /// # Errors
    /// [`Failure`] if the user and the account could not be found out.
    ///
    /// # Cancel safety
    /// Cancel safe: asking spends nothing.
    async fn identify(
        &self,
        http: &ProviderHttp,
        client: &Client<'_>,
        set: &TokenSet,
    ) -> Result<Profile, Failure>;

    /// Checks client id and secret without a user.
    ///
    /// # Errors
    /// [`Failure::Refused`] with [`Verdict::ClientMisconfigured`] if they are wrong, others if that cannot be determined
    /// now.
    ///
    /// # Cancel safety
    /// Cancel safe: it spends nothing.
    async fn verify_client(&self, http: &ProviderHttp, client: &Client<'_>) -> Result<(), Failure>;

    /// Reads what an API response tells besides its content. `body_prefix` is the body's beginning, for error statuses
    /// only.
    fn classify_api_response(
        &self,
        status: http::StatusCode,
        headers: &http::HeaderMap,
        body_prefix: &[u8],
    ) -> ApiVerdict;

    /// Whether bearer tokens may be sent to `url`, and its canonical origin without trailing slash.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong.
    fn check_instance_url(&self, client: &Client<'_>, url: &str) -> Result<String, UrlError>;
}
