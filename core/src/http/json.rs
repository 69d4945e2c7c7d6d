//! JSON request bodies: read up to a limit and validated, with errors by field.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{body::Incoming, problem::Problem};
use crate::{
    error::{Code, Error},
    secret::Secret,
};

/// Whether the content type is JSON; `None` if there is none.
fn is_json(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let essence = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    Some(essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// Reads a JSON body. It may contain a client secret, so the buffer is wiped.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let declared = is_json(headers);
    if declared == Some(false) {
        return Err(Code::ContentTypeUnsupported.into());
    }
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(Code::BodyTooLarge.into());
    }
    let mut text = Zeroizing::new(Vec::with_capacity(expected));
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { continue };
        if text.len() + chunk.len() > limit {
            return Err(Code::BodyTooLarge.into());
        }
        grow(&mut text, &chunk, limit);
    }
    if declared.is_none() && !text.is_empty() {
        return Err(Code::ContentTypeUnsupported.into());
    }
    Ok(text)
}

/// Appends by hand: a vector that grows by itself leaves its old buffer unwiped.
fn grow(text: &mut Zeroizing<Vec<u8>>, chunk: &Bytes, limit: usize) {
    let length = text.len() + chunk.len();
    if length > text.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity((2 * length).min(limit)));
        larger.extend_from_slice(text);
        *text = larger;
    }
    text.extend_from_slice(chunk);
}

/// Reads `text` as a `T`. The parser's own message is dropped: it quotes the input.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut input = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut input).map_err(|error| blame(&error))?;
    input.end().map_err(|_| Code::BodyInvalid)?;
    Ok(value)
}

fn blame(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if !error.inner().is_data() {
        return Code::BodyInvalid.into();
    }
    let message = error.inner().to_string();
    if message.starts_with("unknown field") {
        return Code::FieldUnknown.into();
    }
    // A missing field's name is ours. So is the first step of a path: an unknown name would have been refused at once.
    if let Some(name) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        return Problem::from(Code::FieldMissing).because(name.to_owned());
    }
    match error.path().iter().next() {
        Some(serde_path_to_error::Segment::Map { key }) => {
            Problem::from(Code::FieldInvalid).because(Cow::Owned(key.clone()))
        }
        _ => Code::BodyInvalid.into(),
    }
}

/// A secret in a request body, read without leaving an unwiped copy.
#[derive(Debug)]
pub(super) struct SecretText(pub(super) Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = SecretText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(Secret::new(text)))
            }
            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SecretText, E> {
                Ok(SecretText(Secret::new(text)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

/// Any JSON value, kept verbatim: numbers are not rounded, and nothing is reordered.
#[derive(Debug)]
pub(super) struct Verbatim(Box<RawValue>);

impl Verbatim {
    pub(super) fn into_bytes(self) -> Bytes {
        Box::<str>::from(self.0).into_string().into()
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Verbatim {
    fn schema_name() -> Cow<'static, str> {
        "AnyJson".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

/// Query pairs as a JSON object: strings, numbers and booleans verbatim; null is omitted.
#[derive(Debug, Default)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    match value.get().as_bytes().first() {
                        Some(b'n') => {}
                        Some(b'"') => {
                            let text = serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                            pairs.push((key, text));
                        }
                        Some(b'[' | b'{') => return Err(A::Error::custom("nested")),
                        _ => pairs.push((key, value.get().to_owned())),
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl JsonSchema for Pairs {
    fn schema_name() -> Cow<'static, str> {
        "QueryPairs".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] }
        })
    }
}
