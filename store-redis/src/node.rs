//! The connection to one server: one for all calls, made when it is needed and made again when it was lost.
//!
//! A call that got no answer fails, which means that nobody knows what became of it, and the next one begins with a new
//! connection. While the server cannot be reached one call at a time tries, and after a failure there is a pause in which
//! all fail at once: the pauses grow, and differ from process to process, so that a server that comes back is not
//! stormed.

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
    /// The Sentinels say which one is the primary, each time that a connection is made.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
}

pub(crate) struct Node {
    route: Route,
    limit: Duration,
    seen: SeenReplicas,
    current: Mutex<Option<Session>>,
    /// Held while a connection is made.
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    made: u64,
    /// The last pause and its end.
    pause: Option<(Duration, BootInstant)>,
    /// The run of the server that was met last.
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

    /// Makes a call once; `used` tells on which connection, should the caller not wait for its end.
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
        // Somebody else may have made one meanwhile, or failed.
        if let Some(session) = self.current() {
            return Ok(session);
        }
        if let Some((_, end)) = attempts.pause
            && SystemClock.boot() < end
        {
            return Err(Failure::RESTING);
        }
        attempts.made += 1;
        // Counted as a failure first, since the caller may go away before it is known.
        let last = attempts.pause.take().map_or(FIRST_PAUSE / 2, |(pause, _)| pause);
        let pause = (last * 2).min(LONGEST_PAUSE);
        attempts.pause = Some((pause, SystemClock.boot() + spread(pause)));
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
                attempts.pause = Some((pause, SystemClock.boot() + spread(pause)));
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
            // What was seen of this run still counts.
            Some(last) if last.era == told.era(&address) => {
                last.learn(&told);
                Ok((connection, last.clone()))
            }
            _ => Ok((connection, Arc::new(Run::new(&told, &address, &self.seen)))),
        }
    }

    /// What reaches the server, for a connection besides.
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

/// Which connection a call uses.
#[derive(Default)]
pub(crate) struct Used(Mutex<Option<(Arc<Node>, u64)>>);

impl Used {
    fn set(&self, node: &Arc<Node>, number: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((node.clone(), number));
    }

    /// There was no answer in time: the next call makes a new one.
    pub(crate) fn give_up(&self) {
        if let Some((node, number)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            node.give_up(number);
        }
    }
}

/// Between half of the pause and the whole.
fn spread(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness all pauses are short; it guards nothing.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause / 512 * u32::from(random[0])
}
