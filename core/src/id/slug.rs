//! The name that an application chooses for an integration, and the ways to say which integration is meant.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::IntegrationId;

/// The longest slug, in bytes.
const MAX_LEN: usize = 63;

/// A name that an application chooses for one of its integrations, such as `acme` or `acme-sandbox`: a lower-case letter,
/// then up to 62 lower-case letters, digits and `-`.
///
/// It stands in the application's code, in paths and in the callback URL. A generated id has a `_`, so that neither is ever
/// taken for the other. An integration is given its slug when it is made, and keeps it.
///
/// ```
/// use grantry::id::Slug;
///
/// # fn main() -> Result<(), grantry::id::SlugError> {
/// assert_eq!(Slug::new("acme")?.as_str(), "acme");
/// assert!(Slug::new("int_1").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Arc<str>);

/// The string is not a slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slug is a lower-case letter, then up to 62 lower-case letters, digits and '-'")]
#[non_exhaustive]
pub struct SlugError;

impl Slug {
    /// Checks `text` and wraps it.
    ///
    /// # Errors
    /// It is not a slug.
    pub fn new(text: &str) -> Result<Self, SlugError> {
        let bytes = text.as_bytes();
        let fine = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.len() <= MAX_LEN
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(SlugError)
        }
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Slug {
    type Err = SlugError;
    fn from_str(text: &str) -> Result<Self, SlugError> {
        Self::new(text)
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        // The rejected text is not repeated: it may be anything.
        Self::new(&text).map_err(D::Error::custom)
    }
}

/// Which integration is meant: by its id, or by its slug.
///
/// A string is a slug. One that cannot be a slug means no integration: it is not found.
#[derive(Clone, Debug)]
pub struct IntegrationRef(pub(crate) Named);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Id(IntegrationId),
    Slug(Slug),
    /// Text that is not a slug.
    Nothing,
}

impl IntegrationRef {
    /// Whether the integration with this id and slug is meant.
    #[inline]
    pub(crate) fn means(&self, id: &IntegrationId, slug: Option<&Slug>) -> bool {
        match &self.0 {
            Named::Id(wanted) => wanted == id,
            Named::Slug(wanted) => slug == Some(wanted),
            Named::Nothing => false,
        }
    }
}

impl From<IntegrationId> for IntegrationRef {
    fn from(id: IntegrationId) -> Self {
        Self(Named::Id(id))
    }
}

impl From<&IntegrationId> for IntegrationRef {
    fn from(id: &IntegrationId) -> Self {
        id.clone().into()
    }
}

impl From<Slug> for IntegrationRef {
    fn from(slug: Slug) -> Self {
        Self(Named::Slug(slug))
    }
}

impl From<&Slug> for IntegrationRef {
    fn from(slug: &Slug) -> Self {
        slug.clone().into()
    }
}

impl From<&str> for IntegrationRef {
    fn from(text: &str) -> Self {
        Slug::new(text).map_or(Self(Named::Nothing), Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_slug() {
        let longest = "s".repeat(MAX_LEN);
        for fine in ["acme", "a", "acme-2", "a--", "int-1", &longest] {
            let slug = Slug::new(fine).unwrap();
            assert_eq!(slug.as_str(), fine);
            let json = serde_json::to_string(&slug).unwrap();
            assert_eq!(json, format!("\"{fine}\""));
            assert_eq!(serde_json::from_str::<Slug>(&json).unwrap(), slug);
        }
        let too_long = format!("{longest}s");
        let generated = IntegrationId::generate();
        for bad in [
            "",
            "Acme",
            "1acme",
            "-acme",
            "acme_2",
            "int_1",
            "a b",
            "a/b",
            "a.b",
            "a\0",
            "a%62",
            "\u{e4}",
            "a\u{e4}",
            &too_long,
            generated.as_str(),
        ] {
            assert_eq!(Slug::new(bad), Err(SlugError), "{bad:?}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<Slug>(&json).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_string_is_a_slug_and_never_an_id() {
        let (id, acme) = (IntegrationId::new("acme").unwrap(), Slug::new("acme").unwrap());
        let (by_id, by_text) = (IntegrationRef::from(&id), IntegrationRef::from("acme"));
        let other = IntegrationId::generate();
        assert!(by_id.means(&id, None) && !by_id.means(&other, Some(&acme)));
        assert!(by_text.means(&other, Some(&acme)) && !by_text.means(&id, None));
        let nothing = IntegrationRef::from(other.as_str());
        assert!(!nothing.means(&other, Some(&acme)) && !nothing.means(&other, None));
    }
}
