//! What is known about a provider without a request.

use super::AuthorizeError;
use crate::integration::Offering;

/// Facts about a provider that hold for all its integrations. Plain data: the broker reads it whenever it needs it, and it
/// must stay the same for as long as the provider is in use.
///
/// ```
/// use grantry::{integration::{Environment, Offering}, provider::{HeaderPattern, ProviderFacts}};
///
/// let offering = Offering {
///     id: "acme/production".to_owned(),
///     provider: "acme".to_owned(),
///     environment: Environment::PRODUCTION,
///     label: "Acme".to_owned(),
///     required_scopes: vec!["offline_access".to_owned()],
///     optional_scopes: Vec::new(),
/// };
/// let mut facts = ProviderFacts::new("acme", [offering]);
/// facts.api_paths = vec!["/api".to_owned()];
/// facts.request_headers = vec![HeaderPattern::Prefix("acme-".to_owned())];
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderFacts {
    /// The provider's name in paths, unique within a broker.
    pub name: String,
    /// What can be integrated. Offering ids are unique within a broker.
    pub offerings: Vec<Offering>,
    /// Request headers of the provider's API that a caller may set, beside those of HTTP itself. What authenticates,
    /// routes or frames a request never passes, and neither does a name with `_`, whatever is listed here. A header that
    /// the API takes for a credential must not be listed.
    pub request_headers: Vec<HeaderPattern>,
    /// Where the API is: a path passes if it is one of these or lies below one, by whole segments and byte for byte. Empty
    /// lets every path pass.
    pub api_paths: Vec<String>,
    /// Query keys that the API takes for a credential, beside `access_token` and `oauth_token`. A caller may not set them.
    pub credential_query_keys: Vec<String>,
    /// What the provider's own error codes in a callback mean, in lower case and with `_` for `-`. Codes of RFC 6749
    /// and OpenID Connect are known without it.
    pub authorize_errors: Vec<(String, AuthorizeError)>,
}

impl ProviderFacts {
    /// A provider whose API adds nothing to plain HTTP, and whose errors are those of the standards.
    pub fn new(name: impl Into<String>, offerings: impl Into<Vec<Offering>>) -> Self {
        Self {
            name: name.into(),
            offerings: offerings.into(),
            request_headers: Vec::new(),
            api_paths: Vec::new(),
            credential_query_keys: Vec::new(),
            authorize_errors: Vec::new(),
        }
    }
}

/// Names of headers, in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderPattern {
    /// This name.
    Exact(String),
    /// All names that begin like this.
    Prefix(String),
}

impl HeaderPattern {
    /// Whether `name` is one of them.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact),
            Self::Prefix(prefix) => name
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        }
    }
}
