//! Counts calls against an integration's calendar month (UTC).
//!
//! A call is reserved before it is sent and given back if it was certainly not sent. Far from the limit calls are
//! reserved in blocks, so that a call costs no write; within `HEADROOM` calls of the limit they are reserved one by one,
//! and the count is exact over any number of processes. Unspent blocks go back every two seconds. A process that is
//! killed leaves its unspent blocks counted: at most `BLOCK` calls per integration.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    error::{Code, Error, PlanUsage},
    id::IntegrationId,
    store::{Charged, DayCount, StoreError, UsageKey, UsageStore},
    task::Tasks,
    time::{Clock, Timestamp},
};

/// How many calls are reserved at a time.
const BLOCK: u64 = 256;
/// How near to the limit calls are reserved one by one.
const HEADROOM: u64 = 50_000;
const DAY: i64 = 24 * 3600 * 1000;
/// How many months before the present one are kept, so that a month can be compared with the same one of last year.
const MONTHS_KEPT: u32 = 13;

/// Reserved calls of one integration on one day.
#[derive(Debug)]
struct Block {
    key: UsageKey,
    day_ends: Timestamp,
    limit: Option<u64>,
    left: AtomicU64,
    /// The month's total when the store was last asked.
    total: AtomicU64,
    /// The limit has been reported as reached.
    told: AtomicBool,
}

impl Block {
    /// Has the store count a call, or a block of them.
    async fn charge(self: Arc<Self>, usage: Arc<dyn UsageStore>, now: Timestamp) -> Result<Ticket, Error> {
        let limit = self.limit;
        let mut amount = match (limit, self.total.load(Ordering::Acquire)) {
            // The first call learns the month's total.
            (_, 0) => 1,
            (None, _) => BLOCK,
            (Some(limit), total) if limit.saturating_sub(total) > HEADROOM => BLOCK,
            (Some(_), _) => 1,
        };
        let mut charged = usage.charge_usage(&self.key, amount, limit).await?;
        if let Charged::Refused(total) = charged
            && amount > 1
            && limit.is_some_and(|limit| total < limit)
        {
            // Other processes brought the month near its end: no block fits in any more, but a call does.
            amount = 1;
            charged = usage.charge_usage(&self.key, amount, limit).await?;
        }
        match charged {
            Charged::Counted(total) => {
                self.total.store(total, Ordering::Release);
                self.left.fetch_add(amount - 1, Ordering::AcqRel);
                Ok(Ticket::of(self))
            }
            Charged::Refused(total) => {
                let plan = PlanUsage {
                    limit: limit.unwrap_or(total),
                    used: total,
                };
                Err(Error::new(Code::PlanLimitExceeded)
                    .with_plan(plan)
                    .retry_after(now.until(now.next_month())))
            }
        }
    }
}

/// A reserved call. If it ends before anything can have reached the provider, it is given back.
#[derive(Debug)]
pub(crate) struct Ticket {
    block: Arc<Block>,
    pub(crate) sent: bool,
}

impl Ticket {
    fn of(block: Arc<Block>) -> Self {
        Self { block, sent: false }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.sent {
            self.block.left.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A month's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// `yyyymm`.
    pub month: u32,
    /// Calls made.
    pub calls: u64,
    /// Calls allowed; `None` is no limit.
    pub limit: Option<u64>,
    /// Days that have calls, ascending.
    pub days: Vec<DayCount>,
    /// When the next month begins.
    pub resets_at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Meter {
    usage: Arc<dyn UsageStore>,
    tasks: Arc<Tasks>,
    clock: Arc<dyn Clock>,
    blocks: Mutex<HashMap<IntegrationId, Arc<Block>>>,
    /// Blocks of days and limits that are over.
    old: Mutex<Vec<Arc<Block>>>,
    /// The last day on which old counts were removed.
    purged: Mutex<Option<(u32, u8)>>,
}

impl Meter {
    pub(crate) fn new(usage: Arc<dyn UsageStore>, tasks: Arc<Tasks>, clock: Arc<dyn Clock>) -> Self {
        Self {
            usage,
            tasks,
            clock,
            blocks: Mutex::default(),
            old: Mutex::default(),
            purged: Mutex::default(),
        }
    }

    /// Reserves one call.
    ///
    /// # Errors
    /// `plan_limit_exceeded` with the plan's figures; a store that cannot be reached.
    ///
    /// # Cancel safety
    /// The store is asked in a task of its own: if the caller is dropped, what it counted is given back.
    pub(crate) async fn reserve(
        &self,
        integration: &IntegrationId,
        limit: Option<u64>,
    ) -> Result<Ticket, Error> {
        let now = self.clock.wall_coarse();
        let block = self.block(integration, limit, now);
        let spend = |left: u64| left.checked_sub(1);
        if block
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, spend)
            .is_ok()
        {
            return Ok(Ticket::of(block));
        }
        let charge = block.charge(self.usage.clone(), now);
        let aborted = || Error::new(Code::Internal).because("charge_aborted");
        self.tasks.run(charge).await.ok_or_else(aborted)?
    }

    /// A block that is over and could not be given back is tried again.
    fn keep_if_old(&self, block: Arc<Block>) {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let current = blocks.values().any(|b| Arc::ptr_eq(b, &block));
        let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        if !current && !old.iter().any(|b| Arc::ptr_eq(b, &block)) {
            old.push(block);
        }
    }

    /// Whether reaching the limit is news: `true` once a day.
    pub(crate) fn limit_is_news(&self, integration: &IntegrationId) -> bool {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks
            .get(integration)
            .is_some_and(|block| !block.told.swap(true, Ordering::AcqRel))
    }

    fn block(&self, integration: &IntegrationId, limit: Option<u64>, now: Timestamp) -> Arc<Block> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get(integration)
            && now < block.day_ends
            && block.limit == limit
        {
            return block.clone();
        }
        let (month, day) = now.calendar();
        let block = Arc::new(Block {
            key: UsageKey {
                integration: integration.clone(),
                month,
                day,
            },
            day_ends: Timestamp((now.0 / DAY + 1) * DAY),
            limit,
            left: AtomicU64::new(0),
            total: AtomicU64::new(0),
            told: AtomicBool::new(false),
        });
        if let Some(over) = blocks.insert(integration.clone(), block.clone()) {
            self.old.lock().unwrap_or_else(PoisonError::into_inner).push(over);
        }
        block
    }

    /// Gives unspent calls back to the store.
    ///
    /// # Cancel safety
    /// Continues if its caller is dropped: nothing that was taken out of a block is lost.
    pub(crate) async fn return_unused(self: &Arc<Self>) {
        let meter = self.clone();
        self.tasks.run(async move { meter.give_back().await }).await;
    }

    async fn give_back(&self) {
        let mut blocks: Vec<_> = self
            .blocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        {
            let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
            blocks.extend(old.iter().cloned());
            // Calls of yesterday that still run may give back; two owners are this list and `blocks` here.
            old.retain(|block| Arc::strong_count(block) > 2);
        }
        for block in blocks {
            let left = block.left.swap(0, Ordering::AcqRel);
            if left > 0 && self.usage.refund_usage(&block.key, left).await.is_err() {
                block.left.fetch_add(left, Ordering::AcqRel);
                self.keep_if_old(block);
            }
        }
    }

    /// Removes counts of more than [`MONTHS_KEPT`] months ago, once a day; a process that counts no calls leaves it to the
    /// others.
    ///
    /// # Errors
    /// Those of the store. It is retried on the next day.
    ///
    /// # Cancel safety
    /// Some of the old counts may be gone; the others go on the next day.
    pub(crate) async fn purge(&self) -> Result<(), StoreError> {
        let today = self.clock.wall().calendar();
        let counts = !self
            .blocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        let new_day = |last: &mut Option<_>| last.replace(today) != Some(today);
        if counts && new_day(&mut *self.purged.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.usage
                .purge_usage(months_before(today.0, MONTHS_KEPT))
                .await?;
        }
        Ok(())
    }

    /// The calls of the present month.
    pub(crate) async fn usage(
        self: &Arc<Self>,
        integration: &IntegrationId,
        limit: Option<u64>,
    ) -> Result<Usage, Error> {
        self.return_unused().await;
        let now = self.clock.wall();
        let (month, _) = now.calendar();
        let days = self.usage.usage_days(integration, month).await?;
        let calls = days.iter().map(|d| d.calls).sum();
        Ok(Usage {
            month,
            calls,
            limit,
            days,
            resets_at: now.next_month(),
        })
    }
}

/// A month as `yyyymm`, so many months earlier.
fn months_before(month: u32, count: u32) -> u32 {
    let months = (month / 100 * 12 + month % 100 - 1).saturating_sub(count);
    months / 12 * 100 + months % 12 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_go_back_over_new_year() {
        assert_eq!(months_before(202_601, 13), 202_412);
        assert_eq!(months_before(202_612, 13), 202_511);
        assert_eq!(months_before(202_602, 13), 202_501);
        assert_eq!(months_before(202_602, 1), 202_601);
        assert_eq!(months_before(202_601, 1), 202_512);
    }
}
