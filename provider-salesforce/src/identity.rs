//! Who connected, and whether a token still works.

use grantry::{
    connection::{Profile, Reason},
    integration::Client,
    provider::{AccessLife, Failure, ProviderHttp, TokenSet, Verdict},
    time::Timestamp,
};
use http::StatusCode;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::{
    config::Config,
    errors::{OauthError, Spends, unreadable},
    hosts,
    http::{INTROSPECT, USERINFO, get, post, send},
    json::{self, Given},
};

/// Longer names are cut.
const MAX_TEXT: usize = 255;

const ORGANIZATION: &str =
    "SELECT Id, Name, InstanceName, IsSandbox, OrganizationType FROM Organization LIMIT 1";

/// Where a bearer token may be sent: the set's origin, checked again, since this crate cannot see who filled it in.
fn instance(config: &Config, set: &TokenSet) -> Option<String> {
    set.instance_url
        .as_deref()
        .and_then(|url| config.instance(url).ok())
}

/// Introspection (RFC 7662) at the login host.
///
/// `active: false` has been reported for working tokens, so it is confirmed at the userinfo endpoint.
pub(crate) async fn access_life(
    http: &ProviderHttp,
    client: &Client<'_>,
    set: &TokenSet,
) -> Result<AccessLife, Failure> {
    let config = Config::of(client).map_err(|_| Failure::NotSent)?;
    let fields = [
        ("token", set.access_token.expose()),
        ("token_type_hint", "access_token"),
        ("client_id", client.client_id),
        ("client_secret", client.client_secret.expose()),
    ];
    let answer = send(http, post(&config.login.url(INTROSPECT), &fields)?).await?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(match OauthError::from_json(answer.body()) {
            Some(error) if !status.is_redirection() => {
                Failure::Refused(error.row(Spends::RefreshToken).refusal(status, answer.headers()))
            }
            _ => unreadable(status),
        });
    }
    let body: Value = serde_json::from_slice(answer.body()).map_err(|_| unreadable(status))?;
    match body.get("active") {
        Some(Value::Bool(true)) => {
            let exp = body.get("exp").and_then(Value::as_u64);
            Ok(AccessLife::Alive(exp.map(|seconds| {
                Timestamp(0) + std::time::Duration::from_secs(seconds)
            })))
        }
        Some(Value::Bool(false)) => confirm(http, &config, set).await,
        _ => Err(unreadable(status)),
    }
}

/// Whether the userinfo endpoint accepts the token (OpenID Connect Core section 5.3).
async fn confirm(http: &ProviderHttp, config: &Config, set: &TokenSet) -> Result<AccessLife, Failure> {
    let origin = instance(config, set).unwrap_or_else(|| config.login.origin.clone());
    let answer = send(http, get(&format!("{origin}{USERINFO}"), &set.access_token)?).await?;
    match answer.status() {
        StatusCode::OK => Ok(AccessLife::Alive(None)),
        StatusCode::UNAUTHORIZED => Ok(AccessLife::Dead),
        StatusCode::FORBIDDEN if answer.body().trim_ascii() == b"Bad_OAuth_Token" => Ok(AccessLife::Dead),
        status => Err(unreadable(status)),
    }
}

/// Asks the identity service, or the userinfo endpoint if that fails, and then for the org.
pub(crate) async fn identify(
    http: &ProviderHttp,
    client: &Client<'_>,
    set: &TokenSet,
) -> Result<Profile, Failure> {
    let config = Config::of(client).map_err(|_| Failure::NotSent)?;
    let instance = instance(&config, set);
    let mut found = Err(Failure::Unknown(Reason::AnswerInvalid));
    if let Some(subject) = &set.subject {
        found = ask_who(http, &config.login.url(&format!("/id/{subject}")), set).await;
    }
    if found.is_err() {
        let origin = instance.as_deref().unwrap_or(&config.login.origin);
        found = ask_who(http, &format!("{origin}{USERINFO}"), set).await;
    }
    let mut profile = found?;
    let told = format!("{}/{}", profile.org_id, profile.user_id);
    if set.subject.as_ref().is_some_and(|subject| *subject != told) {
        return Err(Failure::Unknown(Reason::IdentityChanged));
    }
    if let Some(origin) = instance {
        // A user without API access to the org can still connect.
        if let Some(org) = ask_organization(http, &config, &origin, set).await
            && org.get("Id").and_then(Value::as_str).and_then(hosts::long_id) == Some(profile.org_id.clone())
        {
            profile.org_name = text(&org, "Name");
            profile.region = region(&text(&org, "InstanceName"));
        }
    }
    Ok(profile)
}

/// Salesforce Help, "Identity URLs" and "Query for User Information": the two differ in a few field names.
async fn ask_who(http: &ProviderHttp, url: &str, set: &TokenSet) -> Result<Profile, Failure> {
    let answer = send(http, get(url, &set.access_token)?).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Failure::refused(Verdict::MayPass, Reason::ApprovalMissing));
        }
        status => return Err(unreadable(status)),
    }
    let invalid = Failure::Unknown(Reason::AnswerInvalid);
    let [user_id, org_id, email, display_name, name] = json::members(
        answer.body(),
        ["user_id", "organization_id", "email", "display_name", "name"],
    )
    .ok_or(invalid)?;
    let name = match shown(display_name.text()) {
        shown if shown.is_empty() => self::shown(name.text()),
        shown => shown,
    };
    let id = |given: &Given| given.text().and_then(hosts::long_id);
    Ok(Profile {
        user_id: id(&user_id).ok_or(invalid)?,
        org_id: id(&org_id).ok_or(invalid)?,
        email: shown(email.text()),
        name,
        ..Profile::default()
    })
}

/// The org's row (Object Reference, "Organization").
async fn ask_organization(
    http: &ProviderHttp,
    config: &Config,
    origin: &str,
    set: &TokenSet,
) -> Option<Value> {
    let query: String = byte_serialize(ORGANIZATION.as_bytes()).collect();
    let url = format!("{origin}/services/data/{}/query?q={query}", config.api_version);
    let answer = send(http, get(&url, &set.access_token).ok()?).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let mut body: Value = serde_json::from_slice(answer.body()).ok()?;
    Some(body.get_mut("records")?.get_mut(0)?.take())
}

/// The org's region: `NA`, `EU` or `AP` for old instance names such as `NA44`. Newer names such as `USA123` stand for
/// data centres rather than regions, and are returned whole.
fn region(instance: &str) -> String {
    let instance = instance.to_ascii_uppercase();
    let letters = instance.trim_end_matches(|c: char| c.is_ascii_digit());
    if ["NA", "EU", "AP"].contains(&letters) {
        return letters.to_owned();
    }
    instance
}

fn text(body: &Value, name: &str) -> String {
    shown(body.get(name).and_then(Value::as_str))
}

/// As it is shown to people: without control characters, and cut.
fn shown(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests;
