//! What the health route answers.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    event::What,
    health::{Finding, Findings, Health, Incident},
    time::Timestamp,
};

/// How the broker is: this process, and what stands in the store whoever wrote it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthBody {
    /// When it was looked at.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// Whether nothing is in danger.
    well: bool,
    /// Why the store could not be read; empty if it could.
    store_error: String,
    /// What the store says of how it keeps what is written. No danger by itself.
    store: Vec<WarningBody>,
    /// Token sets that are safe in this process only. Stopping it may lose them.
    unsaved: Vec<UnsavedBody>,
    /// Connections of which a refresh was sent whose outcome is not known.
    outcome_unknown: FindingsBody,
    /// Connections whose refresh was refused for now.
    cooling: FindingsBody,
    /// Connections that need their user to reconnect.
    expired: FindingsBody,
    /// What happened in this process lately that should not, oldest first.
    incidents: Vec<IncidentBody>,
    /// Token hosts that fail.
    token_hosts_down: Vec<TokenHostBody>,
    /// Integrations that do not serve as they should.
    integrations: Vec<IntegrationFindingBody>,
    /// The keys that sealed what is in the store.
    keys: Vec<KeyUseBody>,
    /// Whether refresh tokens are used before the provider's idle limit ends them.
    keeps_idle_grants_alive: bool,
    /// How long the row has waited that is due for longest.
    sweep_behind_seconds: u64,
}

/// What an operator should know of the store.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WarningBody {
    /// Stable, in lower case with underscores.
    code: String,
    message: String,
}

/// A token set that is not saved yet.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UnsavedBody {
    connection_id: String,
    /// The set that it replaces, as `epoch.generation`.
    spent: String,
    #[schemars(extend("format" = "date-time"))]
    since: String,
}

/// Connections with one thing in common.
#[derive(Debug, Serialize, JsonSchema)]
struct FindingsBody {
    /// The newest ids, at most 100.
    items: Vec<FindingBody>,
    /// Whether there are more.
    more: bool,
}

/// A connection that somebody may want to look at.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FindingBody {
    connection_id: String,
    integration_id: String,
    /// Why; empty if there is no reason.
    reason: String,
    /// Since when; empty if the row cannot be read.
    since: String,
    /// When it is tried again without anybody asking; empty is never.
    next: String,
}

/// Something that should not happen.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct IncidentBody {
    #[schemars(extend("format" = "date-time"))]
    at: String,
    integration_id: String,
    /// Empty if it is about no connection.
    connection_id: String,
    #[schemars(extend("enum" = [
        "outcome_unknown", "unsaved", "superseded", "store_rolled_back", "late_presenter", "revocation_given_up",
        "integration_fault"
    ]))]
    what: String,
}

/// A token host that fails.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TokenHostBody {
    host: String,
    reason: String,
    retry_after_seconds: u64,
}

/// An integration that does not serve as it should.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct IntegrationFindingBody {
    integration_id: String,
    state: String,
    reason: String,
}

/// A key and what it sealed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyUseBody {
    /// The key's id; empty for rows that hold nothing sealed.
    key: String,
    connections: u64,
    /// Whether this process was given it.
    at_hand: bool,
}

/// Why to freeze.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FreezeWish {
    /// Shown as the integration's `stateReason`: 1 to 200 characters.
    pub(super) reason: String,
}

impl From<Health> for HealthBody {
    fn from(health: Health) -> Self {
        Self {
            at: health.at.to_string(),
            well: health.is_well(),
            store_error: health.store_error.map_or("", |code| code.as_str()).to_owned(),
            store: health
                .store
                .into_iter()
                .map(|warning| WarningBody {
                    code: warning.code.to_owned(),
                    message: warning.message,
                })
                .collect(),
            unsaved: health
                .unsaved
                .iter()
                .map(|unsaved| UnsavedBody {
                    connection_id: unsaved.connection.to_string(),
                    spent: unsaved.spent.to_string(),
                    since: unsaved.since.to_string(),
                })
                .collect(),
            outcome_unknown: (&health.outcome_unknown).into(),
            cooling: (&health.cooling).into(),
            expired: (&health.expired).into(),
            incidents: health.incidents.iter().map(Into::into).collect(),
            token_hosts_down: health
                .token_hosts_down
                .into_iter()
                .map(|down| TokenHostBody {
                    host: down.host,
                    reason: down.reason.as_str().to_owned(),
                    retry_after_seconds: down.retry_after.as_secs(),
                })
                .collect(),
            integrations: health
                .integrations
                .into_iter()
                .map(|found| IntegrationFindingBody {
                    integration_id: found.integration.to_string(),
                    state: found.state.as_str().to_owned(),
                    reason: found.reason,
                })
                .collect(),
            keys: health
                .keys
                .into_iter()
                .map(|key| KeyUseBody {
                    key: key.key,
                    connections: key.connections,
                    at_hand: key.at_hand,
                })
                .collect(),
            keeps_idle_grants_alive: health.keep_alive.idle_limit,
            sweep_behind_seconds: health.sweep_behind.as_secs(),
        }
    }
}

impl From<&Findings> for FindingsBody {
    fn from(findings: &Findings) -> Self {
        Self {
            items: findings.items.iter().map(Into::into).collect(),
            more: findings.more,
        }
    }
}

impl From<&Finding> for FindingBody {
    fn from(finding: &Finding) -> Self {
        let moment = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        Self {
            connection_id: finding.connection.to_string(),
            integration_id: finding.integration.to_string(),
            reason: finding.reason.map_or("", |reason| reason.as_str()).to_owned(),
            since: moment(finding.since),
            next: moment(finding.next),
        }
    }
}

impl From<&Incident> for IncidentBody {
    fn from(incident: &Incident) -> Self {
        let what = match incident.what {
            What::Unsaved => "unsaved",
            What::Superseded => "superseded",
            What::CameAfterCopy => "came_after_copy",
            What::StoreRolledBack => "store_rolled_back",
            What::LatePresenter => "late_presenter",
            What::RevocationGivenUp => "revocation_given_up",
            What::IntegrationFault(_) => "integration_fault",
            _ => "outcome_unknown",
        };
        Self {
            at: incident.at.to_string(),
            integration_id: incident.integration.to_string(),
            connection_id: incident
                .connection
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            what: what.to_owned(),
        }
    }
}
