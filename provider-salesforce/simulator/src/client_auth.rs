//! Client authentication at the token and introspection endpoints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::Client;
use crate::http::Form;
use crate::state::Auth;

/// An OAuth error of the token endpoint, sent with status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OAuthError {
    pub(crate) error: &'static str,
    pub(crate) description: &'static str,
}

pub(crate) const fn oauth_error(error: &'static str, description: &'static str) -> OAuthError {
    OAuthError { error, description }
}

pub(crate) const EXPIRED_TOKEN: OAuthError = oauth_error("invalid_grant", "expired access/refresh token");
pub(crate) const IN_WORK: OAuthError =
    oauth_error("invalid_grant", "token request is already being processed");
pub(crate) const INACTIVE_USER: OAuthError = oauth_error("inactive_user", "user is inactive");
pub(crate) const INACTIVE_ORG: OAuthError = oauth_error("inactive_org", "org locked, closed or suspended");
pub(crate) const IP_RESTRICTED: OAuthError = oauth_error("invalid_grant", "ip restricted");
pub(crate) const BAD_CLIENT_ID: OAuthError = oauth_error("invalid_client_id", "client identifier invalid");
pub(crate) const BAD_SECRET: OAuthError = oauth_error("invalid_client", "invalid client credentials");
const BAD_BASIC: OAuthError = oauth_error("invalid_basic_auth_header", "invalid basic authorization header");

/// A request's client credentials. Those in the body take precedence over the header.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) client_id: String,
    pub(crate) secret: Option<String>,
}

impl Credentials {
    pub(crate) fn read(headers: &HeaderMap, form: &Form) -> Result<Self, OAuthError> {
        if let Some(client_id) = form.get("client_id") {
            let secret = form.get("client_secret").map(str::to_owned);
            return Ok(Self {
                client_id: client_id.to_owned(),
                secret,
            });
        }
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(Self::default());
        };
        let text = header.to_str().ok().and_then(|text| text.split_once(' '));
        let encoded = text
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .ok_or(BAD_BASIC)?
            .1;
        let decoded = STANDARD
            .decode(encoded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or(BAD_BASIC)?;
        let (client_id, secret) = decoded.split_once(':').ok_or(BAD_BASIC)?;
        let secret = Some(secret)
            .filter(|secret| !secret.is_empty())
            .map(str::to_owned);
        Ok(Self {
            client_id: client_id.to_owned(),
            secret,
        })
    }
}

impl Auth {
    /// Authenticates the client: first the id, then the secret.
    pub(crate) fn authenticate(&self, credentials: &Credentials) -> Result<&Client, OAuthError> {
        let client = self.clients.get(&credentials.client_id).ok_or(BAD_CLIENT_ID)?;
        match &credentials.secret {
            Some(secret) if *secret == client.client_secret => Ok(client),
            None if !client.secret_required => Ok(client),
            _ => Err(BAD_SECRET),
        }
    }
}
