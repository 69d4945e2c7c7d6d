//! `/services/oauth2/revoke` and `/services/oauth2/introspect`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client_auth::{Credentials, OAuthError};
use crate::http::{Form, form_error, json as json_answer, no_store, read_body};
use crate::ids;
use crate::log::Endpoint;
use crate::state::Shared;

const LARGEST: usize = 64 * 1024;

/// `POST` with a form, or `GET` with a query
pub(crate) async fn revoke(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counters.add(Endpoint::Revoke);
    let (parts, body) = request.into_parts();
    let mut form = Form::query(&parts.uri);
    if parts.method == Method::POST {
        form = Form::parse(&read_body(body, LARGEST).await.unwrap_or_default());
    }
    let now = shared.clock.now();
    let mut auth = shared.auth();
    if form
        .get("token")
        .is_some_and(|token| auth.revoke_token(token, now))
    {
        return no_store(Response::new(Body::empty()));
    }
    let (error, description) = ("invalid_token", "invalid token");
    if auth.settings.revoke_errors_as_json {
        let body = json!({ "error": error, "error_description": description });
        return no_store(json_answer(StatusCode::BAD_REQUEST, &body));
    }
    form_error(error, description)
}

/// `POST` with a form and the client's credentials
pub(crate) async fn introspect(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counters.add(Endpoint::Introspect);
    let (parts, body) = request.into_parts();
    let form = Form::parse(&read_body(body, LARGEST).await.unwrap_or_default());
    let described = Credentials::read(&parts.headers, &form)
        .and_then(|credentials| describe(&shared, &credentials, form.get("token").unwrap_or_default()));
    match described {
        Ok(body) => no_store(json_answer(StatusCode::OK, &body)),
        Err(OAuthError { error, description }) => {
            let body = json!({ "error": error, "error_description": description });
            no_store(json_answer(StatusCode::BAD_REQUEST, &body))
        }
    }
}

/// An app may introspect its own tokens only.
fn describe(shared: &Shared, credentials: &Credentials, token: &str) -> Result<Value, OAuthError> {
    let mut auth = shared.auth();
    let now = shared.clock.now();
    auth.authenticate(credentials)?;
    let access = auth.session(token, now, false).map(|(session, family)| {
        (
            family.user,
            family.client_id.clone(),
            family.scope.clone(),
            session.issued_at,
            Some(session.ends_at()),
        )
    });
    let found = access.or_else(|| {
        let record = auth
            .refresh
            .get(&ids::digest(token))
            .filter(|record| record.spent_at.is_none())?;
        let family = auth
            .families
            .get(record.family)
            .filter(|family| auth.within_policy(family, now))?;
        Some((
            family.user,
            family.client_id.clone(),
            family.scope.clone(),
            family.issued_at,
            None,
        ))
    });
    let Some((user, client_id, scope, issued_at, ends_at)) = found else {
        return Ok(json!({ "active": false }));
    };
    let user = auth.users.get(user).filter(|_| auth.may_work(user));
    let Some(user) = user.filter(|_| client_id == credentials.client_id) else {
        return Ok(json!({ "active": false }));
    };
    let token_type = if ends_at.is_some() {
        "access_token"
    } else {
        "refresh_token"
    };
    let mut body = json!({
        "active": true, "scope": scope, "client_id": client_id, "username": user.user.username,
        "sub": shared.identity_url(user), "token_type": token_type,
        "iat": issued_at.div_euclid(1000), "nbf": issued_at.div_euclid(1000),
    });
    if let Some(ends_at) = ends_at {
        body["exp"] = Value::from(ends_at.div_euclid(1000));
    }
    Ok(body)
}
