//! Offerings and integrations: what can be connected, and with which OAuth client of the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{id::IntegrationId, secret::Secret, time::Timestamp};

/// Whether an account holds real data or is a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real data.
    Production,
    /// A sandbox.
    Sandbox,
}

impl Environment {
    /// `production` or `sandbox`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }

    /// The environment that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Production, Self::Sandbox]
            .into_iter()
            .find(|e| e.as_str() == text)
    }
}

/// A provider plus an environment that can be integrated, such as `salesforce/production`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    /// `provider/environment`.
    pub id: String,
    /// The provider's name, as it stands in paths.
    pub provider: String,
    /// The environment.
    pub environment: Environment,
    /// What people read, such as `Salesforce (production)`.
    pub label: String,
    /// Scopes without which the broker cannot do its work.
    pub required_scopes: Vec<String>,
    /// Further scopes that make sense.
    pub optional_scopes: Vec<String>,
}

/// Options of an integration that only its provider understands, such as Salesforce's `loginUrl`.
pub type Options = BTreeMap<String, serde_json::Value>;

/// Where an integration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// One OAuth client of the host for an offering. The client secret is write-only and is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Integration {
    /// Its id. It is the tenancy boundary: a connection belongs to exactly one.
    pub id: IntegrationId,
    /// What people call it.
    pub name: String,
    /// The offering's id.
    pub offering: String,
    /// The OAuth client id (Salesforce: consumer key).
    pub client_id: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Where a browser may be sent after connecting; matched whole.
    pub redirect_uris: Vec<String>,
    /// Calls allowed per calendar month (UTC); `None` is no limit.
    pub monthly_limit: Option<u64>,
    /// Options for the provider.
    pub options: Options,
    /// Where it stands.
    pub state: IntegrationState,
    /// Why it stands there, in snake_case; empty when there is nothing to say.
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
    /// Scopes to ask for.
    pub scopes: &'a [String],
    /// OAuth `redirect_uri`: this integration's callback.
    pub callback_url: &'a str,
    /// The provider's options.
    pub options: &'a Options,
    /// Whether http on a loopback address may stand for the provider. Only for tests.
    pub allow_loopback: bool,
}

/// An integration to create.
#[derive(Debug)]
pub struct NewIntegration {
    /// What people call it: 1 to 200 characters.
    pub name: String,
    /// The offering's id, such as `salesforce/production`.
    pub offering: String,
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret. It can be replaced, never read back.
    pub client_secret: Secret,
    /// Scopes to ask for; the offering's required ones must be among them. Empty asks for the required ones.
    pub scopes: Vec<String>,
    /// Where browsers may be sent after connecting.
    pub redirect_uris: Vec<String>,
    /// Calls allowed per calendar month (UTC).
    pub monthly_limit: Option<u64>,
    /// Options for the provider.
    pub options: Options,
}

/// What to change of an integration. The client secret has a method of its own.
#[derive(Clone, Debug, Default)]
pub struct IntegrationUpdate {
    /// A new name.
    pub name: Option<String>,
    /// A new client id; it is verified.
    pub client_id: Option<String>,
    /// New scopes, for connections to come.
    pub scopes: Option<Vec<String>>,
    /// New redirect URIs, in place of all old ones.
    pub redirect_uris: Option<Vec<String>>,
    /// A new limit; `Some(None)` takes it away.
    pub monthly_limit: Option<Option<u64>>,
    /// New options, in place of all old ones; they are verified.
    pub options: Option<Options>,
}
