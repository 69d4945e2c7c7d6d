//! What the tests have in common.

mod browser;
mod host;
mod world;

use std::{future::Future, time::Duration};

pub(crate) use browser::{Browser, Page, Person};
pub(crate) use host::{ADMIN_KEY, Answer, Host, Launch, command, ended_with, signal};
pub(crate) use world::{APP, Integration, World, parameter};

/// Longer than anything here takes on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let Ok(answer) = tokio::time::timeout(DEADLINE, asking).await else {
        panic!("never happened: {what}");
    };
    answer
}

/// Does something that blocks, such as starting servers, while everything else in the test goes on.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
