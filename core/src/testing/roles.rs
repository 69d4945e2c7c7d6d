//! The roles of a [`FaultyStore`]: each call goes through its script.

use async_trait::async_trait;

use super::store::{FaultyStore, Op};
use crate::{
    connection::Attention,
    id::{ConnectionId, IntegrationId, KeyId, Slug},
    store::{
        Changes, Charged, ConnectionFilter, ConnectionRow, ConnectionStore, DayCount, DueEntry, HotFacts,
        Inserted, IntegrationRow, IntegrationStore, KeyInserted, KeyRevoked, KeyRow, KeyStore, ListEntry,
        Page, PendingRow, PendingStore, Point, Put, Removed, Revision, StoreError, Stored, StoredIntegration,
        Swap, Taken, UsageKey, UsageStore, Warning,
    },
    time::{StoreInstant, Timestamp},
};

#[async_trait]
impl ConnectionStore for FaultyStore {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        self.call(Op::Insert, self.inner.connections.insert_connection(row))
            .await
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        self.call(Op::Read, self.inner.connections.connection(id)).await
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        self.call(Op::Swap, self.inner.connections.swap_connection(next, expected))
            .await
    }

    async fn confirm_connection(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        let confirm = async {
            // A machine that took over knows what it has.
            let (stored, _) = self.inner.connections.connection(id).await?;
            let is_there = stored.is_some_and(|stored| stored.revision == revision);
            Ok(is_there && self.inner.connections.confirm_connection(id, revision).await?)
        };
        let confirmed = self.call(Op::Confirm, confirm).await?;
        Ok(confirmed && !self.take_unconfirmed())
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut notices = self.inner.connections.warnings();
        notices.extend(self.scripted_warnings());
        notices
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        self.call(Op::Remove, self.inner.connections.remove_connection(id, expected))
            .await
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let list = self.inner.connections.list_connections(filter, before, limit);
        self.call(Op::List, list).await
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        let due = self.inner.connections.due_connections(until, after, limit);
        self.call(Op::List, due).await
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        let list = self
            .inner
            .connections
            .connections_needing_attention(attention, before, limit);
        self.call(Op::List, list).await
    }

    /// No script is asked: news may end for nothing, or never.
    async fn connection_news(&self) {
        self.inner.connections.connection_news().await;
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        let mut changes = self
            .call(Op::Changes, self.inner.connections.connection_changes(since))
            .await?;
        if self.take_gap() {
            changes.gap = true;
            changes.changed.clear();
        }
        Ok(changes)
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        self.call(Op::Touch, self.inner.connections.touch_connections(facts))
            .await
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.call(Op::List, self.inner.connections.connections_by_key())
            .await
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        self.call(Op::List, self.inner.connections.has_connections(integration))
            .await
    }
}

#[async_trait]
impl IntegrationStore for FaultyStore {
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError> {
        self.call(Op::Integrations, self.inner.integrations.insert_integration(row))
            .await
    }

    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError> {
        self.call(Op::Integrations, self.inner.integrations.integration(id))
            .await
    }

    async fn integration_by_slug(&self, slug: &Slug) -> Result<Option<StoredIntegration>, StoreError> {
        self.call(
            Op::Integrations,
            self.inner.integrations.integration_by_slug(slug),
        )
        .await
    }

    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError> {
        let swap = self.inner.integrations.swap_integration(next, expected);
        self.call(Op::Integrations, swap).await
    }

    async fn remove_integration(
        &self,
        id: &IntegrationId,
        expected: Revision,
    ) -> Result<Removed, StoreError> {
        let remove = self.inner.integrations.remove_integration(id, expected);
        self.call(Op::Integrations, remove).await
    }

    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError> {
        let list = self.inner.integrations.list_integrations(after, limit);
        self.call(Op::Integrations, list).await
    }

    async fn integrations_version(&self) -> Result<u64, StoreError> {
        self.call(Op::Integrations, self.inner.integrations.integrations_version())
            .await
    }
}

#[async_trait]
impl PendingStore for FaultyStore {
    async fn put_pending(&self, row: &PendingRow) -> Result<Put, StoreError> {
        self.call(Op::Pending, self.inner.pending.put_pending(row)).await
    }

    async fn take_pending(
        &self,
        key: &[u8; 32],
        guard: &[u8; 32],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        self.call(Op::Pending, self.inner.pending.take_pending(key, guard, now))
            .await
    }

    async fn purge_pending(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.call(Op::Pending, self.inner.pending.purge_pending(now, limit))
            .await
    }
}

#[async_trait]
impl KeyStore for FaultyStore {
    async fn insert_key(
        &self,
        row: &KeyRow,
        max_live: u32,
        now: Timestamp,
    ) -> Result<KeyInserted, StoreError> {
        self.call(Op::Keys, self.inner.keys.insert_key(row, max_live, now))
            .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.call(Op::Keys, self.inner.keys.key(id)).await
    }

    async fn list_keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, StoreError> {
        self.call(Op::Keys, self.inner.keys.list_keys(integration)).await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRevoked, StoreError> {
        self.call(Op::Keys, self.inner.keys.revoke_key(id, at)).await
    }

    async fn remove_keys(&self, integration: &IntegrationId) -> Result<(), StoreError> {
        self.call(Op::Keys, self.inner.keys.remove_keys(integration))
            .await
    }
}

#[async_trait]
impl UsageStore for FaultyStore {
    async fn charge_usage(
        &self,
        key: &UsageKey,
        amount: u64,
        limit: Option<u64>,
    ) -> Result<Charged, StoreError> {
        self.call(Op::Usage, self.inner.usage.charge_usage(key, amount, limit))
            .await
    }

    async fn refund_usage(&self, key: &UsageKey, amount: u64) -> Result<(), StoreError> {
        self.call(Op::Usage, self.inner.usage.refund_usage(key, amount))
            .await
    }

    async fn usage_days(&self, integration: &IntegrationId, month: u32) -> Result<Vec<DayCount>, StoreError> {
        self.call(Op::Usage, self.inner.usage.usage_days(integration, month))
            .await
    }

    async fn purge_usage(&self, month: u32) -> Result<(), StoreError> {
        self.call(Op::Usage, self.inner.usage.purge_usage(month)).await
    }
}
