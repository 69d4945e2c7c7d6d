//! Reads the members that are needed out of a JSON object, whatever the others look like.
//!
//! What a provider answered to a rotation cannot be asked for again. A parser that rejects an answer for a name with half a
//! surrogate pair in it, or for the depth of something that is never looked at, would cost a grant.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A member's value, as far as any member of use has one.
#[derive(Clone, Default, PartialEq)]
pub(crate) enum Given {
    #[default]
    Absent,
    Text(String),
    Number(f64),
    /// Something else.
    Other,
}

impl Given {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn read(raw: &RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or(Self::Other)
    }
}

/// It may be a token: its text is not shown.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Text(_) => "Text",
            Self::Number(_) => "Number",
            Self::Other => "Other",
        })
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Null => Self::Absent,
            Value::String(text) => Self::Text(text),
            Value::Number(number) => number.as_f64().map_or(Self::Other, Self::Number),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Other,
        })
    }
}

impl Serialize for Given {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Other => serializer.serialize_bool(false),
        }
    }
}

/// The members called `names` of `body`, if it is one JSON object with nothing after it. A member that is there twice with
/// different values has no meaning (RFC 8259 section 4): it is [`Given::Other`].
pub(crate) fn members<const N: usize>(body: &[u8], names: [&'static str; N]) -> Option<[Given; N]> {
    let text = repaired(body);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let found = Members(names).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(found)
}

struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<N> {
    type Value = [Given; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Given; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: [Option<Given>; N] = std::array::from_fn(|_| None);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let raw = map.next_value::<&RawValue>()?;
            if let Some(at) = self.0.iter().position(|wanted| *wanted == name) {
                let given = Given::read(raw);
                found[at] = Some(match found[at].take() {
                    Some(first) if first != given => Given::Other,
                    _ => given,
                });
            }
        }
        Ok(found.map(Option::unwrap_or_default))
    }
}

/// `body` as text that a parser takes if its structure is sound. Within strings U+FFFD takes the place of what is no text:
/// bytes that are not UTF-8, halves of surrogate pairs, raw control characters, unknown escapes. `NaN` and infinities become
/// null.
fn repaired(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut sound = String::with_capacity(rest.len());
    let mut quoted = false;
    while let Some(next) = rest.chars().next() {
        let (taken, put) = match next {
            '"' => {
                quoted = !quoted;
                (1, "\"")
            }
            '\\' if quoted => escape(rest),
            _ if quoted && next.is_ascii_control() => (1, "\u{fffd}"),
            'N' | 'I' | '-' if !quoted => match ["NaN", "Infinity", "-Infinity"]
                .iter()
                .find(|name| rest.starts_with(**name))
            {
                Some(name) => (name.len(), "null"),
                None => (1, &rest[..1]),
            },
            _ => (next.len_utf8(), &rest[..next.len_utf8()]),
        };
        sound.push_str(put);
        rest = &rest[taken..];
    }
    sound
}

/// An escape sequence at the beginning of `rest`: how long it is, and what to put there.
fn escape(rest: &str) -> (usize, &str) {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| hex)
    };
    match (rest.as_bytes().get(1), unit(0)) {
        (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => (2, &rest[..2]),
        (_, Some(0xd800..=0xdbff)) if matches!(unit(6), Some(0xdc00..=0xdfff)) => (12, &rest[..12]),
        (_, Some(0xd800..=0xdfff)) => (6, "\u{fffd}"),
        (_, Some(_)) => (6, &rest[..6]),
        // The character after it is looked at by itself: it may end the string.
        (_, None) => (1, "\u{fffd}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn what_is_needed_is_found_whatever_the_rest_looks_like() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for rest in [
            "7",
            "null",
            "{\"x\":[\"]}{\\\"[\"]}",
            r#""\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\ud83d\ude00""#,
            r#""\x\u12""#,
            r#""\u+123""#,
            "\"a\tb\nc\u{1}\"",
            "NaN",
            "-Infinity",
            "[Infinity,-1]",
            "1e999",
            "1234567890123456789012345678901234567890",
            &deep,
        ] {
            let body = format!("{{\"x\":{rest},\"a\":\"needed\",\"x\":{rest},\"x\":1}}");
            assert_eq!(
                members(body.as_bytes(), ["a", "b"]),
                Some([text("needed"), Given::Absent]),
                "{rest:.40}"
            );
        }
        let latin1 = b"\xef\xbb\xbf{\"x\":\"\xe9\",\"a\":\"needed\"} \n";
        assert_eq!(members(latin1, ["a"]), Some([text("needed")]));
    }

    #[test]
    fn values() {
        for (value, given) in [
            (r#""text""#, text("text")),
            (r#""\ud83d\ude00 \u00e9\n""#, text("\u{1f600} \u{e9}\n")),
            (r#""a\ud83db""#, text("a\u{fffd}b")),
            (r#""\x""#, text("\u{fffd}x")),
            ("\"a\tb\"", text("a\u{fffd}b")),
            ("7.5", Given::Number(7.5)),
            ("1e999", Given::Other),
            ("NaN", Given::Absent),
            ("null", Given::Absent),
            ("true", Given::Other),
            ("[1]", Given::Other),
            ("{}", Given::Other),
        ] {
            let body = format!("{{\"a\":{value}}}");
            assert_eq!(members(body.as_bytes(), ["a"]), Some([given]), "{value}");
        }
    }

    #[test]
    fn what_is_no_object_or_has_two_meanings() {
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let open = "[".repeat(10_000);
        for body in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"\"text\"",
            b"<html></html>",
            &utf16,
            b"{\"a\":1} {}",
            b"{\"a\":1",
            b"{\"a\":\"x",
            b"{\"a\":1,}",
            b"a=x",
            open.as_bytes(),
        ] {
            assert_eq!(
                members(body, ["a"]),
                None,
                "{:.60}",
                String::from_utf8_lossy(body)
            );
        }
        for (body, given) in [
            (br#"{"a":1,"a":1}"#.as_slice(), Given::Number(1.0)),
            (br#"{"a":1,"a":2}"#, Given::Other),
            (br#"{"a":1,"a":2,"a":2}"#, Given::Other),
            (br#"{"a":"x","\u0061":"y"}"#, Given::Other),
        ] {
            assert_eq!(members(body, ["a"]), Some([given]));
        }
    }
}
