use std::{
    future::Future,
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
};

use rusqlite::params;
use tempfile::TempDir;

use super::*;

struct Fixture {
    writer: Arc<Writer>,
    path: PathBuf,
    _directory: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = crate::file::prepare(&directory.path().join("store.db")).unwrap();
        let writer = Writer::start(path.clone(), Duration::from_secs(5)).await.unwrap();
        Self {
            writer: Arc::new(writer),
            path,
            _directory: directory,
        }
    }

    /// Writes usage of a month, which fails for month 13 and for what does not fit.
    async fn write(writer: Arc<Writer>, month: i64, filler: usize) -> Result<i64, StoreError> {
        let work = move |db: &Connection| {
            db.execute(
                "INSERT INTO usage VALUES (?1, ?2, ?3, 1)",
                params!["i".repeat(filler.max(1)), month, if month == 13 { 99 } else { 1 }],
            )?;
            Ok(month)
        };
        writer.run("test", Durability::Full, work).await
    }

    fn months(&self) -> Vec<i64> {
        let db = schema::connect(&self.path, Duration::ZERO).unwrap();
        let mut months = db.prepare("SELECT month FROM usage ORDER BY month").unwrap();
        let rows = months.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Holds the writer up in a job of its own until the returned channel is dropped.
    async fn hold(&self) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let mut begun = Some(begun);
        let writer = self.writer.clone();
        let holding = async move {
            let work = move |_: &Connection| {
                if let Some(begun) = begun.take() {
                    let _ = begun.send(());
                }
                let _ = held.recv();
                Ok(())
            };
            writer.run("hold", Durability::Relaxed, work).await
        };
        let mut holding = Box::pin(holding);
        poll_once(&mut holding);
        begins.await.unwrap();
        release
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn what_waits_is_committed_together() {
    let fixture = Fixture::new().await;
    let release = fixture.hold().await;
    let mut jobs: Vec<_> = (0..50)
        .map(|month| Box::pin(Fixture::write(fixture.writer.clone(), 100 + month, 1)))
        .collect();
    for job in &mut jobs {
        assert!(poll_once(job).is_none());
    }
    let path = fixture.path.clone();
    let look = move |_: &Connection| {
        let outside = schema::connect(&path, Duration::ZERO)?;
        outside.query_row("SELECT count(*) FROM usage", [], |row| row.get::<_, i64>(0))
    };
    let mut last = Box::pin(fixture.writer.run("look", Durability::Relaxed, look));
    assert!(poll_once(&mut last).is_none());
    drop(release);
    assert_eq!(last.await.unwrap(), 0, "nobody sees a part of a group");
    for job in jobs {
        job.await.unwrap();
    }
    assert_eq!(fixture.months().len(), 50);
}

#[tokio::test]
async fn a_job_that_fails_fails_alone() {
    let fixture = Fixture::new().await;
    let release = fixture.hold().await;
    let mut jobs: Vec<_> = [11, 13, 12]
        .into_iter()
        .map(|month| Box::pin(Fixture::write(fixture.writer.clone(), month, 1)))
        .collect();
    for job in &mut jobs {
        assert!(poll_once(job).is_none());
    }
    drop(release);
    let mut results = Vec::new();
    for job in jobs {
        results.push(job.await.map_err(|error| error.kind()));
    }
    assert_eq!(results, [Ok(11), Err(StoreErrorKind::Invalid), Ok(12)]);
    assert_eq!(fixture.months(), [11, 12]);
}

#[tokio::test]
async fn a_job_runs_without_its_caller() {
    let fixture = Fixture::new().await;
    let release = fixture.hold().await;
    let mut job = Box::pin(Fixture::write(fixture.writer.clone(), 11, 1));
    assert!(poll_once(&mut job).is_none());
    drop(job);
    let never_polled = Box::pin(Fixture::write(fixture.writer.clone(), 12, 1));
    drop(never_polled);
    drop(release);
    Fixture::write(fixture.writer.clone(), 14, 1).await.unwrap();
    assert_eq!(fixture.months(), [11, 14]);
}

#[tokio::test]
async fn a_full_disk_passes() {
    let fixture = Fixture::new().await;
    let limit = |db: &Connection| {
        let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        db.query_row(&format!("PRAGMA max_page_count = {}", pages + 2), [], |_| Ok(()))
    };
    fixture
        .writer
        .run("limit", Durability::Full, limit)
        .await
        .unwrap();
    let error = Fixture::write(fixture.writer.clone(), 11, 1 << 20)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(fixture.months(), [] as [i64; 0], "nothing of it is there");
    // The connection was opened anew, and with it the limit is gone, as if there was room again.
    Fixture::write(fixture.writer.clone(), 11, 1 << 20).await.unwrap();
    assert_eq!(fixture.months(), [11]);
}

#[tokio::test]
async fn a_closed_writer_finishes_what_is_queued_and_refuses_the_rest() {
    let fixture = Fixture::new().await;
    let release = fixture.hold().await;
    let mut queued = Box::pin(Fixture::write(fixture.writer.clone(), 11, 1));
    assert!(poll_once(&mut queued).is_none());
    let mut closing = Box::pin(fixture.writer.close());
    assert!(poll_once(&mut closing).is_none());
    drop(release);
    closing.await;
    queued.await.unwrap();
    let error = Fixture::write(fixture.writer.clone(), 12, 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(fixture.months(), [11]);
    fixture.writer.close().await;
}

#[tokio::test]
async fn a_large_log_is_cut() {
    let fixture = Fixture::new().await;
    let log = PathBuf::from(format!("{}-wal", fixture.path.display()));
    let write = |db: &Connection| {
        // Without folding it in at each commit the log only grows.
        db.execute_batch("PRAGMA cache_size = 100")?;
        db.execute(
            "INSERT INTO usage SELECT hex(randomblob(2000)), value, 1, 1 FROM (
                 WITH RECURSIVE n (value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n LIMIT 5000) SELECT value FROM n
             )",
            [],
        )
    };
    fixture
        .writer
        .run("large", Durability::Full, write)
        .await
        .unwrap();
    // The next answer comes after the writer was idle once.
    Fixture::write(fixture.writer.clone(), 100, 1).await.unwrap();
    fixture.writer.close().await;
    let size = std::fs::metadata(&log).map_or(0, |log| log.len());
    assert!(size < LARGE_LOG, "{size}");
    assert_eq!(fixture.months().len(), 5001);
}
