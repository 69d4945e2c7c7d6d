//! The rules for the path and the query of a call. The string that is checked here is the string on the wire: nothing
//! parses, joins or normalises it afterwards.

use crate::{error::Code, provider::ProviderFacts};

/// The longest path, in characters.
const MAX_PATH: usize = 8192;
/// The longest query, in characters as they are sent.
const MAX_QUERY: usize = 16_384;
/// The most pairs in a query.
const MAX_PAIRS: usize = 200;
/// Query keys that servers take for credentials (RFC 6750 section 2.3, RFC 5849 section 3.5.3).
const RESERVED: [&str; 2] = ["access_token", "oauth_token"];

/// Checks the path and the query as the caller gave them, in one string.
pub(super) fn check(raw: &str) -> Result<(), Code> {
    let (path, query) = raw
        .split_once('?')
        .map_or((raw, None), |(path, query)| (path, Some(query)));
    if path.is_empty() && query.is_none() {
        return Err(Code::PathEmpty);
    }
    if path.len() > MAX_PATH {
        return Err(Code::PathTooLong);
    }
    for byte in raw.bytes() {
        match byte {
            ..=b' ' | 0x7f => return Err(Code::PathControlByte),
            b'\\' => return Err(Code::PathBackslash),
            b'#' => return Err(Code::PathFragment),
            0x80.. => return Err(Code::PathNotAscii),
            _ => {}
        }
    }
    let Some(segments) = path.strip_prefix('/') else {
        return Err(Code::PathNotAbsolute);
    };
    if segments.starts_with('/') {
        return Err(Code::PathHasAuthority);
    }
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Only the last one may be empty, which is a trailing slash.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(Code::PathEmptySegment);
        }
        check_segment(segment)?;
    }
    query.map_or(Ok(()), check_raw_query)
}

fn check_segment(segment: &str) -> Result<(), Code> {
    let mut bytes = segment.bytes();
    // The segment as seen by a server that decodes it and cuts off parameters (`..;x`).
    let mut name = Name::default();
    while let Some(byte) = bytes.next() {
        let meant = match byte {
            b'%' => match decode(&mut bytes).ok_or(Code::PathBadPercent)? {
                ..b' ' | 0x7f => return Err(Code::PathEncodedControl),
                b'/' | b'\\' => return Err(Code::PathEncodedSeparator),
                // A double encoding may be decoded by a server behind the one that checks.
                b'%' => return Err(Code::PathBadPercent),
                byte => byte,
            },
            byte if is_path_byte(byte) => byte,
            _ => return Err(Code::PathNotAscii),
        };
        name.push(meant);
    }
    if name.is_dots() {
        Err(Code::PathDotSegment)
    } else {
        Ok(())
    }
}

/// Tells `.` and `..` from all other segments without keeping the segment.
#[derive(Default)]
struct Name {
    dots: usize,
    other: bool,
    cut: bool,
}

impl Name {
    fn push(&mut self, byte: u8) {
        match byte {
            _ if self.cut => {}
            b';' => self.cut = true,
            b'.' => self.dots += 1,
            _ => self.other = true,
        }
    }

    fn is_dots(&self) -> bool {
        !self.other && (1..=2).contains(&self.dots)
    }
}

/// RFC 3986 `pchar` without `%`.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn check_raw_query(query: &str) -> Result<(), Code> {
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => decode(&mut bytes).is_some(),
            // RFC 3986 `query`, and what browsers leave as it is.
            byte => is_path_byte(byte) || b"/?[]{}|^`".contains(&byte),
        };
        if !fine {
            return Err(Code::QueryInvalid);
        }
    }
    check_keys(query, &RESERVED)
}

/// Checks that a query has none of these keys.
fn check_keys(query: &str, reserved: &[impl AsRef<str>]) -> Result<(), Code> {
    // Some servers also split pairs at `;`.
    let mut keys = query
        .split(['&', ';'])
        .map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
    if keys.any(|key| is_one_of(key, reserved)) {
        Err(Code::QueryReserved)
    } else {
        Ok(())
    }
}

/// Checks a path and query that passed [`check`] by the rules of the provider that they are meant for.
pub(super) fn check_for(target: &str, provider: &ProviderFacts) -> Result<(), Code> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // No segment is empty, `.` or `..`, and no separator is encoded: what begins with a prefix is below it.
    let is_below = |prefix: &String| {
        path.strip_prefix(prefix.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !provider.api_paths.is_empty() && !provider.api_paths.iter().any(is_below) {
        return Err(Code::PathOutsideApi);
    }
    check_keys(query, &provider.credential_query_keys)
}

/// Checks the query as it is sent: the caller's own and the pairs that were appended.
pub(super) fn check_size(target: &str) -> Result<(), Code> {
    let Some((_, query)) = target.split_once('?') else {
        return Ok(());
    };
    let pairs = query.bytes().filter(|byte| *byte == b'&').count() + 1;
    if query.len() > MAX_QUERY || pairs > MAX_PAIRS {
        Err(Code::QueryTooLarge)
    } else {
        Ok(())
    }
}

/// Whether a query key, percent-encoded or not, is one that servers take for a credential.
pub(super) fn is_reserved(key: &str) -> bool {
    is_one_of(key, &RESERVED)
}

/// Whether a query key, percent-encoded or not, is one of these, in any case.
fn is_one_of(key: &str, reserved: &[impl AsRef<str>]) -> bool {
    reserved.iter().any(|reserved| {
        let mut bytes = key.bytes();
        let mut meant = std::iter::from_fn(|| match bytes.next()? {
            b'%' => decode(&mut bytes),
            byte => Some(byte),
        });
        let mut reserved = reserved.as_ref().bytes();
        loop {
            match (meant.next(), reserved.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.eq_ignore_ascii_case(&b) => {}
                _ => return false,
            }
        }
    })
}

/// Appends `text` to a query; everything but RFC 3986 `unreserved` is encoded.
pub(super) fn encode(target: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(HEX[usize::from(byte >> 4)]));
            target.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The byte that the two digits after a `%` stand for.
fn decode(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || {
        char::from(bytes.next()?)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let high = digit()?;
    Some(high << 4 | digit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bad inputs P01 to P19, each with its code.
    #[test]
    fn bad_paths() {
        let long = format!("/{}", "a".repeat(9000));
        let rows: &[(&str, &str)] = &[
            ("", "path_empty"),
            ("api/data", "path_not_absolute"),
            ("?q=1", "path_not_absolute"),
            ("//evil.test/x", "path_has_authority"),
            ("///evil.test/x", "path_has_authority"),
            ("https://evil.test/x", "path_not_absolute"),
            ("HTTPS:/evil.test/x", "path_not_absolute"),
            ("@evil.test/x", "path_not_absolute"),
            (":8443/x", "path_not_absolute"),
            (".evil.test/x", "path_not_absolute"),
            ("/\\evil.test/x", "path_backslash"),
            ("\\x", "path_backslash"),
            ("\\\\evil.test\\x", "path_backslash"),
            ("/a\\..\\b", "path_backslash"),
            ("/\t/evil.test/x", "path_control_byte"),
            (" /x", "path_control_byte"),
            ("\t//evil.test", "path_control_byte"),
            ("/a b", "path_control_byte"),
            ("/a\r\nX: y", "path_control_byte"),
            ("/a\0", "path_control_byte"),
            ("/a\x7f", "path_control_byte"),
            ("/a HTTP/1.1\r\nHost: evil.test\r\n\r\n", "path_control_byte"),
            ("/a?q=x\r\nX: y", "path_control_byte"),
            ("/a%0d%0aX:y", "path_encoded_control"),
            ("/%00", "path_encoded_control"),
            ("/a%7F", "path_encoded_control"),
            ("/a%1f", "path_encoded_control"),
            ("/api/../login", "path_dot_segment"),
            ("/..", "path_dot_segment"),
            ("/.", "path_dot_segment"),
            ("/a/.", "path_dot_segment"),
            ("/a/./b", "path_dot_segment"),
            ("/api/%2e%2e/x", "path_dot_segment"),
            ("/api/.%2e/x", "path_dot_segment"),
            ("/api/%2E./x", "path_dot_segment"),
            ("/api/%2e/x", "path_dot_segment"),
            ("/api/..;/x", "path_dot_segment"),
            ("/api/..;a=b/x", "path_dot_segment"),
            ("/api/%2e.%3b/x", "path_dot_segment"),
            ("/..%2fx", "path_encoded_separator"),
            ("/a%2Fb", "path_encoded_separator"),
            ("/a%5cb", "path_encoded_separator"),
            ("/%zz", "path_bad_percent"),
            ("/%2", "path_bad_percent"),
            ("/%", "path_bad_percent"),
            ("/a%+1b", "path_bad_percent"),
            ("/%252e%252e/", "path_bad_percent"),
            ("/a%25b", "path_bad_percent"),
            ("/a#frag", "path_fragment"),
            ("/a?b#frag", "path_fragment"),
            ("/é", "path_not_ascii"),
            ("/a?q=é", "path_not_ascii"),
            ("/a\u{ff0f}b", "path_not_ascii"),
            ("/a\"b", "path_not_ascii"),
            ("/a{b}", "path_not_ascii"),
            ("/a//b", "path_empty_segment"),
            ("/a//", "path_empty_segment"),
            (&long, "path_too_long"),
            ("/a?q=%zz", "query_invalid"),
            ("/a?q=%", "query_invalid"),
            ("/a?q=<x>", "query_invalid"),
            ("/a?access_token=x", "query_reserved"),
            ("/a?x=1&OAuth_Token=x", "query_reserved"),
            ("/a?x=1;oauth_token=x", "query_reserved"),
            ("/a?access_token", "query_reserved"),
            ("/a?access%5ftoken=x", "query_reserved"),
        ];
        for (path, code) in rows {
            assert_eq!(check(path).map_err(Code::as_str), Err(*code), "{path:?}");
        }
    }

    #[test]
    fn good_paths() {
        let rows = [
            "/",
            "/api/v2.0/accounts",
            "/api/v2.0/",
            "/api/v2.0/accounts/001xx000003DGb2AAG",
            "/api/v2.0/accounts/Key__c/A%20B",
            "/api/v2.0/query/01gxx-2000",
            "/a/...",
            "/a/..b",
            "/a/b..",
            "/a/.well-known",
            "/a;x=..",
            "/%C3%A9",
            "/users/o'neil@example.com",
            "/a?",
            "/a?q=name+LIKE+'a%25'",
            "/a?q=../..//x&y=%0a",
            "/a?filter[x]=1|2",
            "/a?token=x&access_tokens=y&side=z",
        ];
        for path in rows {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
    }

    /// P22 and P23.
    #[test]
    fn queries() {
        let many = format!("/a?{}", "x=1&".repeat(10_000));
        assert_eq!(check_size(&many), Err(Code::QueryTooLarge));
        let long = format!("/a?q={}", "x".repeat(MAX_QUERY));
        assert_eq!(check_size(&long), Err(Code::QueryTooLarge));
        assert_eq!(check_size("/a?x=1"), Ok(()));
        let mut target = String::new();
        encode(&mut target, "a b\r\nX: y/é&=%+'#?");
        assert_eq!(target, "a%20b%0D%0AX%3A%20y%2F%C3%A9%26%3D%25%2B%27%23%3F");
    }

    /// P21.
    #[test]
    fn reserved_keys() {
        for key in [
            "access_token",
            "ACCESS_TOKEN",
            "oauth_token",
            "oauth%5ftoken",
            "%6Fauth_token",
        ] {
            assert!(is_reserved(key), "{key}");
        }
        for key in [
            "",
            "token",
            "sid",
            "oauth_tokens",
            "oauth_toke",
            "oauth%5",
            "access-token",
        ] {
            assert!(!is_reserved(key), "{key}");
        }
    }

    #[test]
    fn a_provider_adds_rules() {
        let mut provider = ProviderFacts::new("acme", []);
        for any in ["/", "/x?sid=1", "/api"] {
            assert_eq!(check_for(any, &provider), Ok(()), "{any}");
        }
        provider.api_paths = vec!["/api/v2/".to_owned(), "/files".to_owned()];
        provider.credential_query_keys = vec!["sid".to_owned()];
        for fine in [
            "/api/v2",
            "/api/v2/",
            "/api/v2/x?q=/",
            "/files?a=b",
            "/files/a;b",
            "/files?sids=1",
        ] {
            assert_eq!(check_for(fine, &provider), Ok(()), "{fine}");
        }
        for outside in [
            "/",
            "/api",
            "/api/v22",
            "/API/v2/x",
            "/%61pi/v2/x",
            "/login/api/v2",
            "/filesystem",
            "/x?/files",
        ] {
            assert_eq!(
                check_for(outside, &provider),
                Err(Code::PathOutsideApi),
                "{outside}"
            );
        }
        for key in ["sid", "SID", "s%69d", "%73%69%64", "a=1&sid", "a=1;sid"] {
            let target = format!("/files?{key}=x");
            assert_eq!(check_for(&target, &provider), Err(Code::QueryReserved), "{key}");
        }
    }
}
