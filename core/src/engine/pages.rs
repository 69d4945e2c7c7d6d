//! Lists that are read page by page.

use futures_util::{Stream, stream};

use crate::{
    error::Error,
    id::ConnectionId,
    store::{ConnectionFilter, ConnectionStore, Stored},
};

/// The pages of a list, one after the other. `fetch` gets where the page begins, and says where the next one does.
pub(crate) fn pages<K, T, F>(fetch: impl Fn(Option<K>) -> F) -> impl Stream<Item = Result<Vec<T>, Error>>
where
    F: Future<Output = Result<(Vec<T>, Option<K>), Error>>,
{
    stream::try_unfold((Some(None), fetch), |(from, fetch)| async move {
        let Some(from) = from else { return Ok(None) };
        let (items, next) = fetch(from).await?;
        Ok(Some((items, (next.map(Some), fetch))))
    })
}

/// The connections that a filter lets through, in pages of `limit`.
pub(crate) fn connections(
    store: &dyn ConnectionStore,
    filter: &ConnectionFilter,
    limit: u32,
) -> impl Stream<Item = Result<Vec<Stored>, Error>> {
    pages(move |before: Option<ConnectionId>| async move {
        let page = store.list_connections(filter, before.as_ref(), limit).await?;
        let last = page.items.last().map(|stored| stored.row.id.clone());
        Ok((page.items, last.filter(|_| page.more)))
    })
}
