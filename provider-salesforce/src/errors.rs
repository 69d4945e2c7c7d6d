//! What errors of the token endpoint mean.
//!
//! Salesforce reports nearly every failure as HTTP 400 with a JSON object, and `invalid_grant` alone has a dozen
//! causes; only `error_description` tells them apart (Salesforce Help, "OAuth 2.0 Authorization Errors"). The table
//! below decides alone: the first row that matches wins.

use std::time::Duration;

use bytes::Bytes;
use grantry::{
    connection::Reason::{
        self, AlreadyProcessing, AppBlocked, ApprovalMissing, AuthenticationFailure, ClientIdInvalid,
        ClientInvalid, ClientMisconfigured, ClientSecretInvalid, CodeRejected, GrantExpiredOrRevoked,
        IpRestricted, OrgInactive, RateLimited, RequestRejected, ScopeRejected, ServerUnavailable,
        SessionLevel, Unrecognized, UserInactive,
    },
    provider::{
        Failure, Refusal,
        Verdict::{self, ClientMisconfigured as Client, GrantDead as Dead, InProgress, MayPass},
    },
};
use http::{
    HeaderMap, StatusCode,
    header::{DATE, RETRY_AFTER},
};
use serde::Deserialize;

use crate::json;

/// What a token request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spends {
    /// An authorization code.
    Code,
    /// A refresh token.
    RefreshToken,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// `error`, exactly.
    error: &'static str,
    /// A substring of the lower-cased `error_description`; empty matches anything, including none.
    contains: &'static str,
    /// Only for this kind of request.
    only: Option<Spends>,
    verdict: Verdict,
    reason: Reason,
    /// An earlier retry is useless or harmful.
    wait: Duration,
}

const NONE: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(5);
/// Before an unknown error is retried.
const CAUTIOUS: Duration = Duration::from_secs(30);
/// An admin of the org must act.
const ADMIN: Duration = Duration::from_secs(15 * 60);
/// Logins are counted by the hour.
const HOUR: Duration = Duration::from_secs(3600);

const fn row(
    error: &'static str,
    contains: &'static str,
    verdict: Verdict,
    reason: Reason,
    wait: Duration,
) -> Row {
    Row {
        error,
        contains,
        only: None,
        verdict,
        reason,
        wait,
    }
}

const fn only(spends: Spends, row: Row) -> Row {
    Row {
        only: Some(spends),
        ..row
    }
}

const CODE: Spends = Spends::Code;
const REFRESH: Spends = Spends::RefreshToken;

#[rustfmt::skip]
static ROWS: &[Row] = &[
    row("invalid_grant", "expired access/refresh token", Dead, GrantExpiredOrRevoked, NONE),
    row("invalid_grant", "token request is already being processed", InProgress, AlreadyProcessing, NONE),
    // The error of a concurrent refresh before September 2024.
    only(REFRESH, row("invalid_grant", "expired authorization code", InProgress, AlreadyProcessing, NONE)),
    only(CODE, row("invalid_grant", "expired authorization code", Dead, CodeRejected, NONE)),
    only(CODE, row("invalid_grant", "invalid authorization code", Dead, CodeRejected, NONE)),
    only(CODE, row("invalid_grant", "verifier", Dead, CodeRejected, NONE)),
    only(REFRESH, row("invalid_grant", "verifier", Client, RequestRejected, NONE)),
    row("invalid_grant", "authentication failure", Dead, AuthenticationFailure, NONE),
    row("invalid_grant", "user hasn't approved this consumer", Dead, ApprovalMissing, NONE),
    row("invalid_grant", "ip restricted", MayPass, IpRestricted, HOUR),
    row("invalid_grant", "invalid login hours", MayPass, IpRestricted, HOUR),
    row("invalid_grant", "audience is invalid", Client, ClientMisconfigured, NONE),
    row("invalid_grant", "audience validation failed", Client, ClientMisconfigured, NONE),
    row("invalid_grant", "invalid assertion", Client, ClientMisconfigured, NONE),
    row("invalid_grant", "user not found", MayPass, AuthenticationFailure, ADMIN),
    row("invalid_grant", "invalid user credentials", MayPass, AuthenticationFailure, ADMIN),
    row("invalid_grant", "no client credentials user enabled", Client, ClientMisconfigured, NONE),
    row("invalid_grant", "client credentials flow not enabled", Client, ClientMisconfigured, NONE),
    row("invalid_grant", "no valid scopes defined", Client, ScopeRejected, NONE),
    row("invalid_grant", "request not supported on this domain", Client, ClientMisconfigured, NONE),
    row("invalid_grant", "login_rate_exceeded", MayPass, RateLimited, HOUR),
    row("invalid_grant", "login rate exceeded", MayPass, RateLimited, HOUR),
    row("invalid_grant", "", MayPass, Unrecognized, CAUTIOUS),
    row("invalid_client_id", "", Client, ClientIdInvalid, NONE),
    row("invalid_client", "app must be installed", MayPass, AppBlocked, ADMIN),
    row("invalid_client", "invalid client credentials", Client, ClientSecretInvalid, NONE),
    row("invalid_client", "", Client, ClientInvalid, NONE),
    row("invalid_client_credentials", "", Client, ClientSecretInvalid, NONE),
    row("unauthorized_client", "", Client, ClientMisconfigured, NONE),
    row("invalid_app_access", "", MayPass, ApprovalMissing, ADMIN),
    row("access_denied", "", MayPass, ApprovalMissing, ADMIN),
    row("app_blocked", "", MayPass, AppBlocked, ADMIN),
    row("fail_close_app_blocked", "", MayPass, AppBlocked, ADMIN),
    row("app_not_found", "", MayPass, AppBlocked, ADMIN),
    row("ecapp_policy_not_found", "", MayPass, AppBlocked, ADMIN),
    row("oauth_policy_not_found", "", MayPass, AppBlocked, ADMIN),
    row("invalid_distribution_state", "", MayPass, AppBlocked, ADMIN),
    row("installation_error", "", MayPass, AppBlocked, ADMIN),
    row("oauth_flow_disabled", "", MayPass, ClientMisconfigured, ADMIN),
    row("invalid_session_level", "", Dead, SessionLevel, NONE),
    row("redirect_uri_mismatch", "", Client, ClientMisconfigured, NONE),
    row("redirect_uri_missing", "", Client, RequestRejected, NONE),
    row("unsupported_grant_type", "", Client, RequestRejected, NONE),
    row("unsupported_response_type", "", Client, RequestRejected, NONE),
    // A code of another flow fails here, and anyone can send one; that is not the client's fault.
    only(CODE, row("invalid_request", "verifier", Dead, CodeRejected, NONE)),
    only(CODE, row("invalid_request", "challenge", Dead, CodeRejected, NONE)),
    only(CODE, row("invalid_request", "", Dead, RequestRejected, NONE)),
    row("invalid_request", "scope is required", Client, ClientMisconfigured, NONE),
    row("invalid_request", "", Client, RequestRejected, NONE),
    row("invalid_scope", "", Client, ScopeRejected, NONE),
    row("invalid_basic_auth_header", "", Client, RequestRejected, NONE),
    row("invalid_assertion_type", "", Client, RequestRejected, NONE),
    row("wrong_version", "", Client, RequestRejected, NONE),
    row("use_dpop_nonce", "", Client, RequestRejected, NONE),
    row("invalid_dpop_proof", "", Client, RequestRejected, NONE),
    row("inactive_user", "", Dead, UserInactive, NONE),
    row("inactive_org", "", MayPass, OrgInactive, HOUR),
    row("rate_limit_exceeded", "", MayPass, RateLimited, HOUR),
    row("slow_down", "", MayPass, RateLimited, SOON),
    row("authorization_pending", "", MayPass, ApprovalMissing, SOON),
    row("server_error", "", MayPass, ServerUnavailable, NONE),
    row("service_unavailable", "", MayPass, ServerUnavailable, NONE),
    row("temporarily_unavailable", "", MayPass, ServerUnavailable, NONE),
    row("system_down", "", MayPass, ServerUnavailable, NONE),
    row("unknown_error", "", MayPass, ServerUnavailable, NONE),
];

/// For errors that the table does not list.
static UNKNOWN: Row = row("", "", MayPass, Unrecognized, CAUTIOUS);

/// The row that matches an error.
pub(crate) fn find(spends: Spends, error: &str, description: &str) -> &'static Row {
    let error = error.to_ascii_lowercase().replace('-', "_");
    let description = description.to_lowercase().replace(['\u{2018}', '\u{2019}'], "'");
    ROWS.iter()
        .find(|row| {
            row.error == error
                && row.only.is_none_or(|only| only == spends)
                && description.contains(row.contains)
        })
        .unwrap_or(&UNKNOWN)
}

/// `error` and `error_description` of RFC 6749 section 5.2.
#[derive(Deserialize)]
pub(crate) struct OauthError {
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_description: Option<String>,
}

impl OauthError {
    /// Reads an OAuth error from a well-formed JSON object.
    pub(crate) fn from_json(body: &[u8]) -> Option<Self> {
        let [error, description] = json::members(body, ["error", "error_description"])?;
        Some(Self {
            error: error.text()?.to_owned(),
            error_description: description.text().map(str::to_owned),
        })
    }

    pub(crate) fn row(&self, spends: Spends) -> &'static Row {
        find(
            spends,
            &self.error,
            self.error_description.as_deref().unwrap_or_default(),
        )
    }
}

impl Row {
    /// Whether the client was authenticated, which happens before the grant is checked.
    pub(crate) fn client_passed(&self) -> bool {
        self.error == "invalid_grant" && self.verdict != Client && self.reason != RateLimited
    }

    /// The refusal of this row.
    ///
    /// A failing server (5xx) is never evidence against a grant or a client, whatever its body says: Salesforce
    /// documents those errors with HTTP 400.
    pub(crate) fn refusal(&self, status: StatusCode, headers: &HeaderMap) -> Refusal {
        let (verdict, reason) = match self.verdict {
            Dead | Client if status.is_server_error() => (MayPass, ServerUnavailable),
            verdict => (verdict, self.reason),
        };
        let wait = retry_after(headers).max((self.wait > NONE).then_some(self.wait));
        Refusal {
            verdict,
            reason,
            retry_after: wait,
        }
    }
}

/// What a response means that is neither a success nor an OAuth error.
pub(crate) fn unreadable(status: StatusCode) -> Failure {
    Failure::Unknown(if status.is_server_error() {
        Reason::ServerUnavailable
    } else {
        Reason::AnswerInvalid
    })
}

/// What a response without tokens means: a refusal if its body is a JSON OAuth error, otherwise an unknown outcome.
pub(crate) fn judge(spends: Spends, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Failure {
    if status.is_redirection() || status.is_informational() {
        return unreadable(status);
    }
    match OauthError::from_json(body) {
        Some(error) => Failure::Refused(error.row(spends).refusal(status, headers)),
        None => unreadable(status),
    }
}

/// No response may stop work for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3). A date is compared with the response's own
/// `Date`, so that no clock is read and none has to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
        let until = date(text)?;
        let now = date(headers.get(DATE)?.to_str().ok()?)?;
        Duration::try_from(until.duration_since(now)).unwrap_or(NONE)
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests;
