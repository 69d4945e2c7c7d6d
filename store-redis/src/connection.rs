//! Connections.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use grantry::{
    connection::Attention,
    id::{ConnectionId, IntegrationId},
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Inserted, ListEntry,
        Page, Point, Removed, Revision, StoreError, Stored, Swap, Warning,
    },
    time::{StoreInstant, Timestamp},
};

use crate::{
    RedisStore, changes,
    layout::Layout,
    list,
    place::Place,
    row,
    script::{self, Call},
};

/// Row and hot facts.
type Found = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The most rows that one script touches, so that other calls do not wait long.
const TOUCHED_AT_ONCE: usize = 500;

#[async_trait]
impl ConnectionStore for RedisStore {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        let revision = row::next_revision(0, "insert_connection")?;
        let mut call = script::INSERT.on(self.layout().of_write(&row.id));
        call.arg(row.id.as_str())
            .arg(row::encode(row, revision))
            .arg(self.layout().history_length());
        let bucket = self.layout().bucket(&row.id);
        match self.write(bucket, "insert_connection", &call).await? {
            1_i64 => Ok(Inserted::Created(revision)),
            _ => Ok(Inserted::Occupied),
        }
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        let layout = self.layout();
        let mut command = redis::cmd("MGET");
        command.arg(layout.row(id)).arg(layout.hot(id));
        let (now, (bytes, hot)): (_, Found) =
            self.ask_since(layout.bucket(id), "connection", &command).await?;
        let Some(bytes) = bytes else {
            return Ok((None, now));
        };
        let stored = row::decode(id, bytes, hot.as_deref()).ok_or_else(|| row::corrupt("connection"))?;
        Ok((Some(stored), now))
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = row::next_revision(expected.counter, "swap_connection")?;
        let mut call = script::SWAP.on(self.layout().of_write(&next.id));
        call.arg(next.id.as_str())
            .arg(row::encode(next, revision))
            .arg(&row::encode_revision(expected)[..])
            .arg(self.layout().channel())
            .arg(self.layout().history_length());
        match self
            .swap(self.layout().bucket(&next.id), "swap_connection", &call)
            .await?
        {
            1 => Ok(Swap::Swapped(revision)),
            0 => Ok(Swap::Conflict),
            _ => Ok(Swap::Missing),
        }
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        // A removal has a revision of its own, so that a reader who knows the row's last one notices it.
        let revision = row::next_revision(expected.counter, "remove_connection")?;
        let mut call = script::REMOVE.on(self.layout().of_write(id));
        call.arg(id.as_str())
            .arg(&row::encode_revision(expected)[..])
            .arg(&row::encode_revision(revision)[..])
            .arg(self.layout().channel())
            .arg(self.layout().history_length());
        match self
            .write(self.layout().bucket(id), "remove_connection", &call)
            .await?
        {
            1_i64 => Ok(Removed::Gone),
            0 => Ok(Removed::Conflict),
            _ => Ok(Removed::Missing),
        }
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        list::connections(self, filter, before, limit).await
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        list::due(self, until, after, limit).await
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        list::needing_attention(self, attention, before, limit).await
    }

    async fn confirm_connection(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        self.confirm(id, revision).await
    }

    fn warnings(&self) -> Vec<Warning> {
        let unconfirmed = match self.unconfirmed() {
            0 => None,
            count => Some(Warning {
                code: "redis_unconfirmed",
                message: format!(
                    "{count} times replicas, or the disk, did not have a write in time since this process began: \
                     what waited for it was put off; look at the replicas' lag, or raise the time for it"
                ),
            }),
        };
        let warnings = self.server_warnings().iter().map(|warning| Warning {
            code: warning.code(),
            message: warning.to_string(),
        });
        warnings.chain(unconfirmed).collect()
    }

    async fn connection_news(&self) {
        self.shared.news.heard().await;
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        changes::since(self, since).await
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        let layout = self.layout();
        let mut buckets: HashMap<Place, Vec<&(ConnectionId, HotFacts)>> = HashMap::new();
        for fact in facts {
            buckets.entry(layout.bucket(&fact.0)).or_default().push(fact);
        }
        for (bucket, facts) in &buckets {
            for facts in facts.chunks(TOUCHED_AT_ONCE) {
                let mut call = script::TOUCH.call();
                for (id, facts) in facts {
                    touch(&mut call, layout, id, *facts);
                }
                self.write::<()>(*bucket, "touch_connections", &call).await?;
            }
        }
        Ok(())
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let layout = self.layout();
        let counts = layout.buckets().map(|bucket| async move {
            let mut command = redis::cmd("HGETALL");
            command.arg(layout.sealed(bucket));
            self.ask::<Vec<(String, u64)>>(bucket, "connections_by_key", &command)
                .await
        });
        let mut sums = BTreeMap::new();
        for (_, counts) in try_join_all(counts).await? {
            for (key, count) in counts {
                *sums.entry(key).or_insert(0) += count;
            }
        }
        Ok(sums.into_iter().collect())
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        list::has_live(self, integration).await
    }
}

/// The arguments of `touch.lua` for one connection.
fn touch(call: &mut Call, layout: &Layout, id: &ConnectionId, facts: HotFacts) {
    let HotFacts {
        last_active_at,
        api_usage,
    } = facts;
    let text = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let (used, allowed) = api_usage.unzip();
    call.key(layout.row(id)).key(layout.hot(id));
    call.arg(last_active_at.map_or_else(String::new, |at| at.0.to_string()))
        .arg(text(used))
        .arg(text(allowed));
}
