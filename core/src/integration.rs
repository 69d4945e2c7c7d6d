//! Offerings and integrations: what can be connected, and with which OAuth client of the host.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    id::{IntegrationId, Slug},
    secret::Secret,
    time::Timestamp,
};

/// Which of a provider's separate environments an account belongs to, such as `production` or `sandbox`. Named by
/// offerings.
///
/// It begins with a lower-case letter and goes on with lower-case letters, digits, `_` and `-`, so that it is safe in URLs,
/// columns and keys. Stored inline, so that reading a row does not allocate for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Environment([u8; Environment::MAX_LEN]);

impl Environment {
    /// The longest name of an environment, in bytes.
    pub const MAX_LEN: usize = 32;

    /// `production`: real data.
    pub const PRODUCTION: Self = Self::padded("production");

    /// `sandbox`: test data.
    pub const SANDBOX: Self = Self::padded("sandbox");

    /// The environment that `text` names; `None` if it cannot name one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let fine = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.len() <= Self::MAX_LEN
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(b));
        fine.then(|| Self::padded(text))
    }

    /// `text`, which is one that [`Environment::parse`] takes, and zeros.
    const fn padded(text: &str) -> Self {
        let (text, mut all) = (text.as_bytes(), [0; Self::MAX_LEN]);
        let mut at = 0;
        while at < text.len() && at < all.len() {
            all[at] = text[at];
            at += 1;
        }
        Self(all)
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0);
        // Only ASCII gets in.
        std::str::from_utf8(&self.0[..end.unwrap_or(Self::MAX_LEN)]).unwrap_or_default()
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        // The rejected text is not repeated: it may be anything.
        Self::parse(&text).ok_or_else(|| D::Error::custom("not an environment"))
    }
}

/// A provider plus an environment that can be integrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    /// `provider/environment`.
    pub id: String,
    /// The provider's name, as used in paths.
    pub provider: String,
    /// The environment.
    pub environment: Environment,
    /// A label for people, such as `Acme (production)`.
    pub label: String,
    /// Scopes that the broker needs.
    pub required_scopes: Vec<String>,
    /// Further scopes that are useful.
    pub optional_scopes: Vec<String>,
}

/// Options of an integration that only its provider understands.
pub type Options = BTreeMap<String, serde_json::Value>;

/// An integration's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IntegrationState {
    /// Its client id and secret are missing or not verified; no connection can begin.
    Draft,
    /// Verified with the provider.
    Configured,
    /// Switched off by hand: nothing is served and nothing begins; keep-alive goes on.
    Disabled,
    /// Frozen: nothing is served, begun or kept alive, and its connections are revoked.
    Frozen,
}

impl IntegrationState {
    /// The state in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Configured => "configured",
            Self::Disabled => "disabled",
            Self::Frozen => "frozen",
        }
    }
}

/// One OAuth client of the host for an offering, without its client secret, which is write-only.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IntegrationView {
    /// Its id. It is the tenancy boundary: a connection belongs to exactly one.
    pub id: IntegrationId,
    /// What the application calls it, if it does; it never changes.
    pub slug: Option<Slug>,
    /// Its display name.
    pub name: String,
    /// The offering's id.
    pub offering: String,
    /// The OAuth client id.
    pub client_id: String,
    /// Scopes to request.
    pub scopes: Vec<String>,
    /// Where a browser may be sent after connecting; matched whole.
    pub redirect_uris: Vec<String>,
    /// Calls allowed per calendar month (UTC); `None` means no limit.
    pub monthly_limit: Option<u64>,
    /// Options for the provider.
    pub options: Options,
    /// Its state.
    pub state: IntegrationState,
    /// The reason for the state in snake_case; empty if there is none.
    pub state_reason: String,
    /// The callback URL to register with the provider.
    pub callback_url: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a provider needs to know of an integration to act as its OAuth client.
#[derive(Debug)]
pub struct Client<'a> {
    /// The integration.
    pub integration: &'a IntegrationId,
    /// The offering that it integrates.
    pub offering: &'a Offering,
    /// OAuth `client_id`.
    pub client_id: &'a str,
    /// OAuth `client_secret`.
    pub client_secret: &'a Secret,
    /// Scopes to request.
    pub scopes: &'a [String],
    /// OAuth `redirect_uri`: this integration's callback.
    pub callback_url: &'a str,
    /// The provider's options.
    pub options: &'a Options,
    /// Whether the provider may be reached by http on a loopback address. Only for tests.
    pub allow_loopback: bool,
}

/// An integration to create.
///
/// ```
/// use grantry::{NewIntegration, secret::Secret};
///
/// let new = NewIntegration::new("My app", "acme/production", "client id", Secret::new("client secret"))
///     .scopes(["api", "refresh_token"])
///     .redirect_uris(["https://app.example.com/connected"]);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct NewIntegration {
    /// What the application calls it; no two integrations have one slug.
    pub slug: Option<Slug>,
    /// Its display name: 1 to 200 characters.
    pub name: String,
    /// The offering's id, such as `acme/production`.
    pub offering: String,
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret. It can be replaced, never read back.
    pub client_secret: Secret,
    /// Scopes to request, including the offering's required ones. Empty requests just those.
    pub scopes: Vec<String>,
    /// Where browsers may be sent after connecting.
    pub redirect_uris: Vec<String>,
    /// Calls allowed per calendar month (UTC).
    pub monthly_limit: Option<u64>,
    /// Options for the provider.
    pub options: Options,
}

impl NewIntegration {
    /// An integration of this offering, such as `acme/production`, by an OAuth client, with a display name of 1 to 200
    /// characters.
    pub fn new(
        name: impl Into<String>,
        offering: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: Secret,
    ) -> Self {
        Self {
            slug: None,
            name: name.into(),
            offering: offering.into(),
            client_id: client_id.into(),
            client_secret,
            scopes: Vec::new(),
            redirect_uris: Vec::new(),
            monthly_limit: None,
            options: Options::new(),
        }
    }

    /// What the application calls it, for good: its callback URL has it.
    #[must_use]
    pub fn slug(mut self, slug: Slug) -> Self {
        self.slug = Some(slug);
        self
    }

    /// Scopes to request, including the offering's required ones. By default just those.
    #[must_use]
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Where browsers may be sent after connecting; matched whole.
    #[must_use]
    pub fn redirect_uris(mut self, uris: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.redirect_uris = uris.into_iter().map(Into::into).collect();
        self
    }

    /// Calls allowed per calendar month (UTC); `None`, the default, means no limit.
    #[must_use]
    pub fn monthly_limit(mut self, calls: impl Into<Option<u64>>) -> Self {
        self.monthly_limit = calls.into();
        self
    }

    /// An option for the provider. May be given several times.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }
}

/// What to change of an integration. The client secret has a method of its own.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct IntegrationUpdate {
    /// A new name.
    pub name: Option<String>,
    /// A new client id; it is verified.
    pub client_id: Option<String>,
    /// New scopes, for connections to come.
    pub scopes: Option<Vec<String>>,
    /// New redirect URIs, which replace the present ones.
    pub redirect_uris: Option<Vec<String>>,
    /// A new limit; `Some(None)` removes it.
    pub monthly_limit: Option<Option<u64>>,
    /// New options, which replace the present ones; they are verified.
    pub options: Option<Options>,
}

impl IntegrationUpdate {
    /// A new name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A new client id; it is verified.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// New scopes, for connections to come.
    #[must_use]
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// New redirect URIs, which replace the present ones.
    #[must_use]
    pub fn redirect_uris(mut self, uris: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.redirect_uris = Some(uris.into_iter().map(Into::into).collect());
        self
    }

    /// A new limit of calls per calendar month (UTC); `None` removes it.
    #[must_use]
    pub fn monthly_limit(mut self, calls: impl Into<Option<u64>>) -> Self {
        self.monthly_limit = Some(calls.into());
        self
    }

    /// New options, which replace the present ones; they are verified.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = Some(options);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_environment() {
        let longest = "e".repeat(Environment::MAX_LEN);
        for fine in ["production", "sandbox", "e", "pre-release_2", &longest] {
            let environment = Environment::parse(fine).unwrap();
            assert_eq!(environment.as_str(), fine);
            let json = serde_json::to_string(&environment).unwrap();
            assert_eq!(json, format!("\"{fine}\""));
            assert_eq!(serde_json::from_str::<Environment>(&json).unwrap(), environment);
        }
        assert_eq!(Environment::parse("production"), Some(Environment::PRODUCTION));
        assert_eq!(Environment::parse("sandbox"), Some(Environment::SANDBOX));
        let too_long = format!("{longest}e");
        for bad in [
            "",
            "Production",
            "1st",
            "-a",
            "_a",
            "a b",
            "a/b",
            "a\0",
            "a.b",
            "\u{e4}",
            "a\u{e4}",
            &too_long,
        ] {
            assert_eq!(Environment::parse(bad), None, "{bad:?}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<Environment>(&json).is_err(), "{bad:?}");
        }
    }
}
