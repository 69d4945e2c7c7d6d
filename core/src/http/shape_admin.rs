//! What admin routes read and write: the only place where their JSON is described.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::json::SecretText;
use crate::{
    KeyInfo, NewKey,
    integration::{IntegrationView, Offering, Options},
    time::Timestamp,
};

/// What can be integrated.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OfferingsBody {
    pub(super) offerings: Vec<OfferingBody>,
}

/// A provider plus an environment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfferingBody {
    /// Its id, `provider/environment`.
    offering: String,
    /// The provider's name.
    provider: String,
    /// The environment, such as `production` or `sandbox`.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9_-]{0,31}$"))]
    environment: String,
    /// What people read.
    label: String,
    /// Scopes that every integration of it asks for.
    required_scopes: Vec<String>,
    /// Further scopes that make sense.
    optional_scopes: Vec<String>,
}

impl From<Offering> for OfferingBody {
    fn from(offering: Offering) -> Self {
        Self {
            offering: offering.id,
            provider: offering.provider,
            environment: offering.environment.as_str().to_owned(),
            label: offering.label,
            required_scopes: offering.required_scopes,
            optional_scopes: offering.optional_scopes,
        }
    }
}

/// An integration to create.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateIntegration {
    /// What the application calls it, for good: its callback URL has it, and paths take it for the id. No two integrations
    /// have one slug.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9-]{0,62}$"))]
    pub(super) slug: Option<String>,
    /// What people call it: 1 to 200 characters.
    pub(super) name: String,
    /// The offering's id, `provider/environment`.
    pub(super) offering: String,
    /// The OAuth client id.
    pub(super) client_id: String,
    /// The OAuth client secret. It can be replaced, never read back.
    pub(super) client_secret: SecretText,
    /// Scopes to ask for; the offering's required ones must be among them. Left out, those are asked for.
    pub(super) scopes: Option<Vec<String>>,
    /// Where browsers may be sent after connecting; matched whole.
    pub(super) redirect_uris: Option<Vec<String>>,
    /// Calls allowed per calendar month (UTC). Left out, there is no limit.
    pub(super) monthly_limit: Option<u64>,
    /// Options for the provider.
    pub(super) options: Option<Options>,
}

/// What to change of an integration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UpdateIntegration {
    /// A new name.
    pub(super) name: Option<String>,
    /// A new client id; it is verified.
    pub(super) client_id: Option<String>,
    /// New scopes, for connections to come.
    pub(super) scopes: Option<Vec<String>>,
    /// New redirect URIs, in place of all old ones.
    pub(super) redirect_uris: Option<Vec<String>>,
    /// A new limit; null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<u64>", !default)]
    #[expect(
        clippy::option_option,
        reason = "null takes the limit away, nothing leaves it"
    )]
    pub(super) monthly_limit: Option<Option<u64>>,
    /// New options, in place of all old ones; they are verified.
    pub(super) options: Option<Options>,
}

/// Tells null from nothing.
#[expect(
    clippy::option_option,
    reason = "null takes the limit away, nothing leaves it"
)]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A new client secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewSecret {
    /// The OAuth client secret.
    pub(super) client_secret: SecretText,
}

/// One OAuth client of the host. Its secret is not in it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IntegrationBody {
    /// Its id.
    integration_id: String,
    /// What the application calls it; null if it does not. Paths take it for the id.
    slug: Option<String>,
    /// What people call it.
    name: String,
    /// The offering's id.
    offering: String,
    /// The OAuth client id.
    client_id: String,
    /// Scopes to ask for.
    scopes: Vec<String>,
    /// Where browsers may be sent after connecting.
    redirect_uris: Vec<String>,
    /// Calls allowed per calendar month; null if there is no limit.
    monthly_limit: Option<u64>,
    /// Options for the provider.
    options: Options,
    /// Where it stands.
    #[schemars(extend("enum" = ["draft", "configured", "disabled", "frozen"]))]
    state: String,
    /// Why it stands there; empty when there is nothing to say.
    state_reason: String,
    /// The callback URL to register with the provider, character for character.
    callback_url: String,
    /// When it was created.
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
}

impl From<IntegrationView> for IntegrationBody {
    fn from(integration: IntegrationView) -> Self {
        Self {
            integration_id: integration.id.to_string(),
            slug: integration.slug.map(|slug| slug.to_string()),
            name: integration.name,
            offering: integration.offering,
            client_id: integration.client_id,
            scopes: integration.scopes,
            redirect_uris: integration.redirect_uris,
            monthly_limit: integration.monthly_limit,
            options: integration.options,
            state: integration.state.as_str().to_owned(),
            state_reason: integration.state_reason,
            callback_url: integration.callback_url,
            created_at: integration.created_at.to_string(),
        }
    }
}

/// A new integration with its first two keys.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedIntegration<'a> {
    #[serde(flatten)]
    pub(super) integration: IntegrationBody,
    /// May be shown in a browser: it can only begin a connection. Shown this once.
    pub(super) public_key: &'a str,
    /// For servers only. Shown this once.
    pub(super) api_key: &'a str,
}

/// All integrations.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IntegrationsBody {
    pub(super) integrations: Vec<IntegrationBody>,
}

/// A key to make.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateKey {
    /// What it may do: `api` (the default) or `public`.
    #[schemars(extend("enum" = ["api", "public", null]))]
    pub(super) kind: Option<String>,
    /// When it ends. Left out, it does not.
    #[schemars(extend("format" = "date-time"))]
    pub(super) expires_at: Option<String>,
}

/// A key, but for its secret part.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyBody {
    /// Its public part.
    key_id: String,
    /// What it may do.
    #[schemars(extend("enum" = ["api", "public"]))]
    kind: String,
    /// When it was made.
    created_at: String,
    /// When it ends; empty if it does not.
    expires_at: String,
    /// When it was revoked; empty if it was not.
    revoked_at: String,
}

impl From<&KeyInfo> for KeyBody {
    fn from(row: &KeyInfo) -> Self {
        Self {
            key_id: row.id.to_string(),
            kind: row.kind.as_str().to_owned(),
            created_at: row.created_at.to_string(),
            expires_at: moment(row.expires_at),
            revoked_at: moment(row.revoked_at),
        }
    }
}

/// The keys of an integration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct KeysBody {
    pub(super) keys: Vec<KeyBody>,
}

/// A new key.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedKey<'a> {
    /// Its public part.
    key_id: String,
    /// What it may do.
    #[schemars(extend("enum" = ["api", "public"]))]
    kind: &'a str,
    /// The key itself. Shown this once.
    key: &'a str,
    /// When it ends; empty if it does not.
    expires_at: String,
}

impl<'a> From<&'a NewKey> for CreatedKey<'a> {
    fn from(key: &'a NewKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            kind: key.kind.as_str(),
            key: key.secret.expose(),
            expires_at: moment(key.expires_at),
        }
    }
}

fn moment(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}
