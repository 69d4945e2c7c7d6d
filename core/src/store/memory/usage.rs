//! Usage in memory.

use async_trait::async_trait;

use super::store::MemoryStore;
use crate::{
    id::IntegrationId,
    store::{Charged, DayCount, StoreError, UsageKey, UsageStore},
};

#[async_trait]
impl UsageStore for MemoryStore {
    async fn charge_usage(
        &self,
        key: &UsageKey,
        amount: u64,
        limit: Option<u64>,
    ) -> Result<Charged, StoreError> {
        let usage = &mut self.state().usage;
        let days = (1..=31).map(|day| UsageKey { day, ..key.clone() });
        let total: u64 = days.filter_map(|day| usage.get(&day)).sum();
        match total.checked_add(amount) {
            Some(after) if after <= limit.unwrap_or(u64::MAX) => {
                *usage.entry(key.clone()).or_default() += amount;
                Ok(Charged::Counted(after))
            }
            _ => Ok(Charged::Refused(total)),
        }
    }

    async fn refund_usage(&self, key: &UsageKey, amount: u64) -> Result<(), StoreError> {
        if let Some(calls) = self.state().usage.get_mut(key) {
            *calls = calls.saturating_sub(amount);
        }
        Ok(())
    }

    async fn usage_days(&self, integration: &IntegrationId, month: u32) -> Result<Vec<DayCount>, StoreError> {
        let state = self.state();
        let counts = state.usage.iter();
        Ok(counts
            .filter(|(key, calls)| key.integration == *integration && key.month == month && **calls > 0)
            .map(|(key, &calls)| DayCount { day: key.day, calls })
            .collect())
    }

    async fn purge_usage(&self, month: u32) -> Result<(), StoreError> {
        self.state().usage.retain(|key, _| key.month >= month);
        Ok(())
    }
}
