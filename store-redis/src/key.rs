//! API and public keys. There are few of them, all in one slot.

use async_trait::async_trait;
use grantry::{
    id::{IntegrationId, KeyId},
    store::{KeyInserted, KeyKind, KeyRevoked, KeyRow, KeyStore, StoreError},
    time::Timestamp,
};

use crate::{RedisStore, place::Place, row, script};

/// Stands for no time.
const NEVER: i64 = i64::MIN;

#[async_trait]
impl KeyStore for RedisStore {
    async fn insert_key(
        &self,
        row: &KeyRow,
        max_live: u32,
        now: Timestamp,
    ) -> Result<KeyInserted, StoreError> {
        let mut call = script::KEY.on(self.layout().keys());
        call.arg("insert").arg(row.id.as_str()).arg(encode(row));
        call.arg(name(row.integration.as_ref())).arg(max_live).arg(now.0);
        match self.write(Place::Keys, "insert_key", &call).await? {
            1_i64 => {
                self.outlives(Place::Keys).await;
                Ok(KeyInserted::Created)
            }
            0 => Ok(KeyInserted::TooMany),
            _ => Ok(KeyInserted::Occupied),
        }
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>, StoreError> {
        let [rows, _] = self.layout().keys();
        let mut command = redis::cmd("HGET");
        command.arg(rows).arg(id.as_str());
        let (_, bytes): (_, Option<Vec<u8>>) = self.ask(Place::Keys, "key", &command).await?;
        let key = bytes.map(|bytes| decode(id.clone(), &bytes));
        key.map(|key| key.ok_or_else(|| row::corrupt("key"))).transpose()
    }

    async fn list_keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, StoreError> {
        let mut call = script::KEYS.on(self.layout().keys());
        call.arg(name(integration)).arg(0);
        let (_, found): (_, Vec<(String, Vec<u8>)>) = self.read(Place::Keys, "list_keys", &call).await?;
        let rows = found
            .into_iter()
            .map(|(id, bytes)| decode(id.parse().ok()?, &bytes));
        let rows: Option<Vec<_>> = rows.collect();
        rows.ok_or_else(|| row::corrupt("list_keys"))
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRevoked, StoreError> {
        let mut call = script::KEY.on(self.layout().keys());
        call.arg("revoke").arg(id.as_str()).arg(&at.0.to_be_bytes()[..]);
        match self.write(Place::Keys, "revoke_key", &call).await? {
            1_i64 => {
                // Nor may the revocation be undone.
                self.outlives(Place::Keys).await;
                Ok(KeyRevoked::Revoked)
            }
            0 => Ok(KeyRevoked::Already),
            _ => Ok(KeyRevoked::Missing),
        }
    }

    async fn remove_keys(&self, integration: &IntegrationId) -> Result<(), StoreError> {
        let mut call = script::KEYS.on(self.layout().keys());
        call.arg(name(Some(integration))).arg(1);
        self.write(Place::Keys, "remove_keys", &call).await
    }
}

/// Admin keys belong to no integration.
fn name(integration: Option<&IntegrationId>) -> &str {
    integration.map_or("", IntegrationId::as_str)
}

/// Kind (1 byte); created, expires, revoked (8 bytes each); digest (32); then the digest key id and the integration,
/// each length-prefixed. `key.lua` reads the first four.
fn encode(row: &KeyRow) -> Vec<u8> {
    let KeyRow {
        id: _,
        kind,
        integration,
        digest,
        digest_key,
        created_at,
        expires_at,
        revoked_at,
    } = row;
    let never = Timestamp(NEVER);
    let mut bytes = vec![kind.as_str().as_bytes()[1]];
    for time in [
        *created_at,
        expires_at.unwrap_or(never),
        revoked_at.unwrap_or(never),
    ] {
        bytes.extend(time.0.to_be_bytes());
    }
    bytes.extend(digest);
    for text in [digest_key.as_str(), name(integration.as_ref())] {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn decode(id: KeyId, bytes: &[u8]) -> Option<KeyRow> {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (part, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(part)
    };
    let [kind] = take(1)? else { return None };
    // The second letters of their names differ.
    let kinds = [KeyKind::Api, KeyKind::Public, KeyKind::Admin];
    let kind = kinds
        .into_iter()
        .find(|known| known.as_str().as_bytes().get(1) == Some(kind))?;
    let mut times = [Timestamp(NEVER); 3];
    for time in &mut times {
        *time = Timestamp(i64::from_be_bytes(take(8)?.try_into().ok()?));
    }
    let digest = take(32)?.try_into().ok()?;
    let mut text = || {
        let length = u32::from_be_bytes(take(4)?.try_into().ok()?);
        String::from_utf8(take(usize::try_from(length).ok()?)?.to_vec()).ok()
    };
    let (digest_key, integration) = (text()?, text()?);
    let [created_at, ends, revoked] = times;
    let some = |time: Timestamp| (time.0 != NEVER).then_some(time);
    Some(KeyRow {
        id,
        kind,
        integration: match integration.as_str() {
            "" => None,
            integration => Some(integration.parse().ok()?),
        },
        digest,
        digest_key,
        created_at,
        expires_at: some(ends),
        revoked_at: some(revoked),
    })
}
