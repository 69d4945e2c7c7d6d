//! The role that counts calls.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::id::IntegrationId;

/// What is counted: an integration's calls on one day of one month (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// The integration.
    pub integration: IntegrationId,
    /// `yyyymm`.
    pub month: u32,
    /// 1 to 31.
    pub day: u8,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Charged {
    /// Counted; the month's total is now this.
    Counted(u64),
    /// It would have passed the limit; nothing was counted. The month's total is this.
    Refused(u64),
}

/// Calls of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// 1 to 31.
    pub day: u8,
    /// Calls.
    pub calls: u64,
}

/// Counts calls.
#[async_trait]
pub trait UsageStore: fmt::Debug + Send + Sync + 'static {
    /// Adds `amount` to the day, unless the month's total would then be above `limit`. Atomic over all processes. It
    /// need not be durable at once.
    ///
    /// # Errors
    /// Unknown outcome: the calls may have been counted. Charging again may count them twice.
    ///
    /// # Cancel safety
    /// All of `amount` is counted or nothing, possibly shortly after the drop.
    async fn charge_usage(
        &self,
        key: &UsageKey,
        amount: u64,
        limit: Option<u64>,
    ) -> Result<Charged, StoreError>;

    /// Takes `amount` back from the day; never below zero.
    ///
    /// # Errors
    /// Unknown outcome: the calls may have been taken back. Refunding again may take them back twice.
    ///
    /// # Cancel safety
    /// All of `amount` is taken back or nothing, possibly shortly after the drop.
    async fn refund_usage(&self, key: &UsageKey, amount: u64) -> Result<(), StoreError>;

    /// The days of the month that have calls, ascending.
    ///
    /// # Errors
    /// The counts could not be read.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    async fn usage_days(&self, integration: &IntegrationId, month: u32) -> Result<Vec<DayCount>, StoreError>;

    /// Removes counts of months before `month`.
    ///
    /// # Errors
    /// Unknown outcome: some or all of them may be gone. Purging again does no harm.
    ///
    /// # Cancel safety
    /// Some of the old counts may be gone.
    async fn purge_usage(&self, month: u32) -> Result<(), StoreError>;
}
