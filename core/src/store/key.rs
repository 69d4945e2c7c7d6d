//! The role that keeps API and public keys.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::{
    id::{IntegrationId, KeyId},
    time::Timestamp,
};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Server side: everything with the connections of its integration.
    Api,
    /// May only begin a connection.
    Public,
    /// Manages integrations. Belongs to none.
    Admin,
}

impl KeyKind {
    /// The kind in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }

    /// The kind that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Api, Self::Public, Self::Admin]
            .into_iter()
            .find(|k| k.as_str() == text)
    }
}

/// A key, but for its secret part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public part.
    pub id: KeyId,
    /// What it may do.
    pub kind: KeyKind,
    /// The integration that it belongs to; `None` for admin keys.
    pub integration: Option<IntegrationId>,
    /// Keyed digest of the whole key.
    pub digest: [u8; 32],
    /// The id of the key that made the digest.
    pub digest_key: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// What became of a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum KeyInserted {
    /// The key is stored.
    Created,
    /// The most keys of its kind and integration are live already; nothing was changed.
    TooMany,
    /// A key with this id exists; nothing was changed.
    Occupied,
}

/// What became of a key's revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum KeyRevoked {
    /// The key is revoked from now on.
    Revoked,
    /// It was revoked before; the time is unchanged.
    Already,
    /// There is no such key.
    Missing,
}

/// Keeps keys.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the key unless its id is taken, or `max_live` keys of its kind and integration are live: neither revoked nor
    /// expired at `now`. The check and the write are one. A taken id is [`KeyInserted::Occupied`], however many are live.
    ///
    /// # Errors
    /// Unknown outcome: the key may have been stored, and count as a live one. It can be listed and revoked.
    ///
    /// # Cancel safety
    /// The key is stored whole or not at all, possibly shortly after the drop.
    async fn insert_key(
        &self,
        row: &KeyRow,
        max_live: u32,
        now: Timestamp,
    ) -> Result<KeyInserted, StoreError>;

    /// Reads a key.
    ///
    /// # Errors
    /// The key could not be read. Whether it exists is not known, so it must not be accepted; a missing key is `Ok(None)`.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>, StoreError>;

    /// All keys of an integration (or the admin keys), ascending by id.
    ///
    /// # Errors
    /// The keys could not be read, or one of them does not decode.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn list_keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, StoreError>;

    /// Revokes a key, once.
    ///
    /// # Errors
    /// Unknown outcome: the key may have been revoked. Revoking it again does no harm, and reports
    /// [`KeyRevoked::Already`] then.
    ///
    /// # Cancel safety
    /// The key is revoked or not, possibly shortly after the drop.
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRevoked, StoreError>;

    /// Removes all keys of an integration.
    ///
    /// # Errors
    /// Unknown outcome: the keys may be gone. Removing them again does no harm.
    ///
    /// # Cancel safety
    /// All of them are removed or none, possibly shortly after the drop.
    async fn remove_keys(&self, integration: &IntegrationId) -> Result<(), StoreError>;
}
