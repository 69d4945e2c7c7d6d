//! What an operating system does to a process, done to a broker in a simulation.

use std::{future::Future, pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Killed,
}

/// Stops, continues and kills everything that a broker runs, as `SIGSTOP`, `SIGCONT` and `SIGKILL` do to a process.
/// Clones are one process.
#[derive(Clone, Debug)]
pub struct Signals(Arc<watch::Sender<State>>);

impl Default for Signals {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Running)))
    }
}

impl Signals {
    /// Nothing runs until [`Signals::cont`]; time passes meanwhile.
    pub fn stop(&self) {
        self.set(State::Stopped);
    }

    /// Everything goes on.
    pub fn cont(&self) {
        self.set(State::Running);
    }

    /// Everything ends where it stands, for ever.
    pub fn kill(&self) {
        self.set(State::Killed);
    }

    /// Whether it was killed.
    pub fn is_killed(&self) -> bool {
        *self.0.borrow() == State::Killed
    }

    /// Runs `task` as a part of the process; `None` if the process is killed first.
    ///
    /// # Cancel safety
    /// Dropping the future drops `task`.
    pub async fn run<T>(self, task: impl Future<Output = T>) -> Option<T> {
        let mut states = self.0.subscribe();
        let mut task = pin!(task);
        loop {
            let state = *states.borrow_and_update();
            match state {
                State::Killed => return None,
                State::Stopped => states.changed().await.ok()?,
                State::Running => match select(pin!(states.changed()), task.as_mut()).await {
                    Either::Left((changed, _)) => changed.ok()?,
                    Either::Right((output, _)) => return Some(output),
                },
            }
        }
    }

    fn set(&self, state: State) {
        self.0.send_if_modified(|now| {
            let changes = *now != State::Killed && *now != state;
            if changes {
                *now = state;
            }
            changes
        });
    }
}
