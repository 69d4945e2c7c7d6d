//! Identifiers: short strings of `[A-Za-z0-9_-]`, so that they are safe in URLs, file names, SQL and Redis keys.

mod slug;

use std::{fmt, str::FromStr, sync::Arc};

pub(crate) use slug::Named;
pub use slug::{IntegrationRef, Slug, SlugError};

/// The longest identifier that is accepted, in bytes.
pub const MAX_LEN: usize = 128;

/// Why a string is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The string is empty.
    #[error("an identifier must not be empty")]
    Empty,
    /// The string is longer than [`MAX_LEN`] bytes.
    #[error("an identifier has at most 128 characters")]
    TooLong,
    /// The string has a character outside `[A-Za-z0-9_-]`.
    #[error("an identifier has only letters, digits, '_' and '-'")]
    InvalidCharacter,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(IdError::TooLong);
    }
    if text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        Ok(())
    } else {
        Err(IdError::InvalidCharacter)
    }
}

macro_rules! identifier {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $generate:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and wraps it.
            ///
            /// # Errors
            /// [`IdError`] names what is wrong with it.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// A new identifier that no one else has.
            pub fn generate() -> Self {
                let uuid = crate::random::seeded_uuid().unwrap_or_else(uuid::Uuid::$generate);
                Self(format!(concat!($prefix, "{}"), uuid.simple()).into())
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                // The rejected text is not repeated: it may be anything.
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier!(
    /// Names an integration: one OAuth client of the host.
    IntegrationId, "int_", new_v4
);
identifier!(
    /// Names a connection. Generated ids are ordered by time of creation.
    ConnectionId, "con_", now_v7
);
identifier!(
    /// The public part of an API or public key.
    KeyId, "", new_v4
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_identifier() {
        let long = "x".repeat(129);
        let cases: &[(&str, Option<IdError>)] = &[
            ("abc-123_X", None),
            ("", Some(IdError::Empty)),
            (&long, Some(IdError::TooLong)),
            ("../x", Some(IdError::InvalidCharacter)),
            ("a/b", Some(IdError::InvalidCharacter)),
            ("a b", Some(IdError::InvalidCharacter)),
            ("a\0b", Some(IdError::InvalidCharacter)),
            ("a\nb", Some(IdError::InvalidCharacter)),
            ("{x}", Some(IdError::InvalidCharacter)),
            ("a:b", Some(IdError::InvalidCharacter)),
            ("a*", Some(IdError::InvalidCharacter)),
            ("аbc", Some(IdError::InvalidCharacter)),
            ("x.", Some(IdError::InvalidCharacter)),
            ("x ", Some(IdError::InvalidCharacter)),
        ];
        for (text, error) in cases {
            assert_eq!(ConnectionId::new(text).err(), *error, "{text:?}");
        }
        assert_ne!(ConnectionId::new("A").unwrap(), ConnectionId::new("a").unwrap());
    }

    #[test]
    fn generated_connection_ids_are_ordered() {
        let mut ids: Vec<_> = (0..1000).map(|_| ConnectionId::generate()).collect();
        let made = ids.clone();
        ids.sort();
        assert_eq!(ids, made);
    }
}
