//! The connection to the server: one for all calls, made when it is needed and made again when it was lost.
//!
//! Calls never wait for more than the time limit, whatever the server does. A call that got no answer fails, which means
//! that nobody knows what became of it, and the next one begins with a new connection. While the server cannot be
//! reached one call at a time tries, and after a failure there is a pause in which all fail at once: the pauses grow, and
//! differ from process to process, so that a server that comes back is not stormed.

use std::{
    fmt,
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};

use crate::{clock, error::Failure};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection, and the clock that is read over it.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) era: u64,
    number: u64,
}

pub(crate) struct Link {
    client: Client,
    limit: Duration,
    current: Mutex<Option<Session>>,
    /// Held while a connection is made.
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    made: u64,
    /// The last pause and its end.
    pause: Option<(Duration, BootInstant)>,
}

impl Link {
    pub(crate) fn new(client: Client, limit: Duration) -> Self {
        Self {
            client,
            limit,
            current: Mutex::default(),
            attempts: tokio::sync::Mutex::default(),
        }
    }

    /// Makes a call once.
    pub(crate) async fn once<T, F>(&self, call: impl FnOnce(Session) -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let used = AtomicU64::new(0);
        self.limited(&used, self.attempt(&used, call)).await
    }

    /// Makes a call that may be made twice: once more if the connection was cut, which happens to those that rest for
    /// long. `sure` says which results of the second call leave no doubt of the first.
    pub(crate) async fn again<T, F>(
        &self,
        call: impl Fn(Session) -> F + Send + Sync,
        sure: impl Fn(&T) -> bool + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let used = AtomicU64::new(0);
        let calls = async {
            match self.attempt(&used, &call).await {
                Err(failure) if failure.is_cut() => match self.attempt(&used, &call).await {
                    Ok(result) if sure(&result) => Ok(result),
                    _ => Err(failure),
                },
                first => first,
            }
        };
        self.limited(&used, calls).await
    }

    async fn limited<T>(
        &self,
        used: &AtomicU64,
        calls: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.limit, calls).await.unwrap_or_else(|_| {
            self.give_up(used.load(Ordering::Relaxed));
            Err(Failure::TIMEOUT)
        })
    }

    async fn attempt<T, F>(&self, used: &AtomicU64, call: impl FnOnce(Session) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let session = self.session().await?;
        let number = session.number;
        used.store(number, Ordering::Relaxed);
        call(session).await.map_err(|error| {
            let failure = Failure::of(&error);
            if failure.ends_connection() {
                self.give_up(number);
            }
            failure
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
        let made = self.connect(attempts.made).await;
        match &made {
            Ok(session) => {
                attempts.pause = None;
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
            }
            Err(_) => attempts.pause = Some((pause, SystemClock.boot() + spread(pause))),
        }
        made
    }

    async fn connect(&self, number: u64) -> Result<Session, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let made = async {
            let mut connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            // A server that forbids the question is taken for one that never changes.
            let info: RedisResult<String> = redis::cmd("INFO")
                .arg("server")
                .query_async(&mut connection)
                .await;
            let run = match &info {
                Ok(info) => info.lines().find_map(|line| line.strip_prefix("run_id:")),
                Err(error) if Failure::of(error).ends_connection() => return Err(error.clone()),
                Err(_) => None,
            };
            let era = clock::era(run);
            Ok(Session {
                connection,
                era,
                number,
            })
        };
        match tokio::time::timeout(self.limit, made).await {
            Ok(made) => made.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::TIMEOUT),
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

/// Between half of the pause and the whole.
fn spread(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness all pauses are short; it guards nothing.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause / 512 * u32::from(random[0])
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
