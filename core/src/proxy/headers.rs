//! Which headers cross the proxy, as data. Request headers pass by an allowlist, since a caller must not speak for the
//! broker; response headers by a denylist, since they are part of the provider's response. Request headers of one
//! provider's API are in its [`ProviderFacts`](crate::provider::ProviderFacts).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::provider::HeaderPattern;

/// Request headers that pass, to any provider. Sorted.
const SENT: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "digest",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "prefer",
    "range",
    "soapaction",
    "traceparent",
    "tracestate",
    "x-correlation-id",
    "x-request-id",
];

/// Request headers that never pass, for any provider: they authenticate, route or frame a request, or belong to a
/// connection. Sorted.
const OURS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Prefixes of such names.
const OURS_UNDER: &[&str] = &["proxy-", "x-forwarded-"];

/// Request headers of which the last value wins.
const ONCE: &[HeaderName] = &[
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
];

/// Response headers that do not pass: those of the connection to the provider, those that would set browser state or policy
/// for the host's own origin, and those that speak for the provider's origin. Sorted.
const KEPT_BACK: &[&str] = &[
    "accept-ch",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "alt-svc",
    "clear-site-data",
    "connection",
    "content-security-policy",
    "content-security-policy-report-only",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "expect-ct",
    "keep-alive",
    "nel",
    "origin-agent-cluster",
    "permissions-policy",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "public-key-pins",
    "public-key-pins-report-only",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "sourcemap",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-frame-options",
];

/// The most headers and bytes of headers that a call may have.
pub(super) const MAX_HEADERS: usize = 128;
pub(super) const MAX_BYTES: usize = 64 * 1024;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("grantry/", env!("CARGO_PKG_VERSION")));

/// Whether a request header never passes, for any provider. Names with `_` are among them: some servers treat `_` as `-`.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    OURS.binary_search(&name).is_ok()
        || OURS_UNDER.iter().any(|start| name.starts_with(start))
        || name.contains('_')
}

/// Whether a request header passes: one of HTTP's own, or one of the provider's API.
pub(super) fn is_sent(name: &HeaderName, provider: &[HeaderPattern]) -> bool {
    let text = name.as_str();
    let api = || provider.iter().any(|pattern| pattern.matches(text));
    !is_ours(name) && (SENT.binary_search(&text).is_ok() || api())
}

/// Whether a response header passes.
fn is_handed_on(name: &HeaderName) -> bool {
    KEPT_BACK.binary_search(&name.as_str()).is_err()
}

/// The headers that a `Connection` header names: they belong to the connection that it came over.
pub(super) fn named(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// The headers of a request: the caller's that passed, then ours, which overwrite them.
pub(super) fn outgoing<'a>(
    given: impl ExactSizeIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    host: &HeaderValue,
    authorization: &HeaderValue,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(given.len() + 4);
    for (name, value) in given {
        if ONCE.contains(name) {
            headers.insert(name.clone(), value.clone());
        } else {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::HOST, host.clone());
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::AUTHORIZATION, authorization.clone());
    headers
}

/// Removes from a response the headers that must not pass.
pub(super) fn filter_answer(headers: &mut HeaderMap) {
    // Nearly every response loses at most one or two: collect first, then remove.
    let mut drop: Vec<HeaderName> = Vec::new();
    for (name, value) in &*headers {
        if !is_handed_on(name) {
            if name == header::CONNECTION {
                drop.extend(
                    named(value).filter(|n| *n != header::CONTENT_LENGTH && *n != header::CONTENT_TYPE),
                );
            } else if name == header::TRANSFER_ENCODING {
                // With chunks, Content-Length is not the length.
                drop.push(header::CONTENT_LENGTH);
            }
            drop.push(name.clone());
        }
    }
    for name in &drop {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        HeaderName::from_bytes(text.as_bytes()).unwrap()
    }

    fn provider() -> [HeaderPattern; 2] {
        [
            HeaderPattern::Prefix("acme-".to_owned()),
            HeaderPattern::Exact("X-PrettyPrint".to_owned()),
        ]
    }

    #[test]
    fn lists_are_sorted_and_lower_case() {
        for list in [SENT, OURS, KEPT_BACK] {
            assert!(list.is_sorted_by(|a, b| a < b));
            assert!(list.iter().all(|name| {
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b"-0123456789".contains(&b))
            }));
        }
    }

    /// P24 to P30: headers that a caller must not set, in every spelling.
    #[test]
    fn hostile_request_headers_do_not_pass() {
        let hostile = [
            "Authorization",
            "AUTHORIZATION",
            "Author_ization",
            "Proxy-Authorization",
            "X-Authorization",
            "Cookie",
            "Cookie2",
            "Set-Cookie",
            "Host",
            "X-Host",
            "X-Forwarded-Host",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Uri",
            "X-Forwarded-Prefix",
            "X-Forwarded-User",
            "Forwarded",
            "X-Real-IP",
            "X_Real_IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
            "Via",
            "Content-Length",
            "Content_Length",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Connection",
            "Proxy-Connection",
            "Keep-Alive",
            "HTTP2-Settings",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-Acme-Session",
            "X_Acme_Session",
            "Acme_Call_Options",
            "Acme-Call_Options",
            "Content_Type",
            "User-Agent",
            "Origin",
            "Referer",
            "X-Connect-Bearer-Urls",
            "Sec-Fetch-Site",
            "X-Api-Key",
            "X-Connection-Id",
            "X-Integration-Id",
        ];
        for hostile in hostile {
            assert!(!is_sent(&name(hostile), &provider()), "{hostile}");
        }
        let fine = [
            "Accept",
            "accept-encoding",
            "Content-Type",
            "Content-Encoding",
            "If-Match",
            "If-None-Match",
            "Range",
            "Prefer",
        ];
        let own = ["Acme-Call-Options", "ACME-", "X-PrettyPrint"];
        for fine in fine.iter().chain(&own) {
            assert!(is_sent(&name(fine), &provider()), "{fine}");
        }
        for other in own {
            assert!(!is_sent(&name(other), &[]), "{other}");
        }
    }

    /// A provider that lets everything pass does not open what is the broker's.
    #[test]
    fn no_provider_lets_the_brokers_headers_pass() {
        let all = [HeaderPattern::Prefix(String::new())];
        for ours in OURS
            .iter()
            .chain(&["proxy-authorization", "x-forwarded-for", "a_b"])
        {
            assert!(!is_sent(&name(ours), &all), "{ours}");
        }
        assert!(is_sent(&name("anything-else"), &all));
    }

    /// O06, and other headers that must not reach a browser through the host.
    #[test]
    fn answers_lose_what_is_not_theirs_to_set() {
        let mut headers = HeaderMap::new();
        let gone = [
            ("set-cookie", "sid=x"),
            ("set-cookie", "b=y"),
            ("strict-transport-security", "max-age=1"),
            ("alt-svc", "h3"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "5"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("access-control-allow-origin", "*"),
            ("clear-site-data", "*"),
            ("proxy-authenticate", "Basic"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
        ];
        let kept = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("etag", "\"a\""),
            ("location", "https://elsewhere.test/"),
            ("retry-after", "7"),
            ("acme-limit-info", "api-usage=1/2"),
            ("warning", "299"),
            ("last-modified", "x"),
            ("www-authenticate", "Token"),
            ("link", "<x>"),
            ("x-request-id", "1"),
            ("content-disposition", "attachment"),
            ("vary", "Accept"),
            ("date", "x"),
        ];
        for (key, value) in gone.iter().chain(&kept) {
            headers.append(name(key), HeaderValue::from_static(value));
        }
        filter_answer(&mut headers);
        for (key, _) in gone {
            assert!(!headers.contains_key(key), "{key}");
        }
        for (key, _) in kept {
            assert!(headers.contains_key(key), "{key}");
        }
    }

    #[test]
    fn a_length_that_stands_alone_passes() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_static("close, content-length"),
        );
        filter_answer(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn ours_are_written_last() {
        let given = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("a/b")),
            (header::ACCEPT, HeaderValue::from_static("c/d")),
            // Never stored by the builder; even so ours would win.
            (header::AUTHORIZATION, HeaderValue::from_static("Bearer theirs")),
        ];
        let host = HeaderValue::from_static("acme.test");
        let ours = HeaderValue::from_static("Bearer ours");
        let headers = outgoing(given.iter().map(|(n, v)| (n, v)), &host, &ours);
        assert_eq!(
            headers.get_all(header::AUTHORIZATION).iter().collect::<Vec<_>>(),
            [&ours]
        );
        assert_eq!(
            headers.get_all(header::CONTENT_TYPE).iter().collect::<Vec<_>>(),
            ["application/json"]
        );
        assert_eq!(headers.get_all(header::ACCEPT).iter().count(), 2);
        assert_eq!(headers[header::HOST], host);
    }
}
