//! Connections are moved one by one: closed in the source by compare-and-swap, then written to the target.

use std::{
    pin::pin,
    sync::{PoisonError, atomic::Ordering},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{CopyError, Progress, Report, Run, Step, carry};
use crate::{
    connection::{GrantVersion, Status},
    engine::{
        ledger::record::Record,
        limits, pages,
        protocol::{self, Commit, Refresh},
    },
    id::{ConnectionId, IntegrationId},
    store::{
        ConnectionFilter, HotFacts, Inserted, Revision, StatusFilter, StoreError, StoreErrorKind, Stored,
        Stores, Swap,
    },
    time::{StoreInstant, Timestamp},
};

/// What became of a row.
enum Done {
    /// It is in the target.
    There {
        id: ConnectionId,
        how: How,
        hot: HotFacts,
    },
    /// It is in no store.
    Gone,
    Unreadable(ConnectionId),
}

/// How it got there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Before,
    /// Written just now.
    Landed {
        unknown: bool,
    },
    /// It was there, and a set that came back late was taken along.
    Late,
}

/// What became of the rows of a pass.
#[derive(Default)]
struct Pass {
    /// Rows that are in the target.
    there: u64,
    /// How many of those this pass wrote.
    changed: u64,
}

impl Run<'_> {
    /// Moves every connection of these integrations, until a pass over all of them finds nothing to do.
    pub(super) async fn move_connections(
        &self,
        integrations: &[(IntegrationId, bool)],
        report: &mut Report,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), CopyError> {
        for integration in integrations {
            loop {
                // Live ones first: once moved, they read as deleted.
                let live = self
                    .pass(integration, StatusFilter::Live, report, progress)
                    .await?;
                if live.changed > 0 {
                    continue;
                }
                let ended = StatusFilter::Only(Status::Deleted);
                let ended = self.pass(integration, ended, report, progress).await?;
                if ended.changed == 0 {
                    report.connections += ended.there;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Processes all rows with such a status once.
    async fn pass(
        &self,
        (integration, opened): &(IntegrationId, bool),
        status: StatusFilter,
        report: &mut Report,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Pass, CopyError> {
        let filter = ConnectionFilter::of(integration, status);
        let mut pass = Pass::default();
        let mut pages = pin!(pages::connections(&*self.from.connections, &filter));
        while let Some(rows) = pages.try_next().await.map_err(CopyError::source)? {
            self.move_page(rows, *opened, &mut pass, report, progress).await?;
        }
        Ok(pass)
    }

    async fn move_page(
        &self,
        rows: Vec<Stored>,
        opened: bool,
        pass: &mut Pass,
        report: &mut Report,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), CopyError> {
        let moves = rows.into_iter().map(|stored| self.move_one(stored));
        let mut moves = stream::iter(moves).buffer_unordered(limits::COPY_AT_ONCE);
        let mut touched = Vec::new();
        let mut failed = None;
        loop {
            let Ok(done) = tokio::time::timeout(limits::COPY_LOOK, moves.next()).await else {
                progress(self.progress(Step::Connections, report.connections + pass.there));
                continue;
            };
            match done {
                None => break,
                Some(Ok(Done::There { id, how, hot })) => {
                    pass.there += 1;
                    pass.changed += u64::from(how != How::Before);
                    report.late += u64::from(how == How::Late);
                    if let How::Landed { unknown } = how {
                        report.moved += 1;
                        report.outcome_unknown += u64::from(unknown);
                    }
                    // Nothing is used there before the integration is opened, so facts that an earlier run wrote are
                    // written again.
                    if hot != HotFacts::default() && (!opened || how != How::Before) {
                        touched.push((id, hot));
                    }
                }
                Some(Ok(Done::Gone)) => {}
                Some(Ok(Done::Unreadable(id))) => {
                    if !report.unreadable.contains(&id) {
                        report.unreadable.push(id);
                    }
                }
                // Moves in progress are finished, and no further ones are started.
                Some(Err(error)) => {
                    self.failed.store(true, Ordering::Release);
                    if matches!(failed, None | Some(CopyError::Stopped)) {
                        failed = Some(error);
                    }
                }
            }
        }
        if !touched.is_empty() {
            let touch = self.to.connections.touch_connections(&touched).await;
            touch.map_err(CopyError::target)?;
        }
        progress(self.progress(Step::Connections, report.connections + pass.there));
        failed.map_or(Ok(()), Err)
    }

    /// Closes a row in the source, unless it is closed, and makes sure that it is in the target.
    async fn move_one(&self, listed: Stored) -> Result<Done, CopyError> {
        self.go_on()?;
        let id = listed.row.id.clone();
        let mut row = Some(listed);
        let mut waits = None;
        let mut tries = ConfirmTries::default();
        loop {
            let stored = match row.take() {
                Some(listed) => listed,
                None => match self.read_source(&id).await? {
                    (Some(stored), _) => stored,
                    (None, _) => return Ok(Done::Gone),
                },
            };
            let Ok(mut record) = Record::decode(&stored) else {
                return Ok(Done::Unreadable(id));
            };
            if record.facts.migrated.is_some() {
                // If the source forgot that it is closed, the token would have two owners.
                if confirms(self.from, &id, stored.revision).await {
                    return self.land(&record, stored.hot).await;
                }
                tries.spend().await.map_err(CopyError::source)?;
                continue;
            }
            if let Refresh::Leased { .. } = record.facts.row.refresh {
                let (again, now) = self.read_source(&id).await?;
                if again.is_none_or(|again| again.revision != stored.revision) {
                    continue;
                }
                if carry::may_present(&record.facts.row, now, self.first_seen(now)) {
                    self.go_on()?;
                    waits.get_or_insert_with(|| Waiting::new(self));
                    tokio::time::sleep(limits::COPY_LOOK).await;
                    continue;
                }
            }
            drop(waits.take());
            record.migrate(self.copy, stored.row.index.due_at);
            let closed = record.encode(None)?;
            let swap = self.from.connections.swap_connection(&closed, stored.revision);
            match swap.await.map_err(CopyError::source)? {
                Swap::Swapped(revision) => {
                    row = Some(Stored {
                        row: closed,
                        revision,
                        hot: stored.hot,
                    });
                }
                Swap::Conflict | Swap::Missing => {}
            }
        }
    }

    /// Makes sure that a row that is closed in the source is in the target.
    async fn land(&self, record: &Record, hot: HotFacts) -> Result<Done, CopyError> {
        let id = &record.id;
        let done = |how| Done::There {
            id: id.clone(),
            how,
            hot,
        };
        let Some((mut original, due_at)) = record.before_migration() else {
            return Ok(Done::Gone);
        };
        let stood_at = original.facts.row.refresh;
        let mut tries = ConfirmTries::default();
        loop {
            let (there, now) = self.read_target(id).await?;
            let expected = match there {
                None => None,
                Some(stored) => {
                    let there = Record::decode(&stored)?;
                    if there.facts.migrated.is_none() {
                        let late = self.take_late(&original, due_at, stored.revision, there).await?;
                        return Ok(done(if late { How::Late } else { How::Before }));
                    }
                    // It was once copied from the target, and returns.
                    Some(stored.revision)
                }
            };
            let refresh = self.carried(id, stood_at, now).await?;
            original.facts.row.refresh = refresh;
            let row = original.encode(due_at)?;
            let connections = &self.to.connections;
            let landed = match expected {
                None => match connections.insert_connection(&row).await {
                    Ok(Inserted::Created(revision)) => Some(revision),
                    Ok(Inserted::Occupied) => None,
                    Err(error) => return Err(CopyError::target(error)),
                },
                Some(revision) => match connections.swap_connection(&row, revision).await {
                    Ok(Swap::Swapped(revision)) => Some(revision),
                    Ok(Swap::Conflict | Swap::Missing) => None,
                    Err(error) => return Err(CopyError::target(error)),
                },
            };
            let Some(revision) = landed else { continue };
            while !confirms(self.to, id, revision).await {
                tries.spend().await.map_err(CopyError::target)?;
            }
            return Ok(done(How::Landed {
                unknown: carry::has_moment(refresh),
            }));
        }
    }

    /// The refresh state on the target's clock. Both clocks are read within a second, so that it is neither older nor much
    /// younger there.
    async fn carried(
        &self,
        id: &ConnectionId,
        refresh: Refresh,
        mut target: StoreInstant,
    ) -> Result<Refresh, CopyError> {
        if !carry::has_moment(refresh) {
            return Ok(refresh);
        }
        let mut source = StoreInstant::default();
        for _ in 0..limits::COPY_READS {
            let begun = self.clock.boot();
            source = self.read_source(id).await?.1;
            target = self.read_target(id).await?.1;
            if self.clock.boot() - begun <= limits::COPY_TOGETHER {
                break;
            }
        }
        Ok(carry::carry(refresh, source, target))
    }

    /// The row is in the target. If a set came back to the source after it was copied, the target gets it, by the rule by which
    /// any late set is stored: not if a newer one is there, and not if the connection was ended or connected again.
    async fn take_late(
        &self,
        original: &Record,
        due_at: Option<Timestamp>,
        mut revision: Revision,
        mut there: Record,
    ) -> Result<bool, CopyError> {
        let late = original.facts.row;
        loop {
            let spent = GrantVersion {
                generation: late.version.generation.saturating_sub(1),
                ..late.version
            };
            let Commit::Write { row, .. } =
                protocol::commit(&there.facts.row, spent, late.write_id, &carry::policy())
            else {
                return Ok(false);
            };
            there.take_set_of(original);
            there.facts.row = row;
            if let Some(decision) = original.history().pop() {
                there.note(decision);
            }
            let next = there.encode(due_at)?;
            let swap = self.to.connections.swap_connection(&next, revision);
            match swap.await.map_err(CopyError::target)? {
                Swap::Swapped(_) => return Ok(true),
                Swap::Missing => return Ok(false),
                Swap::Conflict => {}
            }
            let (Some(stored), _) = self.read_target(&original.id).await? else {
                return Ok(false);
            };
            (revision, there) = (stored.revision, Record::decode(&stored)?);
        }
    }

    async fn read_source(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), CopyError> {
        self.from
            .connections
            .connection(id)
            .await
            .map_err(CopyError::source)
    }

    async fn read_target(&self, id: &ConnectionId) -> Result<(Option<Stored>, StoreInstant), CopyError> {
        self.to
            .connections
            .connection(id)
            .await
            .map_err(CopyError::target)
    }

    /// The first moment of this clock that this run saw.
    fn first_seen(&self, now: StoreInstant) -> StoreInstant {
        let mut first = self.first_seen.lock().unwrap_or_else(PoisonError::into_inner);
        *first.entry(now.clock_id).or_insert(now)
    }
}

/// Whether the row of this revision would survive the loss of a machine.
async fn confirms(stores: &Stores, id: &ConnectionId, revision: Revision) -> bool {
    let confirmed = stores.connections.confirm_connection(id, revision).await;
    confirmed.unwrap_or(false)
}

/// How long to wait for a store that does not confirm a write.
#[derive(Default)]
struct ConfirmTries(u32);

impl ConfirmTries {
    async fn spend(&mut self) -> Result<(), StoreError> {
        self.0 += 1;
        if self.0 > limits::COPY_CONFIRMS {
            return Err(StoreError::bare(
                StoreErrorKind::Unavailable,
                "confirm_connection",
            ));
        }
        tokio::time::sleep(limits::COPY_LOOK).await;
        Ok(())
    }
}

/// Counts a row that has to be waited for.
struct Waiting<'a>(&'a Run<'a>);

impl<'a> Waiting<'a> {
    fn new(run: &'a Run<'a>) -> Self {
        run.waiting.fetch_add(1, Ordering::Relaxed);
        Self(run)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
