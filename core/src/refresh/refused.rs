//! Step 8: what a definite refusal leads to.

use std::sync::Arc;

use super::{
    flight::Landing,
    late,
    present::{Turn, revoke_at_once},
    protocol::{self, Dead, Policy, Row},
    schedule,
    turn::store_time,
};
use crate::{
    connection::{Reason, Status},
    engine::Engine,
    error::{Code, Error},
    event::What,
    integrations::Loaded,
    provider::{Refusal, TokenSet, Verdict},
    random,
    record::Record,
    store::{Stored, Swap},
};

#[expect(clippy::too_many_arguments, reason = "everything a refusal is judged by")]
pub(super) async fn refused(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    record: Record,
    stored: Stored,
    turn: Turn,
    refusal: Refusal,
    token: &str,
) -> Landing {
    let Refusal {
        verdict,
        reason,
        retry_after,
    } = refusal;
    match verdict {
        Verdict::GrantDead => {
            integration.gate.client.mend();
            dead(engine, integration, record, turn, reason, token).await
        }
        Verdict::ClientMisconfigured => {
            // Told first: a write may take a while, and nobody else should ask meanwhile.
            let error = engine.client_refused(integration, reason);
            let write = |row: &Row| protocol::give_back(row, turn.holder, turn.replaced, policy);
            engine
                .write_while_mine(record, stored, write, "client_refused", Some(reason), None)
                .await;
            Err(error)
        }
        Verdict::InProgress => {
            let now = store_time(turn.now, turn.read_at, engine.clock.boot());
            let wall = engine.clock.wall();
            let write = |row: &Row| {
                protocol::in_progress(row, turn.holder, turn.attempt, turn.replaced, now, wall, policy)
            };
            engine
                .write_while_mine(
                    record,
                    stored,
                    write,
                    "already_processing",
                    Some(reason),
                    Some(token),
                )
                .await;
            Err(Error::new(Code::RefreshOutcomeUnknown)
                .because(reason.as_str())
                .retry_after(policy.quarantine))
        }
        Verdict::MayPass => {
            let failures = match turn.replaced {
                protocol::Refresh::Cooling { failures, .. } => failures + 1,
                _ => 1,
            };
            let wait = schedule::cooling(failures, retry_after, random::spread());
            let until = engine.clock.wall() + wait;
            engine.emit(&record.integration, Some(&record.id), What::Cooling(reason));
            let write = |row: &Row| protocol::cool(row, turn.holder, turn.replaced, until, reason, policy);
            engine
                .write_while_mine(record, stored, write, "cooling", Some(reason), Some(token))
                .await;
            Err(Error::new(Code::RefreshCooling)
                .because(reason.as_str())
                .retry_after(wait))
        }
    }
}

/// The grant is gone, says the provider. The row is read first: somebody may have stored a newer set.
async fn dead(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    record: Record,
    turn: Turn,
    reason: Reason,
    token: &str,
) -> Landing {
    let (id, spent) = (record.id.clone(), record.facts.row.name);
    let mut unsure = false;
    for round in 0.. {
        let looks = engine.cache.looks();
        let stored = match engine.stores.connections.connection(&id).await {
            Ok((Some(stored), _)) => stored,
            Ok((None, _)) => return Err(Code::ConnectionNotFound.into()),
            Err(error) if round > 5 => return Err(error.into()),
            Err(_) => {
                tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                continue;
            }
        };
        let mut record = Record::decode(&stored)?;
        match protocol::dead(&record.facts.row, turn.holder, spent, turn.attempt, reason) {
            Dead::NotMine => {
                let row = &record.facts.row;
                if unsure && row.name == spent && row.status == Status::Expired {
                    // My write was applied though its answer was lost.
                    engine.expired(&record, row.reason.unwrap_or(reason));
                }
                super::status_check(&record)?;
                return Err(Error::new(Code::RefreshInProgress).because(reason.as_str()));
            }
            Dead::Newer => {
                // Our refusal may just have ended the family of the newer set: it is tried once.
                let entry = engine.load(&stored, integration, looks).await?;
                engine.emit(&record.integration, Some(&id), What::LatePresenter);
                let ends = late::ends_by_the_clock(engine, &entry);
                return late::verify(engine, integration, &id, entry, ends).await;
            }
            Dead::Expire(row) => {
                let why = row.reason.unwrap_or(reason);
                engine.note(&mut record, "grant_refused", Some(reason), Some(token));
                match engine.expire(record, stored.revision, row, why).await {
                    Ok(true) => return Err(Error::new(Code::ConnectionExpired).because(why.as_str())),
                    Ok(false) => {}
                    Err(error) if round > 5 => return Err(error),
                    Err(_) => {
                        unsure = true;
                        tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                    }
                }
            }
        }
    }
    Err(Error::new(Code::Internal).because("dead"))
}

/// The answer names another user or org than the connection's. Such tokens are nobody's here: they are revoked, and
/// since the old one is spent, the user must reconnect.
pub(super) async fn identity_changed(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    record: Record,
    turn: Turn,
    set: &TokenSet,
) -> Landing {
    let token = set.refresh_token.as_ref().unwrap_or(&set.access_token);
    revoke_at_once(engine, integration, token).await;
    dead(
        engine,
        integration,
        record,
        Turn { attempt: 1, ..turn },
        Reason::IdentityChanged,
        "",
    )
    .await
}

impl Engine {
    /// Marks a connection as expired; `false` on a conflict. Not confirmed: if it is lost, the grant is asked about once
    /// more, as after any turn that lapsed, and is as dead as before.
    pub(super) async fn expire(
        &self,
        mut record: Record,
        revision: crate::store::Revision,
        row: Row,
        reason: Reason,
    ) -> Result<bool, Error> {
        record.facts.row = row;
        self.note(&mut record, "expired", Some(reason), None);
        match self
            .stores
            .connections
            .swap_connection(&self.row(&record), revision)
            .await?
        {
            Swap::Swapped(_) => {
                self.expired(&record, reason);
                Ok(true)
            }
            Swap::Conflict => Ok(false),
            Swap::Missing => Err(Code::ConnectionNotFound.into()),
        }
    }

    fn expired(&self, record: &Record, reason: Reason) {
        self.cache.remove(&record.id);
        self.emit(&record.integration, Some(&record.id), What::Expired(reason));
        metrics::counter!("grantry_expired").increment(1);
    }
}
