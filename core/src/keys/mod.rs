//! API, public and admin keys: made here, shown once, stored as keyed digests.
//!
//! Keys have 256 random bits, so no slow hash is needed; the digest is keyed by the vault, so a stolen table neither
//! authenticates nor lets a guess be checked.

mod cache;
mod presented;
#[cfg(test)]
mod tests;
mod verified;

use std::{fmt, sync::Arc};

use cache::Cache;
use subtle::ConstantTimeEq as _;

pub use presented::PresentedKey;
pub use verified::VerifiedKey;

use crate::{
    error::{Code, Error},
    id::{IntegrationId, KeyId},
    secret::Secret,
    store::{KeyInserted, KeyKind, KeyRevoked, KeyRow, KeyStore},
    time::{Clock, Timestamp},
    vault::TokenVault,
};

/// How many keys of a kind and integration may be live: two, so that an old one can be used until the new one is.
pub(crate) const MAX_LIVE: u32 = 2;

/// Keeps the vault's digests of keys apart from its other digests.
const PURPOSE: &str = "api-key";

/// Makes, verifies and revokes keys.
pub(crate) struct Keys {
    store: Arc<dyn KeyStore>,
    vault: Arc<dyn TokenVault>,
    clock: Arc<dyn Clock>,
    cache: Cache,
}

impl Keys {
    /// Keys kept in `store`, with digests keyed by `vault`.
    pub(crate) fn new(store: Arc<dyn KeyStore>, vault: Arc<dyn TokenVault>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            vault,
            clock,
            cache: Cache::new(),
        }
    }

    /// Makes a key. The secret is only in the result.
    ///
    /// # Errors
    /// [`Code::KeysTooMany`] if [`MAX_LIVE`] keys of that kind and integration are live, [`Code::FieldInvalid`] if an admin
    /// key names an integration, another key names none, or the key would have expired already; errors of store and vault.
    ///
    /// # Cancel safety
    /// A key whose secret is lost may have been stored; it can be listed and revoked.
    pub(crate) async fn mint(
        &self,
        kind: KeyKind,
        integration: Option<&IntegrationId>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(KeyRow, Secret), Error> {
        if (kind == KeyKind::Admin) == integration.is_some() {
            return Err(Error::new(Code::FieldInvalid).because("integration"));
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Error::new(Code::FieldInvalid).because("expires_at"));
        }
        let key = PresentedKey::generate(kind)?;
        let digest = self.vault.mac(PURPOSE, None, key.bytes()).await?;
        let row = KeyRow {
            id: key.id().clone(),
            kind,
            integration: integration.cloned(),
            digest: digest.digest,
            digest_key: digest.key,
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        match self.store.insert_key(&row, MAX_LIVE, now).await? {
            KeyInserted::Created => Ok((row, key.into_secret())),
            KeyInserted::TooMany => Err(Code::KeysTooMany.into()),
            // The id is random.
            KeyInserted::Occupied => Err(Error::new(Code::Internal).because("key_id_taken")),
        }
    }

    /// Determines whose key was presented. The result may be up to a second old, so that most calls ask neither the store
    /// nor the vault; a revocation takes effect everywhere within that second.
    ///
    /// # Errors
    /// [`Code::KeyUnknown`], whether the id or the secret is wrong; [`Code::KeyRevoked`] and [`Code::KeyExpired`] only if
    /// the secret is right; errors of store and vault.
    ///
    /// # Cancel safety
    /// Cancel safe; it changes nothing but the cache.
    pub(crate) async fn verify(
        &self,
        shown: &PresentedKey,
        now: Timestamp,
    ) -> Result<Arc<VerifiedKey>, Error> {
        let name = shown.digest();
        let asked_at = self.clock.tick();
        if let Some(key) = self.cache.get(&name, asked_at, now) {
            return Ok(key);
        }
        let row = self.store.key(shown.id()).await?;
        // An unknown id costs a digest too, so that the time does not tell which ids exist.
        let (digest_key, digest) = row
            .as_ref()
            .map_or((None, [0; 32]), |row| (Some(row.digest_key.as_str()), row.digest));
        let computed = self.vault.mac(PURPOSE, digest_key, shown.bytes()).await?.digest;
        let equal = bool::from(computed.ct_eq(&digest));
        // The kind is in the digest as part of the text; a row whose kind was edited is not served.
        let row = row
            .filter(|row| equal && row.kind == shown.kind())
            .ok_or(Code::KeyUnknown)?;
        if row.revoked_at.is_some() {
            return Err(Code::KeyRevoked.into());
        }
        if row.expires_at.is_some_and(|end| end <= now) {
            return Err(Code::KeyExpired.into());
        }
        let key = Arc::new(VerifiedKey {
            id: row.id,
            kind: row.kind,
            integration: row.integration,
        });
        self.cache.put(name, key.clone(), asked_at, row.expires_at);
        Ok(key)
    }

    /// Revokes a key of `integration`, or an admin key if that is `None`: here at once, elsewhere within a second. `false`
    /// if it was revoked before.
    ///
    /// # Errors
    /// [`Code::KeyNotFound`] if there is no such key there; errors of the store.
    ///
    /// # Cancel safety
    /// The key may or may not have been revoked; revoking it again does no harm.
    pub(crate) async fn revoke(
        &self,
        integration: Option<&IntegrationId>,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let row = self.store.key(id).await?;
        if row.is_none_or(|row| row.integration.as_ref() != integration) {
            return Err(Code::KeyNotFound.into());
        }
        let revoked = self.store.revoke_key(id, now).await;
        // Also after a failure, which means that it may have been revoked.
        self.cache.forget(id);
        match revoked? {
            KeyRevoked::Revoked => Ok(true),
            KeyRevoked::Already => Ok(false),
            KeyRevoked::Missing => Err(Code::KeyNotFound.into()),
        }
    }

    /// All keys of `integration`, or the admin keys if that is `None`: revoked and expired ones too.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn list(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, Error> {
        Ok(self.store.list_keys(integration).await?)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
