use grantry::connection::Reason::AnswerInvalid;

use super::*;

const BOTH: [Spends; 2] = [CODE, REFRESH];

/// Kind of request (`None` is any), error, description; verdict, reason, wait in seconds.
type Case = (Option<Spends>, &'static str, &'static str, Verdict, Reason, u64);

/// What the documents and reports say, row by row.
#[rustfmt::skip]
const EXPECTED: &[Case] = &[
    (None, "invalid_grant", "expired access/refresh token", Dead, GrantExpiredOrRevoked, 0),
    (None, "invalid_grant", "Expired Access/Refresh Token.", Dead, GrantExpiredOrRevoked, 0),
    (None, "invalid_grant", "token request is already being processed", InProgress, AlreadyProcessing, 0),
    (None, "invalid_grant", "Token request is already being processed", InProgress, AlreadyProcessing, 0),
    (Some(REFRESH), "invalid_grant", "expired authorization code", InProgress, AlreadyProcessing, 0),
    (Some(CODE), "invalid_grant", "expired authorization code", Dead, CodeRejected, 0),
    (Some(CODE), "invalid_grant", "invalid authorization code", Dead, CodeRejected, 0),
    (Some(CODE), "invalid_grant", "Invalid authorization code", Dead, CodeRejected, 0),
    (Some(REFRESH), "invalid_grant", "invalid authorization code", MayPass, Unrecognized, 30),
    (Some(CODE), "invalid_grant", "missing code verifier", Dead, CodeRejected, 0),
    (Some(REFRESH), "invalid_grant", "missing code verifier", Client, RequestRejected, 0),
    (None, "invalid_grant", "authentication failure", Dead, AuthenticationFailure, 0),
    (None, "invalid_grant", "authentication failure - Invalid Password", Dead, AuthenticationFailure, 0),
    (None, "invalid_grant", "user hasn't approved this consumer", Dead, ApprovalMissing, 0),
    (None, "invalid_grant", "user hasn\u{2019}t approved this consumer", Dead, ApprovalMissing, 0),
    (None, "invalid_grant", "ip restricted", MayPass, IpRestricted, 3600),
    (None, "invalid_grant", "ip restricted or invalid login hours", MayPass, IpRestricted, 3600),
    (None, "invalid_grant", "Invalid Login Hours", MayPass, IpRestricted, 3600),
    (None, "invalid_grant", "audience is invalid", Client, ClientMisconfigured, 0),
    (None, "invalid_grant", "Audience validation failed", Client, ClientMisconfigured, 0),
    (None, "invalid_grant", "invalid assertion", Client, ClientMisconfigured, 0),
    (None, "invalid_grant", "user not found", MayPass, AuthenticationFailure, 900),
    (None, "invalid_grant", "invalid user credentials", MayPass, AuthenticationFailure, 900),
    (None, "invalid_grant", "no client credentials user enabled", Client, ClientMisconfigured, 0),
    (None, "invalid_grant", "client credentials flow not enabled", Client, ClientMisconfigured, 0),
    (None, "invalid_grant", "no valid scopes defined", Client, ScopeRejected, 0),
    (None, "invalid_grant", "request not supported on this domain", Client, ClientMisconfigured, 0),
    (None, "invalid_grant", "LOGIN_RATE_EXCEEDED", MayPass, RateLimited, 3600),
    (None, "invalid_grant", "login rate exceeded", MayPass, RateLimited, 3600),
    (None, "invalid_grant", "something new", MayPass, Unrecognized, 30),
    (None, "invalid_grant", "", MayPass, Unrecognized, 30),
    (None, "invalid_client_id", "client identifier invalid", Client, ClientIdInvalid, 0),
    (None, "invalid_client_id", "", Client, ClientIdInvalid, 0),
    (None, "invalid_client", "invalid client credentials", Client, ClientSecretInvalid, 0),
    (None, "invalid_client", "app must be installed into org", MayPass, AppBlocked, 900),
    (None, "invalid_client", "", Client, ClientInvalid, 0),
    (None, "invalid_client_credentials", "", Client, ClientSecretInvalid, 0),
    (None, "unauthorized_client", "", Client, ClientMisconfigured, 0),
    (None, "invalid_app_access", "user is not admin approved to access this app", MayPass, ApprovalMissing, 900),
    (None, "access_denied", "end-user denied authorization", MayPass, ApprovalMissing, 900),
    (None, "access-denied", "end-user denied authorization", MayPass, ApprovalMissing, 900),
    (None, "app_blocked", "", MayPass, AppBlocked, 900),
    (None, "fail_close_app_blocked", "", MayPass, AppBlocked, 900),
    (None, "app_not_found", "", MayPass, AppBlocked, 900),
    (None, "ecapp_policy_not_found", "", MayPass, AppBlocked, 900),
    (None, "oauth_policy_not_found", "", MayPass, AppBlocked, 900),
    (None, "invalid_distribution_state", "", MayPass, AppBlocked, 900),
    (None, "installation_error", "", MayPass, AppBlocked, 900),
    (None, "oauth_flow_disabled", "", MayPass, ClientMisconfigured, 900),
    (None, "invalid_session_level", "", Dead, SessionLevel, 0),
    (None, "redirect_uri_mismatch", "redirect_uri must match configuration", Client, ClientMisconfigured, 0),
    (None, "redirect_uri_missing", "", Client, RequestRejected, 0),
    (None, "unsupported_grant_type", "grant type not supported", Client, RequestRejected, 0),
    (None, "unsupported_response_type", "", Client, RequestRejected, 0),
    (Some(CODE), "invalid_request", "invalid code verifier", Dead, CodeRejected, 0),
    (Some(CODE), "invalid_request", "missing required code challenge", Dead, CodeRejected, 0),
    (Some(CODE), "invalid_request", "", Dead, RequestRejected, 0),
    (Some(REFRESH), "invalid_request", "refresh_token scope is required", Client, ClientMisconfigured, 0),
    (Some(REFRESH), "invalid_request", "", Client, RequestRejected, 0),
    (None, "invalid_scope", "the requested scope is invalid, unknown, or malformed", Client, ScopeRejected, 0),
    (None, "invalid_basic_auth_header", "", Client, RequestRejected, 0),
    (None, "invalid_assertion_type", "", Client, RequestRejected, 0),
    (None, "wrong_version", "", Client, RequestRejected, 0),
    (None, "use_dpop_nonce", "", Client, RequestRejected, 0),
    (None, "invalid_dpop_proof", "", Client, RequestRejected, 0),
    (None, "inactive_user", "user is inactive", Dead, UserInactive, 0),
    (None, "inactive_org", "org locked, closed or suspended", MayPass, OrgInactive, 3600),
    (None, "rate_limit_exceeded", "number of logins exceeded", MayPass, RateLimited, 3600),
    (None, "slow_down", "", MayPass, RateLimited, 5),
    (None, "authorization_pending", "", MayPass, ApprovalMissing, 5),
    (None, "server_error", "An unexpected error occurred: 1234-5678 (12345)", MayPass, ServerUnavailable, 0),
    (None, "service_unavailable", "", MayPass, ServerUnavailable, 0),
    (None, "temporarily_unavailable", "", MayPass, ServerUnavailable, 0),
    (None, "system_down", "", MayPass, ServerUnavailable, 0),
    (None, "unknown_error", "retry your request", MayPass, ServerUnavailable, 0),
    // The description of one error says nothing about another.
    (None, "teapot", "expired access/refresh token", MayPass, Unrecognized, 30),
    (None, "", "", MayPass, Unrecognized, 30),
];

fn refused(spends: Spends, status: u16, body: &str) -> Failure {
    let body = Bytes::copy_from_slice(body.as_bytes());
    judge(
        spends,
        StatusCode::from_u16(status).unwrap(),
        &HeaderMap::new(),
        &body,
    )
}

#[test]
fn every_row_decides_what_it_stands_for() {
    let mut used = std::collections::HashSet::new();
    for &(spends, error, description, verdict, reason, wait) in EXPECTED {
        let body = serde_json::json!({"error": error, "error_description": description}).to_string();
        for kind in BOTH {
            if spends.is_some_and(|only| only != kind) {
                continue;
            }
            let row = find(kind, error, description);
            used.insert(std::ptr::from_ref(row));
            let retry_after = (wait > 0).then(|| Duration::from_secs(wait));
            let expected = Failure::Refused(Refusal {
                verdict,
                reason,
                retry_after,
            });
            for status in [400, 401, 403] {
                assert_eq!(
                    refused(kind, status, &body),
                    expected,
                    "{kind:?} {error}: {description}"
                );
            }
        }
    }
    for row in ROWS {
        assert!(used.contains(&std::ptr::from_ref(row)), "no case for {row:?}");
    }
}

#[test]
fn a_server_in_trouble_kills_no_grant_and_accuses_no_client() {
    for (body, verdict, reason) in [
        (r#"{"error":"server_error"}"#, MayPass, ServerUnavailable),
        (r#"{"error":"service_unavailable"}"#, MayPass, ServerUnavailable),
        (r#"{"error":"invalid_client_id"}"#, MayPass, ServerUnavailable),
        (
            r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#,
            MayPass,
            ServerUnavailable,
        ),
        (
            r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#,
            InProgress,
            AlreadyProcessing,
        ),
    ] {
        assert_eq!(
            refused(REFRESH, 503, body),
            Failure::refused(verdict, reason),
            "{body}"
        );
    }
}

#[test]
fn what_is_not_an_oauth_error_in_json_proves_nothing() {
    let refusal = r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#;
    for (status, body, reason) in [
        (400, "", AnswerInvalid),
        (
            400,
            "error=invalid_grant&error_description=expired+access%2Frefresh+token",
            AnswerInvalid,
        ),
        (400, "<html>invalid_grant</html>", AnswerInvalid),
        (400, "[{\"errorCode\":\"INVALID_SESSION_ID\"}]", AnswerInvalid),
        (400, "{\"error\":null}", AnswerInvalid),
        (400, "{\"error\":{\"code\":\"invalid_grant\"}}", AnswerInvalid),
        (400, "{\"message\":\"invalid_grant\"}", AnswerInvalid),
        (
            400,
            "{\"error\":\"a\",\"error\":\"invalid_grant\"}",
            AnswerInvalid,
        ),
        (403, "<html>blocked</html>", AnswerInvalid),
        (404, "", AnswerInvalid),
        (420, "", AnswerInvalid),
        (429, "slow down", AnswerInvalid),
        (302, refusal, AnswerInvalid),
        (307, refusal, AnswerInvalid),
        (500, "oops", ServerUnavailable),
        (502, "<html></html>", ServerUnavailable),
        (503, "", ServerUnavailable),
    ] {
        assert_eq!(
            refused(REFRESH, status, body),
            Failure::Unknown(reason),
            "{status} {body}"
        );
    }
}

#[test]
fn retry_after_in_both_forms() {
    let now = "Sun, 22 Nov 2026 10:00:00 GMT";
    for (text, date, expected) in [
        ("0", None, Some(0)),
        ("120", None, Some(120)),
        (" 120 ", None, Some(120)),
        ("999999999999999999999", None, Some(86_400)),
        ("-1", None, None),
        ("soon", None, None),
        ("", None, None),
        ("Sun, 22 Nov 2026 10:01:30 GMT", Some(now), Some(90)),
        ("Sun, 22 Nov 2026 09:00:00 GMT", Some(now), Some(0)),
        ("Sun, 22 Nov 2026 10:01:30 GMT", None, None),
        ("Sun, 22 Nov 2099 10:01:30 GMT", Some(now), Some(86_400)),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        assert_eq!(
            retry_after(&headers),
            expected.map(Duration::from_secs),
            "{text:?}"
        );
    }
}

#[test]
fn the_longer_wait_counts() {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, "7200".parse().unwrap());
    let limited = find(REFRESH, "rate_limit_exceeded", "");
    assert_eq!(
        limited.refusal(StatusCode::BAD_REQUEST, &headers).retry_after,
        Some(Duration::from_secs(2 * 3600))
    );
    headers.insert(RETRY_AFTER, "1".parse().unwrap());
    assert_eq!(
        limited.refusal(StatusCode::BAD_REQUEST, &headers).retry_after,
        Some(HOUR)
    );
    let down = find(REFRESH, "server_error", "");
    assert_eq!(
        down.refusal(StatusCode::SERVICE_UNAVAILABLE, &headers)
            .retry_after,
        Some(Duration::from_secs(1))
    );
}
