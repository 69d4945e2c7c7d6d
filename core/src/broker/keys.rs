//! API, public and admin keys.

use std::sync::Arc;

use super::Broker;
use crate::{
    error::Error,
    id::{IntegrationId, KeyId},
    keys::{PresentedKey, VerifiedKey},
    secret::Secret,
    store::{KeyKind, KeyRow},
    time::Timestamp,
};

/// A new key. Its secret is shown only once.
#[derive(Debug)]
#[non_exhaustive]
pub struct NewKey {
    /// Its public part.
    pub id: KeyId,
    /// What it may do.
    pub kind: KeyKind,
    /// The whole key.
    pub secret: Secret,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

/// A key without its secret, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its public part.
    pub id: KeyId,
    /// What it may do.
    pub kind: KeyKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl From<KeyRow> for KeyInfo {
    fn from(row: KeyRow) -> Self {
        let KeyRow {
            id,
            kind,
            created_at,
            expires_at,
            revoked_at,
            ..
        } = row;
        Self {
            id,
            kind,
            created_at,
            expires_at,
            revoked_at,
        }
    }
}

impl Broker {
    /// Makes a key for an integration, or an admin key for none. Two keys of a kind may be live at a time, so that one
    /// can replace the other without a gap.
    ///
    /// # Errors
    /// `keys_too_many`, `integration_not_found`, `field_invalid`.
    pub async fn mint_key(
        &self,
        kind: KeyKind,
        integration: Option<&IntegrationId>,
        expires_at: Option<Timestamp>,
    ) -> Result<NewKey, Error> {
        if let Some(id) = integration {
            self.shared
                .parts
                .directory
                .load(id)
                .await?
                .1
                .body
                .ensure_not_migrated()?;
        }
        let now = self.shared.parts.clock.wall();
        let (row, secret) = self
            .shared
            .parts
            .keys
            .mint(kind, integration, expires_at, now)
            .await?;
        let KeyRow {
            id,
            kind,
            created_at,
            expires_at,
            ..
        } = row;
        Ok(NewKey {
            id,
            kind,
            secret,
            created_at,
            expires_at,
        })
    }

    /// Verifies a key and returns whose it is. A revocation takes effect everywhere within a second.
    ///
    /// # Errors
    /// `key_malformed`, `key_unknown`, `key_revoked`, `key_expired`.
    pub async fn verify_key(&self, key: &str) -> Result<Arc<VerifiedKey>, Error> {
        let key = PresentedKey::parse(key)?;
        self.shared
            .parts
            .keys
            .verify(&key, self.shared.parts.clock.wall())
            .await
    }

    /// The keys of an integration, or the admin keys.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyInfo>, Error> {
        Ok(self
            .shared
            .parts
            .keys
            .list(integration)
            .await?
            .into_iter()
            .map(KeyInfo::from)
            .collect())
    }

    /// Revokes a key of an integration, or an admin key: `false` if it was revoked before.
    ///
    /// # Errors
    /// `key_not_found`.
    pub async fn revoke_key(&self, integration: Option<&IntegrationId>, id: &KeyId) -> Result<bool, Error> {
        if let Some(id) = integration
            && let Ok((_, loaded)) = self.shared.parts.directory.load(id).await
        {
            // It would stay valid in the store that is in use.
            loaded.body.ensure_not_migrated()?;
        }
        self.shared
            .parts
            .keys
            .revoke(integration, id, self.shared.parts.clock.wall())
            .await
    }
}
