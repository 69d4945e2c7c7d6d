//! The leader of a connection's refresh: runs an attempt, and answers those who wait for it.

use std::{sync::Arc, time::Duration};

use tracing::Instrument as _;

use super::{
    Cause, attempt,
    cache::Entry,
    hand::Hand,
    keep_set,
    present::Received,
    protocol::{
        Attempt, KeepSet, Policy,
        attempt::{Ask, Lease, Outcome},
        schedule::LONGEST_REST,
    },
    run::{Execute as _, moment, run},
    single_flight::{self, Leader},
    status_check, verify,
};
use crate::{
    connection::Reason,
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::Grant,
    id::ConnectionId,
    integrations::Loaded,
    provider::Expiry,
    random,
    time::BootInstant,
};

/// After a request that was not sent nobody here tries this connection again for so long.
const NOT_SENT_PAUSE: Duration = Duration::from_secs(2);

/// Why a lease was not used.
const NOT_CONFIRMED: &str = "not_confirmed";

/// A refresh that is under way, and those who wait for it.
pub(super) struct Flight {
    engine: Arc<Engine>,
    id: ConnectionId,
    held: Arc<Entry>,
    begun: BootInstant,
    leader: Leader,
}

/// A whole refresh: from "somebody needs a newer set than `held`" to a set that is safe, or the reason why there is none.
pub(super) async fn refresh(
    engine: Arc<Engine>,
    integration: Arc<Loaded>,
    held: Arc<Entry>,
    cause: Cause,
    leader: Leader,
    id: ConnectionId,
) {
    let span = tracing::info_span!("refresh", connection = %id, integration = %integration.id);
    let flight = Flight {
        begun: engine.clock.boot(),
        engine,
        id,
        held,
        leader,
    };
    Box::pin(attempt(flight, &integration, cause))
        .instrument(span)
        .await;
}

async fn attempt(flight: Flight, integration: &Arc<Loaded>, cause: Cause) {
    let (engine, held) = (&flight.engine.clone(), &flight.held.clone());
    let policy = &engine.policy(integration);
    let holder = match holder(engine, policy) {
        Ok(holder) => holder,
        Err(error) => return flight.finish(Err(error)).await,
    };
    let ask = Ask {
        holder,
        seen: held.name(),
        held_until: held.expiry.at(),
    };
    let mut executor = attempt::Executor {
        engine,
        integration,
        policy,
        cause,
        held,
        hand: Hand::empty(engine, &flight.id),
        grant: None,
        received: None,
        refusal: None,
    };
    let machine = Attempt::new(ask, moment(&*engine.clock));
    let outcome = run(machine, &mut executor, &*engine.clock, policy).await;
    if let Outcome::Received(lease) = outcome
        && let (Some(received), Some(spent)) = (executor.received.take(), executor.grant.take())
    {
        return keep(
            flight,
            integration,
            policy,
            executor.hand,
            lease,
            received,
            &spent,
        )
        .await;
    }
    let outcome = answer(executor, outcome).await;
    flight.finish(outcome).await;
}

/// Random for each attempt, so that a process that was restarted is somebody else.
fn holder(engine: &Engine, policy: &Policy) -> Result<u128, Error> {
    if policy.rules.fresh_holder {
        return Ok(random::id()?);
    }
    // What an earlier draft did: a name that a restarted process has again.
    Ok(u128::from(crc32fast::hash(engine.settings.public_url.as_bytes())))
}

/// Keeps what came back until it is safe, and answers those who wait meanwhile.
async fn keep(
    flight: Flight,
    integration: &Arc<Loaded>,
    policy: &Policy,
    mut hand: Hand,
    lease: Lease,
    received: Received,
    spent: &Grant,
) {
    let engine = &flight.engine.clone();
    let Received { set, ends } = received;
    let instance_changed = set
        .instance_url
        .as_ref()
        .is_some_and(|url| *url != spent.instance_url);
    hand.refresh_looks();
    let write_id = lease.holder;
    let set = keep_set::Set {
        grant: Grant::merged(set, spent, engine.clock.wall()),
        spent: lease.spent,
        write_id,
        ends,
        instance_changed,
        sealed: None,
        guard: engine.unsaved.insert(&flight.id, lease.spent, write_id),
    };
    let mut executor = keep_set::Executor {
        engine,
        integration,
        policy,
        hand,
        set,
        flight: Some(flight),
        stored: None,
    };
    let now = moment(&*engine.clock);
    let in_hand = executor.with_owed(executor.hand.view());
    let (machine, notices) = KeepSet::new(lease.spent, write_id, lease.since, in_hand, now, policy);
    for notice in notices {
        executor.note(notice);
    }
    run(machine, &mut executor, &*engine.clock, policy).await;
}

/// What those who wait are answered with.
async fn answer(mut executor: attempt::Executor<'_>, outcome: Outcome) -> single_flight::Outcome {
    let (engine, integration) = (executor.engine, executor.integration);
    let hand = &mut executor.hand;
    let error = |code: Code, reason: Option<&'static str>| {
        let error = Error::new(code);
        reason.map_or(error.clone(), |reason| error.because(reason))
    };
    Err(match outcome {
        Outcome::Adopt => return engine.load(hand.held()?, integration, None).await,
        Outcome::AdoptUntil { ends, known } => {
            let expiry = if known {
                Expiry::Known(ends)
            } else {
                Expiry::Assumed(ends)
            };
            return engine.load(hand.held()?, integration, Some(expiry)).await;
        }
        Outcome::AdoptAndVerify => {
            let entry = engine.load(hand.held()?, integration, None).await?;
            engine.emit(&integration.id, Some(&hand.id), What::LatePresenter);
            let ends = verify::ends_by_the_clock(engine, &entry);
            return verify::verify(engine, integration, executor.policy, &hand.id, entry, ends).await;
        }
        Outcome::NotFound => Code::ConnectionNotFound.into(),
        Outcome::Ended => {
            engine.cache.remove(&hand.id);
            status_check(hand.record()?)?;
            Code::ConnectionNotFound.into()
        }
        Outcome::Expired(reason) => error(Code::ConnectionExpired, Some(reason.as_str())),
        Outcome::Cooling { reason, wait } => {
            error(Code::RefreshCooling, Some(reason.as_str())).retry_after(wait)
        }
        Outcome::Unknown { reason, wait } => {
            error(Code::RefreshOutcomeUnknown, reason.map(Reason::as_str)).retry_after(wait)
        }
        Outcome::NoRefreshToken { left: Some(left) } => {
            error(Code::RefreshCooling, Some("no_refresh_token")).retry_after(left)
        }
        Outcome::NoRefreshToken { left: None } => error(Code::ConnectionExpired, Some("no_refresh_token")),
        Outcome::InProgress(Some(reason)) => error(Code::RefreshInProgress, Some(reason.as_str())),
        Outcome::InProgress(None) => Error::new(Code::RefreshInProgress).retry_after(executor.policy.gate),
        Outcome::NotSent => Error::new(Code::RefreshNotSent).retry_after(NOT_SENT_PAUSE),
        Outcome::NotConfirmed => {
            error(Code::StoreUnavailable, Some(NOT_CONFIRMED)).retry_after(NOT_SENT_PAUSE)
        }
        Outcome::StoreUnavailable => Code::StoreUnavailable.into(),
        Outcome::StoreFailed => hand.failure(),
        Outcome::Refused => executor.refusal.take().unwrap_or_else(|| hand.failure()),
        Outcome::Received(_) | Outcome::Broken => error(Code::Internal, Some("refresh")),
    })
}

impl Flight {
    /// Answers those who wait, and those who still come, while the refresh goes on.
    pub(super) fn publish(&self, outcome: single_flight::Outcome) {
        self.leader.publish(outcome);
    }

    /// Answers those who wait, and lets the next one refresh.
    pub(super) async fn finish(self, outcome: single_flight::Outcome) {
        let Self {
            engine,
            id,
            held,
            begun,
            leader,
        } = self;
        let label = outcome
            .as_ref()
            .map_or_else(|error| error.code().as_str(), |_| "ok");
        metrics::counter!("grantry_refreshes", "outcome" => label).increment(1);
        metrics::histogram!("grantry_refresh_seconds").record((engine.clock.boot() - begun).as_secs_f64());
        if let Err(error) = &outcome {
            let rest = error.wait().unwrap_or_default().min(LONGEST_REST);
            let until = engine.clock.wall() + rest;
            held.rest_until(until);
            // It may have been read again meanwhile.
            if let Some(entry) = engine.cache.get(&id).filter(|e| e.name() == held.name()) {
                entry.rest_until(until);
            }
            if error.code() == Code::RefreshNotSent || error.reason() == Some(NOT_CONFIRMED) {
                // The place is kept, so that callers who come now do not each try again.
                leader.publish(outcome.clone());
                engine.tasks.pause(NOT_SENT_PAUSE).await;
            }
        }
        leader.finish(outcome);
    }
}
