//! Who the token's user is: userinfo, the identity URL, and the discovery document.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::clock::iso_time;
use crate::http::{FORM, Form, answer, bearer, json as json_answer, no_store, read_body};
use crate::ids::to_15;
use crate::log::Endpoint;
use crate::state::Shared;
use crate::users::UserState;

const TEXT: &str = "text/html;charset=UTF-8";
const PACIFIC_OFFSET_MS: i64 = -28_800_000;

/// Why an identity is not revealed.
enum Refusal {
    BadToken,
    MissingToken,
    WrongOrg,
    BadId,
    Inactive,
}

impl Refusal {
    fn response(&self) -> Response {
        let (status, text) = match self {
            Self::BadToken => (StatusCode::FORBIDDEN, "Bad_OAuth_Token"),
            Self::MissingToken => (StatusCode::FORBIDDEN, "Missing_OAuth_Token"),
            Self::WrongOrg => (StatusCode::FORBIDDEN, "Wrong_Org"),
            Self::BadId => (StatusCode::NOT_FOUND, "Bad_Id"),
            Self::Inactive => (StatusCode::NOT_FOUND, "Inactive"),
        };
        no_store(answer(status, TEXT, text))
    }
}

/// `GET` or `POST /services/oauth2/userinfo`
pub(crate) async fn userinfo(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counters.add(Endpoint::Userinfo);
    let (token, query) = read_token(request).await;
    match tell(&shared, token, &query, None) {
        Ok(identity) => identity.userinfo(),
        Err(refusal) => refusal.response(),
    }
}

/// `GET /id/{org}/{user}`
pub(crate) async fn identity(
    State(shared): State<Arc<Shared>>,
    Path((org, user)): Path<(String, String)>,
    request: Request,
) -> Response {
    shared.counters.add(Endpoint::Identity);
    let (token, query) = read_token(request).await;
    match tell(&shared, token, &query, Some((org, user))) {
        Ok(identity) => identity.identity(),
        Err(refusal) => refusal.response(),
    }
}

/// The token of the header, or else of the form or query.
async fn read_token(request: Request) -> (Option<String>, Form) {
    let (parts, body) = request.into_parts();
    let query = Form::query(&parts.uri);
    if let Some(token) = bearer(&parts.headers) {
        return (Some(token.to_owned()), query);
    }
    let content_type = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if parts.method == Method::POST && content_type.is_some_and(|value| value.starts_with(FORM)) {
        let form = Form::parse(&read_body(body, 64 * 1024).await.unwrap_or_default());
        return (form.get("access_token").map(str::to_owned), query);
    }
    let token = query
        .get("oauth_token")
        .or_else(|| query.get("access_token"))
        .map(str::to_owned);
    (token, query)
}

/// A user as the identity answers describe it.
struct Identity {
    id: String,
    user: Value,
    urls: Map<String, Value>,
    base: String,
    modified: String,
}

fn tell(
    shared: &Shared,
    token: Option<String>,
    query: &Form,
    asked: Option<(String, String)>,
) -> Result<Identity, Refusal> {
    let token = token.ok_or(Refusal::MissingToken)?;
    let mut auth = shared.auth();
    let now = shared.clock.now();
    let (_, family) = auth.session(&token, now, true).ok_or(Refusal::BadToken)?;
    let owner = family.user;
    if !auth.may_work(owner) {
        return Err(Refusal::Inactive);
    }
    let user = auth.users.get(owner).ok_or(Refusal::BadToken)?;
    let user = match asked {
        Some((org, id)) => {
            let org = to_15(&org).ok_or(Refusal::BadId)?;
            let id = to_15(&id).ok_or(Refusal::BadId)?;
            if !user.org_id18.starts_with(org) {
                return Err(Refusal::WrongOrg);
            }
            let of_org = |other: &&UserState| other.user.org == user.user.org && other.user.id == id;
            auth.users.iter().find(of_org).ok_or(Refusal::BadId)?
        }
        None => user,
    };
    let version = query.get("version").filter(|version| *version != "latest");
    let version = match (query.get("version"), version) {
        (Some(_), None) => crate::rest::LATEST,
        (_, Some(version)) => version,
        (None, None) => "{version}",
    };
    Ok(Identity {
        id: shared.identity_url(user),
        urls: urls(shared, user, version),
        base: shared.instance_url.clone(),
        modified: iso_time(now - 86_400_000),
        user: json!({
            "user_id": user.id18, "org_id": user.org_id18, "username": user.user.username,
            "nick": user.user.username.split('@').next(), "email": user.user.email,
            "first": user.user.first_name, "last": user.user.last_name, "active": user.active,
            "name": format!("{} {}", user.user.first_name, user.user.last_name),
        }),
    })
}

fn urls(shared: &Shared, user: &UserState, version: &str) -> Map<String, Value> {
    let base = &shared.instance_url;
    let rest = format!("{base}/services/data/v{version}/");
    let org = user.org_id18.get(..15).unwrap_or_default();
    let mut urls = Map::new();
    let mut put = |name: &str, url: String| urls.insert(name.to_owned(), Value::String(url));
    for (name, kind) in [("enterprise", "c"), ("metadata", "m"), ("partner", "u")] {
        put(name, format!("{base}/services/Soap/{kind}/{version}/{org}"));
    }
    put("rest", rest.clone());
    for (name, path) in [
        ("sobjects", "sobjects/"),
        ("search", "search/"),
        ("query", "query/"),
        ("recent", "recent/"),
        ("tooling_rest", "tooling/"),
        ("feeds", "chatter/feeds"),
        ("groups", "chatter/groups"),
        ("users", "chatter/users"),
        ("feed_items", "chatter/feed-items"),
        ("feed_elements", "chatter/feed-elements"),
    ] {
        put(name, format!("{rest}{path}"));
    }
    put("tooling_soap", format!("{base}/services/Soap/T/{version}/{org}"));
    put("profile", format!("{base}/{}", user.id18));
    put("custom_domain", base.clone());
    urls
}

impl Identity {
    fn photos(&self) -> Value {
        json!({
            "picture": format!("{}/profilephoto/005/F", self.base),
            "thumbnail": format!("{}/profilephoto/005/T", self.base),
        })
    }

    fn userinfo(&self) -> Response {
        let user = &self.user;
        let body = json!({
            "sub": self.id, "user_id": user["user_id"], "organization_id": user["org_id"],
            "preferred_username": user["username"], "nickname": user["nick"], "name": user["name"],
            "email": user["email"], "email_verified": true,
            "given_name": user["first"], "family_name": user["last"],
            "zoneinfo": "America/Los_Angeles", "photos": self.photos(),
            "profile": self.urls["profile"], "picture": self.photos()["picture"], "address": { "country": "US" },
            "is_salesforce_integration_user": false, "urls": self.urls, "active": user["active"],
            "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": PACIFIC_OFFSET_MS,
            "updated_at": self.modified, "is_app_installed": true,
        });
        no_store(json_answer(StatusCode::OK, &body))
    }

    fn identity(&self) -> Response {
        let user = &self.user;
        let body = json!({
            "id": self.id, "asserted_user": true, "user_id": user["user_id"], "organization_id": user["org_id"],
            "username": user["username"], "nick_name": user["nick"], "display_name": user["name"],
            "email": user["email"], "email_verified": true,
            "first_name": user["first"], "last_name": user["last"],
            "timezone": "America/Los_Angeles", "photos": self.photos(),
            "addr_street": null, "addr_city": null, "addr_state": null, "addr_country": "US", "addr_zip": null,
            "mobile_phone": null, "mobile_phone_verified": false, "is_lightning_login_user": false,
            "status": { "created_date": null, "body": null }, "urls": self.urls, "active": user["active"],
            "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": PACIFIC_OFFSET_MS,
            "last_modified_date": self.modified, "is_app_installed": true,
        });
        no_store(json_answer(StatusCode::OK, &body))
    }
}

/// `GET /.well-known/openid-configuration`
pub(crate) async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.counters.add(Endpoint::Discovery);
    let login = &shared.login_url;
    let body = json!({
        "issuer": login,
        "authorization_endpoint": format!("{login}/services/oauth2/authorize"),
        "token_endpoint": format!("{login}/services/oauth2/token"),
        "revocation_endpoint": format!("{login}/services/oauth2/revoke"),
        "userinfo_endpoint": format!("{login}/services/oauth2/userinfo"),
        "introspection_endpoint": format!("{login}/services/oauth2/introspect"),
        "jwks_uri": format!("{login}/id/keys"),
        "scopes_supported": ["id", "profile", "email", "address", "phone", "openid", "api", "web", "full",
            "chatter_api", "refresh_token", "offline_access"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "display_values_supported": ["page", "popup", "touch"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": ["active", "address", "email", "email_verified", "family_name", "given_name",
            "is_app_installed", "language", "locale", "name", "nickname", "organization_id", "photos", "picture",
            "preferred_username", "profile", "sub", "updated_at", "urls", "user_id", "user_type", "zoneinfo"],
    });
    json_answer(StatusCode::OK, &body)
}

/// `GET /id/keys`
pub(crate) async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    answer(
        StatusCode::OK,
        crate::http::JSON,
        Body::from(shared.signer.key_set().to_string()),
    )
}
