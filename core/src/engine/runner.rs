//! Runs a machine: executes its commands and feeds back the results. It decides nothing.

use std::future::Future;

use super::protocol::{Machine, Moment, Policy, Step, machine::Wait, schedule};
use crate::{random, time::Clock};

/// Carries out the commands of a machine.
pub(crate) trait Execute<M: Machine> {
    /// Executes one command, and returns the resulting event.
    fn execute(&mut self, command: M::Command) -> impl Future<Output = M::Event> + Send;

    /// Takes note of something: effects in memory, events and metrics.
    fn note(&mut self, notice: M::Notice);
}

/// Runs `machine` to its end.
///
/// # Cancel safety
/// Not cancel safe: it runs in a task of its own. If that is killed, the row tells what may have happened.
pub(crate) async fn run<M: Machine>(
    mut machine: M,
    executor: &mut impl Execute<M>,
    clock: &dyn Clock,
    policy: &Policy,
) -> M::Outcome {
    loop {
        let command = match machine.step() {
            Step::Do(command) => command,
            Step::Done(outcome) => return outcome,
        };
        let event = executor.execute(command).await;
        for notice in machine.on(event, moment(clock), policy) {
            executor.note(notice);
        }
    }
}

/// Both clocks, now.
pub(crate) fn moment(clock: &dyn Clock) -> Moment {
    Moment {
        boot: clock.boot(),
        wall: clock.wall(),
    }
}

/// Sleeps for as long as a machine asks, with some jitter.
pub(crate) async fn sleep(wait: Wait) {
    let span = match wait {
        Wait::Poll(round) => schedule::poll(round.0, random::jitter()),
        Wait::StoreRetry(round) => schedule::store_retry(round.0, random::jitter()),
    };
    tokio::time::sleep(span).await;
}
