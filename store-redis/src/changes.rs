//! The recent history of connections, for watchers. Each bucket has a stream whose entries are numbered without gaps,
//! so that a reader who finds a gap knows that it missed something.
//!
//! A server that restarted or took over may have lost its last entries and reused their numbers. A point therefore
//! names the server run that its numbers belong to; a point of another run counts as a gap.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use grantry::{
    id::ConnectionId,
    store::{Change, Changes, Point, Revision, StoreError},
};

use crate::{RedisStore, place::Place, row, script};

/// Entries per read.
const AT_ONCE: usize = 2000;

/// A stream entry: its id, then names and values in turn.
type Entry = (String, Vec<Vec<u8>>);

/// A reader's position in a bucket: the server run, and the number of the last entry read.
type Position = (u64, u64);

/// What changed since a point. A point holds run and entry number of each bucket in turn.
pub(crate) async fn since(store: &RedisStore, since: Option<&Point>) -> Result<Changes, StoreError> {
    let buckets = store.layout().buckets();
    let known = since.map(|Point(numbers)| {
        let pairs = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        pairs.collect::<Vec<Position>>()
    });
    let odd = known.as_ref().is_some_and(|known| known.len() != buckets.len());
    let known = known.filter(|_| !odd);
    let parts = buckets.enumerate().map(|(number, bucket)| {
        let known = known.as_ref().and_then(|known| known.get(number)).copied();
        of_bucket(store, bucket, known)
    });
    let mut changed = HashMap::<ConnectionId, Revision>::new();
    let mut next = Vec::new();
    let mut gap = odd;
    for part in try_join_all(parts).await? {
        next.extend([part.position.0, part.position.1]);
        gap |= part.gap;
        changed.extend(part.changed);
    }
    if gap {
        changed.clear();
    }
    let changes = changed.into_iter().map(|(id, revision)| Change { id, revision });
    Ok(Changes {
        changed: changes.collect(),
        next: Point(next),
        gap,
    })
}

/// What changed in one bucket.
struct Part {
    changed: HashMap<ConnectionId, Revision>,
    position: Position,
    gap: bool,
}

async fn of_bucket(store: &RedisStore, bucket: Place, known: Option<Position>) -> Result<Part, StoreError> {
    let (clock_id, last, first) = read(store, bucket, known.map_or(u64::MAX, |(_, number)| number)).await?;
    let at_once = |gap| Part {
        changed: HashMap::new(),
        position: (clock_id, last),
        gap,
    };
    let Some((met, since)) = known else {
        return Ok(at_once(false));
    };
    if since > last || met != clock_id {
        return Ok(at_once(true));
    }
    let mut changed = HashMap::new();
    let mut reached = since;
    let mut entries = first;
    while reached < last {
        for entry in entries {
            let (number, id, revision) = parse(&entry).ok_or_else(|| row::corrupt("connection_changes"))?;
            if number != reached + 1 {
                return Ok(at_once(true));
            }
            reached = number;
            changed.insert(id, revision);
        }
        if reached >= last {
            break;
        }
        let (now, _, more) = read(store, bucket, reached).await?;
        if now != clock_id || more.is_empty() {
            return Ok(at_once(true));
        }
        entries = more;
    }
    Ok(Part {
        changed,
        position: (clock_id, reached),
        gap: false,
    })
}

/// The server run, the last entry number and the entries after `since`, read atomically.
async fn read(store: &RedisStore, bucket: Place, since: u64) -> Result<(u64, u64, Vec<Entry>), StoreError> {
    let mut call = script::HISTORY.on([store.layout().history(bucket)]);
    call.arg(since).arg(AT_ONCE);
    let (clock_id, (last, entries)) = store.read(bucket, "connection_changes", &call).await?;
    Ok((clock_id, last, entries))
}

/// Stream ids are a constant, then a counter that starts at zero.
fn parse((place, fields): &Entry) -> Option<(u64, ConnectionId, Revision)> {
    let number = place.strip_prefix("1-")?.parse::<u64>().ok()?.checked_add(1)?;
    let [_, id, _, revision] = fields.as_slice() else {
        return None;
    };
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    Some((number, id, row::decode_revision(revision)?))
}
