//! The connection to one server: shared by all calls, opened on demand and reopened once it is lost.
//!
//! A call without a reply fails with an unknown outcome, and the next one starts with a new connection. While the
//! server cannot be reached, one call at a time tries to connect, and after a failure every call fails at once for a
//! while: exponential backoff with jitter, so that a server that comes back is not stormed.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::{
    AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection, sentinel::SentinelClient,
};

use crate::{
    error::{Failure, Trouble},
    run::{Run, SeenReplicas, Told},
    session::Session,
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How the server is found.
pub(crate) enum Route {
    Server(Box<Client>),
    /// Through Sentinels, which name the primary anew for each connection.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
}

pub(crate) struct Node {
    route: Route,
    limit: Duration,
    seen: SeenReplicas,
    current: Mutex<Option<Session>>,
    /// Locked while a connection is made.
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    made: u64,
    /// The last backoff, and when it ends.
    pause: Option<(Duration, BootInstant)>,
    /// The server run that was connected to last.
    run: Option<Arc<Run>>,
}

impl Node {
    pub(crate) fn new(route: Route, limit: Duration, seen: SeenReplicas) -> Arc<Self> {
        Arc::new(Self {
            route,
            limit,
            seen,
            current: Mutex::default(),
            attempts: tokio::sync::Mutex::default(),
        })
    }

    /// Makes a call once. `used` records on which connection, in case the caller does not wait for the end.
    pub(crate) async fn attempt<T, F>(
        self: &Arc<Self>,
        used: &Used,
        asking: bool,
        call: impl FnOnce(Session) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let mut session = self.session().await?;
        session.asking = asking;
        let number = session.number;
        used.set(self, number);
        call(session).await.map_err(|error| {
            let trouble = Trouble::of(&error);
            if trouble.failure.ends_connection() {
                self.give_up(number);
            }
            trouble
        })
    }

    async fn session(&self) -> Result<Session, Failure> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let mut attempts = self.attempts.lock().await;
        // Another call may have connected meanwhile, or failed.
        if let Some(session) = self.current() {
            return Ok(session);
        }
        if let Some((_, end)) = attempts.pause
            && SystemClock.boot() < end
        {
            return Err(Failure::BACKING_OFF);
        }
        attempts.made += 1;
        // Counted as a failure up front, since the caller may leave before the outcome is known.
        let last = attempts.pause.take().map_or(FIRST_PAUSE / 2, |(pause, _)| pause);
        let pause = (last * 2).min(LONGEST_PAUSE);
        attempts.pause = Some((pause, SystemClock.boot() + jitter(pause)));
        let made = tokio::time::timeout(self.limit, self.connect(attempts.run.as_ref())).await;
        match made {
            Ok(Ok((connection, run))) => {
                attempts.pause = None;
                attempts.run = Some(run.clone());
                let session = Session {
                    connection,
                    run,
                    number: attempts.made,
                    asking: false,
                };
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
                Ok(session)
            }
            failed => {
                attempts.pause = Some((pause, SystemClock.boot() + jitter(pause)));
                Err(match failed {
                    Ok(Err(error)) => Failure::of(&error),
                    _ => Failure::TIMEOUT,
                })
            }
        }
    }

    async fn connect(&self, last: Option<&Arc<Run>>) -> RedisResult<(MultiplexedConnection, Arc<Run>)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let client = self.client().await?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let address = client.get_connection_info().addr().to_string();
        let told = Told::by(&mut connection).await?;
        match last {
            // What was learned about this run still holds.
            Some(last) if last.clock_id == told.clock_id(&address) => {
                last.learn(&told);
                Ok((connection, last.clone()))
            }
            _ => Ok((connection, Arc::new(Run::new(&told, &address, &self.seen)))),
        }
    }

    /// A client for the server, for a separate connection.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        match &self.route {
            Route::Server(client) => Ok((**client).clone()),
            Route::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await,
        }
    }

    fn current(&self) -> Option<Session> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn give_up(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|session| session.number == number) {
            *current = None;
        }
    }
}

/// The connection that a call uses.
#[derive(Default)]
pub(crate) struct Used(Mutex<Option<(Arc<Node>, u64)>>);

impl Used {
    fn set(&self, node: &Arc<Node>, number: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((node.clone(), number));
    }

    /// Gives up on a connection that did not reply in time: the next call opens a new one.
    pub(crate) fn give_up(&self) {
        if let Some((node, number)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            node.give_up(number);
        }
    }
}

/// Between half of the pause and all of it.
fn jitter(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness every pause is the shortest; nothing depends on it.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause / 512 * u32::from(random[0])
}
