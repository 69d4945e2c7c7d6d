//! The only writer of a store: a thread that owns the writing connection and commits queued jobs in groups.
//!
//! - A job runs inside a transaction, which decides its outcome. Its caller learns it after the commit.
//! - If the commit fails, every job of the group gets an error: its outcome is unknown.
//! - A job that fails rolls back the group, and the other jobs run again one by one. So the usual case, without
//!   failures, pays for no savepoints.
//! - A queued job runs, whether or not its caller still waits.
//! - The commit of durable jobs is synced to disk. A group of relaxed jobs is not, so that a power failure may undo
//!   it, but nothing less can.

use std::{path::PathBuf, thread, time::Duration};

use grantry::store::{StoreError, StoreErrorKind};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{OpenError, kind, store_error},
    file, schema,
};

/// The length of the queue; beyond that, callers wait.
const QUEUE: usize = 1024;
/// The most jobs in one transaction.
const GROUP: usize = 256;
/// A write-ahead log larger than this is checkpointed and truncated when the writer is idle.
const LARGE_LOG: u64 = 16 << 20;

/// What a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Durability {
    /// A crash of the process.
    Relaxed,
    /// A power failure.
    Full,
}

/// A handle to the writer's thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job(_) => "Job",
            Self::Close(_) => "Close",
        })
    }
}

impl Writer {
    /// Opens the file in a thread of its own, migrates its schema and becomes its writer.
    pub(crate) async fn start(path: PathBuf, busy: Duration) -> Result<Self, OpenError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (ready, opened) = oneshot::channel();
        let unavailable = |detail: &str| OpenError::Unavailable {
            path: path.clone(),
            detail: detail.to_owned(),
        };
        let of_thread = path.clone();
        thread::Builder::new()
            .name("grantry-sqlite".to_owned())
            .spawn(move || match schema::open(&of_thread, busy) {
                Ok(db) => {
                    if ready.send(Ok(())).is_ok() {
                        Thread::new(of_thread, busy, db).run(jobs);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            })
            .map_err(|_| unavailable("no thread could be started"))?;
        opened
            .await
            .unwrap_or_else(|_| Err(unavailable("the writer ended")))?;
        Ok(Self { queue })
    }

    /// Runs `work` in a transaction and returns its result once that is committed. `work` may run more than once; all
    /// runs but the last were rolled back.
    ///
    /// # Cancel safety
    /// A queued job runs to completion. Before it is queued, dropping the future leaves no trace.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::bare(StoreErrorKind::Unavailable, operation);
        let (reply, answer) = oneshot::channel();
        let job = Task {
            operation,
            durability,
            work,
            result: None,
            reply,
        };
        self.queue
            .send(Message::Job(Box::new(job)))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Lets the writer finish what is queued, close the file and end.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

trait Job: Send {
    fn durability(&self) -> Durability;
    /// Runs the job and keeps its result.
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    /// Gives the caller the result, or the failure of the commit.
    fn answer(self: Box<Self>, committed: Result<(), &rusqlite::Error>);
}

struct Task<T, W> {
    operation: &'static str,
    durability: Durability,
    work: W,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.result = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), &rusqlite::Error>) {
        let result = match committed {
            Ok(()) => self
                .result
                .ok_or_else(|| StoreError::bare(StoreErrorKind::Unavailable, self.operation)),
            Err(error) => Err(store_error(self.operation, error)),
        };
        // The caller may be gone; the job was done all the same.
        let _ = self.reply.send(result);
    }
}

/// Where a group failed.
enum Failed {
    /// In one of its jobs. All of them are rolled back.
    Job(rusqlite::Error),
    /// When its transaction began or committed.
    Group(rusqlite::Error),
}

impl Failed {
    fn error(&self) -> &rusqlite::Error {
        match self {
            Self::Job(error) | Self::Group(error) => error,
        }
    }
}

struct Thread {
    path: PathBuf,
    log: PathBuf,
    busy: Duration,
    /// `None` after a failure that leaves the connection's state in doubt: it is reopened.
    db: Option<Connection>,
    durability: Durability,
}

impl Thread {
    fn new(path: PathBuf, busy: Duration, db: Connection) -> Self {
        Self {
            log: file::log(&path),
            path,
            busy,
            db: Some(db),
            durability: Durability::Full,
        }
    }

    fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut closing = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Job(job) => group.push(job),
                    Message::Close(done) => {
                        queue.close();
                        closing.push(done);
                    }
                }
                next = (group.len() < GROUP).then(|| queue.try_recv().ok()).flatten();
            }
            self.commit(group);
            if queue.is_empty() {
                self.shrink_log();
            }
        }
        drop(self.db);
        for done in closing {
            let _ = done.send(());
        }
    }

    fn commit(&mut self, mut group: Vec<Box<dyn Job>>) {
        match self.try_commit(&mut group) {
            Err(Failed::Job(_)) if group.len() > 1 => {
                for job in group {
                    self.commit(vec![job]);
                }
            }
            outcome => {
                let committed = outcome.as_ref().map_err(Failed::error).copied();
                for job in group {
                    job.answer(committed);
                }
            }
        }
    }

    fn try_commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let Some(durability) = group.iter().map(|job| job.durability()).max() else {
            return Ok(());
        };
        let db = self.db(durability).map_err(Failed::Group)?;
        let outcome = in_transaction(db, group);
        if let Err(error) = outcome.as_ref().map_err(Failed::error)
            && kind(error) == StoreErrorKind::Unavailable
            && error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy)
        {
            self.db = None;
        }
        outcome
    }

    /// The connection, set to this durability.
    fn db(&mut self, durability: Durability) -> rusqlite::Result<&mut Connection> {
        let db = if let Some(db) = self.db.take() {
            db
        } else {
            self.durability = Durability::Full;
            schema::connect(&self.path, self.busy)?
        };
        let db = self.db.insert(db);
        if self.durability != durability {
            db.execute_batch(match durability {
                Durability::Relaxed => "PRAGMA synchronous = NORMAL",
                Durability::Full => "PRAGMA synchronous = FULL",
            })?;
            self.durability = durability;
        }
        Ok(db)
    }

    /// A failure here does not matter: the checkpoint is tried again, and until then the log is merely large.
    fn shrink_log(&mut self) {
        let size = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if size > LARGE_LOG
            && let Some(db) = &self.db
        {
            // Readers in the way must not delay the writer.
            let _ = db.busy_timeout(Duration::ZERO);
            let _ = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = db.busy_timeout(self.busy);
        }
    }
}

fn in_transaction(db: &mut Connection, group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Failed::Group)?;
    for job in group {
        job.run(&transaction).map_err(Failed::Job)?;
    }
    transaction.commit().map_err(Failed::Group)
}

#[cfg(test)]
mod tests;
