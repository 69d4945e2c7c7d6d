//! Pages of connections: ids from the sorted sets of terms (see `search.rs`), then their rows.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use grantry::{
    connection::Attention,
    id::{ConnectionId, IntegrationId},
    store::{ConnectionFilter, DueEntry, Index, ListEntry, Page, StoreError},
    time::Timestamp,
};

use crate::{
    RedisStore,
    merge::{Merge, Step},
    place::Place,
    row, script,
    search::{self, Query},
};

/// Rows per read.
const AT_ONCE: usize = 500;
/// Rows that one script scans before other calls get their turn.
const LOOKED_AT: usize = 2000;
/// Greater than every id.
const LAST: &[u8] = b"\x7f";

/// One page of [`ConnectionStore::list_connections`](grantry::store::ConnectionStore::list_connections).
pub(crate) async fn connections(
    store: &RedisStore,
    filter: &ConnectionFilter,
    before: Option<&ConnectionId>,
    limit: u32,
) -> Result<Page<ListEntry>, StoreError> {
    let query = Query::of(filter);
    walk(store, "list_connections", &query, before, limit, |index| {
        filter.matches(index)
    })
    .await
}

/// One page of
/// [`ConnectionStore::connections_needing_attention`](grantry::store::ConnectionStore::connections_needing_attention).
pub(crate) async fn needing_attention(
    store: &RedisStore,
    attention: Attention,
    before: Option<&ConnectionId>,
    limit: u32,
) -> Result<Page<ListEntry>, StoreError> {
    let query = Query::list(search::attention(attention));
    walk(
        store,
        "connections_needing_attention",
        &query,
        before,
        limit,
        |index| index.attention == Some(attention),
    )
    .await
}

/// Walks until the page is full and one more item is found, which tells whether there is a next page.
async fn walk(
    store: &RedisStore,
    operation: &'static str,
    query: &Query,
    before: Option<&ConnectionId>,
    limit: u32,
    fits: impl Fn(&Index) -> bool + Send + Sync,
) -> Result<Page<ListEntry>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let begin = before.map_or("", ConnectionId::as_str).to_owned();
    let mut buckets = Merge::new(store.layout().buckets(), &begin);
    let mut items: Vec<ListEntry> = Vec::new();
    loop {
        let want = (limit - items.len()).saturating_add(1).min(AT_ONCE);
        let step = |bucket, cursor, share| step(store, operation, query, bucket, cursor, share);
        let ids = buckets.next(want, |a: &ConnectionId, b| a > b, step).await?;
        let over = ids.len() < want;
        // A row that changed since its id was found may no longer match.
        let rows = read(store, operation, &ids).await?;
        items.extend(rows.into_iter().filter(|stored| fits(&stored.row.index)));
        if over || items.len() > limit {
            let more = items.len() > limit;
            items.truncate(limit);
            return Ok(Page { items, more });
        }
    }
}

/// The next ids of a bucket.
async fn step(
    store: &RedisStore,
    operation: &'static str,
    query: &Query,
    bucket: Place,
    cursor: String,
    share: usize,
) -> Result<Step<ConnectionId, String>, StoreError> {
    let layout = store.layout();
    let mut call = script::WALK.on([layout.lists(bucket), layout.search(bucket)]);
    call.arg(&cursor).arg(share).arg(LOOKED_AT).arg(&query.begin);
    for term in &query.terms {
        call.arg(term);
    }
    let (_, found): (_, Vec<String>) = store.read(bucket, operation, &call).await?;
    let corrupt = || row::corrupt(operation);
    let [more, next, ids @ ..] = &found[..] else {
        return Err(corrupt());
    };
    let ids: Option<Vec<ConnectionId>> = ids.iter().map(|id| id.parse().ok()).collect();
    Ok(Step {
        items: ids.ok_or_else(corrupt)?,
        next: (more != "0").then(|| next.clone()),
    })
}

/// The rows with these ids, in this order; missing ones are left out.
async fn read(
    store: &RedisStore,
    operation: &'static str,
    ids: &[ConnectionId],
) -> Result<Vec<ListEntry>, StoreError> {
    let layout = store.layout();
    let mut buckets: HashMap<Place, Vec<&ConnectionId>> = HashMap::new();
    for id in ids {
        buckets.entry(layout.bucket(id)).or_default().push(id);
    }
    let reads = buckets.into_iter().map(|(bucket, ids)| async move {
        let mut command = redis::cmd("MGET");
        for id in &ids {
            command.arg(layout.row(id)).arg(layout.hot(id));
        }
        let (_, found) = store
            .ask::<Vec<Option<Vec<u8>>>>(bucket, operation, &command)
            .await?;
        let mut found = found.into_iter();
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            if let (Some(Some(bytes)), Some(hot)) = (found.next(), found.next()) {
                rows.push(row::decode(id, bytes, hot.as_deref()).ok_or_else(|| row::corrupt(operation))?);
            }
        }
        Ok(rows)
    });
    let mut rows = try_join_all(reads).await?.concat();
    rows.sort_by(|a, b| b.row.id.cmp(&a.row.id));
    Ok(rows)
}

/// One page of [`ConnectionStore::due_connections`](grantry::store::ConnectionStore::due_connections).
pub(crate) async fn due(
    store: &RedisStore,
    until: Timestamp,
    after: Option<&DueEntry>,
    limit: u32,
) -> Result<Page<DueEntry>, StoreError> {
    let step = |bucket, after, share| due_step(store, bucket, after, until, share);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut buckets = Merge::new(store.layout().buckets(), &after.cloned());
    let mut items = buckets
        .next(limit.saturating_add(1), |a: &DueEntry, b| a < b, step)
        .await?;
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, more })
}

/// The next due rows of a bucket.
async fn due_step(
    store: &RedisStore,
    bucket: Place,
    after: Option<DueEntry>,
    until: Timestamp,
    share: usize,
) -> Result<Step<DueEntry, Option<DueEntry>>, StoreError> {
    let mut call = script::DUE.on([store.layout().due(bucket)]);
    call.arg(share);
    if let Some(DueEntry { due_at, id }) = &after {
        call.arg(due_at.0).arg(id.as_str());
    }
    let (_, found): (_, Vec<(String, f64)>) = store.read(bucket, "due_connections", &call).await?;
    let is_full = found.len() >= share;
    let mut items = Vec::new();
    for (id, at) in found {
        let due_at = due_at(at);
        if due_at > until {
            return Ok(Step { items, next: None });
        }
        let id = id.parse().map_err(|_| row::corrupt("due_connections"))?;
        items.push(DueEntry { due_at, id });
    }
    let next = is_full.then(|| items.last().cloned());
    Ok(Step { items, next })
}

/// The time of a score. Scores are exact for several hundred thousand years.
#[expect(clippy::cast_possible_truncation, reason = "a score was an integer")]
fn due_at(score: f64) -> Timestamp {
    Timestamp(score as i64)
}

pub(crate) async fn has_live(store: &RedisStore, integration: &IntegrationId) -> Result<bool, StoreError> {
    let term = &search::live(integration);
    let counts = store.layout().buckets().map(|bucket| async move {
        let mut command = redis::cmd("ZLEXCOUNT");
        command
            .arg(store.layout().lists(bucket))
            .arg([b"[", &term[..]].concat())
            .arg([b"[", &term[..], LAST].concat());
        let (_, count): (_, u64) = store.ask(bucket, "has_connections", &command).await?;
        Ok::<_, StoreError>(count)
    });
    Ok(try_join_all(counts).await?.into_iter().any(|count| count > 0))
}
