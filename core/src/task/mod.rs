//! The broker's own tasks: work that must continue when its caller is dropped. Shutdown waits for it.

#[cfg(feature = "simulation")]
mod signals;

use std::{future::Future, time::Duration};

#[cfg(feature = "simulation")]
pub use signals::Signals;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns tasks and drains them.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Work that shutdown waits for.
    work: TaskTracker,
    /// Loops that shutdown ends.
    stop: CancellationToken,
    runtime: Handle,
    #[cfg(feature = "simulation")]
    signals: Signals,
}

impl Tasks {
    /// Tasks run on the current runtime. `None` outside of one.
    pub(crate) fn on_current_runtime() -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        Some(Self {
            work: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime,
            #[cfg(feature = "simulation")]
            signals: Signals::default(),
        })
    }

    /// Tasks are a part of the process that `signals` are sent to.
    #[cfg(feature = "simulation")]
    pub(crate) fn under(mut self, signals: Signals) -> Self {
        self.signals = signals;
        self
    }

    fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        #[cfg(feature = "simulation")]
        let work = self.signals.clone().run(work);
        #[cfg(not(feature = "simulation"))]
        let work = async move { Some(work.await) };
        self.work.spawn_on(work, &self.runtime)
    }

    /// Runs `work` to its end, even if the caller is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.start(work));
    }

    /// Runs `work` to its end and returns its result. `None` if it panicked.
    ///
    /// # Cancel safety
    /// Dropping the returned future leaves the work running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.start(work).await.ok().flatten()
    }

    /// Runs `work` until shutdown.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        drop(self.start(async move {
            stop.run_until_cancelled(work).await;
        }));
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
