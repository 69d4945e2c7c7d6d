//! Connections.

use async_trait::async_trait;
use grantry::{
    connection::Concern,
    id::{ConnectionId, IntegrationId},
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Inserted, ListEntry,
        Page, Removed, Revision, StoreError, Stored, Swap,
    },
    time::{StoreInstant, Timestamp},
};

use crate::{RedisStore, changes, clock, list, row, script};

/// What `read.lua` answers: seconds and microseconds of the server's time, row, hot facts.
type Found = (u64, u64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Rows that one script touches at most, so that no other call waits long.
const TOUCHED_AT_ONCE: usize = 500;

#[async_trait]
impl ConnectionStore for RedisStore {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        let revision = row::next_revision(0, "insert_connection")?;
        let mut call = script::INSERT.key(&self.layout().of_write(&row.id)[..]);
        call.arg(row.id.as_str()).arg(row::encode(row, revision));
        match self.write("insert_connection", &call).await? {
            1_i64 => {
                self.confirm().await;
                Ok(Inserted::Created(revision))
            }
            _ => Ok(Inserted::Occupied),
        }
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        let mut call = script::READ.key(self.layout().row(id));
        call.key(self.layout().hot(id));
        let (era, (seconds, micros, bytes, hot)) = self.read::<Found>("connection", &call).await?;
        let now = clock::moment(era, seconds, micros);
        let Some(bytes) = bytes else {
            return Ok((None, now));
        };
        let stored = row::decode(id, bytes, hot.as_deref()).ok_or_else(|| row::corrupt("connection"))?;
        Ok((Some(stored), now))
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        let revision = row::next_revision(expected.counter, "swap_connection")?;
        let mut call = script::SWAP.key(&self.layout().of_write(&next.id)[..]);
        call.arg(next.id.as_str())
            .arg(row::encode(next, revision))
            .arg(&row::encode_revision(expected)[..]);
        match self.swap("swap_connection", &call).await? {
            1 => {
                self.confirm().await;
                Ok(Swap::Swapped(revision))
            }
            0 => Ok(Swap::Conflict),
            _ => Ok(Swap::Missing),
        }
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        // A removal has a revision of its own, so that who knows the row's last one sees that something happened.
        let revision = row::next_revision(expected.counter, "remove_connection")?;
        let mut call = script::REMOVE.key(&self.layout().of_write(id)[..]);
        call.arg(id.as_str())
            .arg(&row::encode_revision(expected)[..])
            .arg(&row::encode_revision(revision)[..]);
        match self.write("remove_connection", &call).await? {
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

    async fn connections_of_concern(
        &self,
        concern: Concern,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        list::of_concern(self, concern, before, limit).await
    }

    async fn connection_changes(&self, since: Option<u64>) -> Result<Changes, StoreError> {
        changes::since(self, since).await
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        for facts in facts.chunks(TOUCHED_AT_ONCE) {
            let mut call = script::TOUCH.prepare_invoke();
            for (id, facts) in facts {
                let HotFacts {
                    last_active_at,
                    api_usage,
                } = *facts;
                let text = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
                let (used, allowed) = api_usage.unzip();
                call.key(self.layout().row(id)).key(self.layout().hot(id));
                call.arg(last_active_at.map_or_else(String::new, |at| at.0.to_string()))
                    .arg(text(used))
                    .arg(text(allowed));
            }
            self.write::<()>("touch_connections", &call).await?;
        }
        Ok(())
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.layout().sealed());
        Ok(self.ask("connections_by_key", &command).await?.1)
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        list::has_live(self, integration).await
    }
}
