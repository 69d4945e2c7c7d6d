//! Pages of connections: ids from the sorted sets of terms (see `search.rs`), then their rows.

use grantry::{
    connection::Concern,
    id::{ConnectionId, IntegrationId},
    store::{ConnectionFilter, DueEntry, Index, ListEntry, Page, StoreError},
    time::Timestamp,
};

use crate::{
    RedisStore, row, script,
    search::{self, Query, TERM},
};

/// Rows that are read at once.
const AT_ONCE: usize = 500;
/// Rows that one script looks at before others have their turn.
const LOOKED_AT: usize = 2000;
/// Above every id.
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
/// [`ConnectionStore::connections_of_concern`](grantry::store::ConnectionStore::connections_of_concern).
pub(crate) async fn of_concern(
    store: &RedisStore,
    concern: Concern,
    before: Option<&ConnectionId>,
    limit: u32,
) -> Result<Page<ListEntry>, StoreError> {
    let query = Query::list(search::concern(concern));
    walk(store, "connections_of_concern", &query, before, limit, |index| {
        index.concern == Some(concern)
    })
    .await
}

/// Walks until the page is full, and one further to see whether more follow.
async fn walk(
    store: &RedisStore,
    operation: &'static str,
    query: &Query,
    before: Option<&ConnectionId>,
    limit: u32,
    fits: impl Fn(&Index) -> bool + Send + Sync,
) -> Result<Page<ListEntry>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items: Vec<ListEntry> = Vec::new();
    let mut cursor = before.map_or("", ConnectionId::as_str).to_owned();
    loop {
        let want = (limit - items.len()).saturating_add(1).min(AT_ONCE);
        let mut call = script::WALK.key(store.layout().lists());
        call.key(store.layout().search());
        call.arg(&cursor).arg(want).arg(LOOKED_AT).arg(&query.begin);
        for term in &query.terms {
            call.arg(term);
        }
        let (_, mut found): (_, Vec<String>) = store.read(operation, &call).await?;
        if found.len() < 2 {
            return Err(row::corrupt(operation));
        }
        let ids = found.split_off(2);
        cursor = found.pop().unwrap_or_default();
        let over = found.pop().as_deref() == Some("0");
        // A row that changed since its id was found may not fit any more.
        let rows = read(store, operation, &ids).await?;
        items.extend(rows.into_iter().filter(|stored| fits(&stored.row.index)));
        if over || items.len() > limit {
            let more = items.len() > limit;
            items.truncate(limit);
            return Ok(Page { items, more });
        }
    }
}

/// The rows with these ids, in their order, as far as they are still there.
async fn read(
    store: &RedisStore,
    operation: &'static str,
    ids: &[String],
) -> Result<Vec<ListEntry>, StoreError> {
    let ids: Option<Vec<ConnectionId>> = ids.iter().map(|id| id.parse().ok()).collect();
    let ids = ids.ok_or_else(|| row::corrupt(operation))?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = redis::cmd("MGET");
    for id in &ids {
        command.arg(store.layout().row(id)).arg(store.layout().hot(id));
    }
    let (_, found) = store.ask::<Vec<Option<Vec<u8>>>>(operation, &command).await?;
    let mut found = found.into_iter();
    let mut rows = Vec::with_capacity(ids.len());
    for id in &ids {
        if let (Some(Some(bytes)), Some(hot)) = (found.next(), found.next()) {
            rows.push(row::decode(id, bytes, hot.as_deref()).ok_or_else(|| row::corrupt(operation))?);
        }
    }
    Ok(rows)
}

/// One page of [`ConnectionStore::due_connections`](grantry::store::ConnectionStore::due_connections).
pub(crate) async fn due(
    store: &RedisStore,
    until: Timestamp,
    after: Option<&DueEntry>,
    limit: u32,
) -> Result<Page<DueEntry>, StoreError> {
    let from = match after {
        None => [b"[", &search::due(Timestamp(i64::MIN))[..]].concat(),
        Some(DueEntry { due_at, id }) => [b"(", &search::due(*due_at)[..], id.as_str().as_bytes()].concat(),
    };
    let to = [b"[", &search::due(until)[..], LAST].concat();
    let mut command = redis::cmd("ZRANGEBYLEX");
    command.arg(store.layout().lists()).arg(from).arg(to);
    command.arg("LIMIT").arg(0).arg(u64::from(limit) + 1);
    let (_, found): (_, Vec<Vec<u8>>) = store.ask("due_connections", &command).await?;
    let entry = |member: &Vec<u8>| {
        let id = std::str::from_utf8(member.get(TERM..)?).ok()?.parse().ok()?;
        Some(DueEntry {
            due_at: search::due_at(member)?,
            id,
        })
    };
    let items: Option<Vec<DueEntry>> = found.iter().map(entry).collect();
    let mut items = items.ok_or_else(|| row::corrupt("due_connections"))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, more })
}

pub(crate) async fn has_live(store: &RedisStore, integration: &IntegrationId) -> Result<bool, StoreError> {
    let term = search::live(integration);
    let mut command = redis::cmd("ZLEXCOUNT");
    command
        .arg(store.layout().lists())
        .arg([b"[", &term[..]].concat())
        .arg([b"[", &term[..], LAST].concat());
    Ok(store.ask::<u64>("has_connections", &command).await?.1 > 0)
}
