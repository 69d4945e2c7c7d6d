//! Steps 5, 7 and 8: present the refresh token once, and say what became of it.

use std::{sync::Arc, time::Duration};

use super::{
    flight::{Landing, Pilot},
    protocol::{self, Policy, Row},
    refused, schedule, settle,
    turn::store_time,
};
use crate::{
    connection::{Reason, SetName},
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::Grant,
    integrations::Loaded,
    provider::{AccessLife, Expiry, Failure, Presentation, TokenHttp, TokenSet},
    random,
    record::Record,
    secret::{Secret, fingerprint},
    store::{Stored, Swap},
    time::{BootInstant, StoreInstant},
};

/// A turn that this process holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) holder: u128,
    pub(super) attempt: u32,
    /// What the turn replaced.
    pub(super) replaced: protocol::Refresh,
    /// From before the row was read that it was written over.
    pub(super) since: BootInstant,
    /// When the row was read, on both clocks.
    pub(super) read_at: BootInstant,
    pub(super) now: StoreInstant,
}

/// Presents the refresh token and settles the outcome.
#[expect(
    clippy::too_many_arguments,
    reason = "everything a presentation needs, gathered by the turn"
)]
pub(super) async fn present(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    record: Record,
    stored: Stored,
    grant: Grant,
    turn: Turn,
    pilot: &Pilot,
) -> Landing {
    let Some(refresh_token) = &grant.refresh_token else {
        give_back(engine, policy, record, stored, &turn).await;
        return Err(not_sent());
    };
    let token = fingerprint(refresh_token.expose());
    let (http, presentation) = TokenHttp::new(engine.transport.clone());
    let sent_at = engine.clock.boot();
    tracing::info!(connection = %record.id, set = %record.facts.row.name, attempt = turn.attempt, token, "presenting");
    let which = if turn.attempt == 1 {
        "first"
    } else {
        "after_unknown"
    };
    metrics::counter!("grantry_presentations", "attempt" => which).increment(1);
    let client = integration.client();
    let wall = engine.clock.wall();
    let answer = tokio::time::timeout(
        policy.time_limit,
        integration.provider.refresh(http, &client, refresh_token, wall),
    )
    .await
    .unwrap_or(Err(Failure::Unknown(Reason::AnswerLost)));
    let answered_at = engine.clock.boot();
    // If the machine slept between the gate and the send, the request left later than the gate thinks.
    let slept = answered_at - sent_at > policy.time_limit + Duration::from_secs(2);
    let sent_by = store_time(turn.now, turn.read_at, if slept { answered_at } else { sent_at });

    let answer = believe(answer, &presentation);
    let host = engine.hosts.get(integration.provider.token_host(&client));
    match &answer {
        Ok(_) => host.answered(),
        Err(failure) => host.failed(*failure, answered_at),
    }
    match answer {
        Ok(set) => {
            integration.gate.client.mend();
            if set
                .subject
                .as_ref()
                .is_some_and(|s| !record.facts.subject.is_empty() && *s != record.facts.subject)
            {
                return refused::identity_changed(engine, integration, record, turn, &set).await;
            }
            let ends = sent_at + wall.until(set.expiry.at());
            settle::settle(
                engine,
                integration,
                policy,
                record,
                stored,
                grant,
                set,
                ends,
                token,
                turn,
                pilot,
            )
            .await
        }
        Err(Failure::NotSent) => {
            give_back(engine, policy, record, stored, &turn).await;
            Err(not_sent())
        }
        Err(Failure::Unknown(reason)) => {
            engine.emit(&record.integration, Some(&record.id), What::OutcomeUnknown);
            metrics::counter!("grantry_outcomes_unknown").increment(1);
            let write = |row: &Row| {
                protocol::unknown(
                    row,
                    turn.holder,
                    turn.attempt,
                    sent_by,
                    engine.clock.wall(),
                    policy,
                )
            };
            engine
                .write_while_mine(
                    record,
                    stored,
                    write,
                    "outcome_unknown",
                    Some(reason),
                    Some(&token),
                )
                .await;
            Err(Error::new(Code::RefreshOutcomeUnknown)
                .because(reason.as_str())
                .retry_after(policy.quarantine))
        }
        Err(Failure::Refused(refusal)) => {
            refused::refused(engine, integration, policy, record, stored, turn, refusal, &token).await
        }
    }
}

/// What core saw on the wire is believed before what the provider says.
fn believe(answer: Result<TokenSet, Failure>, presentation: &Presentation) -> Result<TokenSet, Failure> {
    match answer {
        Ok(set) if presentation.answered() => Ok(set),
        Err(Failure::Refused(refusal)) if presentation.answered() => Err(Failure::Refused(refusal)),
        _ if presentation.certainly_not_sent() => Err(Failure::NotSent),
        Err(Failure::Unknown(reason)) => Err(Failure::Unknown(reason)),
        _ => Err(Failure::Unknown(Reason::AnswerLost)),
    }
}

/// Nothing was sent. Only this process backs off.
pub(super) fn not_sent() -> Error {
    Error::new(Code::RefreshNotSent).retry_after(Duration::from_secs(2))
}

/// Nothing was sent: the turn is given back as it was found.
pub(super) async fn give_back(engine: &Engine, policy: &Policy, record: Record, stored: Stored, turn: &Turn) {
    let write = |row: &Row| protocol::give_back(row, turn.holder, turn.replaced, policy);
    engine
        .write_while_mine(record, stored, write, "not_sent", Some(Reason::NotSent), None)
        .await;
}

/// Revokes a token that stands in no row, as far as that goes.
pub(super) async fn revoke_at_once(engine: &Engine, integration: &Loaded, token: &Secret) {
    let (http, client) = (engine.http(), integration.client());
    let revoke = integration.provider.revoke(&http, &client, token);
    let _ = tokio::time::timeout(Duration::from_secs(20), revoke).await;
}

/// Whether an access token works; `None` if that cannot be found out now.
pub(super) async fn access_life(
    engine: &Engine,
    integration: &Loaded,
    grant: Grant,
    expiry: Expiry,
) -> Option<AccessLife> {
    let set = TokenSet {
        access_token: grant.access_token,
        refresh_token: None,
        instance_url: Some(grant.instance_url),
        scopes: None,
        expiry,
        subject: None,
    };
    access_life_of(engine, integration, &set).await
}

pub(super) async fn access_life_of(
    engine: &Engine,
    integration: &Loaded,
    set: &TokenSet,
) -> Option<AccessLife> {
    let limit = Duration::from_secs(20);
    let (http, client) = (engine.http(), integration.client());
    let ask = integration.provider.access_life(&http, &client, set);
    tokio::time::timeout(limit, ask).await.ok()?.ok()
}

impl Engine {
    /// Writes what `decide` makes of the row, as long as the turn is ours; on a conflict the row is read and judged
    /// again. A store that is down is tried for a while: an unwritten outcome lapses into `Unknown`, which is safe. So it
    /// is not confirmed, either: what is lost with a machine goes back to the turn, which was.
    pub(super) async fn write_while_mine(
        &self,
        record: Record,
        stored: Stored,
        decide: impl Fn(&Row) -> Option<Row>,
        what: &'static str,
        reason: Option<Reason>,
        token: Option<&str>,
    ) {
        let (mut record, mut revision) = (record, stored.revision);
        for round in 0..8 {
            let Some(row) = decide(&record.facts.row) else {
                return;
            };
            let mut next = record.clone();
            next.facts.row = row;
            self.note(&mut next, what, reason, token);
            if let Ok(Swap::Swapped(_) | Swap::Missing) = self
                .stores
                .connections
                .swap_connection(&self.row(&next), revision)
                .await
            {
                return;
            }
            tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
            if let Ok((Some(again), _)) = self.stores.connections.connection(&record.id).await
                && let Ok(decoded) = Record::decode(&again)
            {
                (record, revision) = (decoded, again.revision);
            }
        }
    }

    /// Adds a decision to a record's history.
    pub(crate) fn note(&self, record: &mut Record, what: &str, reason: Option<Reason>, token: Option<&str>) {
        let set: SetName = record.facts.row.name;
        let token = token.filter(|t| !t.is_empty()).map(str::to_owned);
        record.note(crate::record::Decision {
            at: self.clock.wall(),
            what: what.to_owned(),
            set,
            reason,
            token,
        });
    }
}
