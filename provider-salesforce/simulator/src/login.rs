//! The forms on the pages: login, choice of account, consent.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::SET_COOKIE;

use crate::authorize::{COOKIE, go_on, refusal};
use crate::http::{Form, cookie, read_body, redirect, set};
use crate::ids;
use crate::log::Endpoint;
use crate::pages::{ConsentPage, LoginPage, SelectPage, gone, show};
use crate::state::{Auth, Shared};

/// `GET /login?flow=`
pub(crate) async fn login_form(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let form = Form::query(request.uri());
    let id = form.get("flow").unwrap_or_default();
    let auth = shared.auth();
    let Some(flow) = auth.flows.get(id) else {
        return gone();
    };
    let username = flow.login_hint.as_deref().unwrap_or_default();
    show(&LoginPage {
        flow: id,
        username,
        message: None,
    })
}

/// `POST /login` with `flow`, `username` and `pw` (or `password`)
pub(crate) async fn login(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counters.add(Endpoint::Login);
    let form = read_form(request).await.1;
    let id = form.get("flow").unwrap_or_default();
    let mut auth = shared.auth();
    if !auth.flows.contains_key(id) {
        return gone();
    }
    let username = form.get("username").unwrap_or_default();
    let password = form
        .get("pw")
        .or_else(|| form.get("password"))
        .unwrap_or_default();
    let user = auth
        .usernames
        .get(username)
        .copied()
        .filter(|user| auth.may_log_in(*user, password));
    let Some(user) = user else {
        let message = Some("Check your username and password. The user may also be deactivated.");
        return show(&LoginPage {
            flow: id,
            username,
            message,
        });
    };
    let session = ids::random(40);
    auth.browsers.insert(session.clone(), user);
    if let Some(flow) = auth.flows.get_mut(id) {
        flow.wants_login = false;
        flow.wants_choice = false;
    }
    let mut response = go_on(&mut auth, id, Some(&session), shared.clock.now());
    set(
        &mut response,
        SET_COOKIE,
        &format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax"),
    );
    response
}

/// `GET /select?flow=`
pub(crate) async fn select_form(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let form = Form::query(request.uri());
    let id = form.get("flow").unwrap_or_default();
    let auth = shared.auth();
    let user = auth
        .logged_in(cookie(request.headers(), COOKIE))
        .and_then(|user| auth.users.get(user));
    match user.filter(|_| auth.flows.contains_key(id)) {
        Some(user) => show(&SelectPage {
            flow: id,
            username: &user.user.username,
        }),
        None => gone(),
    }
}

/// `POST /select` with `flow` and `choice=this|other`
pub(crate) async fn select(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (headers, form) = read_form(request).await;
    let id = form.get("flow").unwrap_or_default();
    let mut auth = shared.auth();
    let Some(flow) = auth.flows.get_mut(id) else {
        return gone();
    };
    flow.wants_choice = false;
    flow.wants_login |= form.get("choice") != Some("this");
    go_on(&mut auth, id, cookie(&headers, COOKIE), shared.clock.now())
}

/// `GET /consent?flow=`
pub(crate) async fn consent_form(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let form = Form::query(request.uri());
    let id = form.get("flow").unwrap_or_default();
    let auth = shared.auth();
    let user = auth
        .logged_in(cookie(request.headers(), COOKIE))
        .and_then(|user| auth.users.get(user));
    let (Some(flow), Some(user)) = (auth.flows.get(id), user) else {
        return gone();
    };
    let org = shared
        .orgs
        .get(user.user.org)
        .map_or("", |org| org.org.name.as_str());
    let username = &user.user.username;
    let page_data = ConsentPage {
        flow: id,
        client_id: &flow.client_id,
        username,
        org,
        scopes: &flow.scopes,
    };
    show(&page_data)
}

/// `POST /consent` with `flow` and `decision=allow|deny`
pub(crate) async fn consent(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counters.add(Endpoint::Consent);
    let (headers, form) = read_form(request).await;
    let id = form.get("flow").unwrap_or_default();
    let browser = cookie(&headers, COOKIE);
    let mut auth = shared.auth();
    let (Some(flow), Some(user)) = (auth.flows.get(id).cloned(), auth.logged_in(browser)) else {
        return gone();
    };
    if flow.wants_login || flow.wants_choice {
        return go_on(&mut auth, id, browser, shared.clock.now());
    }
    if form.get("decision") != Some("allow") {
        auth.flows.remove(id);
        return redirect(&refusal(&flow, "access_denied", "end-user denied authorization"));
    }
    auth.approvals
        .entry((user, flow.client_id))
        .or_default()
        .extend(flow.scopes);
    if let Some(flow) = auth.flows.get_mut(id) {
        flow.wants_consent = false;
    }
    go_on(&mut auth, id, browser, shared.clock.now())
}

async fn read_form(request: Request) -> (http::HeaderMap, Form) {
    let (parts, body) = request.into_parts();
    (
        parts.headers,
        Form::parse(&read_body(body, 64 * 1024).await.unwrap_or_default()),
    )
}

impl Auth {
    fn may_log_in(&self, user: usize, password: &str) -> bool {
        let user_entry = self.users.get(user);
        self.may_work(user) && user_entry.is_some_and(|user| user.user.password == password)
    }
}
