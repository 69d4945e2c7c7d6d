//! `grant_type=authorization_code`: checks the code and PKCE.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::client_auth::{Credentials, IN_WORK, OAuthError, oauth_error};
use crate::clock::minutes;
use crate::faults::TokenFaultKind;
use crate::http::Form;
use crate::ids;
use crate::in_flight::Processing;
use crate::state::Shared;
use crate::token_answer::{Draft, Format};
use crate::token_outcome::{Decision, conclude, lateness};

const INVALID_CODE: OAuthError = oauth_error("invalid_grant", "invalid authorization code");
const EXPIRED_CODE: OAuthError = oauth_error("invalid_grant", "expired authorization code");
const MISSING_VERIFIER: OAuthError = oauth_error("invalid_grant", "missing required code verifier");
const WRONG_VERIFIER: OAuthError = oauth_error("invalid_request", "invalid code verifier");
const WRONG_CALLBACK: OAuthError =
    oauth_error("redirect_uri_mismatch", "redirect_uri must match configuration");
const MISSING_CALLBACK: OAuthError = oauth_error("redirect_uri_missing", "redirect_uri not provided");

/// What a code exchange presents.
#[derive(Debug)]
struct Presented {
    credentials: Credentials,
    code: Option<String>,
    redirect_uri: Option<String>,
    verifier: Option<String>,
}

/// Handles a code exchange.
pub(crate) async fn exchange(
    shared: &Arc<Shared>,
    credentials: Credentials,
    form: &Form,
    format: Format,
) -> Response {
    let field = |name| form.get(name).map(str::to_owned);
    let presented = Presented {
        credentials,
        code: field("code"),
        redirect_uri: field("redirect_uri"),
        verifier: field("code_verifier"),
    };
    let (fault, latency) = receive(shared, &presented);
    let late = lateness(fault.as_ref());
    let takes_time = !latency.is_zero() || !late.is_zero();
    let work = process(Arc::clone(shared), presented, late, latency);
    conclude(shared, fault, None, format, takes_time, work).await
}

/// The pending fault for this request, and how long to process it.
fn receive(shared: &Shared, presented: &Presented) -> (Option<TokenFaultKind>, Duration) {
    let mut auth = shared.auth();
    let owner = presented
        .code
        .as_ref()
        .and_then(|code| auth.codes.get(code))
        .map(|code| code.user);
    let username = owner
        .and_then(|user| auth.users.get(user))
        .map(|user| user.user.username.clone());
    let fault = auth.faults.take_token("authorization_code", username.as_deref());
    (fault, Duration::from_millis(auth.settings.token_latency_ms))
}

async fn process(
    shared: Arc<Shared>,
    presented: Presented,
    late: Duration,
    latency: Duration,
) -> Option<Decision> {
    if !shared.pause(late).await {
        return None;
    }
    let processing = match arrive(&shared, &presented) {
        Ok(processing) => processing,
        Err(error) => return Some(error.into()),
    };
    if !shared.pause(latency).await {
        return None;
    }
    let verdict = decide(&shared, &presented).map(|draft| draft.finish(&shared));
    Some(Decision {
        verdict,
        processing: Some(processing),
    })
}

fn arrive(shared: &Arc<Shared>, presented: &Presented) -> Result<Processing, OAuthError> {
    let mut auth = shared.auth();
    auth.authenticate(&presented.credentials)?;
    let code = presented.code.as_deref().ok_or(INVALID_CODE)?;
    Processing::start(shared, &mut auth, ids::digest(code)).ok_or(IN_WORK)
}

/// Any error except the client's authentication spends the code.
fn decide(shared: &Shared, presented: &Presented) -> Result<Draft, OAuthError> {
    let mut auth = shared.auth();
    let now = shared.clock.now();
    let lifetime = minutes(auth.settings.code_minutes);
    let entry = presented
        .code
        .as_deref()
        .and_then(|code| auth.codes.get_mut(code))
        .ok_or(INVALID_CODE)?;
    if entry.client_id != presented.credentials.client_id {
        return Err(INVALID_CODE);
    }
    if entry.used || now - entry.issued_at >= lifetime {
        return Err(EXPIRED_CODE);
    }
    entry.used = true;
    let code = entry.clone();
    match &presented.redirect_uri {
        Some(uri) if *uri == code.redirect_uri => {}
        Some(_) => return Err(WRONG_CALLBACK),
        None => return Err(MISSING_CALLBACK),
    }
    if let Some(challenge) = &code.challenge {
        let verifier = presented.verifier.as_deref().ok_or(MISSING_VERIFIER)?;
        if URL_SAFE_NO_PAD.encode(ids::digest(verifier)) != *challenge {
            return Err(WRONG_VERIFIER);
        }
    }
    if let Some((_, error)) = auth.barred(code.user) {
        return Err(error);
    }
    let family = auth.begin_family(code.user, &code.client_id, code.scope, code.nonce, now);
    Draft::issue(shared, &mut auth, family, true, now).ok_or(INVALID_CODE)
}
