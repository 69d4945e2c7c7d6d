//! What API responses reveal about the token and the limits.

use grantry::provider::ApiVerdict;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, HeaderName},
};

const LIMIT_INFO: HeaderName = HeaderName::from_static("sforce-limit-info");

/// `INVALID_SESSION_ID` with this text comes from the user's permissions or the app's settings; a new token would be
/// rejected as well.
const NO_CURE: [&str; 2] = [
    "this session is not valid for use with the rest api",
    "connected app is not attached to agent",
];

/// Reads status, headers and the beginning of the body (REST API Developer Guide, "Status Codes and Error Responses"
/// and "Limit Info Header").
///
/// The body may be cut off, XML or one object instead of an array, so codes are looked for as words. Where it cannot be
/// read (compressed, or none as after HEAD) the status alone counts: an Apex class that answers 401 of its own accord
/// has something to say.
pub(crate) fn classify(status: StatusCode, headers: &HeaderMap, body_prefix: &[u8]) -> ApiVerdict {
    let compressed = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let readable = !compressed && !body_prefix.is_empty();
    let body = String::from_utf8_lossy(if readable { body_prefix } else { b"" });
    let cure = || {
        let lower = body.to_lowercase();
        !NO_CURE.iter().any(|text| lower.contains(text))
    };
    ApiVerdict {
        token_refused: match status {
            StatusCode::UNAUTHORIZED => !readable || (body.contains("INVALID_SESSION_ID") && cure()),
            // OAuth resources, such as userinfo; any other 403 is about permissions.
            StatusCode::FORBIDDEN => body.trim() == "Bad_OAuth_Token",
            _ => false,
        },
        limit_reached: status == StatusCode::FORBIDDEN && body.contains("REQUEST_LIMIT_EXCEEDED"),
        api_usage: headers
            .get(LIMIT_INFO)
            .and_then(|info| api_usage(info.to_str().ok()?)),
    }
}

/// `api-usage=18/15000`, alone or among others after semicolons or commas.
fn api_usage(info: &str) -> Option<(u64, u64)> {
    info.split([';', ',']).find_map(|part| {
        let (used, allowed) = part.trim().strip_prefix("api-usage=")?.split_once('/')?;
        Some((used.trim().parse().ok()?, allowed.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(status: u16, body: &str) -> ApiVerdict {
        classify(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
        )
    }

    #[test]
    fn refused_tokens() {
        for (status, body, refused) in [
            (
                401,
                r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
                true,
            ),
            (
                401,
                r#"{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}"#,
                true,
            ),
            (
                401,
                r#"[{"errorCode":"INVALID_SESSION_ID","message":"Session exp"#,
                true,
            ),
            (
                401,
                "<Errors><Error><errorCode>INVALID_SESSION_ID</errorCode></Error></Errors>",
                true,
            ),
            (401, "", true),
            (
                401,
                r#"[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]"#,
                false,
            ),
            (
                401,
                r#"[{"message":"Connected App is not attached to Agent","errorCode":"INVALID_SESSION_ID"}]"#,
                false,
            ),
            (
                401,
                r#"[{"message":"INVALID_HEADER_TYPE","errorCode":"INVALID_AUTH_HEADER"}]"#,
                false,
            ),
            (
                401,
                r#"[{"message":"m","errorCode":"MUTUAL_AUTHENTICATION_FAILED"}]"#,
                false,
            ),
            (401, r#"{"reason":"my Apex class says no"}"#, false),
            (401, "<html>", false),
            (403, "Bad_OAuth_Token", true),
            (403, "Bad_OAuth_Token\n", true),
            (403, "Invalid_Scope", false),
            (403, "Missing_OAuth_Token", false),
            (403, "", false),
            (
                403,
                r#"[{"message":"Bad_OAuth_Token","errorCode":"INSUFFICIENT_ACCESS"}]"#,
                false,
            ),
            (
                403,
                r#"[{"message":"x","errorCode":"INVALID_SESSION_ID"}]"#,
                false,
            ),
            (400, r#"[{"errorCode":"INVALID_SESSION_ID"}]"#, false),
            (404, "Bad_OAuth_Token", false),
            (500, "", false),
            (200, r#"{"records":[{"Name":"INVALID_SESSION_ID"}]}"#, false),
        ] {
            assert_eq!(ask(status, body).token_refused, refused, "{status} {body}");
        }
    }

    #[test]
    fn compressed_bodies() {
        for (coding, refused) in [("gzip", true), ("deflate", true), ("identity", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
            let verdict = classify(StatusCode::UNAUTHORIZED, &headers, b"\x1f\x8b\x08");
            assert_eq!(verdict.token_refused, refused, "{coding}");
            let verdict = classify(StatusCode::FORBIDDEN, &headers, b"\x1f\x8b\x08");
            assert_eq!(verdict, ApiVerdict::default(), "{coding}");
        }
    }

    #[test]
    fn limits() {
        for (status, body, reached) in [
            (
                403,
                r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
                true,
            ),
            (403, r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","mess"#, true),
            (
                403,
                r#"[{"message":"x","errorCode":"API_DISABLED_FOR_ORG"}]"#,
                false,
            ),
            (400, r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#, false),
            (200, "REQUEST_LIMIT_EXCEEDED", false),
        ] {
            assert_eq!(ask(status, body).limit_reached, reached, "{status} {body}");
        }
    }

    #[test]
    fn usage() {
        for (info, expected) in [
            ("api-usage=18/15000", Some((18, 15_000))),
            (
                "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)",
                Some((25, 5000)),
            ),
            (
                "per-app-api-usage=17/250(appName=x), api-usage=25/5000",
                Some((25, 5000)),
            ),
            ("per-app-api-usage=17/250(appName=x)", None),
            ("api-usage=x/15000", None),
            ("api-usage=-1/15000", None),
            ("api-usage=18", None),
            ("api-usage=99999999999999999999/1", None),
            ("", None),
        ] {
            assert_eq!(api_usage(info), expected, "{info}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("Sforce-Limit-Info", "api-usage=18/15000".parse().unwrap());
        assert_eq!(
            classify(StatusCode::OK, &headers, b"").api_usage,
            Some((18, 15_000))
        );
    }
}
