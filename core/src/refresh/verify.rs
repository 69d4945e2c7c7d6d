//! Carries out what a [`Verify`] asks for.

use std::sync::Arc;

use super::{
    cache::Entry,
    hand::Hand,
    present::access_life,
    protocol::{
        self, Policy,
        verify::{Command, Event, Notice, Outcome},
    },
    run::{Execute, run},
    single_flight,
};
use crate::{
    connection::Reason,
    engine::Engine,
    error::{Code, Error},
    id::ConnectionId,
    integrations::Loaded,
    provider::{AccessLife, Expiry},
    time::BootInstant,
};

/// Tries the set of `entry`, whose access token ends by itself at `ends`. Answers the entry that is good, as far as is known.
pub(super) async fn verify(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    id: &ConnectionId,
    entry: Arc<Entry>,
    ends: BootInstant,
) -> single_flight::Outcome {
    let machine = protocol::Verify::new(entry.name(), ends);
    let mut executor = Executor {
        engine,
        integration,
        hand: Hand::empty(engine, id),
        entry,
        refusal: None,
    };
    match run(machine, &mut executor, &*engine.clock, policy).await {
        Outcome::Good => Ok(executor.entry),
        Outcome::Dead => Err(Error::new(Code::ConnectionExpired).because(Reason::OutcomeUnknown.as_str())),
        Outcome::NotFound => Err(Code::ConnectionNotFound.into()),
        Outcome::StoreFailed => Err(executor.hand.failure()),
        Outcome::Refused => Err(executor.refusal.unwrap_or_else(|| executor.hand.failure())),
        Outcome::Broken => Err(Error::new(Code::Internal).because("refresh")),
    }
}

/// When the access token of a set ends, by the present wall clock.
pub(super) fn ends_by_the_clock(engine: &Engine, entry: &Entry) -> BootInstant {
    engine.clock.boot() + engine.clock.wall().until(entry.expiry.at())
}

struct Executor<'a> {
    engine: &'a Arc<Engine>,
    integration: &'a Arc<Loaded>,
    hand: Hand,
    /// The set that is tried.
    entry: Arc<Entry>,
    refusal: Option<Error>,
}

impl Execute<protocol::Verify> for Executor<'_> {
    async fn execute(&mut self, command: Command) -> Event {
        match command {
            Command::Try => Event::Tried {
                dead: self.access_life().await == Some(AccessLife::Dead),
            },
            Command::Read => Event::Read(self.hand.read().await),
            Command::Swap(write) => Event::Written(self.hand.swap(write).await),
            Command::Load => self.load().await,
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::TriedIsDead => self.entry.refuse(),
            Notice::Expired(reason) => self.engine.expired(&self.integration.id, &self.hand.id, reason),
        }
    }
}

impl Executor<'_> {
    async fn access_life(&self) -> Option<AccessLife> {
        let credentials = &self.entry.credentials;
        access_life(
            self.engine,
            self.integration,
            credentials.access_token.duplicate(),
            credentials.instance_url.clone(),
            Expiry::Assumed(self.entry.expiry.at()),
        )
        .await
    }

    async fn load(&mut self) -> Event {
        let loaded = match self.hand.held() {
            Ok(held) => Box::pin(self.engine.load(held, self.integration, None)).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(entry) => {
                self.entry = entry;
                Event::Loaded {
                    name: self.entry.name(),
                    ends: ends_by_the_clock(self.engine, &self.entry),
                }
            }
            Err(error) => {
                self.refusal = Some(error);
                Event::Refused
            }
        }
    }
}
