//! The two routes that a browser visits: where connecting begins, and where the provider sends it back to.

use http::{HeaderMap, Response, header};
use url::{Url, form_urlencoded};

use super::{
    body::Body,
    call::{Call, Reply},
    cookie::Cookies,
    key, page,
    problem::Problem,
    query::Query,
};
use crate::{
    connect::{Binding, Outcome},
    error::{Code, Error},
};

/// Refuses requests that are not a top-level navigation: an image or a frame on another site cannot begin an attempt in the
/// visitor's browser, and a prefetch cannot consume a link. Clients that send no such headers are not browsers that could
/// be tricked.
fn check_navigation(headers: &HeaderMap) -> Result<(), Error> {
    let says = |name: &str, wanted: &[u8]| headers.get(name).is_none_or(|value| value.as_bytes() == wanted);
    let prefetch = ["sec-purpose", "purpose", "x-moz"]
        .into_iter()
        .filter_map(|name| headers.get(name))
        .any(|value| {
            value
                .as_bytes()
                .windows(8)
                .any(|part| part.eq_ignore_ascii_case(b"prefetch"))
        });
    if says("sec-fetch-mode", b"navigate") && says("sec-fetch-dest", b"document") && !prefetch {
        Ok(())
    } else {
        Err(Code::NavigationRequired.into())
    }
}

/// `GET /connect/{integrationId}`: with a public key, or with a link, which carries what a public key may not set.
pub(super) fn connect(call: Call) -> Reply {
    Box::pin(async move {
        check_navigation(call.headers())?;
        let integration = call.broker().integration(call.integration()?);
        let query = Query::lenient(call.parts.uri.query(), &["public_key", "link", "redirect_uri"])?;
        let secret = Cookies::secret()?;
        let binding = Binding::new(secret.as_bytes());
        let broker = call.broker();
        let begin = match (query.get("public_key"), query.get("link")) {
            (None, None) => return Err(Code::PublicKeyMissing.into()),
            (Some(_), Some(_)) => return Err(Problem::from(Code::ParameterInvalid).because("link")),
            (None, Some(_)) if query.get("redirect_uri").is_some() => {
                return Err(Problem::from(Code::ParameterInvalid).because("redirect_uri"));
            }
            (None, Some(link)) => integration.begin_link(link, binding).await?,
            (Some(public), None) => {
                key::public(broker, &call.shared.admin, public, &integration).await?;
                let begin = integration.begin_connect(binding);
                match query.get("redirect_uri") {
                    Some(uri) => begin.return_to(uri),
                    None => begin,
                }
            }
        };
        let started = begin.await?;
        let state = Url::parse(&started.url)
            .ok()
            .and_then(|url| state_of(url.query().unwrap_or_default()));
        let answer = state.and_then(|state| {
            let mut response = page::see_other(&started.url)?;
            response
                .headers_mut()
                .insert(header::SET_COOKIE, call.shared.cookies.set(&state, &secret)?);
            Some(response)
        });
        answer.ok_or_else(|| Error::new(Code::Internal).because("authorize_url").into())
    })
}

/// The first `state` of a query, decoded.
fn state_of(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "state")
        .map(|(_, value)| value.into_owned())
}

/// `GET /callback/{integrationId}`: the browser is back. Its next destination was fixed when it left.
pub(super) fn callback(call: Call) -> Reply {
    Box::pin(async move {
        check_navigation(call.headers())?;
        let integration = call.broker().integration(call.integration()?);
        let query = call.parts.uri.query().unwrap_or_default();
        let state = state_of(query).unwrap_or_default();
        let cookies = call.shared.cookies;
        let binding = match cookies.read(call.headers(), &state) {
            Some(secret) => Binding::new(secret),
            // A binding that began no attempt.
            None => Binding::new(Cookies::secret()?.as_bytes()),
        };
        let outcome = integration.finish_connect(query, &binding).await?;
        let mut response = show(outcome);
        // The attempt is over, whatever the outcome.
        if let Some(cleared) = cookies.clear(&state) {
            response.headers_mut().insert(header::SET_COOKIE, cleared);
        }
        Ok(response)
    })
}

fn show(outcome: Outcome) -> Response<Body> {
    if let Some(response) = outcome.redirect().and_then(|url| page::see_other(&url)) {
        return response;
    }
    match outcome {
        Outcome::Connected { .. } => page::connected(),
        Outcome::Failed { error, .. } => page::problem(&error.into()),
    }
}
