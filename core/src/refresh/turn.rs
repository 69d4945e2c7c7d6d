//! Steps 3 and 4: one process gets the turn, and only while it is certain to hold it does it send.

use std::{sync::Arc, time::Duration};

use super::{
    flight::{Landing, Pilot},
    present::{self, Turn},
    protocol::{self, Ask, Policy, Take},
    schedule,
};
use crate::{
    connection::SetName,
    engine::Engine,
    error::{Code, Error},
    grant::{Grant, tokens_context},
    id::ConnectionId,
    integrations::Loaded,
    provider::AccessLife,
    random,
    record::Record,
    store::{Stored, Swap},
    time::{BootInstant, StoreInstant, Timestamp},
};

/// How much of an access token's life counts as none, when a token may have to be presented again.
const LAST_SECONDS: Duration = Duration::from_secs(30);
/// How near a refresh token's idle limit may come before waiting costs more than it saves.
const IDLE_MARGIN: Duration = Duration::from_secs(24 * 3600);

/// A whole flight: from "somebody needs a newer set than `seen`" to a stored set or a reason why not.
pub(super) async fn fly(
    engine: &Arc<Engine>,
    id: &ConnectionId,
    seen: SetName,
    integration: &Arc<Loaded>,
    pilot: Pilot,
) {
    let landing = attempt(engine, id, seen, integration, &pilot).await;
    pilot.land(landing);
}

/// My tries to write the turn. One whose answer was lost may be applied at any later moment, so all count from the first.
struct Tried {
    since: BootInstant,
    attempt: u32,
    replaced: protocol::Refresh,
}

async fn attempt(
    engine: &Arc<Engine>,
    id: &ConnectionId,
    seen: SetName,
    integration: &Arc<Loaded>,
    pilot: &Pilot,
) -> Landing {
    let policy = Policy::new(integration.provider.rotation(&integration.client()));
    let holder = random::id()?;
    let begun = engine.clock.boot();
    let mut tried: Option<Tried> = None;
    let mut probed = None;
    for round in 0.. {
        let read_at = engine.clock.boot();
        let (stored, now) = match engine.stores.connections.connection(id).await {
            Ok((Some(stored), now)) => (stored, now),
            Ok((None, _)) => return Err(Code::ConnectionNotFound.into()),
            // After a write without answer the row must be seen: a turn of mine may stand there.
            Err(_) if tried.is_some() && engine.clock.boot() - begun < policy.turn => {
                tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let record = Record::decode(&stored)?;
        let wall = engine.clock.wall();
        let ask = Ask {
            seen,
            holder,
            now,
            wall,
            nothing_to_lose: nothing_to_lose(engine, &record, wall, probed),
        };
        match protocol::take(&record.facts.row, &ask, &policy) {
            Take::Newer => return engine.load(&stored, integration).await,
            Take::Ended => {
                engine.cache.remove(id);
                super::status_check(&record)?;
                return Err(Code::ConnectionNotFound.into());
            }
            Take::Cooling { until, reason } => {
                return Err(Error::new(Code::RefreshCooling)
                    .because(reason.as_str())
                    .retry_after(wall.until(until)));
            }
            Take::Quarantine { wait } => {
                return Err(Error::new(Code::RefreshOutcomeUnknown).retry_after(wait));
            }
            Take::LetLive => match probed {
                // An assumed end is no proof of death: the provider is asked, which risks nothing.
                None if !record.facts.access_end_known && wall >= record.facts.access_ends => {
                    probed = Some(probe(engine, &record, integration).await?);
                }
                _ => return Err(Error::new(Code::RefreshOutcomeUnknown).retry_after(LAST_SECONDS)),
            },
            Take::Busy => {
                if engine.clock.boot() - begun > policy.turn + policy.gate {
                    return Err(Error::new(Code::RefreshInProgress).retry_after(policy.gate));
                }
                tokio::time::sleep(schedule::poll(round, random::spread())).await;
            }
            Take::Rewrite(row) => {
                let mut next = record;
                next.facts.row = row;
                // Whatever comes of it, the row is read again.
                let _ = engine
                    .stores
                    .connections
                    .swap_connection(&next.encode(), stored.revision)
                    .await;
            }
            Take::Mine => {
                let Some(Tried {
                    since,
                    attempt,
                    replaced,
                }) = tried
                else {
                    return Err(Error::new(Code::Internal).because("turn"));
                };
                let turn = Turn {
                    holder,
                    attempt,
                    replaced,
                    since,
                    read_at,
                    now,
                };
                return engage(engine, integration, &policy, record, stored, turn, pilot).await;
            }
            Take::Turn {
                row,
                attempt,
                replaced,
            } => {
                if let Some((reason, wait)) = integration.gate.fault(engine.clock.boot()) {
                    return Err(Error::new(Code::ClientInvalid)
                        .because(reason.as_str())
                        .retry_after(wait));
                }
                integration.usable()?;
                // Everything that could fail for a reason of ours fails before the token is touched.
                engine.vault.ready().await?;
                let grant = open(engine, &record).await?;
                if grant.refresh_token.is_none() {
                    return expire_without_refresh_token(engine, record, stored).await;
                }
                drop(grant);
                let mut next = record;
                next.facts.row = row;
                engine.note(&mut next, "turn_taken", None, None);
                let since = tried.as_ref().map_or_else(|| engine.clock.boot(), |t| t.since);
                tried = Some(Tried {
                    since,
                    attempt,
                    replaced,
                });
                match engine
                    .stores
                    .connections
                    .swap_connection(&next.encode(), stored.revision)
                    .await
                {
                    Ok(Swap::Swapped(revision)) => {
                        let turn = Turn {
                            holder,
                            attempt,
                            replaced,
                            since,
                            read_at,
                            now,
                        };
                        let stored = Stored { revision, ..stored };
                        return engage(engine, integration, &policy, next, stored, turn, pilot).await;
                    }
                    Ok(Swap::Missing) => return Err(Code::ConnectionNotFound.into()),
                    // Conflict, or no answer: the row tells.
                    Ok(Swap::Conflict) | Err(_) => {}
                }
            }
        }
    }
    Err(Error::new(Code::Internal).because("turn"))
}

/// Whether presenting the token once more could not end anything that lives.
fn nothing_to_lose(engine: &Engine, record: &Record, wall: Timestamp, probed: Option<AccessLife>) -> bool {
    let facts = &record.facts;
    let refused = engine
        .cache
        .get(&record.id)
        .is_some_and(|e| e.name() == facts.row.name && e.refused.load(std::sync::atomic::Ordering::Acquire));
    let ended = facts.access_end_known && wall.until(facts.access_ends) <= LAST_SECONDS;
    let idle = facts.refresh_by.is_some_and(|by| wall.until(by) <= IDLE_MARGIN);
    refused || ended || idle || probed == Some(AccessLife::Dead)
}

/// Asks the provider whether the stored access token still works.
async fn probe(engine: &Engine, record: &Record, integration: &Loaded) -> Result<AccessLife, Error> {
    let grant = open(engine, record).await?;
    present::access_life(engine, integration, grant, record.expiry())
        .await
        .ok_or_else(|| Error::new(Code::RefreshOutcomeUnknown).retry_after(LAST_SECONDS))
}

pub(crate) async fn open(engine: &Engine, record: &Record) -> Result<Grant, Error> {
    let context = tokens_context(&record.integration, &record.id, record.facts.row.name);
    let opened = engine.vault.open(&context, &record.sealed).await?;
    Grant::decode(opened.expose())
}

/// The turn is mine: gate, present, settle.
async fn engage(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    record: Record,
    stored: Stored,
    turn: Turn,
    pilot: &Pilot,
) -> Landing {
    let grant = open(engine, &record).await?;
    // From the second attempt on the row is read once more: a late answer may have come in meanwhile.
    let still_mine = turn.attempt < 2
        || matches!(
            engine.stores.connections.connection(&record.id).await,
            Ok((Some(again), _)) if Record::decode(&again).is_ok_and(|r| protocol::holds(&r.facts.row, turn.holder))
        );
    if !still_mine || !protocol::gate(engine.clock.boot() - turn.since, policy) {
        return present::not_sent(engine, policy, record, stored, &turn).await;
    }
    present::present(engine, integration, policy, record, stored, grant, turn, pilot).await
}

/// A grant without a refresh token cannot be refreshed; when its access token ends, so does the connection.
async fn expire_without_refresh_token(engine: &Arc<Engine>, record: Record, stored: Stored) -> Landing {
    let reason = crate::connection::Reason::GrantExpiredOrRevoked;
    if let Some(row) = protocol::found_dead(&record.facts.row, record.facts.row.name, reason) {
        engine.expire(record, stored.revision, row, reason).await?;
    }
    Err(Error::new(Code::ConnectionExpired).because("no_refresh_token"))
}

/// The store's time at the boot instant `at`, reckoned from a reading.
pub(super) fn store_time(now: StoreInstant, read_at: BootInstant, at: BootInstant) -> StoreInstant {
    now.plus(at - read_at)
}
