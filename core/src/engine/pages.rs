//! Lists that are read page by page.

use futures_util::{Stream, TryStreamExt as _, stream};

use super::limits::{INTEGRATIONS_PAGE, SCAN_PAGE};
use crate::{
    id::{ConnectionId, IntegrationId},
    store::{ConnectionFilter, ConnectionStore, IntegrationStore, StoreError, Stored, StoredIntegration},
};

/// The pages of a list. `fetch` is given where a page begins, and returns where the next one does.
pub(crate) fn pages<K, T, E, F>(fetch: impl Fn(Option<K>) -> F) -> impl Stream<Item = Result<Vec<T>, E>>
where
    F: Future<Output = Result<(Vec<T>, Option<K>), E>>,
{
    stream::try_unfold((Some(None), fetch), |(from, fetch)| async move {
        let Some(from) = from else { return Ok(None) };
        let (items, next) = fetch(from).await?;
        Ok(Some((items, (next.map(Some), fetch))))
    })
}

/// Every connection that matches a filter.
pub(crate) fn connections(
    store: &dyn ConnectionStore,
    filter: &ConnectionFilter,
) -> impl Stream<Item = Result<Vec<Stored>, StoreError>> {
    pages(move |before: Option<ConnectionId>| async move {
        let page = store.list_connections(filter, before.as_ref(), SCAN_PAGE).await?;
        let last = page.items.last().map(|stored| stored.row.id.clone());
        Ok((page.items, last.filter(|_| page.more)))
    })
}

/// Every integration of a store, by id; there are few of them.
pub(crate) async fn integrations(store: &dyn IntegrationStore) -> Result<Vec<StoredIntegration>, StoreError> {
    let pages = pages(move |after: Option<IntegrationId>| async move {
        let page = store.list_integrations(after.as_ref(), INTEGRATIONS_PAGE).await?;
        let last = page.last().map(|stored| stored.row.id.clone());
        let more = page.len() >= INTEGRATIONS_PAGE as usize;
        Ok::<_, StoreError>((page, last.filter(|_| more)))
    });
    pages.try_concat().await
}
