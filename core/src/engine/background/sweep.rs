//! Processes rows that are due, without a caller. Any number of processes sweep the same rows; a revocation is claimed in
//! the row, and a refresh takes its lease, so that none of it is done twice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};

use super::{context::Context, freeze};
use crate::{
    connection::Status,
    engine::{
        directory::{Loaded, Switch},
        ledger::{Found, record::Record},
        limits,
        protocol::{self, Refresh},
        upstream::Host,
    },
    error::{Code, Error, causes},
    id::ConnectionId,
    store::DueEntry,
    time::Timestamp,
};

/// A due row, and what it needs.
struct Due {
    found: Found,
    integration: Arc<Loaded>,
    needs: Needs,
}

/// What a due row turns out to be.
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
enum Look {
    Due(Due),
    /// Another process was faster, or is working on it.
    Over,
    /// It needs nothing from this process.
    NotOurs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Revocation,
    Refresh,
}

/// One sweep. `alone` returns whether the broker is gone or shutting down.
pub(super) async fn sweep(context: &Context, alone: impl Fn() -> bool) -> Result<(), Error> {
    let begun = context.clock.wall();
    // A failure of either must not let a grant die.
    if let Err(error) = context.pending.purge_pending(begun, limits::SWEEP_PENDING).await {
        let causes = causes(&Error::from(error));
        tracing::warn!(causes, "connect attempts that have ended cannot be removed");
    }
    let purged = tokio::time::timeout(limits::STORE_WAIT, context.meter.purge()).await;
    if let Ok(Err(error)) = purged {
        let causes = causes(&Error::from(error));
        tracing::warn!(causes, "old usage cannot be removed");
    }
    context.postponed.forget_past(begun);
    let mut after: Option<DueEntry> = None;
    loop {
        // Before each page: a sweep may take long, and a freeze must not wait for its end.
        if let Err(error) = freeze::go_on(context).await {
            tracing::warn!(
                code = error.code().as_str(),
                causes = causes(&error),
                "a freeze cannot continue now"
            );
        }
        // Read anew, so that what becomes due meanwhile is in this sweep.
        let now = context.clock.wall();
        let page = context
            .connections
            .due_connections(now, after.as_ref(), limits::SWEEP_PAGE)
            .await?;
        if after.is_none() {
            let overdue = page
                .items
                .first()
                .map_or(Duration::ZERO, |due| due.due_at.until(now));
            metrics::gauge!("grantry_sweep_behind_seconds").set(overdue.as_secs_f64());
        }
        tend(context, &page.items, now).await;
        after = page.items.last().cloned();
        if !page.more || after.is_none() || alone() {
            return Ok(());
        }
    }
}

/// Does what a page of rows needs: at all token hosts at once, with a few requests under way at each.
async fn tend(context: &Context, page: &[DueEntry], now: Timestamp) {
    let mut by_host: BTreeMap<String, (Arc<Host>, Vec<Due>)> = BTreeMap::new();
    for entry in page {
        if context.postponed.holds(&entry.id, now) {
            continue;
        }
        match look(context, &entry.id, now).await {
            Ok(Look::Due(due)) => {
                let host = context.upstream.host(&due.integration.target());
                by_host
                    .entry(host.name().to_owned())
                    .or_insert_with(|| (host, Vec::new()))
                    .1
                    .push(due);
            }
            Ok(Look::Over) => {}
            Ok(Look::NotOurs) => context.postponed.until(&entry.id, now + limits::POSTPONE_LONG),
            Err(error) => {
                tracing::warn!(connection = %entry.id, code = error.code().as_str(), causes = causes(&error), "a due connection cannot be read");
                context.postponed.until(&entry.id, now + limits::POSTPONE);
            }
        }
    }
    let at_once = usize::from(context.keep_alive.at_once);
    join_all(by_host.into_values().map(|(host, dues)| async move {
        let work = dues.into_iter().map(|due| attend(context, &host, due));
        stream::iter(work).buffer_unordered(at_once).collect::<()>().await;
    }))
    .await;
}

/// Reads a due row, and determines whether there is something to do.
async fn look(context: &Context, id: &ConnectionId, now: Timestamp) -> Result<Look, Error> {
    let read_at = context.ledger.change_epoch();
    let (Some(stored), store_now) = context.ledger.stored_soon(id).await? else {
        return Ok(Look::Over);
    };
    // Another process was faster.
    if stored.row.index.due_at.is_none_or(|at| at > now) {
        return Ok(Look::Over);
    }
    let found = Found::decode(&stored, read_at)?;
    let record = &found.record;
    let integration = match context.directory.get(&record.integration).await {
        Ok(integration) => integration,
        Err(error) if error.code() == Code::IntegrationNotFound => {
            context.revoker.give_up_owed(id).await?;
            return Ok(Look::NotOurs);
        }
        Err(error) => return Err(error),
    };
    if integration.body.migrated().is_some() {
        // That is up to the processes on the other store, or to this one once the copy is complete.
        return Ok(Look::Over);
    }
    let row = &record.facts.row;
    let owes = record.facts.owed.iter().any(|o| o.next <= now);
    // While revocations fail at this host, they do not hold up what else the row needs.
    let held_up = owes && {
        let host = context.upstream.host(&integration.target());
        host.revocations.open(context.clock.boot()).is_some()
    };
    let needs = if owes && !held_up {
        Needs::Revocation
    } else if !protocol::is_held(row, store_now) && wants_refresh(context, record, &integration, now) {
        Needs::Refresh
    } else if owes {
        Needs::Revocation
    } else if protocol::is_held(row, store_now) {
        return Ok(Look::Over);
    } else {
        return Ok(Look::NotOurs);
    };
    Ok(Look::Due(Due {
        found,
        integration,
        needs,
    }))
}

fn wants_refresh(context: &Context, record: &Record, integration: &Loaded, now: Timestamp) -> bool {
    let facts = &record.facts;
    if facts.row.status != Status::Connected || matches!(integration.body.switch, Switch::Frozen(_)) {
        return false;
    }
    match facts.row.refresh {
        // Their due time was set when the row was written.
        Refresh::Leased { .. } | Refresh::Unknown { .. } => true,
        Refresh::Idle | Refresh::Cooling { .. } => context
            .ledger
            .refresh_due(record, now)
            .is_some_and(|at| at <= now),
    }
}

/// Does what is due, at the sweep's pace.
async fn attend(context: &Context, host: &Host, due: Due) {
    let id = due.found.record.id.clone();
    let now = context.clock.wall();
    let breaker = match due.needs {
        Needs::Revocation => &host.revocations,
        Needs::Refresh => &host.breaker,
    };
    if let Err((reason, wait)) = breaker.pass(context.clock.boot()) {
        tracing::debug!(connection = %id, reason = reason.as_str(), "the sweep waits for the token host");
        context.postponed.until(&id, now + wait);
        return;
    }
    let done = match due.needs {
        Needs::Revocation => context.revoker.run_owed(&id).await.map(|()| limits::POSTPONE),
        Needs::Refresh => refresh(context, due).await,
    };
    if let Err(error) = &done {
        tracing::info!(connection = %id, code = error.code().as_str(), reason = error.reason(), causes = causes(error), "the sweep will retry");
    }
    metrics::counter!("grantry_swept", "done" => if done.is_ok() { "yes" } else { "later" }).increment(1);
    // Finished work is no longer due; anything else is not retried at once.
    let wait = done.unwrap_or_else(|error| error.wait().unwrap_or_default().max(limits::POSTPONE));
    context
        .postponed
        .until(&id, now + wait.min(limits::POSTPONE_LONGEST));
    context.tasks.pause(limits::SWEEP_PACE).await;
}

/// Refreshes a connection without a caller. Returns for how long there is nothing more to do.
async fn refresh(context: &Context, due: Due) -> Result<Duration, Error> {
    let Due {
        found, integration, ..
    } = due;
    let entry = context.refresher.load(&found, &integration).await?;
    let id = &found.record.id;
    let kept = context.refresher.keep_alive(id, &entry, &integration).await?;
    // An unknown outcome while the access token is live: nothing is risked before it ends.
    let lives = context.clock.wall().until(kept.expiry.at());
    Ok(if kept.version() == entry.version() {
        lives.max(limits::POSTPONE)
    } else {
        limits::POSTPONE
    })
}
