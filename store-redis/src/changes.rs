//! The recent history of connections, for those who watch it: a stream whose entries are numbered without a hole, so
//! that whoever finds one knows that something was missed.
//!
//! A server that was restarted or took over may have lost the last entries and have given their numbers anew. So a
//! watcher that meets another run of the server than last time is told that there may be a gap.

use std::{collections::HashMap, sync::atomic::Ordering};

use grantry::{
    id::ConnectionId,
    store::{Change, Changes, Revision, StoreError},
};

use crate::{RedisStore, row, script};

/// Entries that are read at once.
const AT_ONCE: usize = 2000;

/// An entry of the stream: its place, and names and values in turn.
type Entry = (String, Vec<Vec<u8>>);

/// What changed behind the number `since`.
pub(crate) async fn since(store: &RedisStore, since: Option<u64>) -> Result<Changes, StoreError> {
    let (era, last, first) = read(store, since.unwrap_or(u64::MAX)).await?;
    let met = store.watched_run().swap(era, Ordering::Relaxed);
    let gap = |gap| Changes {
        changed: Vec::new(),
        next: last,
        gap,
    };
    let Some(since) = since else {
        return Ok(gap(false));
    };
    if since > last || met != era {
        return Ok(gap(true));
    }
    let mut changed = HashMap::<ConnectionId, Revision>::new();
    let mut reached = since;
    let mut entries = first;
    while reached < last {
        for entry in entries {
            let (number, id, revision) = parse(&entry).ok_or_else(|| row::corrupt("connection_changes"))?;
            if number != reached + 1 {
                return Ok(gap(true));
            }
            reached = number;
            changed.insert(id, revision);
        }
        if reached >= last {
            break;
        }
        let (now, _, more) = read(store, reached).await?;
        if now != era || more.is_empty() {
            return Ok(gap(true));
        }
        entries = more;
    }
    let changes = changed.into_iter().map(|(id, revision)| Change { id, revision });
    Ok(Changes {
        changed: changes.collect(),
        next: reached,
        gap: false,
    })
}

/// The run of the server, the last number, and entries behind `since`, all at one moment.
async fn read(store: &RedisStore, since: u64) -> Result<(u64, u64, Vec<Entry>), StoreError> {
    let mut call = script::HISTORY.key(store.layout().history());
    call.arg(since).arg(AT_ONCE);
    let (era, (last, entries)) = store.read("connection_changes", &call).await?;
    Ok((era, last, entries))
}

/// The stream counts from zero, behind a constant.
fn parse((place, fields): &Entry) -> Option<(u64, ConnectionId, Revision)> {
    let number = place.strip_prefix("1-")?.parse::<u64>().ok()?.checked_add(1)?;
    let [_, id, _, revision] = fields.as_slice() else {
        return None;
    };
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    Some((number, id, row::decode_revision(revision)?))
}
