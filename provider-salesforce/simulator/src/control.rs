//! `/__control` and `/__log`: how tests steer and inspect the simulator from outside.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::config::Client;
use crate::faults::{Faults, TokenFault};
use crate::http::{Form, json as json_answer, no_store, read_body};
use crate::instance_faults::InstanceFault;
use crate::state::Shared;
use crate::steer;

/// The routes of the control API.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/__control", get(show).post(change).patch(change))
        .route(
            "/__control/faults",
            get(show_faults).post(add_faults).delete(clear_faults),
        )
        .route("/__control/grant", post(grant))
        .route("/__log", get(log))
}

/// What `POST /__control` may hold besides settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actions {
    advance_seconds: Option<f64>,
    revoke_user: Option<String>,
    expire_sessions: Option<Value>,
    deactivate_user: Option<String>,
    activate_user: Option<String>,
    deactivate_org: Option<String>,
    activate_org: Option<String>,
    restrict_ip: Option<String>,
    allow_ip: Option<String>,
    log_out_browsers: Option<bool>,
    client: Option<Client>,
    token_faults: Vec<TokenFault>,
    instance_faults: Vec<InstanceFault>,
}

const ACTIONS: [&str; 13] = [
    "advance_seconds",
    "revoke_user",
    "expire_sessions",
    "deactivate_user",
    "activate_user",
    "deactivate_org",
    "activate_org",
    "restrict_ip",
    "allow_ip",
    "log_out_browsers",
    "client",
    "token_faults",
    "instance_faults",
];

fn refused(message: &str) -> Response {
    json_answer(
        StatusCode::BAD_REQUEST,
        &json!({ "error": "bad_control_request", "message": message }),
    )
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<T, String> {
    let body = read_body(request.into_body(), 1024 * 1024)
        .await
        .ok_or("the body is too large")?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

async fn show(State(shared): State<Arc<Shared>>) -> Response {
    no_store(json_answer(StatusCode::OK, &describe(&shared)))
}

async fn change(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let changed = match read::<Map<String, Value>>(request).await {
        Ok(body) => apply(&shared, body),
        Err(message) => Err(message),
    };
    match changed {
        Ok(done) => {
            let mut body = describe(&shared);
            body["done"] = Value::Object(done);
            no_store(json_answer(StatusCode::OK, &body))
        }
        Err(message) => refused(&message),
    }
}

/// Does what a control request says, all or nothing but for the effects of actions that were valid.
fn apply(shared: &Shared, mut settings: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut actions = Map::new();
    for name in ACTIONS {
        if let Some(value) = settings.remove(name) {
            actions.insert(name.to_owned(), value);
        }
    }
    let actions: Actions =
        serde_json::from_value(Value::Object(actions)).map_err(|error| error.to_string())?;
    let mut auth = shared.auth();
    for name in [
        &actions.revoke_user,
        &actions.deactivate_user,
        &actions.activate_user,
    ]
    .into_iter()
    .flatten()
    {
        auth.user_named(name)?;
    }
    for org in [
        &actions.deactivate_org,
        &actions.activate_org,
        &actions.restrict_ip,
        &actions.allow_ip,
    ]
    .into_iter()
    .flatten()
    {
        auth.org_named(org)?;
    }
    let step = actions
        .advance_seconds
        .map(Duration::try_from_secs_f64)
        .transpose()
        .map_err(|error| error.to_string())?;
    let expired = match actions.expire_sessions {
        None | Some(Value::Bool(false)) => None,
        Some(Value::Bool(true)) => Some(None),
        Some(Value::String(name)) => Some(Some(auth.user_named(&name)?)),
        Some(_) => return Err("expire_sessions takes true or a username".to_owned()),
    };
    auth.settings = auth.settings.merged(settings)?;
    let mut done = Map::new();
    if let Some(step) = step {
        shared.clock.advance(step);
    }
    if let Some(client) = actions.client {
        auth.clients.insert(client.client_id.clone(), client);
    }
    if let Some(user) = expired {
        done.insert(
            "sessions_expired".to_owned(),
            Value::from(auth.expire_sessions(user)),
        );
    }
    if let Some(name) = actions.revoke_user {
        let user = auth.user_named(&name)?;
        done.insert("families_revoked".to_owned(), Value::from(auth.revoke_user(user)));
    }
    if let Some(name) = actions.deactivate_user {
        auth.set_active(&name, false)?;
    }
    if let Some(name) = actions.activate_user {
        auth.set_active(&name, true)?;
    }
    if let Some(org) = actions.deactivate_org {
        auth.set_org_active(&org, false)?;
    }
    if let Some(org) = actions.activate_org {
        auth.set_org_active(&org, true)?;
    }
    if let Some(org) = actions.restrict_ip {
        auth.set_ip_allowed(&org, false)?;
    }
    if let Some(org) = actions.allow_ip {
        auth.set_ip_allowed(&org, true)?;
    }
    if actions.log_out_browsers == Some(true) {
        auth.browsers.clear();
    }
    auth.faults.token.extend(actions.token_faults);
    auth.faults.instance.extend(actions.instance_faults);
    Ok(done)
}

fn describe(shared: &Shared) -> Value {
    let auth = shared.auth();
    let users: Vec<Value> = auth
        .users
        .iter()
        .take(100)
        .map(|user| {
            let org = shared.orgs.get(user.user.org);
            json!({
                "username": user.user.username, "email": user.user.email, "password": user.user.password,
                "user_id": user.id18, "org_id": user.org_id18, "active": user.active,
                "org_name": org.map(|org| org.org.name.as_str()),
                "is_sandbox": org.map(|org| org.org.is_sandbox),
                "org_active": !auth.locked_orgs.contains(&user.user.org),
                "ip_allowed": !auth.ip_restricted_orgs.contains(&user.user.org),
            })
        })
        .collect();
    json!({
        "settings": auth.settings, "faults": auth.faults,
        "clock": { "now": shared.clock.now(), "ahead_ms": shared.clock.offset() },
        "login_url": shared.login_url, "instance_url": shared.instance_url,
        "clients": auth.clients.values().collect::<Vec<_>>(), "user_count": auth.users.len(), "users": users,
    })
}

async fn show_faults(State(shared): State<Arc<Shared>>) -> Response {
    json_answer(StatusCode::OK, &shared.auth().faults)
}

async fn add_faults(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match read::<Faults>(request).await {
        Ok(more) => {
            let mut auth = shared.auth();
            auth.faults.token.extend(more.token);
            auth.faults.instance.extend(more.instance);
            json_answer(StatusCode::OK, &auth.faults)
        }
        Err(message) => refused(&message),
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Response {
    let mut auth = shared.auth();
    auth.faults = Faults::default();
    json_answer(StatusCode::OK, &auth.faults)
}

/// What `POST /__control/grant` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRequest {
    username: String,
    client_id: Option<String>,
    scope: Option<String>,
}

async fn grant(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let granted = match read::<GrantRequest>(request).await {
        Ok(asked) => steer::grant(
            &shared,
            &asked.username,
            asked.client_id.as_deref(),
            asked.scope.as_deref(),
        ),
        Err(message) => Err(message),
    };
    match granted {
        Ok(tokens) => no_store(json_answer(StatusCode::OK, &tokens)),
        Err(message) => refused(&message),
    }
}

async fn log(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let query = Form::query(request.uri());
    match query.get("since").map(str::parse::<u64>).transpose() {
        Ok(since) => no_store(json_answer(
            StatusCode::OK,
            &steer::report(&shared, since.unwrap_or(0)),
        )),
        Err(_) => refused("since takes a number"),
    }
}
