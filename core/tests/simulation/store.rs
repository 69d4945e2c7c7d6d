//! One process's way to the one store: it fails as the seed wants, and the judge sees every row that is written.

use std::{sync::Arc, time::Duration};

use grantry::{
    async_trait,
    connection::{Attention, Status},
    id::{ConnectionId, IntegrationId},
    protocol::Refresh,
    store::{
        Changes, ConnectionFilter, ConnectionRow, ConnectionStore, DueEntry, HotFacts, Inserted, ListEntry,
        Page, Point, Removed, Revision, StoreError, StoreErrorKind, Stored, Stores, Swap, Warning,
    },
    testing::{Fault, FaultyStore, Op, Seen, Weather},
    time::{Clock as _, StoreInstant, Timestamp},
};

use crate::{
    facts::Token,
    sim::{Air, Held, Sim, Snare},
    trace::Who,
};

/// The stores of process `process`.
pub fn stores(sim: &Sim, process: usize) -> Stores {
    let observed = Observed {
        sim: sim.clone(),
        process,
    };
    let inner = Stores {
        connections: Arc::new(observed),
        ..Stores::from(sim.memory.clone())
    };
    let forecast = sim.clone();
    FaultyStore::over(inner)
        .under(move |op| weather(&forecast, process, op))
        .into()
}

fn weather(sim: &Sim, process: usize, op: Op) -> Weather {
    let mut state = sim.state();
    if let Some(snare) = state.spring(process, true) {
        return snared(&mut state, process, op, snare);
    }
    let air = state.stores[process];
    let dice = &mut state.dice;
    let mut weather = Weather::default();
    match air {
        Air::Calm => {
            if dice.percent(25) {
                weather.before = dice.span(0, 8);
                weather.after = dice.span(0, 8);
            }
            return weather;
        }
        Air::Rough => match dice.below(100) {
            0..8 => weather.fault = Some(Fault::Before),
            8..18 if matches!(op, Op::Swap | Op::Insert) => weather.fault = Some(Fault::After),
            18..24 => weather.before = dice.span(0, 7000),
            24..30 => weather.after = dice.span(0, 7000),
            _ => weather.before = dice.span(0, 300),
        },
        Air::Down => {
            weather.fault = Some(Fault::Before);
            if dice.percent(30) {
                weather.before = dice.span(0, 12_000);
            }
        }
    }
    state.trouble(process);
    if weather.fault.is_some() {
        let what = if weather.fault == Some(Fault::After) {
            "store error after"
        } else {
            "store error before"
        };
        state.fault(Who::Process(process), what, name(op));
    }
    weather
}

/// What waited for the process at this call. Killed or stopped it is before the call, or right after it was carried out.
fn snared(state: &mut Held<'_>, process: usize, op: Op, snare: Snare) -> Weather {
    state.trouble(process);
    state.seize(process, snare);
    let mut weather = Weather::default();
    let instant = Duration::from_millis(1);
    match snare {
        Snare::Store(fault) => {
            weather.fault = Some(fault);
            state.fault(Who::Process(process), "store error at", name(op));
        }
        Snare::FailOver => state.replica.takes_over = true,
        Snare::Later => {
            state.later[process] = matches!(op, Op::Swap);
        }
        Snare::Kill | Snare::Stop(_) if state.dice.percent(50) => weather.before = instant,
        Snare::Kill | Snare::Stop(_) => weather.after = instant,
    }
    weather
}

fn name(op: Op) -> &'static str {
    match op {
        Op::Read => "read",
        Op::Insert => "insert",
        Op::Swap => "swap",
        Op::Changes => "changes",
        Op::Integrations => "integrations",
        _ => "other",
    }
}

/// The connections of the one store, as one process writes them.
#[derive(Clone, Debug)]
struct Observed {
    sim: Sim,
    process: usize,
}

impl Observed {
    /// A network's last trick: an error now, and the write is applied later.
    fn comes_later(&self) -> Option<Duration> {
        let mut state = self.sim.state();
        let snared = std::mem::take(&mut state.later[self.process]);
        if !snared && (state.stores[self.process] != Air::Rough || !state.dice.percent(4)) {
            return None;
        }
        state.fault(Who::Process(self.process), "store applies later", "swap");
        Some(state.dice.span(1, 20_000))
    }

    /// Which machine answers.
    async fn reach(&self) {
        if self.sim.state().replica.takes_over {
            self.sim.fail_over().await;
        }
    }

    async fn swap(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        let (before, _) = self.sim.memory.connection(&next.id).await?;
        let swap = self.sim.memory.swap_connection(next, expected).await?;
        if let Swap::Swapped(revision) = swap {
            self.sim.replicate(before.unwrap().row);
            observe(&self.sim, Some(self.process), next, revision).await;
        }
        Ok(swap)
    }
}

/// Shows the judge a row that was written.
pub async fn observe(sim: &Sim, by: Option<usize>, row: &ConnectionRow, revision: Revision) {
    let stored = Stored {
        row: row.clone(),
        revision,
        hot: HotFacts::default(),
    };
    let seen = Seen::open(&stored, &sim.vault).await.unwrap();
    let mut state = sim.state();
    let known = state.ids.iter().position(|id| *id == row.id);
    let connection = known.unwrap_or_else(|| {
        state.ids.push(row.id.clone());
        state.served.push(None);
        state.ids.len() - 1
    });
    let who = by.map_or(Who::World, Who::Process);
    let name = seen.row.version;
    state.say(
        who,
        row_event(&seen),
        status(seen.row.status),
        [connection as u64, name.epoch, name.generation],
    );
    let now = state.now;
    let family = Token::parse(&seen.refresh).and_then(|token| sim.upstream.grant(token.family));
    let grant_lives = family.is_none_or(|(_, alive)| alive);
    let right = sim.provider_clock.wall().millis();
    let wrong_clock = by.is_some_and(|p| sim.machines[p].wall().millis().abs_diff(right) > 60_000);
    state
        .judge
        .row(now, by, connection, stored, seen, grant_lives, wrong_clock);
}

fn row_event(seen: &Seen) -> &'static str {
    match seen.row.refresh {
        Refresh::Idle => "row: idle",
        Refresh::Leased { attempt: 1, .. } => "row: lease 1",
        Refresh::Leased { attempt: 2, .. } => "row: lease 2",
        Refresh::Leased { .. } => "row: lease 3 or later",
        Refresh::Unknown { .. } => "row: unknown",
        Refresh::Cooling { unresolved: None, .. } => "row: cooling",
        Refresh::Cooling { .. } => "row: cooling, unknown",
    }
}

fn status(status: Status) -> &'static str {
    status.as_str()
}

#[async_trait]
impl ConnectionStore for Observed {
    async fn insert_connection(&self, row: &ConnectionRow) -> Result<Inserted, StoreError> {
        self.reach().await;
        let inserted = self.sim.memory.insert_connection(row).await?;
        if let Inserted::Created(revision) = inserted {
            observe(&self.sim, Some(self.process), row, revision).await;
        }
        Ok(inserted)
    }

    async fn connection(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        self.reach().await;
        self.sim.memory.connection(id).await
    }

    async fn confirm_connection(&self, id: &ConnectionId, revision: Revision) -> Result<bool, StoreError> {
        self.reach().await;
        let confirmed = self.sim.confirm(id, revision).await;
        if !confirmed && self.sim.state().replica.cut_off {
            // As long as a store waits for its replicas.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.sim.say(
            Who::Process(self.process),
            "confirmed",
            if confirmed { "yes" } else { "no" },
            [0; 3],
        );
        Ok(confirmed)
    }

    async fn swap_connection(&self, next: &ConnectionRow, expected: Revision) -> Result<Swap, StoreError> {
        self.reach().await;
        let Some(wait) = self.comes_later() else {
            return self.swap(next, expected).await;
        };
        let (me, next) = (self.clone(), next.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = me.swap(&next, expected).await;
        });
        Err(StoreError::bare(StoreErrorKind::Unavailable, "later"))
    }

    async fn remove_connection(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        self.sim.memory.remove_connection(id, expected).await
    }

    async fn list_connections(
        &self,
        filter: &ConnectionFilter,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        self.sim.memory.list_connections(filter, before, limit).await
    }

    async fn due_connections(
        &self,
        until: Timestamp,
        after: Option<&DueEntry>,
        limit: u32,
    ) -> Result<Page<DueEntry>, StoreError> {
        self.sim.memory.due_connections(until, after, limit).await
    }

    async fn connections_needing_attention(
        &self,
        attention: Attention,
        before: Option<&ConnectionId>,
        limit: u32,
    ) -> Result<Page<ListEntry>, StoreError> {
        self.sim
            .memory
            .connections_needing_attention(attention, before, limit)
            .await
    }

    fn warnings(&self) -> Vec<Warning> {
        self.sim.memory.warnings()
    }

    async fn connection_news(&self) {
        self.sim.memory.connection_news().await;
    }

    async fn connection_changes(&self, since: Option<&Point>) -> Result<Changes, StoreError> {
        self.sim.memory.connection_changes(since).await
    }

    async fn touch_connections(&self, facts: &[(ConnectionId, HotFacts)]) -> Result<(), StoreError> {
        self.sim.memory.touch_connections(facts).await
    }

    async fn connections_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.sim.memory.connections_by_key().await
    }

    async fn has_connections(&self, integration: &IntegrationId) -> Result<bool, StoreError> {
        self.sim.memory.has_connections(integration).await
    }
}
