//! The token endpoint: parses a request and dispatches it by grant type.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;

use crate::client_auth::{Credentials, OAuthError, oauth_error};
use crate::http::{Form, read_body};
use crate::log::Endpoint;
use crate::state::Shared;
use crate::token_answer::Format;
use crate::token_outcome::answer;
use crate::{token_code, token_refresh};

/// `POST /services/oauth2/token`
pub(crate) async fn token(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    const LARGEST: usize = 256 * 1024;
    let (parts, body) = request.into_parts();
    let refuse = |error: OAuthError, format| {
        shared.counters.add(Endpoint::TokenOther);
        answer(&Err(error), format, None, None)
    };
    if parts.method != Method::POST {
        return refuse(oauth_error("invalid_request", "must use HTTP POST"), Format::Json);
    }
    let Some(body) = read_body(body, LARGEST).await else {
        return refuse(oauth_error("invalid_request", "request too large"), Format::Json);
    };
    let form = Form::parse(&body);
    let format = Format::of(&form, &parts.headers);
    let grant_type = form.get("grant_type").unwrap_or_default();
    if grant_type != "refresh_token" && grant_type != "authorization_code" {
        return refuse(
            oauth_error("unsupported_grant_type", "grant type not supported"),
            format,
        );
    }
    let credentials = match Credentials::read(&parts.headers, &form) {
        Ok(credentials) => credentials,
        Err(error) => {
            if grant_type == "refresh_token" {
                token_refresh::note_unreadable(&shared, &form);
            }
            return refuse(error, format);
        }
    };
    if grant_type == "refresh_token" {
        shared.counters.add(Endpoint::TokenRefresh);
        token_refresh::refresh(&shared, credentials, &form, format).await
    } else {
        shared.counters.add(Endpoint::TokenCode);
        token_code::exchange(&shared, credentials, &form, format).await
    }
}
