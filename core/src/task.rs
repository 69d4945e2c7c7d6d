//! The broker's own tasks. Work that must not stop when a caller goes away runs here, and shutdown waits for it.

use std::{future::Future, time::Duration};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns tasks and drains them.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Work that shutdown waits for.
    work: TaskTracker,
    /// Loops that shutdown ends.
    stop: CancellationToken,
    runtime: Handle,
}

impl Tasks {
    /// Tasks run on the current runtime. `None` outside of one.
    pub(crate) fn on_current_runtime() -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        Some(Self {
            work: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime,
        })
    }

    /// Runs `work` to its end, whatever becomes of the caller.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.work.spawn_on(work, &self.runtime);
    }

    /// Runs `work` to its end and hands its result back. `None` if it panicked.
    ///
    /// # Cancel safety
    /// Dropping the returned future leaves the work running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.work.spawn_on(work, &self.runtime).await.ok()
    }

    /// Runs `work` until shutdown.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.work.spawn_on(
            async move {
                stop.run_until_cancelled(work).await;
            },
            &self.runtime,
        );
    }

    /// Waits for `span`, or until shutdown begins.
    pub(crate) async fn pause(&self, span: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(span)).await;
    }

    /// Whether shutdown has begun.
    pub(crate) fn closing(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends the loops and waits for the work; `false` if `deadline` passed first.
    pub(crate) async fn close(&self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.work.close();
        tokio::time::timeout(deadline, self.work.wait()).await.is_ok()
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
