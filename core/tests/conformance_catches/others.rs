//! The other four roles, broken in many ways.

use std::collections::hash_map::Entry;

use grantry::{
    async_trait,
    id::{IntegrationId, KeyId, Slug},
    store::{
        Charged, DayCount, Inserted, IntegrationRow, IntegrationStore, KeyInserted, KeyKind, KeyRevoked,
        KeyRow, KeyStore, PendingRow, PendingStore, Put, Removed, Revision, StoreError, StoredIntegration,
        Swap, Taken, UsageKey, UsageStore,
    },
    time::Timestamp,
};

use crate::{Broken, Fault};

impl Broken {
    /// A row with the slug that a fault gave it.
    fn with_slug(&self, mut stored: StoredIntegration) -> StoredIntegration {
        if let Some(slug) = self.shared.slugs.lock().unwrap().get(&stored.row.id) {
            stored.row.slug.clone_from(slug);
        }
        stored
    }

    /// Inserts a row though its slug may be taken.
    async fn insert_unchecked(&self, row: &IntegrationRow) -> Result<Inserted, StoreError> {
        let bare = IntegrationRow {
            slug: None,
            ..row.clone()
        };
        let inserted = self.inner.insert_integration(&bare).await?;
        if matches!(inserted, Inserted::Created(_)) {
            let slug = row.slug.clone();
            self.shared.slugs.lock().unwrap().insert(row.id.clone(), slug);
        }
        Ok(inserted)
    }
}

#[async_trait]
impl IntegrationStore for Broken {
    async fn insert_integration(&self, row: &IntegrationRow) -> Result<Inserted, StoreError> {
        match (self.fault, &row.slug) {
            (Fault::SlugIgnored, Some(_)) => return self.insert_unchecked(row).await,
            (Fault::RacySlug, Some(slug)) => {
                let taken = self.integration_by_slug(slug).await?;
                self.dawdle(Fault::RacySlug).await;
                return match taken {
                    Some(_) => Ok(Inserted::Occupied),
                    None => self.insert_unchecked(row).await,
                };
            }
            (Fault::SlugOutlivesRow, Some(_)) => {
                // Of every row that was, a slug is left.
                let slugs = &mut *self.shared.slugs.lock().unwrap();
                if slugs.values().any(|slug| *slug == row.slug) {
                    return Ok(Inserted::Occupied);
                }
                slugs.insert(row.id.clone(), row.slug.clone());
            }
            _ => {}
        }
        let inserted = self.inner.insert_integration(row).await?;
        if self.has(Fault::IntegrationReplaced)
            && let Some(stored) = self.inner.integration(&row.id).await?
            && let Swap::Swapped(revision) = self.inner.swap_integration(row, stored.revision).await?
        {
            return Ok(Inserted::Created(revision));
        }
        Ok(inserted)
    }

    async fn integration(&self, id: &IntegrationId) -> Result<Option<StoredIntegration>, StoreError> {
        let stored = self.inner.integration(id).await?;
        Ok(stored.map(|stored| self.with_slug(stored)))
    }

    async fn integration_by_slug(&self, slug: &Slug) -> Result<Option<StoredIntegration>, StoreError> {
        let rows = self.list_integrations(None, u32::MAX).await?;
        let named = |stored: &StoredIntegration| stored.row.slug.as_ref() == Some(slug);
        Ok(rows.into_iter().find(named))
    }

    async fn swap_integration(&self, next: &IntegrationRow, expected: Revision) -> Result<Swap, StoreError> {
        let Some(stored) = self.integration(&next.id).await? else {
            return Ok(Swap::Missing);
        };
        match self.fault {
            Fault::SwapTakesSlug if stored.revision == expected => {
                let slug = next.slug.clone();
                self.shared.slugs.lock().unwrap().insert(next.id.clone(), slug);
            }
            Fault::IntegrationRevisionKept if stored.revision == expected && stored.row == *next => {
                return Ok(Swap::Swapped(expected));
            }
            Fault::IntegrationSwapIgnoresRevision => {
                return self.inner.swap_integration(next, stored.revision).await;
            }
            Fault::IntegrationRacySwap if stored.revision == expected => {
                self.dawdle(Fault::IntegrationRacySwap).await;
                let present = self.inner.integration(&next.id).await?;
                let expected = present.map_or(expected, |stored| stored.revision);
                return self.inner.swap_integration(next, expected).await;
            }
            _ => {}
        }
        self.inner.swap_integration(next, expected).await
    }

    async fn remove_integration(
        &self,
        id: &IntegrationId,
        expected: Revision,
    ) -> Result<Removed, StoreError> {
        self.inner.remove_integration(id, expected).await
    }

    async fn list_integrations(
        &self,
        after: Option<&IntegrationId>,
        limit: u32,
    ) -> Result<Vec<StoredIntegration>, StoreError> {
        let rows = self.inner.list_integrations(None, u32::MAX).await?;
        let mut rows: Vec<_> = rows.into_iter().map(|stored| self.with_slug(stored)).collect();
        if let Some(after) = after {
            rows.retain(|stored| match self.fault {
                Fault::IntegrationsRepeat => stored.row.id >= *after,
                _ => stored.row.id > *after,
            });
        }
        if self.has(Fault::IntegrationsDescending) {
            rows.reverse();
        }
        rows.truncate(usize::try_from(limit).unwrap());
        Ok(rows)
    }

    async fn integrations_version(&self) -> Result<u64, StoreError> {
        let version = self.inner.integrations_version().await?;
        Ok(match self.fault {
            Fault::VersionStands => 1,
            Fault::VersionOfHandle => version + u64::try_from(self.handle).unwrap(),
            _ => version,
        })
    }
}

#[async_trait]
impl PendingStore for Broken {
    async fn put_pending(&self, row: &PendingRow) -> Result<Put, StoreError> {
        if self.has(Fault::RacyPut) {
            let taken = self.shared.pending.lock().unwrap().contains_key(&row.key);
            self.dawdle(Fault::RacyPut).await;
            if taken {
                return Ok(Put::Occupied);
            }
            self.shared.pending.lock().unwrap().insert(row.key, row.clone());
            return Ok(Put::Stored);
        }
        match self.shared.pending.lock().unwrap().entry(row.key) {
            Entry::Occupied(mut place) if self.has(Fault::PutReplaces) => {
                place.insert(row.clone());
                Ok(Put::Stored)
            }
            Entry::Occupied(_) => Ok(Put::Occupied),
            Entry::Vacant(place) => {
                place.insert(row.clone());
                Ok(Put::Stored)
            }
        }
    }

    async fn take_pending(
        &self,
        key: &[u8; 32],
        guard: &[u8; 32],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let found = self.shared.pending.lock().unwrap().get(key).cloned();
        let Some(row) = found else {
            return Ok(Taken::Missing);
        };
        let expired = match self.fault {
            Fault::ExpiryIgnored => false,
            Fault::ExpiryTooLate => row.expires_at < now,
            _ => row.expires_at <= now,
        };
        if expired {
            return Ok(Taken::Missing);
        }
        if row.guard != *guard && !self.has(Fault::GuardIgnored) {
            if self.has(Fault::GuardRemoves) {
                self.shared.pending.lock().unwrap().remove(key);
            }
            return Ok(Taken::Guarded);
        }
        match self.fault {
            Fault::RacyTake => {
                self.dawdle(Fault::RacyTake).await;
                self.shared.pending.lock().unwrap().remove(key);
                Ok(Taken::Row(row.body))
            }
            // The removal would come later, from somewhere else.
            Fault::TakeBeforeDelete => Ok(Taken::Row(row.body)),
            _ => match self.shared.pending.lock().unwrap().remove(key) {
                Some(row) => Ok(Taken::Row(row.body)),
                None => Ok(Taken::Missing),
            },
        }
    }

    async fn purge_pending(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let mut purged = 0;
        self.shared.pending.lock().unwrap().retain(|_, row| {
            let expired = row.expires_at <= now || self.has(Fault::PurgeTakesLiving);
            let keep = !expired || (purged == limit && !self.has(Fault::PurgeUnbounded));
            purged += u32::from(!keep);
            keep
        });
        Ok(purged)
    }
}

#[async_trait]
impl KeyStore for Broken {
    async fn insert_key(
        &self,
        row: &KeyRow,
        max_live: u32,
        now: Timestamp,
    ) -> Result<KeyInserted, StoreError> {
        let mut keys = self.inner.list_keys(row.integration.as_ref()).await?;
        if self.has(Fault::LimitOverIntegrations) {
            for integration in ["int_a", "int_b"] {
                let integration = IntegrationId::new(integration).unwrap();
                if row.integration.as_ref() != Some(&integration) {
                    keys.extend(self.inner.list_keys(Some(&integration)).await?);
                }
            }
        }
        keys.retain(|key| {
            (key.kind == row.kind || self.has(Fault::LimitOverKinds))
                && (key.revoked_at.is_none() || self.has(Fault::LimitCountsRevoked))
                && (key.expires_at.is_none_or(|end| end > now) || self.has(Fault::LimitCountsExpired))
        });
        let full = keys.len() >= usize::try_from(max_live).unwrap();
        match self.fault {
            Fault::RacyLimit => {
                self.dawdle(Fault::RacyLimit).await;
                if full {
                    return Ok(KeyInserted::TooMany);
                }
                self.inner.insert_key(row, u32::MAX, now).await
            }
            Fault::KeyReplaced => {
                if let Some(old) = self.inner.key(&row.id).await?
                    && let Some(integration) = old.integration
                {
                    self.inner.remove_keys(&integration).await?;
                }
                self.inner.insert_key(row, max_live, now).await
            }
            Fault::LimitCountsRevoked
            | Fault::LimitCountsExpired
            | Fault::LimitOverKinds
            | Fault::LimitOverIntegrations
            | Fault::LimitBeforeId
                if full =>
            {
                Ok(KeyInserted::TooMany)
            }
            _ => self.inner.insert_key(row, max_live, now).await,
        }
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.inner.key(id).await
    }

    async fn list_keys(&self, integration: Option<&IntegrationId>) -> Result<Vec<KeyRow>, StoreError> {
        let mut keys = self.inner.list_keys(integration).await?;
        match self.fault {
            Fault::KeysUnordered => keys.reverse(),
            Fault::AdminKeysForAll if integration.is_some() => {
                keys.extend(self.inner.list_keys(None).await?);
                keys.retain(|key| key.kind != KeyKind::Public);
            }
            _ => {}
        }
        Ok(keys)
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<KeyRevoked, StoreError> {
        Ok(match self.inner.revoke_key(id, at).await? {
            KeyRevoked::Already if self.has(Fault::RevokedTwice) => KeyRevoked::Revoked,
            KeyRevoked::Missing if self.has(Fault::MissingRevoked) => KeyRevoked::Already,
            how => how,
        })
    }

    async fn remove_keys(&self, integration: &IntegrationId) -> Result<(), StoreError> {
        if self.has(Fault::AllKeysRemoved) {
            for all in ["int_a", "int_b"] {
                self.inner.remove_keys(&IntegrationId::new(all).unwrap()).await?;
            }
        }
        self.inner.remove_keys(integration).await
    }
}

impl Broken {
    fn counted(&self, key: &UsageKey) -> UsageKey {
        let mut key = key.clone();
        match self.fault {
            Fault::MonthsTogether => key.month %= 100,
            Fault::IntegrationsTogether => key.integration = IntegrationId::new("int").unwrap(),
            _ => {}
        }
        key
    }

    async fn total(&self, key: &UsageKey) -> Result<u64, StoreError> {
        let days = self.inner.usage_days(&key.integration, key.month).await?;
        let of_day = |day: &&DayCount| !self.has(Fault::LimitOfDay) || day.day == key.day;
        Ok(days.iter().filter(of_day).map(|day| day.calls).sum())
    }
}

#[async_trait]
impl UsageStore for Broken {
    async fn charge_usage(
        &self,
        key: &UsageKey,
        amount: u64,
        limit: Option<u64>,
    ) -> Result<Charged, StoreError> {
        let key = self.counted(key);
        match self.fault {
            Fault::RacyCharge | Fault::LimitOfDay => {
                let total = self.total(&key).await?;
                self.dawdle(Fault::RacyCharge).await;
                if limit.is_some_and(|limit| total + amount > limit) {
                    return Ok(Charged::Refused(total));
                }
                self.inner.charge_usage(&key, amount, None).await
            }
            Fault::LimitExclusive => {
                let limit = limit.map(|limit| limit.saturating_sub(1));
                self.inner.charge_usage(&key, amount, limit).await
            }
            Fault::RefusedCounts => {
                let charged = self.inner.charge_usage(&key, amount, limit).await?;
                if let Charged::Refused(_) = charged {
                    let _ = self.inner.charge_usage(&key, amount, None).await?;
                }
                Ok(charged)
            }
            Fault::ChargesLost => {
                let total = self.total(&key).await?;
                self.dawdle(Fault::ChargesLost).await;
                self.inner.refund_usage(&key, u64::MAX).await?;
                self.inner.charge_usage(&key, total + amount, None).await
            }
            Fault::TornCharge => {
                for _ in 1..amount {
                    let _ = self.inner.charge_usage(&key, 1, limit).await?;
                    tokio::task::yield_now().await;
                }
                self.inner.charge_usage(&key, 1, limit).await
            }
            _ => self.inner.charge_usage(&key, amount, limit).await,
        }
    }

    async fn refund_usage(&self, key: &UsageKey, amount: u64) -> Result<(), StoreError> {
        let key = self.counted(key);
        match self.fault {
            Fault::RefundIgnored => Ok(()),
            Fault::RefundOfMonth => {
                for day in 1..=31 {
                    let key = UsageKey { day, ..key.clone() };
                    self.inner.refund_usage(&key, amount).await?;
                }
                Ok(())
            }
            _ => self.inner.refund_usage(&key, amount).await,
        }
    }

    async fn usage_days(&self, integration: &IntegrationId, month: u32) -> Result<Vec<DayCount>, StoreError> {
        let integration = integration.clone();
        let day = 1;
        let key = self.counted(&UsageKey {
            integration,
            month,
            day,
        });
        let mut days = self.inner.usage_days(&key.integration, key.month).await?;
        match self.fault {
            Fault::DaysDescending => days.reverse(),
            Fault::EmptyDaysListed => days.push(DayCount { day: 31, calls: 0 }),
            _ => {}
        }
        Ok(days)
    }

    async fn purge_usage(&self, month: u32) -> Result<(), StoreError> {
        let month = month + u32::from(self.has(Fault::PurgeTakesMonth));
        self.inner.purge_usage(month).await
    }
}
