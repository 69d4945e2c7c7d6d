//! From a row to an entry in memory: opened, and repaired if the store lost what this process still holds.

use std::sync::Arc;

use super::context::Context;
use crate::{
    connection::Credentials,
    engine::{
        cache::Entry,
        directory::Loaded,
        ledger::{Found, grant::Grant, record::Record, serves},
        protocol::{self, Repair},
    },
    error::Error,
    id::ConnectionId,
    provider::Expiry,
    random,
    store::{Revision, Swap},
};

/// An entry, which may have to be tried: whoever refreshed from its row while that was rolled back may have ended its family.
#[must_use = "a doubtful set is tried"]
pub(super) struct Served {
    pub(super) entry: Arc<Entry>,
    pub(super) doubtful: bool,
}

/// Opens the token set of a row and takes it into memory, with an end that was found out about its access token.
///
/// # Errors
/// Why the connection serves nothing.
pub(super) async fn load(
    context: &Context,
    found: &Found,
    integration: &Loaded,
    end: Option<Expiry>,
) -> Result<Served, Error> {
    let record = &found.record;
    let newer = |e: &Arc<Entry>| e.version() > record.facts.row.version;
    if let Some(held) = context.cache.get(&record.id).filter(newer) {
        match repair(context, &record.id, &held, integration).await? {
            Repaired::Kept { doubtful } => {
                return Ok(Served {
                    entry: held,
                    doubtful,
                });
            }
            // Who it belonged to is forgotten; the store's word counts.
            Repaired::Gone => context.cache.remove(&record.id),
        }
    }
    if let Err(ended) = serves(record) {
        context.cache.remove(&record.id);
        return Err(ended);
    }
    let mut grant = context.ledger.open(record).await?;
    grant.expiry = end.unwrap_or(grant.expiry);
    let entry = entry(context, record, grant, Some(found.revision), integration)?;
    Ok(Served {
        entry: context.cache.put(&record.id, entry, found.read_at),
        doubtful: false,
    })
}

/// An entry of a row and its tokens.
///
/// # Errors
/// `connection_corrupt`: the access token cannot stand in a header.
pub(super) fn entry(
    context: &Context,
    record: &Record,
    grant: Grant,
    revision: Option<Revision>,
    integration: &Loaded,
) -> Result<Arc<Entry>, Error> {
    let credentials = Credentials::new(
        grant.access_token,
        grant.instance_url,
        record.facts.environment,
        record.facts.profile.region.clone(),
        grant.expiry.at(),
        record.facts.row.version,
    )?;
    Ok(Arc::new(Entry::new(
        integration.id.clone(),
        record.facts.owner.clone(),
        credentials,
        integration.serving.clone(),
        grant.expiry,
        grant.obtained_at,
        revision,
        record.sealed.clone(),
        record.sealed_by.clone(),
        record.facts.row.write_id,
        context.minimum,
        random::jitter(),
    )))
}

/// What became of a set that the store had lost.
pub(super) enum Repaired {
    /// It stands there again, or is served from memory until it does.
    Kept { doubtful: bool },
    /// It may not be written.
    Gone,
}

/// The store showed an older set than this process holds. If it still does, it was rolled back, and ours is written
/// again; while the store does not take it, it is served from memory.
///
/// # Errors
/// The row cannot be read.
pub(super) async fn repair(
    context: &Context,
    id: &ConnectionId,
    held: &Arc<Entry>,
    integration: &Loaded,
) -> Result<Repaired, Error> {
    const KEPT: Repaired = Repaired::Kept { doubtful: false };
    if held.sealed.is_empty() {
        // On its way into the store already.
        return Ok(KEPT);
    }
    // What was seen may have been read before our own write.
    let Some(Found {
        mut record, revision, ..
    }) = context.ledger.read(id).await?
    else {
        return Ok(Repaired::Gone);
    };
    if record.facts.row.version >= held.version() {
        return Ok(KEPT);
    }
    if record.facts.migrated.is_some() {
        return Ok(Repaired::Gone);
    }
    let policy = context.policy(integration);
    let Some(Repair { row, verify }) =
        protocol::repair(&record.facts.row, held.version(), held.write_id, &policy)
    else {
        context.rolled_back(&record.integration, id);
        return Ok(Repaired::Gone);
    };
    record.facts.row = row;
    record.facts.access_ends = held.expiry.at();
    record.facts.access_end_known = matches!(held.expiry, Expiry::Known(_));
    record.facts.obtained_at = held.obtained_at;
    record.facts.refresh_by = integration.idle_limit().map(|limit| held.obtained_at + limit);
    record.sealed = held.sealed.clone();
    record.sealed_by.clone_from(&held.sealed_by);
    context.ledger.note(&mut record, "store_rolled_back", None, None);
    // If it is not taken, whoever comes next tries again.
    let doubtful = match context.ledger.swap(&record, revision).await {
        Ok(Swap::Swapped(revision)) => {
            held.stored_as(revision);
            if held.owner() != record.facts.owner {
                held.mark_stale();
            }
            context.rolled_back(&record.integration, id);
            verify
        }
        Ok(Swap::Conflict | Swap::Missing) => false,
        // It may stand, though its answer was lost; or the store takes no writes, and each call comes here.
        Err(_) => verify && held.take_trial(),
    };
    Ok(Repaired::Kept { doubtful })
}
