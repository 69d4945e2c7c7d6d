//! Checks on a JSON response before anything else parses it.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// Token responses are flat, except for a few small objects.
const MAX_DEPTH: usize = 32;

/// Which names a JSON object has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// It has an `error`.
    pub(crate) error: bool,
    /// It has an `access_token`.
    pub(crate) access_token: bool,
}

/// The names of `body`, if it is exactly one JSON object: UTF-8 without a byte order mark, of bounded depth, with
/// unique names and nothing after it. RFC 8259 leaves the meaning of repeated names open, so they are rejected.
pub(crate) fn object(body: &[u8]) -> Option<Names> {
    let text = std::str::from_utf8(body).ok()?;
    if !shallow(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn shallow(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
                    if !seen.insert(name) {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                }
                Ok(Names {
                    error: seen.contains("error"),
                    access_token: seen.contains("access_token"),
                })
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_objects() {
        for (body, error, access_token) in [
            ("{}", false, false),
            (
                " {\"a\":{\"x\":1,\"y\":[\"]}{\\\"[\"]},\"b\":null} \n",
                false,
                false,
            ),
            (r#"{"error":"invalid_grant"}"#, true, false),
            (r#"{"access_token":"00D!x","state":{"error":1}}"#, false, true),
        ] {
            assert_eq!(
                object(body.as_bytes()),
                Some(Names { error, access_token }),
                "{body}"
            );
        }
    }

    #[test]
    fn unsound_objects() {
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bomb = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let open = "[".repeat(10_000);
        for body in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"\"text\"",
            b"<html></html>",
            b"\xef\xbb\xbf{}",
            &utf16,
            b"{\"a\":\"\xff\"}",
            b"{\"a\":1,\"a\":1}",
            br#"{"access_token":"x","access_token":"y"}"#,
            br#"{"access_token":"x","access\u005ftoken":"y"}"#,
            b"{\"a\":1} {}",
            b"{\"a\":1",
            b"{\"a\":NaN}",
            b"{\"a\":1,}",
            b"access_token=x",
            bomb.as_bytes(),
            open.as_bytes(),
        ] {
            assert_eq!(object(body), None, "{:.60}", String::from_utf8_lossy(body));
        }
    }
}
