//! The leader of a connection's refresh: runs an attempt, keeps what came, and answers those who wait.

use std::sync::Arc;

use tracing::Instrument as _;

use super::{
    attempt,
    context::Context,
    keep_set::{self, Waiting},
    load::load,
    single_flight::{self, Leader},
    verify::{successor, verify_behind},
};
use crate::{
    connection::Reason,
    engine::{
        cache::Entry,
        directory::{Cause, Loaded},
        ledger::{Hand, grant::Grant, serves},
        limits,
        protocol::{
            Attempt, KeepSet, Policy,
            attempt::{Ask, Lease, Outcome},
        },
        runner::{Execute as _, moment, run},
        upstream::Received,
    },
    error::{Code, Error},
    event::What,
    id::ConnectionId,
    provider::Expiry,
    random,
    time::BootInstant,
    transport::Unanswered,
};

/// Why a lease was not used.
const NOT_CONFIRMED: &str = "not_confirmed";

/// A refresh that is under way, and those who wait for it.
struct Lead {
    context: Arc<Context>,
    id: ConnectionId,
    held: Arc<Entry>,
    begun: BootInstant,
    leader: Leader,
}

/// A whole refresh: from "somebody needs a newer set than `held`" to a set that is safe, or the reason why there is none.
pub(super) async fn refresh(
    context: Arc<Context>,
    integration: Arc<Loaded>,
    held: Arc<Entry>,
    cause: Cause,
    leader: Leader,
    id: ConnectionId,
) {
    let span = tracing::info_span!("refresh", connection = %id, integration = %integration.id);
    let lead = Lead {
        begun: context.clock.boot(),
        context,
        id,
        held,
        leader,
    };
    Box::pin(attempt(lead, &integration, cause))
        .instrument(span)
        .await;
}

async fn attempt(lead: Lead, integration: &Arc<Loaded>, cause: Cause) {
    let (context, held) = (&lead.context.clone(), &lead.held.clone());
    let policy = &context.policy(integration);
    let holder = match holder(context, policy) {
        Ok(holder) => holder,
        Err(error) => return lead.finish(Err(error)).await,
    };
    let ask = Ask {
        holder,
        seen: held.version(),
        held_until: held.expiry.at(),
    };
    let mut executor = attempt::Executor {
        context,
        integration,
        policy,
        cause,
        held,
        hand: Hand::empty(&context.ledger, &lead.id),
        grant: None,
        received: None,
        refusal: None,
        unanswered: Unanswered::default(),
    };
    let machine = Attempt::new(ask, moment(&*context.clock));
    let outcome = run(machine, &mut executor, &*context.clock, policy).await;
    if let Outcome::Received(lease) = outcome
        && let (Some(received), Some(spent)) = (executor.received.take(), executor.grant.take())
    {
        return keep(lead, integration, policy, executor.hand, lease, received, &spent).await;
    }
    let outcome = answer(executor, outcome).await;
    lead.finish(outcome).await;
}

/// Random for each attempt, so that a process that was restarted is somebody else.
fn holder(context: &Context, policy: &Policy) -> Result<u128, Error> {
    if policy.rules.fresh_holder {
        return Ok(random::id()?);
    }
    // What an earlier draft did: a name that a restarted process has again.
    Ok(context.process)
}

/// Keeps what came back until it is safe, and answers those who wait meanwhile.
async fn keep(
    lead: Lead,
    integration: &Arc<Loaded>,
    policy: &Policy,
    mut hand: Hand,
    lease: Lease,
    received: Received,
    spent: &Grant,
) {
    let context = &lead.context.clone();
    let Received { set, ends } = received;
    let instance_changed = set
        .instance_url
        .as_ref()
        .is_some_and(|url| *url != spent.instance_url);
    hand.renew();
    let write_id = lease.holder;
    let set = keep_set::Set {
        grant: Grant::merged(set, spent, context.clock.wall()),
        spent: lease.spent,
        write_id,
        ends,
        instance_changed,
        sealed: None,
        guard: context.unsaved.insert(&lead.id, lease.spent, write_id),
    };
    let mut executor = keep_set::Executor {
        context,
        integration,
        policy,
        hand,
        set,
        waiting: Some(lead),
        stored: None,
    };
    let now = moment(&*context.clock);
    let in_hand = executor.with_owed(executor.hand.view());
    let (machine, notices) = KeepSet::new(lease.spent, write_id, lease.since, in_hand, now, policy);
    for notice in notices {
        executor.note(notice);
    }
    let outcome = run(machine, &mut executor, &*context.clock, policy).await;
    tracing::debug!(connection = %executor.hand.id, ?outcome, "a received token set is done with");
}

/// What those who wait are answered with.
async fn answer(mut executor: attempt::Executor<'_>, outcome: Outcome) -> single_flight::Outcome {
    let (context, integration) = (executor.context, executor.integration);
    let hand = &mut executor.hand;
    let error = |code: Code, reason: Option<&'static str>| {
        let error = Error::new(code);
        reason.map_or(error.clone(), |reason| error.because(reason))
    };
    Err(match outcome {
        Outcome::Adopt => return adopt(context, integration, hand, None).await,
        Outcome::AdoptUntil { ends, known } => {
            let expiry = if known {
                Expiry::Known(ends)
            } else {
                Expiry::Assumed(ends)
            };
            return adopt(context, integration, hand, Some(expiry)).await;
        }
        Outcome::AdoptAndVerify { spent } => {
            context
                .journal
                .emit(&integration.id, Some(&hand.id), What::LatePresenter);
            let (policy, held) = (executor.policy, executor.held.clone());
            return successor(context, integration, policy, &hand.id, held, spent).await;
        }
        Outcome::NotFound => Code::ConnectionNotFound.into(),
        Outcome::Ended => {
            context.cache.remove(&hand.id);
            serves(hand.record()?)?;
            Code::ConnectionNotFound.into()
        }
        Outcome::Expired(reason) => error(Code::ConnectionExpired, Some(reason.as_str())),
        Outcome::Cooling { reason, wait } => {
            error(Code::RefreshCooling, Some(reason.as_str())).retry_after(wait)
        }
        Outcome::Unknown { reason, wait } => {
            let error = error(Code::RefreshOutcomeUnknown, reason.map(Reason::as_str)).retry_after(wait);
            executor.unanswered.explain(error)
        }
        Outcome::NoRefreshToken { left: Some(left) } => {
            error(Code::RefreshCooling, Some("no_refresh_token")).retry_after(left)
        }
        Outcome::NoRefreshToken { left: None } => error(Code::ConnectionExpired, Some("no_refresh_token")),
        Outcome::InProgress(Some(reason)) => error(Code::RefreshInProgress, Some(reason.as_str())),
        Outcome::InProgress(None) => Error::new(Code::RefreshInProgress).retry_after(executor.policy.gate),
        Outcome::NotSent => {
            let error = Error::new(Code::RefreshNotSent).retry_after(limits::NOT_SENT_PAUSE);
            executor.unanswered.explain(error)
        }
        Outcome::NotConfirmed => {
            error(Code::StoreUnavailable, Some(NOT_CONFIRMED)).retry_after(limits::NOT_SENT_PAUSE)
        }
        Outcome::StoreUnavailable => Code::StoreUnavailable.into(),
        Outcome::StoreFailed => hand.failure(),
        Outcome::Refused => executor.refusal.take().unwrap_or_else(|| hand.failure()),
        Outcome::Received(_) | Outcome::Broken => error(Code::Internal, Some("refresh")),
    })
}

/// Takes the set of the row in hand into memory.
async fn adopt(
    context: &Arc<Context>,
    integration: &Arc<Loaded>,
    hand: &Hand,
    end: Option<Expiry>,
) -> single_flight::Outcome {
    let served = load(context, hand.held()?, integration, end).await?;
    if served.doubtful {
        verify_behind(context, integration, &hand.id, &served.entry);
    }
    Ok(served.entry)
}

impl Waiting for Lead {
    fn publish(&self, outcome: single_flight::Outcome) {
        self.leader.publish(outcome);
    }

    async fn finish(self, outcome: single_flight::Outcome) {
        let Self {
            context,
            id,
            held,
            begun,
            leader,
        } = self;
        let label = outcome
            .as_ref()
            .map_or_else(|error| error.code().as_str(), |_| "ok");
        metrics::counter!("grantry_refreshes", "outcome" => label).increment(1);
        metrics::histogram!("grantry_refresh_seconds").record((context.clock.boot() - begun).as_secs_f64());
        if let Err(error) = &outcome {
            let backoff = error.wait().unwrap_or_default().min(limits::BACKOFF_LONGEST);
            let until = context.clock.wall() + backoff;
            held.back_off_until(until);
            // It may have been read again meanwhile.
            if let Some(entry) = context.cache.get(&id).filter(|e| e.version() == held.version()) {
                entry.back_off_until(until);
            }
            if error.code() == Code::RefreshNotSent || error.reason() == Some(NOT_CONFIRMED) {
                // The place is kept, so that callers who come now do not each try again.
                leader.publish(outcome.clone());
                context.tasks.pause(limits::NOT_SENT_PAUSE).await;
            }
        }
        leader.finish(outcome);
    }
}
