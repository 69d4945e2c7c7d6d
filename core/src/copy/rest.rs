//! What is copied besides connections: keys and counts of calls. Copying them again does no harm.

use std::collections::BTreeMap;

use super::{CopyError, Run};
use crate::{
    id::IntegrationId,
    store::{KeyInserted, KeyRow, UsageKey},
    time::Timestamp,
};

impl Run<'_> {
    /// Keys of these integrations and admin keys, and the calls of every month. Returns the number of keys.
    pub(super) async fn copy_rest(&self, copied: &[(IntegrationId, bool)]) -> Result<u64, CopyError> {
        let mut keys = self.copy_keys(None).await?;
        for (id, opened) in copied {
            self.go_on()?;
            keys += self.copy_keys(Some(id)).await?;
            self.copy_usage(id, *opened).await?;
        }
        Ok(keys)
    }

    async fn copy_keys(&self, integration: Option<&IntegrationId>) -> Result<u64, CopyError> {
        let rows = self.from.keys.list_keys(integration).await;
        let rows = rows.map_err(CopyError::source)?;
        for row in &rows {
            self.copy_key(row).await.map_err(CopyError::target)?;
        }
        Ok(super::count(rows.len()))
    }

    async fn copy_key(&self, row: &KeyRow) -> Result<(), crate::store::StoreError> {
        let keys = &self.to.keys;
        let inserted = keys.insert_key(row, u32::MAX, self.clock.wall()).await?;
        // A key that is revoked in either store is revoked.
        if let (KeyInserted::Occupied, Some(at)) = (inserted, row.revoked_at) {
            let _already = keys.revoke_key(&row.id, at).await?;
        }
        Ok(())
    }

    /// Raises each day's count in the target to the source's. While the target serves nothing, lowers it too: reserved
    /// calls that were not made are given back late.
    async fn copy_usage(&self, integration: &IntegrationId, opened: bool) -> Result<(), CopyError> {
        let stored = self.from.integrations.integration(integration);
        let created = match stored.await.map_err(CopyError::source)? {
            Some(stored) => crate::engine::directory::Body::decode(&stored)?.created_at,
            None => return Ok(()),
        };
        for month in months(created, self.clock.wall()) {
            let days = self.from.usage.usage_days(integration, month).await;
            let days = days.map_err(CopyError::source)?;
            if days.is_empty() {
                continue;
            }
            let there = self.to.usage.usage_days(integration, month).await;
            let there: BTreeMap<u8, u64> = there
                .map_err(CopyError::target)?
                .into_iter()
                .map(|count| (count.day, count.calls))
                .collect();
            for count in days {
                let key = UsageKey {
                    integration: integration.clone(),
                    month,
                    day: count.day,
                };
                let has = there.get(&count.day).copied().unwrap_or_default();
                let usage = &self.to.usage;
                if has < count.calls {
                    let charged = usage.charge_usage(&key, count.calls - has, None).await;
                    let _counted = charged.map_err(CopyError::target)?;
                } else if has > count.calls && !opened {
                    let refunded = usage.refund_usage(&key, has - count.calls).await;
                    refunded.map_err(CopyError::target)?;
                }
            }
        }
        Ok(())
    }
}

/// From the month of `first` to that of `last`, as `yyyymm`.
fn months(first: Timestamp, last: Timestamp) -> impl Iterator<Item = u32> {
    let next = |month: &u32| Some(if month % 100 == 12 { month + 89 } else { month + 1 });
    let last = last.calendar().0;
    std::iter::successors(Some(first.calendar().0.min(last)), next).take_while(move |month| *month <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_month_comes_once() {
        let at = |days: i64| Timestamp(days * 24 * 3600 * 1000);
        // 2025-11-12 to 2026-02-10.
        let all: Vec<_> = months(at(20_404), at(20_494)).collect();
        assert_eq!(all, [202_511, 202_512, 202_601, 202_602]);
        assert_eq!(months(at(20_494), at(20_404)).collect::<Vec<_>>(), [202_511]);
    }
}
