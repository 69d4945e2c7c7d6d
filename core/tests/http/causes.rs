//! Why a store failed is told to the log and to nobody else.

use std::{
    io,
    sync::{Arc, Mutex},
};

use grantry::{
    async_trait,
    id::IntegrationId,
    store::{
        Charged, DayCount, PendingRow, PendingStore, Put, StoreError, StoreErrorKind, Taken, UsageKey,
        UsageStore,
    },
    time::Timestamp,
};

use crate::world::{Setup, World};

/// What the system says, and no caller may read.
const WORDS: &str = "No space left on device, says the system";

/// Two roles on a disk that is full.
#[derive(Debug)]
struct FullDisk;

fn full<T>(operation: &'static str) -> Result<T, StoreError> {
    let cause = io::Error::other(io::Error::other(WORDS));
    Err(StoreError::new(StoreErrorKind::Unavailable, operation, cause))
}

#[async_trait]
impl PendingStore for FullDisk {
    async fn put_pending(&self, _: &PendingRow) -> Result<Put, StoreError> {
        full("put_pending")
    }

    async fn take_pending(&self, _: &[u8; 32], _: &[u8; 32], _: Timestamp) -> Result<Taken, StoreError> {
        full("take_pending")
    }

    async fn purge_pending(&self, _: Timestamp, _: u32) -> Result<u32, StoreError> {
        full("purge_pending")
    }
}

#[async_trait]
impl UsageStore for FullDisk {
    async fn charge_usage(&self, _: &UsageKey, _: u64, _: Option<u64>) -> Result<Charged, StoreError> {
        full("charge_usage")
    }

    async fn refund_usage(&self, _: &UsageKey, _: u64) -> Result<(), StoreError> {
        full("refund_usage")
    }

    async fn usage_days(&self, _: &IntegrationId, _: u32) -> Result<Vec<DayCount>, StoreError> {
        full("usage_days")
    }

    async fn purge_usage(&self, _: u32) -> Result<(), StoreError> {
        full("purge_usage")
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[tokio::test]
async fn a_full_disk_is_in_the_log_and_in_no_answer() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let world = World::with(Setup {
        roles: |stores| {
            stores.pending = Arc::new(FullDisk);
            stores.usage = Arc::new(FullDisk);
        },
        ..Setup::default()
    })
    .await;
    let usage = world.api("GET", "/api/v1/usage");
    let connect = format!("/connect/{}?public_key={}", world.integration, world.public_key);
    for (ask, operation) in [
        (usage, "usage_days"),
        (world.bare("GET", &connect), "put_pending"),
    ] {
        log.take();
        let got = ask.send().await;
        assert_eq!(
            (got.status.as_u16(), &*got.code()),
            (503, "store_unavailable"),
            "{}",
            got.text()
        );
        let shown = format!("{} {:?}", got.text(), got.headers);
        assert!(
            !shown.contains("space") && !shown.contains("Unavailable"),
            "{shown}"
        );
        let log = log.take();
        let line = log
            .lines()
            .find(|line| line.contains("a request failed"))
            .unwrap();
        assert!(
            line.contains("store_unavailable") && line.contains(operation) && line.contains(WORDS),
            "{line}"
        );
    }
}
