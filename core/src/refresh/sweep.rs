//! Step 10: what is due, although nobody asks. Any number of processes sweep the same rows; a revocation is claimed in
//! the row, and a refresh takes its turn, so that none of it is done twice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};

use super::{hosts::Host, protocol};
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
            .is_some_and(|at| now < *at && now.until(*at) <= 60 * PAUSE)
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Revocation,
    Refresh,
}

/// One sweep.
pub(super) async fn sweep(engine: &Arc<Engine>) -> Result<(), Error> {
    let now = engine.clock.wall();
    engine.stores.pending.purge_pending(now, 1000).await?;
    engine.postponed.forget_past(now);
    let mut after: Option<DueEntry> = None;
    loop {
        // Between the pages, too: a sweep may take long, and a freeze must not wait for its end.
        engine.go_on_freezing().await?;
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
        if !page.more || after.is_none() || engine.tasks.closing() {
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
            Ok(Some(due)) => {
                let name = due.integration.provider.token_host(&due.integration.client());
                let host = engine.hosts.get(name.clone());
                by_host
                    .entry(name)
                    .or_insert_with(|| (host, Vec::new()))
                    .1
                    .push(due);
            }
            Ok(None) => {}
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
async fn look(engine: &Arc<Engine>, id: &ConnectionId, now: Timestamp) -> Result<Option<Due>, Error> {
    let looks = engine.cache.looks();
    let (Some(stored), store_now) = engine.stores.connections.connection(id).await? else {
        return Ok(None);
    };
    // Somebody was quicker.
    if stored.row.index.due_at.is_none_or(|at| at > now) {
        return Ok(None);
    }
    let record = Record::decode(&stored)?;
    let integration = match engine.integrations.get(engine, &record.integration).await {
        Ok(integration) => integration,
        Err(error) if error.code() == Code::IntegrationNotFound => {
            engine.give_up_owed(id).await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let needs = if record.facts.owed.iter().any(|o| o.next <= now) {
        Needs::Revocation
    } else if wants_refresh(engine, &record, &integration, now)
        && !protocol::is_held(&record.facts.row, store_now)
    {
        Needs::Refresh
    } else {
        return Ok(None);
    };
    Ok(Some(Due {
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
        Needs::Revocation => engine.pay(&id).await,
        Needs::Refresh => refresh(engine, due).await,
    };
    if let Err(error) = &done {
        tracing::info!(connection = %id, code = error.code().as_str(), reason = error.reason(), "the sweep comes back to it");
    }
    metrics::counter!("grantry_swept", "done" => if done.is_ok() { "yes" } else { "later" }).increment(1);
    // What is done is not due any more; what is not is not asked for again at once.
    let wait = done
        .err()
        .and_then(|error| error.wait())
        .unwrap_or_default()
        .max(PAUSE);
    engine.postponed.until(&id, now + wait);
    engine.tasks.pause(PACE).await;
}

/// Refreshes a connection for which nobody asked.
async fn refresh(engine: &Arc<Engine>, due: Due) -> Result<(), Error> {
    let Due {
        stored,
        integration,
        looks,
        ..
    } = due;
    let entry = engine.load(&stored, &integration, looks).await?;
    engine.keep_alive(&stored.row.id, &entry, &integration).await
}
