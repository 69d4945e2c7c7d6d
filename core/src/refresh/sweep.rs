//! Step 10: what is due, although nobody asks. Any number of processes sweep the same rows; a revocation is claimed in
//! the row, and a refresh takes its turn, so that none of it is done twice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};

use super::{hand::Held, hosts::Host, in_time, protocol};
use crate::{
    connection::Status,
    engine::Engine,
    error::{Code, Error},
    id::ConnectionId,
    integrations::{Loaded, Switch},
    record::Record,
    store::{DueEntry, Stored},
    time::Timestamp,
};

/// How many due rows are worked on before the next ones are read.
const PAGE: u32 = 100;
/// Each request takes that long at the least, so that a sweep is no burst.
const PACE: Duration = Duration::from_millis(250);
/// A row at which nothing could be done is left alone for so long, in this process.
const PAUSE: Duration = Duration::from_secs(60);
/// The same for a row that needs nothing which this process would do.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Rows that this process leaves alone for a while.
#[derive(Debug, Default)]
pub(crate) struct Postponed(Mutex<HashMap<ConnectionId, Timestamp>>);

impl Postponed {
    fn until(&self, id: &ConnectionId, at: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(id.clone(), at);
    }

    fn holds(&self, id: &ConnectionId, now: Timestamp) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A wall clock that was set back must not postpone for years.
        map.get(id)
            .is_some_and(|at| now < *at && now.until(*at) <= LONGEST_PAUSE)
    }

    fn forget_past(&self, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, at| now < *at);
    }
}

/// A due row, and what it needs.
struct Due {
    stored: Stored,
    integration: Arc<Loaded>,
    looks: u64,
    needs: Needs,
}

/// What a look at a due row shows.
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
enum Look {
    Due(Due),
    /// Somebody was quicker, or is at it.
    Over,
    /// It needs nothing that this process would do.
    NotOurs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Revocation,
    Refresh,
}

/// One sweep.
pub(super) async fn sweep(engine: &Arc<Engine>) -> Result<(), Error> {
    let begun = engine.clock.wall();
    // Neither is a reason to let a grant die.
    if let Err(error) = engine.stores.pending.purge_pending(begun, 1000).await {
        let code = Error::from(error).code().as_str();
        tracing::warn!(code, "connect attempts that have ended cannot be removed");
    }
    engine.postponed.forget_past(begun);
    let mut after: Option<DueEntry> = None;
    loop {
        // Between the pages, too: a sweep may take long, and a freeze must not wait for its end.
        if let Err(error) = engine.go_on_freezing().await {
            tracing::warn!(code = error.code().as_str(), "a freeze cannot go on now");
        }
        // Read anew, so that what becomes due meanwhile is in this sweep.
        let now = engine.clock.wall();
        let page = engine
            .stores
            .connections
            .due_connections(now, after.as_ref(), PAGE)
            .await?;
        if after.is_none() {
            let overdue = page
                .items
                .first()
                .map_or(Duration::ZERO, |due| due.due_at.until(now));
            metrics::gauge!("grantry_sweep_behind_seconds").set(overdue.as_secs_f64());
        }
        tend(engine, &page.items, now).await;
        after = page.items.last().cloned();
        // Nobody else has the broker any more, or it is closed.
        let alone = Arc::strong_count(engine) == 1 || engine.tasks.closing();
        if !page.more || after.is_none() || alone {
            return Ok(());
        }
    }
}

/// Does what a page of rows needs: at all token hosts at once, with a few requests under way at each.
async fn tend(engine: &Arc<Engine>, page: &[DueEntry], now: Timestamp) {
    let mut by_host: BTreeMap<String, (Arc<Host>, Vec<Due>)> = BTreeMap::new();
    for entry in page {
        if engine.postponed.holds(&entry.id, now) {
            continue;
        }
        match look(engine, &entry.id, now).await {
            Ok(Look::Due(due)) => {
                let name = due.integration.provider.token_host(&due.integration.client());
                let host = engine.hosts.get(name.clone());
                by_host
                    .entry(name)
                    .or_insert_with(|| (host, Vec::new()))
                    .1
                    .push(due);
            }
            Ok(Look::Over) => {}
            Ok(Look::NotOurs) => engine.postponed.until(&entry.id, now + LONG_PAUSE),
            Err(error) => {
                tracing::warn!(connection = %entry.id, code = error.code().as_str(), "a due connection cannot be looked at");
                engine.postponed.until(&entry.id, now + PAUSE);
            }
        }
    }
    let at_once = usize::from(engine.settings.keep_alive.at_once);
    join_all(by_host.into_values().map(|(host, dues)| async move {
        let work = dues.into_iter().map(|due| attend(engine, &host, due));
        stream::iter(work).buffer_unordered(at_once).collect::<()>().await;
    }))
    .await;
}

/// Reads a due row, and says whether there is something to do.
async fn look(engine: &Arc<Engine>, id: &ConnectionId, now: Timestamp) -> Result<Look, Error> {
    let looks = engine.cache.looks();
    let read = engine.stores.connections.connection(id);
    let (Some(stored), store_now) = in_time("connection", read).await? else {
        return Ok(Look::Over);
    };
    // Somebody was quicker.
    if stored.row.index.due_at.is_none_or(|at| at > now) {
        return Ok(Look::Over);
    }
    let record = Record::decode(&stored)?;
    let integration = match engine.integrations.get(engine, &record.integration).await {
        Ok(integration) => integration,
        Err(error) if error.code() == Code::IntegrationNotFound => {
            engine.give_up_owed(id).await?;
            return Ok(Look::NotOurs);
        }
        Err(error) => return Err(error),
    };
    if integration.body.away().is_some() {
        // Whoever uses the other store does it, or this one once everything is in it.
        return Ok(Look::Over);
    }
    let needs = if record.facts.owed.iter().any(|o| o.next <= now) {
        Needs::Revocation
    } else if protocol::is_held(&record.facts.row, store_now) {
        return Ok(Look::Over);
    } else if wants_refresh(engine, &record, &integration, now) {
        Needs::Refresh
    } else {
        return Ok(Look::NotOurs);
    };
    Ok(Look::Due(Due {
        stored,
        integration,
        looks,
        needs,
    }))
}

fn wants_refresh(engine: &Engine, record: &Record, integration: &Loaded, now: Timestamp) -> bool {
    let facts = &record.facts;
    if facts.row.status != Status::Connected || matches!(integration.body.switch, Switch::Frozen(_)) {
        return false;
    }
    match facts.row.refresh {
        // Their time was reckoned from the moment of the write, and stands in the row.
        protocol::Refresh::Turn { .. } | protocol::Refresh::Unknown { .. } => true,
        protocol::Refresh::Idle | protocol::Refresh::Cooling { .. } => {
            engine.refresh_due(record, now).is_some_and(|at| at <= now)
        }
    }
}

/// Does what is due, at a pace.
async fn attend(engine: &Arc<Engine>, host: &Host, due: Due) {
    let id = due.stored.row.id.clone();
    let now = engine.clock.wall();
    if let Err((reason, wait)) = host.breaker.pass(engine.clock.boot()) {
        tracing::debug!(connection = %id, reason = reason.as_str(), "the sweep waits for the token host");
        engine.postponed.until(&id, now + wait);
        return;
    }
    let done = match due.needs {
        Needs::Revocation => engine.pay(&id).await.map(|()| PAUSE),
        Needs::Refresh => refresh(engine, due).await,
    };
    if let Err(error) = &done {
        tracing::info!(connection = %id, code = error.code().as_str(), reason = error.reason(), "the sweep comes back to it");
    }
    metrics::counter!("grantry_swept", "done" => if done.is_ok() { "yes" } else { "later" }).increment(1);
    // What is done is not due any more; what is not is not asked for again at once.
    let wait = done.unwrap_or_else(|error| error.wait().unwrap_or_default().max(PAUSE));
    engine.postponed.until(&id, now + wait.min(LONGEST_PAUSE));
    engine.tasks.pause(PACE).await;
}

/// Refreshes a connection for which nobody asked. Answers for how long there is nothing more to do.
async fn refresh(engine: &Arc<Engine>, due: Due) -> Result<Duration, Error> {
    let Due {
        stored,
        integration,
        looks,
        ..
    } = due;
    let held = Held::decode(&stored, looks)?;
    let entry = engine.load(&held, &integration, None).await?;
    let kept = engine.keep_alive(&stored.row.id, &entry, &integration).await?;
    // An unknown outcome over an access token that lives: nothing is risked before it ends.
    let lives = engine.clock.wall().until(kept.expiry.at());
    Ok(if kept.name() == entry.name() {
        lives.max(PAUSE)
    } else {
        PAUSE
    })
}
