//! Steps 3 and 4: one process gets the turn, and only while it is certain to hold it does it send.

use std::{sync::Arc, time::Duration};

use tracing::Instrument as _;

use super::{
    Cause,
    breaker::Pass,
    cache::Entry,
    confirm::{NOT_CONFIRMED, not_confirmed, turn_is_safe},
    flight::{Landing, Pilot},
    keep_alive::{IDLE_MARGIN, LAST_SECONDS},
    present::{self, Turn},
    protocol::{self, Ask, Policy, Take},
    schedule,
};
use crate::{
    connection::Reason,
    engine::Engine,
    error::{Code, Error},
    grant::{Grant, tokens_context},
    id::ConnectionId,
    integrations::Loaded,
    provider::{AccessLife, Expiry},
    random,
    record::Record,
    store::{Stored, Swap},
    time::{BootInstant, StoreInstant, Timestamp},
    vault::TokenVault,
};

/// For how long a token set that was found alive counts so, where the provider does not say until when.
const FOUND_ALIVE: Duration = Duration::from_secs(300);
/// After a request that was not sent nobody here tries this connection again for so long.
const NOT_SENT_PAUSE: Duration = Duration::from_secs(2);
/// For how long callers with a living token are spared a refresh that failed, at the most.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A whole flight: from "somebody needs a newer set than `held`" to a stored set or a reason why not.
pub(super) async fn fly(
    engine: &Arc<Engine>,
    id: &ConnectionId,
    held: &Arc<Entry>,
    integration: &Arc<Loaded>,
    cause: Cause,
    pilot: Pilot,
) {
    let begun = engine.clock.boot();
    let landing = Box::pin(attempt(engine, id, held, integration, cause, &pilot))
        .instrument(tracing::info_span!("refresh", connection = %id, integration = %integration.id))
        .await;
    let outcome = landing
        .as_ref()
        .map_or_else(|error| error.code().as_str(), |_| "ok");
    metrics::counter!("grantry_refreshes", "outcome" => outcome).increment(1);
    metrics::histogram!("grantry_refresh_seconds").record((engine.clock.boot() - begun).as_secs_f64());
    if let Err(error) = &landing {
        let rest = error.wait().unwrap_or_default().min(LONGEST_REST);
        let until = engine.clock.wall() + rest;
        held.rest_until(until);
        // It may have been read again meanwhile.
        if let Some(entry) = engine.cache.get(id).filter(|e| e.name() == held.name()) {
            entry.rest_until(until);
        }
        if error.code() == Code::RefreshNotSent || error.reason() == Some(NOT_CONFIRMED) {
            // The flight keeps its place, so that callers who come now do not each try again.
            pilot.tell(landing.clone());
            engine.tasks.pause(NOT_SENT_PAUSE).await;
        }
    }
    pilot.land(landing);
}

/// My tries to write the turn.
struct Tried {
    /// From before the row was read for the first of them that may be applied, be it at a later moment.
    since: BootInstant,
    attempt: u32,
    replaced: protocol::Refresh,
    /// One of them got no answer.
    unsure: bool,
}

async fn attempt(
    engine: &Arc<Engine>,
    id: &ConnectionId,
    held: &Arc<Entry>,
    integration: &Arc<Loaded>,
    cause: Cause,
    pilot: &Pilot,
) -> Landing {
    let policy = engine.policy(integration);
    let holder = if policy.rules.fresh_holder {
        random::id()?
    } else {
        // What an earlier draft did: a name that a restarted process has again.
        u128::from(crc32fast::hash(engine.settings.public_url.as_bytes()))
    };
    let begun = engine.clock.boot();
    let mut tried: Option<Tried> = None;
    let mut probed = None;
    let mut pass = None;
    let mut seen = held.name();
    for round in 0.. {
        let looks = engine.cache.looks();
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
            nothing_to_lose: nothing_to_lose(engine, held, &record, wall, probed),
        };
        match protocol::take(&record.facts.row, &ask, &policy) {
            Take::Newer => return engine.load(&stored, integration, looks).await,
            Take::Older => match engine.repair(id, held, integration).await? {
                true if engine.clock.boot() - begun < policy.gate => {
                    tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                }
                true => return Err(Code::StoreUnavailable.into()),
                // What was seen cannot be brought back; the store's word counts.
                false => {
                    engine.cache.remove(id);
                    seen = record.facts.row.name;
                }
            },
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
            waiting @ (Take::Quarantine { .. } | Take::LetLive) => {
                let wait = match waiting {
                    Take::Quarantine { wait } => wait,
                    _ => LAST_SECONDS,
                };
                // An assumed end is no proof of death: the provider is asked, which risks nothing.
                let assumed = !record.facts.access_end_known && wall >= held.expiry.at();
                if probed.is_some() || !assumed || ask.nothing_to_lose {
                    return Err(Error::new(Code::RefreshOutcomeUnknown).retry_after(wait));
                }
                let life = probe(engine, &record, integration).await?;
                if life == Some(AccessLife::Dead) {
                    held.refuse();
                    probed = life;
                    continue;
                }
                let end = match life {
                    Some(AccessLife::Alive(Some(until))) => Expiry::Known(until),
                    Some(_) => Expiry::Assumed(wall + FOUND_ALIVE),
                    // Nobody can tell. It is served on: if it is dead, a refused call will say so.
                    None => Expiry::Assumed(wall + LAST_SECONDS),
                };
                return engine.load_until(&stored, integration, looks, Some(end)).await;
            }
            Take::Busy => {
                if engine.clock.boot() - begun > policy.turn + policy.gate {
                    return Err(Error::new(Code::RefreshInProgress).retry_after(policy.gate));
                }
                tokio::time::sleep(schedule::poll(round, random::spread())).await;
            }
            Take::Rewrite(row) => {
                let mut next = record;
                next.facts.row = row;
                // On a conflict the row is read again; a store that takes no writes gets no turn, either.
                let _ = engine
                    .stores
                    .connections
                    .swap_connection(&engine.row(&next), stored.revision)
                    .await?;
            }
            Take::Mine => {
                let Some(tried) = tried else {
                    return Err(Error::new(Code::Internal).because("turn"));
                };
                let turn = tried.turn(holder, read_at, now);
                let grant = match open(engine, &record).await {
                    Ok(grant) => grant,
                    Err(error) => {
                        present::give_back(engine, &policy, record, stored, &turn).await;
                        return Err(error);
                    }
                };
                return engage(engine, integration, &policy, record, stored, grant, turn, pilot).await;
            }
            Take::Turn {
                row,
                attempt,
                replaced,
            } => {
                // The turn's end is reckoned from the store's time that came with the row.
                let since = tried.as_ref().map_or(read_at, |t| t.since);
                if engine.clock.boot() - since > policy.gate {
                    // This process stood still since it read the row, or the store takes that long.
                    if tried.is_none() && engine.clock.boot() - begun < policy.turn {
                        continue;
                    }
                    // The store answers reads and no writes; nothing could be sent any more.
                    return Err(Code::StoreUnavailable.into());
                }
                if pass.is_none() {
                    pass = Some(
                        integration
                            .gate
                            .client
                            .pass(engine.clock.boot())
                            .map_err(client_fault)?,
                    );
                }
                integration.may_refresh(cause)?;
                let host = engine
                    .hosts
                    .get(integration.provider.token_host(&integration.client()));
                if attempt >= 2
                    && let Some((reason, wait)) = host.breaker.open(engine.clock.boot())
                {
                    // One more request to a host that is down would only make the next quarantine longer.
                    return Err(Error::new(Code::RefreshOutcomeUnknown)
                        .because(reason.as_str())
                        .retry_after(wait));
                }
                // Everything that could fail for a reason of ours fails before the token is touched.
                engine.vault.ready().await?;
                let grant = open(engine, &record).await?;
                if grant.refresh_token.is_none() {
                    return without_refresh_token(engine, held, record, stored).await;
                }
                let mut next = record;
                next.facts.row = row;
                engine.note(&mut next, "turn_taken", None, None);
                let mine = tried.insert(Tried {
                    since,
                    attempt,
                    replaced,
                    unsure: tried.as_ref().is_some_and(|t| t.unsure),
                });
                match engine
                    .stores
                    .connections
                    .swap_connection(&engine.row(&next), stored.revision)
                    .await
                {
                    Ok(Swap::Swapped(revision)) => {
                        let turn = mine.turn(holder, read_at, now);
                        let stored = Stored { revision, ..stored };
                        if pass != Some(Pass::Probe)
                            && let Some(fault) = integration.gate.client.open(engine.clock.boot())
                        {
                            // Others learnt meanwhile that the client is refused.
                            present::give_back(engine, &policy, next, stored, &turn).await;
                            return Err(client_fault(fault));
                        }
                        return engage(engine, integration, &policy, next, stored, grant, turn, pilot).await;
                    }
                    Ok(Swap::Missing) => return Err(Code::ConnectionNotFound.into()),
                    // Certainly not applied: the next try is a first one, unless an earlier one may still be.
                    Ok(Swap::Conflict) if !mine.unsure => tried = None,
                    Ok(Swap::Conflict) => {}
                    // The row tells.
                    Err(_) => {
                        mine.unsure = true;
                        tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                    }
                }
            }
        }
    }
    Err(Error::new(Code::Internal).because("turn"))
}

impl Tried {
    fn turn(&self, holder: u128, read_at: BootInstant, now: StoreInstant) -> Turn {
        Turn {
            holder,
            attempt: self.attempt,
            replaced: self.replaced,
            since: self.since,
            read_at,
            now,
        }
    }
}

fn client_fault((reason, wait): (Reason, Duration)) -> Error {
    Error::new(Code::ClientInvalid)
        .because(reason.as_str())
        .retry_after(wait)
}

/// Whether presenting the token once more could not end anything that lives.
fn nothing_to_lose(
    engine: &Engine,
    held: &Entry,
    record: &Record,
    wall: Timestamp,
    probed: Option<AccessLife>,
) -> bool {
    let facts = &record.facts;
    let is_refused = |e: &Entry| e.name() == facts.row.name && e.is_refused();
    let refused = is_refused(held) || engine.cache.get(&record.id).is_some_and(|e| is_refused(&e));
    let ended = facts.access_end_known && wall.until(facts.access_ends) <= LAST_SECONDS;
    let idle = facts.refresh_by.is_some_and(|by| wall.until(by) <= IDLE_MARGIN);
    refused || ended || idle || probed == Some(AccessLife::Dead)
}

/// Asks the provider whether the stored access token still works; `None` if that cannot be found out now.
async fn probe(engine: &Engine, record: &Record, integration: &Loaded) -> Result<Option<AccessLife>, Error> {
    let grant = open(engine, record).await?;
    Ok(present::access_life(engine, integration, grant, record.expiry()).await)
}

pub(crate) async fn open(engine: &Engine, record: &Record) -> Result<Grant, Error> {
    open_with(&*engine.vault, record).await
}

pub(crate) async fn open_with(vault: &dyn TokenVault, record: &Record) -> Result<Grant, Error> {
    let context = tokens_context(&record.integration, &record.id, record.facts.row.name);
    let opened = vault.open(&context, &record.sealed).await?;
    Grant::decode(opened.expose())
}

/// The turn is mine: confirm, gate, present, settle.
#[expect(
    clippy::too_many_arguments,
    reason = "everything a presentation needs, gathered by the turn"
)]
async fn engage(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    record: Record,
    stored: Stored,
    grant: Grant,
    turn: Turn,
    pilot: &Pilot,
) -> Landing {
    let (mut record, mut stored) = (record, stored);
    if policy.rules.confirm && !turn_is_safe(engine, &mut record, &mut stored, turn.holder).await {
        present::give_back(engine, policy, record, stored, &turn).await;
        return Err(not_confirmed());
    }
    // From the second attempt on the row is read once more: a late answer may have come in meanwhile.
    let still_mine = turn.attempt < 2
        || matches!(
            engine.stores.connections.connection(&record.id).await,
            Ok((Some(again), _)) if Record::decode(&again).is_ok_and(|r| protocol::holds(&r.facts.row, turn.holder))
        );
    if !still_mine || !protocol::gate(engine.clock.boot() - turn.since, policy) {
        present::give_back(engine, policy, record, stored, &turn).await;
        return Err(present::not_sent());
    }
    present::present(engine, integration, policy, record, stored, grant, turn, pilot).await
}

/// A grant without a refresh token cannot be refreshed; when its access token ends, so does the connection.
async fn without_refresh_token(
    engine: &Arc<Engine>,
    held: &Entry,
    record: Record,
    stored: Stored,
) -> Landing {
    let reason = Reason::GrantExpiredOrRevoked;
    let wall = engine.clock.wall();
    if held.alive(wall) {
        let left = wall.until(held.expiry.at());
        return Err(Error::new(Code::RefreshCooling)
            .because("no_refresh_token")
            .retry_after(left));
    }
    if let Some(row) = protocol::found_dead(&record.facts.row, record.facts.row.name, reason) {
        engine.expire(record, stored.revision, row, reason).await?;
    }
    Err(Error::new(Code::ConnectionExpired).because("no_refresh_token"))
}

/// The store's time at the boot instant `at`, reckoned from a reading.
pub(super) fn store_time(now: StoreInstant, read_at: BootInstant, at: BootInstant) -> StoreInstant {
    now.plus(at - read_at)
}
