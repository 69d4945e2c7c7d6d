//! Usage: the calls of each day, with their sum.

use async_trait::async_trait;
use grantry::{
    id::IntegrationId,
    store::{Charged, DayCount, StoreError, UsageKey, UsageStore},
};

use crate::{RedisStore, place::Place, row, script};

/// Lua counts exactly up to here; no month has more calls.
const MOST: u64 = 1 << 53;

#[async_trait]
impl UsageStore for RedisStore {
    async fn charge_usage(
        &self,
        key: &UsageKey,
        amount: u64,
        limit: Option<u64>,
    ) -> Result<Charged, StoreError> {
        let UsageKey {
            integration,
            month,
            day,
        } = key;
        let mut call = script::USAGE.on([self.layout().usage(integration, *month)]);
        call.key(self.layout().months());
        call.arg("charge").arg(*day).arg(amount.min(MOST));
        call.arg(limit.unwrap_or(MOST).min(MOST))
            .arg(*month)
            .arg(format!("{integration}:{month}"));
        let (counted, sum): (u8, u64) = self.write(Place::Usage, "charge_usage", &call).await?;
        Ok(if counted == 1 {
            Charged::Counted(sum)
        } else {
            Charged::Refused(sum)
        })
    }

    async fn refund_usage(&self, key: &UsageKey, amount: u64) -> Result<(), StoreError> {
        let UsageKey {
            integration,
            month,
            day,
        } = key;
        let mut call = script::USAGE.on([self.layout().usage(integration, *month)]);
        call.key(self.layout().months());
        call.arg("refund").arg(*day).arg(amount.min(MOST));
        self.write(Place::Usage, "refund_usage", &call).await
    }

    async fn usage_days(&self, integration: &IntegrationId, month: u32) -> Result<Vec<DayCount>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.layout().usage(integration, month));
        let (_, found): (_, Vec<(String, u64)>) = self.ask(Place::Usage, "usage_days", &command).await?;
        let mut days = Vec::new();
        for (day, calls) in found {
            if day != "sum" && calls > 0 {
                let day = day.parse().map_err(|_| row::corrupt("usage_days"))?;
                days.push(DayCount { day, calls });
            }
        }
        days.sort_by_key(|day| day.day);
        Ok(days)
    }

    async fn purge_usage(&self, month: u32) -> Result<(), StoreError> {
        let layout = self.layout();
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(layout.months()).arg("-inf").arg(format!("({month}"));
        let (_, names): (_, Vec<String>) = self.ask(Place::Usage, "purge_usage", &command).await?;
        if names.is_empty() {
            return Ok(());
        }
        let mut call = script::FORGET.on([layout.months()]);
        for name in &names {
            call.key(layout.usage_of(name)).arg(name);
        }
        self.write(Place::Usage, "purge_usage", &call).await
    }
}
