//! Copies a whole store to another one, of the same kind or not, so that no refresh token ever has two owners.
//!
//! A service cannot be moved by copying its rows: as long as two stores hold a token, a process on either may present it.
//! Here each row has one owner at every moment, decided by compare-and-swap in the source:
//!
//! 1. Each integration is put into the target, where nothing is served yet (`store_arriving`), and then marked in the source:
//!    within a second every process there serves and begins nothing any more (`store_moved`).
//! 2. Keys and counted calls are copied.
//! 3. Each connection is swapped in the source to a row that reads as ended and still holds everything; only then it is
//!    written to the target. A process on the source that is presenting its token is waited for, and one that slept finds
//!    that its lease cannot be taken. An unknown outcome is copied with its quarantine, on the target's clock.
//! 4. Both stores are listed and compared, and the integrations are opened in the target.
//!
//! No key is needed: sealed data is copied as it is. A copy that ended early, for instance by a crash, continues when it is
//! run again; it can be run once more at any later time, to take along token sets that came back late. Connect attempts are
//! not copied: they live for minutes, and their users begin again. It also works in the other direction.
//!
//! # What cannot be solved
//! - A backup of the source from before the copy is a second owner of every token: start no service on it.
//! - A process on the source that is suspended between its last check of the time and the request, for longer than a lease, may
//!   present a token that was copied. As on a single store, the quarantine protects against that.
//! - A token set that comes back after its connection was copied stays in the source until the copy is run once more. If the
//!   target presents the spent token before that, when its access token has ended, the grant is lost. Stop the service on
//!   the source before the copy and it cannot happen; health shows it as `came_after_copy`.
//! - Calls that a process on the source has reserved and not made, at most 256 for each integration, stay counted if the copy
//!   is done before they are given back, which takes two seconds.
//! - Processes on the source that do not know of copies read such rows as deleted, and would revoke a late set.

mod carry;
mod check;
mod connections;
mod error;
mod marks;
mod plan;
mod rest;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

pub use error::CopyError;

use crate::{
    engine::{
        directory::{Body, Role},
        pages,
    },
    error::Error,
    id::ConnectionId,
    store::Stores,
    time::{Clock, StoreInstant, SystemClock},
};

/// A copy of everything in one store to another one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use grantry::{copy::Copy, store::MemoryStore};
///
/// let (old, new) = (MemoryStore::default(), MemoryStore::default());
/// let report = Copy::new(old, new)
///     .run(|progress| println!("{} of {}", progress.done, progress.total))
///     .await?;
/// assert_eq!(report.connections, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Copy {
    from: Stores,
    to: Stores,
    clock: Arc<dyn Clock>,
    stop: Stop,
}

/// Stops a copy between two rows. Clones stop the same copy.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The copy ends with [`CopyError::Stopped`] once the rows that it is working on are done.
    pub fn now(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A step of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Integrations are closed in the source; keys and counted calls are copied.
    Settings,
    /// Connections are moved.
    Connections,
    /// Both stores are compared.
    Check,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settings => "settings",
            Self::Connections => "connections",
            Self::Check => "check",
        })
    }
}

/// The progress of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The present step.
    pub step: Step,
    /// Connections moved by this run or an earlier one, among those checked so far.
    pub done: u64,
    /// Connections in the source, approximately.
    pub total: u64,
    /// Connections that wait for a refresh in progress.
    pub waiting: u64,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Integrations.
    pub integrations: u64,
    /// API and public keys, and admin keys.
    pub keys: u64,
    /// Connections that live in the target because of this copy, those of earlier runs included.
    pub connections: u64,
    /// How many of those this run moved.
    pub moved: u64,
    /// How many this run copied with an unknown outcome of a refresh, and its quarantine.
    pub outcome_unknown: u64,
    /// Token sets that had come back to the source after their connection was copied, and were taken along by this run.
    pub late: u64,
    /// Connections whose rows cannot be read. They were left in the source, where they are of no use either.
    pub unreadable: Vec<ConnectionId>,
}

impl Copy {
    /// A copy from one store to another. Nothing is done before [`Copy::run`].
    pub fn new(from: impl Into<Stores>, to: impl Into<Stores>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            clock: Arc::new(SystemClock),
            stop: Stop::default(),
        }
    }

    /// Reads this clock instead of the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A handle that stops the copy between two rows.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Copies everything, and reports progress several times a second while connections are moved.
    ///
    /// # Errors
    /// [`CopyError`] says what is wrong. Nothing was done if it is [`CopyError::SameStore`], [`CopyError::TargetNotEmpty`],
    /// [`CopyError::OtherTarget`], [`CopyError::Unfinished`] or [`CopyError::Unreadable`]. After any other error the copy
    /// continues when it is run again.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash: run the copy again.
    pub async fn run(&self, mut progress: impl FnMut(Progress) + Send) -> Result<Report, CopyError> {
        let source = pages::integrations(&*self.from.integrations)
            .await
            .map_err(CopyError::source)?;
        let target = pages::integrations(&*self.to.integrations)
            .await
            .map_err(CopyError::target)?;
        let plan = plan::plan(&source, &target)?;
        if target.is_empty() && !source.is_empty() {
            let rows = self.to.connections.connections_by_key().await;
            if rows
                .map_err(CopyError::target)?
                .iter()
                .any(|(_, count)| *count > 0)
            {
                return Err(CopyError::TargetNotEmpty);
            }
        }
        let copy = match plan.copy {
            Some(copy) => copy,
            None => crate::random::id().map_err(|_| CopyError::NoRandomness)?,
        };
        let rows = self.from.connections.connections_by_key().await;
        let run = Run {
            from: &self.from,
            to: &self.to,
            clock: &*self.clock,
            stop: &self.stop,
            copy,
            first_seen: Mutex::default(),
            failed: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            done: AtomicU64::new(0),
            total: rows
                .map_err(CopyError::source)?
                .iter()
                .map(|(_, count)| *count)
                .sum(),
        };
        progress(run.progress(Step::Settings, 0));
        run.remove_left_over(&plan.left_over).await?;
        let mut copied = Vec::new();
        for stored in &source {
            run.go_on()?;
            if let Some(opened) = run.mark(&stored.row.id).await? {
                copied.push((stored.row.id.clone(), opened));
            }
        }
        let mut report = Report {
            integrations: count(copied.len()),
            ..Report::default()
        };
        run.copy_rest(&copied).await?;
        run.move_connections(&copied, &mut report, &mut progress).await?;
        progress(run.progress(Step::Check, report.connections));
        // Calls that were in flight when the integrations were marked have been counted by now.
        report.keys = run.copy_rest(&copied).await?;
        run.check(&copied, &report).await?;
        for (integration, opened) in &copied {
            if !opened {
                run.open(integration).await?;
            }
        }
        Ok(report)
    }
}

/// Whether a store was copied to another one, which is the one to use: at least one integration was, and all that can be
/// read were.
///
/// # Errors
/// Those of the store.
pub async fn is_migrated(stores: &Stores) -> Result<bool, Error> {
    let rows = pages::integrations(&*stores.integrations).await?;
    let mut bodies = rows
        .iter()
        .filter_map(|stored| Body::decode(stored).ok())
        .peekable();
    let any = bodies.peek().is_some();
    Ok(any && bodies.all(|body| body.mark.is_some_and(|mark| mark.role == Role::Moved)))
}

/// One run of a copy.
struct Run<'a> {
    from: &'a Stores,
    to: &'a Stores,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    /// Recorded in the marks of both stores.
    copy: u128,
    /// The first moment that this run saw of each clock of the source; a store that is made of parts has several.
    first_seen: Mutex<BTreeMap<u64, StoreInstant>>,
    /// A row could not be moved: no further one is started.
    failed: AtomicBool,
    waiting: AtomicU64,
    done: AtomicU64,
    total: u64,
}

impl Run<'_> {
    fn go_on(&self) -> Result<(), CopyError> {
        if self.stop.0.load(Ordering::Acquire) || self.failed.load(Ordering::Acquire) {
            return Err(CopyError::Stopped);
        }
        Ok(())
    }

    /// `done` never goes back, though rows are looked at more than once.
    fn progress(&self, step: Step, done: u64) -> Progress {
        let done = self.done.fetch_max(done, Ordering::Relaxed).max(done);
        Progress {
            step,
            done,
            total: self.total.max(done),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
