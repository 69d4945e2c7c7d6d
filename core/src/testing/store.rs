//! A wrapper around a store that fails on a test's command.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::store::{StoreError, StoreErrorKind, Stored, Stores, Swap, Warning};

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A connection's row is read.
    Read,
    /// A connection is inserted.
    Insert,
    /// A connection's row is swapped.
    Swap,
    /// A connection's row is removed.
    Remove,
    /// It is asked whether a connection's row would survive the loss of a machine.
    Confirm,
    /// The connections' changes are read.
    Changes,
    /// Connections are listed, counted or looked for when due.
    List,
    /// Hot facts are written.
    Touch,
    /// Anything about integrations is read or written.
    Integrations,
    /// Anything about pending rows.
    Pending,
    /// Anything about keys.
    Keys,
    /// Anything about usage.
    Usage,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and an error is returned.
    Before,
    /// It is done, and an error is returned.
    After,
    /// It is done after this time.
    Slow(Duration),
    /// It is done at once, and returns after this time.
    SlowAnswer(Duration),
}

/// What a call meets on its way: a wait, perhaps a fault, and a wait for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Before anything is done.
    pub before: Duration,
    /// What happens to the call.
    pub fault: Option<Fault>,
    /// Before it is answered.
    pub after: Duration,
}

type Forecast = Arc<dyn Fn(Op) -> Weather + Send + Sync>;

#[derive(Debug)]
struct Rule {
    op: Op,
    skip: u32,
    times: u32,
    fault: Fault,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    rules: Vec<Rule>,
    /// Swaps and inserts that were asked for.
    writes: u64,
    /// The next look at changes finds a gap.
    gap: bool,
    warnings: Vec<Warning>,
    /// After so many confirmations so many are refused.
    unconfirmed: (u32, u32),
}

/// A wrapper around a store that fails on a test's command. Clones share the script.
#[derive(Clone)]
pub struct FaultyStore {
    pub(super) inner: Stores,
    state: Arc<Mutex<State>>,
    forecast: Option<Forecast>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").finish_non_exhaustive()
    }
}

impl FaultyStore {
    /// Passes everything to `inner`, until a fault is scripted.
    pub fn over(inner: impl Into<Stores>) -> Self {
        Self {
            inner: inner.into(),
            state: Arc::default(),
            forecast: None,
        }
    }

    /// Asks for every call what it meets, beside the script. For simulations.
    #[must_use]
    pub fn under(mut self, forecast: impl Fn(Op) -> Weather + Send + Sync + 'static) -> Self {
        self.forecast = Some(Arc::new(forecast));
        self
    }

    /// From now on, or no longer, every call fails before it does anything.
    pub fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// The next call of `op` has this fault.
    pub fn next(&self, op: Op, fault: Fault) {
        self.script(op, 0, 1, fault);
    }

    /// After `skip` calls of `op`, the following `times` have this fault.
    pub fn script(&self, op: Op, skip: u32, times: u32, fault: Fault) {
        self.state().rules.push(Rule {
            op,
            skip,
            times,
            fault,
        });
    }

    /// After `skip` confirmations, the following `times` that it is asked it does not know whether a row would survive the
    /// loss of a machine: its replicas are away. Together with [`FaultyStore::roll_back`], which is what their taking over
    /// looks like, it is a store that forgets what it acknowledged.
    pub fn unconfirmed(&self, skip: u32, times: u32) {
        self.state().unconfirmed = (skip, times);
    }

    /// From now on it tells operators this, too.
    pub fn warn(&self, warning: Warning) {
        self.state().warnings.push(warning);
    }

    /// Clears the script, and is up again.
    pub fn heal(&self) {
        let mut state = self.state();
        state.unconfirmed = (0, 0);
        state.warnings.clear();
        state.rules.clear();
        state.down = false;
    }

    /// How many inserts and swaps of connections were asked for.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Brings back a row as it was read earlier, as a restored backup does, or a replica that takes over and did not have
    /// what was written since. The history of changes has a gap then.
    ///
    /// # Panics
    /// If the row is gone, or is constantly written by others.
    pub async fn roll_back(&self, old: &Stored) {
        for _ in 0..100 {
            let (stored, _) = self
                .inner
                .connections
                .connection(&old.row.id)
                .await
                .unwrap_or_default();
            if let Some(stored) = stored
                && let Ok(Swap::Swapped(_)) = self
                    .inner
                    .connections
                    .swap_connection(&old.row, stored.revision)
                    .await
            {
                self.state().gap = true;
                return;
            }
        }
        #[expect(clippy::panic, reason = "a test that cannot go on")]
        {
            panic!("the row could not be rolled back");
        }
    }

    pub(super) fn scripted_warnings(&self) -> Vec<Warning> {
        self.state().warnings.clone()
    }

    pub(super) fn take_unconfirmed(&self) -> bool {
        let (skip, times) = &mut self.state().unconfirmed;
        if *skip > 0 {
            *skip -= 1;
            return false;
        }
        let refused = *times > 0;
        *times = times.saturating_sub(1);
        refused
    }

    pub(super) fn take_gap(&self) -> bool {
        std::mem::take(&mut self.state().gap)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, op: Op) -> Option<Fault> {
        let mut state = self.state();
        if matches!(op, Op::Insert | Op::Swap) {
            state.writes += 1;
        }
        if state.down {
            return Some(Fault::Before);
        }
        for rule in state.rules.iter_mut().filter(|r| r.op == op && r.times > 0) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault);
        }
        None
    }

    pub(super) async fn call<T>(
        &self,
        op: Op,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let weather = self.forecast.as_ref().map(|each| each(op)).unwrap_or_default();
        pass(weather.before).await;
        let answer = self.meet(self.fault(op).or(weather.fault), call).await;
        pass(weather.after).await;
        answer
    }

    async fn meet<T>(
        &self,
        fault: Option<Fault>,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let error = || StoreError::bare(StoreErrorKind::Unavailable, "fault");
        match fault {
            None => call.await,
            Some(Fault::Before) => Err(error()),
            Some(Fault::After) => {
                call.await?;
                Err(error())
            }
            Some(Fault::Slow(wait)) => {
                tokio::time::sleep(wait).await;
                call.await
            }
            Some(Fault::SlowAnswer(wait)) => {
                let answer = call.await;
                tokio::time::sleep(wait).await;
                answer
            }
        }
    }
}

async fn pass(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}
