//! Offerings, and what Salesforce's APIs take besides plain HTTP.

use grantry::{
    integration::{Environment, Offering},
    provider::{AuthorizeError, HeaderPattern, ProviderFacts},
};

/// The provider's name in paths and offerings.
pub const NAME: &str = "salesforce";

/// Request headers (REST API, Bulk API and Connect REST API Developer Guides, "Headers").
const REQUEST_HEADERS: [&str; 2] = ["x-chatter-entity-encoding", "x-prettyprint"];

/// Beginnings of request headers. Nothing under `x-sfdc-` passes as a whole: `x-sfdc-session` is a credential.
const REQUEST_HEADERS_UNDER: [&str; 2] = ["sforce-", "x-sfdc-packageversion-"];

/// A session id in the query logs a browser in.
const SESSION: &str = "sid";

/// Errors in a callback (Salesforce Help, "OAuth 2.0 Authorization Errors").
const AUTHORIZE_ERRORS: [(&str, AuthorizeError); 6] = [
    ("immediate_unsuccessful", AuthorizeError::LoginRequired),
    ("invalid_client_id", AuthorizeError::InvalidClient),
    ("redirect_uri_missing", AuthorizeError::RedirectUriMismatch),
    ("oauth_app_blocked", AuthorizeError::AppBlocked),
    ("oauth_ec_app_not_found", AuthorizeError::AppNotInstalled),
    ("oauth_approval_error_generic", AuthorizeError::ApprovalFailed),
];

/// Any path is an API path: apps serve their own under `/services/apexrest` and elsewhere.
pub(crate) fn facts() -> ProviderFacts {
    let offerings = [offering(Environment::PRODUCTION), offering(Environment::SANDBOX)];
    let mut facts = ProviderFacts::new(NAME, offerings);
    let exact = REQUEST_HEADERS.map(|name| HeaderPattern::Exact(name.to_owned()));
    let under = REQUEST_HEADERS_UNDER.map(|start| HeaderPattern::Prefix(start.to_owned()));
    facts.request_headers = exact.into_iter().chain(under).collect();
    facts.credential_query_keys = vec![SESSION.to_owned()];
    facts.authorize_errors = AUTHORIZE_ERRORS
        .map(|(code, error)| (code.to_owned(), error))
        .to_vec();
    facts
}

/// Scopes as Salesforce's discovery document names them.
pub(crate) fn offering(environment: Environment) -> Offering {
    let texts = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
    Offering {
        id: format!("{NAME}/{}", environment.as_str()),
        provider: NAME.to_owned(),
        environment,
        label: format!("Salesforce ({})", environment.as_str()),
        required_scopes: texts(&["api", "refresh_token"]),
        optional_scopes: texts(&[
            "web",
            "openid",
            "id",
            "profile",
            "email",
            "address",
            "phone",
            "full",
            "offline_access",
            "chatter_api",
            "custom_permissions",
            "lightning",
            "visualforce",
            "content",
            "wave_api",
            "eclair_api",
            "pardot_api",
            "interaction_api",
            "chatbot_api",
            "scrt_api",
            "sfap_api",
            "mcp_api",
            "einstein_gpt_api",
            "cdp_api",
            "cdp_ingest_api",
            "cdp_query_api",
            "cdp_profile_api",
            "cdp_segment_api",
            "cdp_identityresolution_api",
            "cdp_calculated_insight_api",
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_apis_pass_and_no_session_does() {
        let facts = facts();
        let passes = |name: &str| facts.request_headers.iter().any(|pattern| pattern.matches(name));
        for fine in [
            "Sforce-Call-Options",
            "Sforce-Query-Options",
            "Sforce-Auto-Assign",
            "X-PrettyPrint",
            "X-Chatter-Entity-Encoding",
            "x-sfdc-packageversion-acme",
        ] {
            assert!(passes(fine), "{fine}");
        }
        for hostile in [
            "X-SFDC-Session",
            "X_SFDC_Session",
            "Sforce_Call_Options",
            "X-Api-Key",
        ] {
            assert!(!passes(hostile), "{hostile}");
        }
        assert_eq!(facts.credential_query_keys, ["sid"]);
        assert!(facts.api_paths.is_empty());
    }

    #[test]
    fn errors_are_written_as_they_are_looked_up() {
        for (code, _) in facts().authorize_errors {
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
        }
    }
}
