//! Keys in memory.

use async_trait::async_trait;

use super::store::MemoryStore;
use crate::{
    id::{IntegrationId, KeyId},
    store::{KeyInserted, KeyRevoked, KeyRow, KeyStore, StoreError},
    time::Timestamp,
};

#[async_trait]
impl KeyStore for MemoryStore {
    async fn insert_key(
        &self,
        row: &KeyRow,
        max_live: u32,
        now: Timestamp,
    ) -> Result<KeyInserted, StoreError> {
        let keys = &mut self.state().keys;
        if keys.contains_key(&row.id) {
            return Ok(KeyInserted::Occupied);
        }
        let live = keys
            .values()
            .filter(|key| key.kind == row.kind && key.integration == row.integration)
            .filter(|key| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now))
            .count();
        if live >= usize::try_from(max_live).unwrap_or(usize::MAX) {
            return Ok(KeyInserted::TooMany);
        }
        keys.insert(row.id.clone(), row.clone());
        Ok(KeyInserted::Created)
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>, StoreError> {
        Ok(self.state().keys.get(id).cloned())
    }

    async fn list_keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, StoreError> {
        let state = self.state();
        let keys = state.keys.values();
        Ok(keys
            .filter(|key| key.integration.as_ref() == integration)
            .cloned()
            .collect())
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRevoked, StoreError> {
        Ok(match self.state().keys.get_mut(id) {
            Some(key) if key.revoked_at.is_none() => {
                key.revoked_at = Some(at);
                KeyRevoked::Revoked
            }
            Some(_) => KeyRevoked::Already,
            None => KeyRevoked::Missing,
        })
    }

    async fn remove_keys(&self, integration: &IntegrationId) -> Result<(), StoreError> {
        let keys = &mut self.state().keys;
        keys.retain(|_, key| key.integration.as_ref() != Some(integration));
        Ok(())
    }
}
