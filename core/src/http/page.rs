//! Pages for browsers: self-contained, without links, forms or scripts, and without any text from a URL.

use std::sync::LazyLock;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::{answer, body::Body, problem::Problem};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const STYLE: &str = ":root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}\
main{max-width:28rem;padding:2rem}h1{font-size:1.4rem;margin:0 0 .5rem}\
p{margin:.5rem 0}code{font-size:.9rem;opacity:.7}";

/// The policy of a page: a browser may show it. The style is allowed by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'",
    ))
});

/// Headers of every page and redirect. A popup keeps its opener, which the host's own final page may want to notify.
fn protect(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::CACHE_CONTROL, answer::NO_STORE);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// Escapes our own text for HTML, though it needs none today.
fn push_text(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            _ => html.push(character),
        }
    }
}

fn page(status: StatusCode, title: &str, text: &str, code: Option<&str>) -> Response<Body> {
    let mut html = String::with_capacity(1024);
    html.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    push_text(&mut html, title);
    html.push_str("</title><style>");
    html.push_str(STYLE);
    html.push_str("</style></head><body><main><h1>");
    push_text(&mut html, title);
    html.push_str("</h1><p>");
    push_text(&mut html, text);
    html.push_str("</p>");
    if let Some(code) = code {
        html.push_str("<p><code>");
        push_text(&mut html, code);
        html.push_str("</code></p>");
    }
    html.push_str("</main></body></html>\n");
    let mut response = answer::bare(status, HTML, Bytes::from(html));
    protect(response.headers_mut());
    response
}

/// The account is connected, and the host gave no redirect URI.
pub(super) fn connected() -> Response<Body> {
    page(
        StatusCode::OK,
        "Connected",
        "Your account is connected. You can close this window.",
        None,
    )
}

/// The attempt failed.
pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let code = problem.error.code();
    let mut response = page(
        problem.status(),
        "This did not work",
        code.message(),
        Some(code.as_str()),
    );
    problem.headers(&mut response);
    response
}

/// Redirects the browser to a GET, without leaking this URL (RFC 9700 section 4.12).
pub(super) fn see_other(url: &str) -> Option<Response<Body>> {
    let mut location = HeaderValue::try_from(url).ok()?;
    location.set_sensitive(true);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    protect(response.headers_mut());
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_policy_names_the_style() {
        let policy = POLICY.to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"));
    }

    /// Every message of the table fits on a page, and none contains markup.
    #[test]
    fn messages_are_text() {
        for code in Code::ALL {
            let mut html = String::new();
            push_text(&mut html, code.message());
            assert!(!html.contains(['<', '>']), "{html}");
        }
    }
}
