//! Signals of an operating system to a process, for a broker in a simulation.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Killed,
}

/// Stops, continues and kills everything that a broker runs, as `SIGSTOP`, `SIGCONT` and `SIGKILL` do to a process. Clones
/// are one process. Its tasks receive a signal in the order in which they waited, so that a run replays.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Default for Signals {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::Running),
            changed: Notify::new(),
        }))
    }
}

impl Signals {
    /// Nothing runs until [`Signals::cont`]; time passes meanwhile.
    pub fn stop(&self) {
        self.set(State::Stopped);
    }

    /// Everything continues.
    pub fn cont(&self) {
        self.set(State::Running);
    }

    /// Everything ends where it is, for good.
    pub fn kill(&self) {
        self.set(State::Killed);
    }

    /// Whether it was killed.
    pub fn is_killed(&self) -> bool {
        self.state() == State::Killed
    }

    /// Runs `task` as a part of the process; `None` if the process is killed first.
    ///
    /// # Cancel safety
    /// Dropping the future drops `task`.
    pub async fn run<T>(self, task: impl Future<Output = T>) -> Option<T> {
        let mut task = pin!(task);
        loop {
            let changed = pin!(self.0.changed.notified());
            match self.state() {
                State::Killed => return None,
                State::Stopped => changed.await,
                State::Running => match select(changed, task.as_mut()).await {
                    Either::Left(((), _)) => {}
                    Either::Right((output, _)) => return Some(output),
                },
            }
        }
    }

    fn state(&self) -> State {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        {
            let mut now = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            if *now == State::Killed || *now == state {
                return;
            }
            *now = state;
        }
        self.0.changed.notify_waiters();
    }
}
