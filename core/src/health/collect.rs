//! Collects health from this process and the store.

use std::{pin::pin, time::Duration};

use futures_util::TryStreamExt as _;

use super::{Finding, Findings, Health, IntegrationFinding, KeyUse, TokenHostDown, doctor::Doctor};
use crate::{
    connection::{Attention, Reason, Status},
    engine::{
        ledger::record::Record,
        pages::pages,
        protocol::{self, Refresh},
    },
    error::{Code, Error, causes},
    id::ConnectionId,
    integration::IntegrationState,
    store::Stored,
    vault::VaultError,
};

/// How many connections of each kind are listed.
const SHOWN: usize = 100;
const PAGE: u32 = 100;
/// How long to wait for the store.
const STORE_LIMIT: Duration = Duration::from_secs(10);

impl Doctor {
    /// A snapshot of the broker's health.
    pub(crate) async fn health(&self) -> Health {
        let now = self.clock.wall();
        let mut health = Health {
            at: now,
            store_error: None,
            store: self.connections.warnings(),
            unsaved: self.unsaved.list(),
            outcome_unknown: Findings::default(),
            cooling: Findings::default(),
            expired: Findings::default(),
            incidents: self.journal.incidents(),
            token_hosts_down: self
                .upstream
                .hosts_down()
                .into_iter()
                .map(|(host, reason, retry_after)| TokenHostDown {
                    host,
                    reason,
                    retry_after,
                })
                .collect(),
            integrations: Vec::new(),
            keys: Vec::new(),
            keep_alive: self.keep_alive,
            sweep_behind: Duration::ZERO,
        };
        let look = tokio::time::timeout(STORE_LIMIT, self.look_into_store(&mut health)).await;
        match look {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let code = error.code();
                tracing::warn!(
                    code = code.as_str(),
                    causes = causes(&error),
                    "the store cannot be read for the health report"
                );
                health.store_error = Some(code);
            }
            Err(_) => health.store_error = Some(Code::StoreUnavailable),
        }
        health
    }

    async fn look_into_store(&self, health: &mut Health) -> Result<(), Error> {
        health.outcome_unknown = self.unknown_outcomes().await?;
        health.cooling = self.needing_attention(Attention::Cooling).await?;
        health.expired = self.needing_attention(Attention::Expired).await?;
        for (key, connections) in self.connections.connections_by_key().await? {
            let known = self.vault.mac("health", Some(&key), &[]).await;
            let at_hand = key.is_empty() || !matches!(known, Err(VaultError::UnknownKey));
            health.keys.push(KeyUse {
                key,
                connections,
                at_hand,
            });
        }
        health.integrations = self.integration_findings().await?;
        let due = self.connections.due_connections(health.at, None, 1).await?;
        health.sweep_behind = due
            .items
            .first()
            .map_or(Duration::ZERO, |due| due.due_at.until(health.at));
        Ok(())
    }

    /// Recorded ones, and leases whose holder let them lapse: nobody may have acted on those yet.
    async fn unknown_outcomes(&self) -> Result<Findings, Error> {
        let mut findings = self.needing_attention(Attention::OutcomeUnknown).await?;
        let mut refreshing = pin!(pages(|before: Option<ConnectionId>| async move {
            let page = self
                .connections
                .connections_needing_attention(Attention::Refreshing, before.as_ref(), PAGE)
                .await?;
            let last = page.items.last().map(|stored| stored.row.id.clone());
            Ok::<_, Error>((page.items, last.filter(|_| page.more)))
        }));
        while let Some(page) = refreshing.try_next().await? {
            for stored in &page {
                let (Some(now), store_now) = self.connections.connection(&stored.row.id).await? else {
                    continue;
                };
                let Ok(record) = Record::decode(&now) else {
                    continue;
                };
                let lapsed = matches!(record.facts.row.refresh, Refresh::Leased { .. })
                    && !protocol::is_held(&record.facts.row, store_now);
                if !lapsed {
                    continue;
                }
                if findings.items.len() == SHOWN {
                    findings.more = true;
                    return Ok(findings);
                }
                findings.items.push(finding(&now));
            }
        }
        Ok(findings)
    }

    async fn needing_attention(&self, attention: Attention) -> Result<Findings, Error> {
        let page = self
            .connections
            .connections_needing_attention(attention, None, PAGE)
            .await?;
        Ok(Findings {
            items: page.items.iter().map(finding).collect(),
            more: page.more,
        })
    }

    async fn integration_findings(&self) -> Result<Vec<IntegrationFinding>, Error> {
        let mut found = Vec::new();
        for stored in self.directory.rows().await? {
            let (state, reason) = match self.directory.keep(&stored).await {
                Ok(loaded) => {
                    let view = loaded.view();
                    match loaded.serving.client.open(self.clock.boot()) {
                        Some((refused, _)) => (view.state, refused.as_str().to_owned()),
                        None if view.state == IntegrationState::Configured
                            && loaded.body.migrated().is_none() =>
                        {
                            continue;
                        }
                        None => (view.state, view.state_reason),
                    }
                }
                // It cannot be used here: its offering or its key is missing.
                Err(error) if error.code() != Code::StoreUnavailable => {
                    (IntegrationState::Draft, error.code().as_str().to_owned())
                }
                Err(error) => return Err(error),
            };
            found.push(IntegrationFinding {
                integration: stored.row.id,
                state,
                reason,
            });
        }
        Ok(found)
    }
}

/// What a row tells; if its body cannot be read, what its columns tell.
fn finding(stored: &Stored) -> Finding {
    let index = &stored.row.index;
    let record = Record::decode(stored).ok();
    let last = record.as_ref().and_then(|record| record.history().pop());
    Finding {
        connection: stored.row.id.clone(),
        integration: index.integration.clone(),
        reason: record.as_ref().and_then(reason_of),
        since: last.map(|decision| decision.at),
        next: index.due_at.filter(|_| index.status == Status::Connected),
    }
}

fn reason_of(record: &Record) -> Option<Reason> {
    let row = &record.facts.row;
    match row.refresh {
        Refresh::Cooling { reason, .. } => Some(reason),
        Refresh::Leased { .. } | Refresh::Unknown { .. } => Some(Reason::AnswerLost),
        Refresh::Idle => row.reason,
    }
}
