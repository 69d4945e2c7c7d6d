//! `/services/oauth2/authorize`: checks the request, then leads the browser through login and consent.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;

use crate::client_auth::{BAD_CLIENT_ID, OAuthError, oauth_error};
use crate::clock::Millis;
use crate::config::Client;
use crate::flow::{Code, Flow};
use crate::http::{Form, cookie, form_error, read_body, redirect, with_query};
use crate::ids;
use crate::log::Endpoint;
use crate::state::{Auth, Shared};

/// The name of the session cookie.
pub(crate) const COOKIE: &str = "sid";

/// `GET` or `POST /services/oauth2/authorize`
pub(crate) async fn authorize(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counters.add(Endpoint::Authorize);
    let (parts, body) = request.into_parts();
    let form = if parts.method == Method::POST {
        Form::parse(&read_body(body, 64 * 1024).await.unwrap_or_default())
    } else {
        Form::query(&parts.uri)
    };
    let browser = cookie(&parts.headers, COOKIE);
    let now = shared.clock.now();
    let mut auth = shared.auth();
    auth.forget_stale(now);
    match checked(&auth, &form, now) {
        Ok(flow) => {
            let id = ids::random(32);
            auth.flows.insert(id.clone(), flow);
            go_on(&mut auth, &id, browser, now)
        }
        Err(Refusal::Here(error)) => form_error(error.error, error.description),
        Err(Refusal::Redirect(location)) => redirect(&location),
    }
}

/// Why an authorization request is rejected.
enum Refusal {
    /// Client or callback cannot be trusted: the error is shown on this host.
    Here(OAuthError),
    /// The error is sent to the client.
    Redirect(String),
}

fn checked(auth: &Auth, form: &Form, now: Millis) -> Result<Flow, Refusal> {
    let client = form.get("client_id").and_then(|id| auth.clients.get(id));
    let client = client.ok_or(Refusal::Here(BAD_CLIENT_ID))?;
    let redirect_uri = callback(client, form.get("redirect_uri")).map_err(Refusal::Here)?;
    let challenge = form.get("code_challenge").map(str::to_owned);
    if challenge.is_none() && (client.pkce_required || auth.settings.pkce_required) {
        return Err(Refusal::Here(oauth_error(
            "invalid_request",
            "missing required code challenge",
        )));
    }
    let method = form.get("code_challenge_method");
    if method.is_some_and(|method| method != "S256") {
        return Err(Refusal::Here(oauth_error(
            "invalid_request",
            "code challenge method is not supported",
        )));
    }
    if challenge
        .as_deref()
        .is_some_and(|challenge| !is_challenge(challenge))
    {
        return Err(Refusal::Here(oauth_error(
            "invalid_request",
            "invalid code challenge",
        )));
    }
    let state = form.get("state").map(str::to_owned);
    let refuse =
        |error, description| Refusal::Redirect(failure(&redirect_uri, state.as_deref(), error, description));
    if form.get("response_type") != Some("code") {
        return Err(refuse("unsupported_response_type", "response type not supported"));
    }
    let scopes: Vec<String> = match form.get("scope") {
        Some(list) => list.split_whitespace().map(str::to_owned).collect(),
        None => client.scopes.clone(),
    };
    if scopes.iter().any(|scope| !is_scope(scope)) {
        return Err(refuse(
            "invalid_scope",
            "the requested scope is invalid, unknown, or malformed",
        ));
    }
    let prompts: Vec<&str> = form
        .get("prompt")
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    Ok(Flow {
        lacks_scope: scopes.iter().any(|scope| !client.scopes.contains(scope)),
        client_id: client.client_id.clone(),
        state,
        scopes,
        login_hint: form.get("login_hint").map(str::to_owned),
        created_at: now,
        wants_login: prompts.contains(&"login"),
        wants_choice: prompts.contains(&"select_account"),
        wants_consent: prompts.contains(&"consent"),
        challenge,
        nonce: form.get("nonce").map(str::to_owned),
        immediate: form.get("immediate") == Some("true"),
        redirect_uri,
    })
}

fn callback(client: &Client, asked: Option<&str>) -> Result<String, OAuthError> {
    match (asked, client.callbacks.as_slice()) {
        (Some(asked), registered) if registered.iter().any(|callback| callback == asked) => {
            Ok(asked.to_owned())
        }
        (Some(_), _) => Err(oauth_error(
            "redirect_uri_mismatch",
            "redirect_uri must match configuration",
        )),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(oauth_error("redirect_uri_missing", "redirect_uri not provided")),
    }
}

/// Unpadded base64url of 32 bytes.
fn is_challenge(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_scope(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn failure(redirect_uri: &str, state: Option<&str>, error: &str, description: &str) -> String {
    let mut pairs = vec![("error", error), ("error_description", description)];
    pairs.extend(state.map(|state| ("state", state)));
    with_query(redirect_uri, &pairs)
}

/// Where the browser would be sent after `user` logged in and allowed everything, without the pages.
pub(crate) fn approve(auth: &mut Auth, form: &Form, user: usize, now: Millis) -> Result<String, String> {
    match checked(auth, form, now) {
        Ok(flow) if flow.lacks_scope => Err("the client lacks a scope that was asked for".to_owned()),
        Ok(flow) => Ok(grant(auth, &flow, user, now)),
        Err(Refusal::Here(error)) => Err(error.description.to_owned()),
        Err(Refusal::Redirect(location)) => Ok(location),
    }
}

/// Redirects the browser to the next page of the flow, or back to the client with a code.
pub(crate) fn go_on(auth: &mut Auth, id: &str, browser: Option<&str>, now: Millis) -> Response {
    let Some(flow) = auth.flows.get(id).cloned() else {
        return crate::pages::gone();
    };
    let user = auth.logged_in(browser);
    let next = match user {
        None => Some("/login"),
        Some(_) if flow.wants_login => Some("/login"),
        Some(_) if flow.wants_choice => Some("/select"),
        Some(user) => {
            if flow.lacks_scope {
                auth.flows.remove(id);
                let text = "An unexpected error has occurred during authentication. Please try again.";
                return redirect(&refusal(&flow, "OAUTH_APPROVAL_ERROR_GENERIC", text));
            }
            let known = auth.approvals.get(&(user, flow.client_id.clone()));
            let allowed = known.is_some_and(|known| flow.scopes.iter().all(|scope| known.contains(scope)));
            (flow.wants_consent || !allowed).then_some("/consent")
        }
    };
    match (next, user) {
        (Some(_), _) if flow.immediate => {
            auth.flows.remove(id);
            redirect(&refusal(
                &flow,
                "immediate_unsuccessful",
                "user interaction required",
            ))
        }
        (None, Some(user)) => {
            auth.flows.remove(id);
            redirect(&grant(auth, &flow, user, now))
        }
        (next, _) => redirect(&format!("{}?flow={id}", next.unwrap_or("/login"))),
    }
}

/// The redirect to the client with an error.
pub(crate) fn refusal(flow: &Flow, error: &str, description: &str) -> String {
    failure(&flow.redirect_uri, flow.state.as_deref(), error, description)
}

/// The redirect to the client with a code.
fn grant(auth: &mut Auth, flow: &Flow, user: usize, now: Millis) -> String {
    let code = ids::code();
    let entry = Code {
        user,
        client_id: flow.client_id.clone(),
        redirect_uri: flow.redirect_uri.clone(),
        scope: flow.scopes.join(" "),
        challenge: flow.challenge.clone(),
        nonce: flow.nonce.clone(),
        issued_at: now,
        used: false,
    };
    let mut pairs = vec![("code", code.as_str())];
    pairs.extend(flow.state.as_deref().map(|state| ("state", state)));
    let location = with_query(&flow.redirect_uri, &pairs);
    auth.codes.insert(code, entry);
    location
}

impl Auth {
    /// The user whose browser has this cookie, if active and in an open org.
    pub(crate) fn logged_in(&self, cookie: Option<&str>) -> Option<usize> {
        let user = *self.browsers.get(cookie?)?;
        self.may_work(user).then_some(user)
    }
}
