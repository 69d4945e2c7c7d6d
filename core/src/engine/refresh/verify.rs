//! Carries out what a [`Verify`](protocol::Verify) asks for.

use std::sync::Arc;

use super::{context::Context, load::load, single_flight};
use crate::{
    connection::{GrantVersion, Reason},
    engine::{
        cache::Entry,
        directory::Loaded,
        ledger::Hand,
        protocol::{
            self, Policy,
            verify::{Command, Event, Notice, Outcome},
        },
        runner::{self, Execute, run},
    },
    error::{Code, Error},
    id::ConnectionId,
    provider::{AccessLife, Expiry, TokenSet},
    time::BootInstant,
};

/// Tries the set of `entry`, whose access token ends by itself at `ends`. Answers the entry that is good, as far as is known.
pub(super) async fn verify(
    context: &Arc<Context>,
    integration: &Loaded,
    policy: &Policy,
    id: &ConnectionId,
    entry: Arc<Entry>,
    ends: BootInstant,
) -> single_flight::Outcome {
    let machine = protocol::Verify::new(entry.version(), ends);
    run_with(machine, context, integration, policy, id, entry).await
}

/// The set `spent`, of which `entry` was, is dead: tries the one that replaced it.
pub(super) async fn successor(
    context: &Arc<Context>,
    integration: &Loaded,
    policy: &Policy,
    id: &ConnectionId,
    entry: Arc<Entry>,
    spent: GrantVersion,
) -> single_flight::Outcome {
    let machine = protocol::Verify::successor(spent);
    run_with(machine, context, integration, policy, id, entry).await
}

async fn run_with(
    machine: protocol::Verify,
    context: &Arc<Context>,
    integration: &Loaded,
    policy: &Policy,
    id: &ConnectionId,
    entry: Arc<Entry>,
) -> single_flight::Outcome {
    let mut executor = Executor {
        context,
        integration,
        hand: Hand::empty(&context.ledger, id),
        entry,
        refusal: None,
    };
    match run(machine, &mut executor, &*context.clock, policy).await {
        Outcome::Good => Ok(executor.entry),
        Outcome::Dead => Err(Error::new(Code::ConnectionExpired).because(Reason::OutcomeUnknown.as_str())),
        Outcome::NotFound => Err(Code::ConnectionNotFound.into()),
        Outcome::Refused => Err(executor.refusal.unwrap_or_else(|| executor.hand.failure())),
        Outcome::Broken => Err(Error::new(Code::Internal).because("refresh")),
    }
}

/// Tries a set in a task of the broker's own: callers are served meanwhile, and one who goes away does not keep it from being
/// found out.
pub(super) fn verify_behind(
    context: &Arc<Context>,
    integration: &Arc<Loaded>,
    id: &ConnectionId,
    entry: &Arc<Entry>,
) {
    let (context, integration) = (context.clone(), integration.clone());
    let (id, entry) = (id.clone(), entry.clone());
    let ends = ends_by_the_clock(&context, &entry);
    context.clone().tasks.spawn(async move {
        let policy = context.policy(&integration);
        // Callers meet what comes of it by themselves.
        let _ = Box::pin(verify(&context, &integration, &policy, &id, entry, ends)).await;
    });
}

/// When the access token of a set ends, by the present wall clock.
pub(super) fn ends_by_the_clock(context: &Context, entry: &Entry) -> BootInstant {
    context.clock.boot() + context.clock.wall().until(entry.expiry.at())
}

struct Executor<'a> {
    context: &'a Arc<Context>,
    integration: &'a Loaded,
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
            Command::Confirm => Event::Confirmed(self.hand.confirm("expired").await),
            Command::Load => self.load().await,
            Command::Sleep(wait) => {
                runner::sleep(wait).await;
                Event::Woken
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::TriedIsDead => self.entry.refuse(),
            Notice::Expired(reason) => self.context.expired(&self.integration.id, &self.hand.id, reason),
        }
    }
}

impl Executor<'_> {
    async fn access_life(&self) -> Option<AccessLife> {
        let credentials = &self.entry.credentials;
        let set = TokenSet {
            access_token: credentials.access_token.duplicate(),
            refresh_token: None,
            instance_url: Some(credentials.instance_url.clone()),
            scopes: None,
            expiry: Expiry::Assumed(self.entry.expiry.at()),
            subject: None,
        };
        self.context
            .upstream
            .access_life(&self.integration.target(), &set)
            .await
    }

    /// A set that is doubtful by itself is tried next, anyway.
    async fn load(&mut self) -> Event {
        let loaded = match self.hand.held() {
            Ok(found) => load(self.context, found, self.integration, None).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(served) => {
                self.entry = served.entry;
                Event::Loaded {
                    version: self.entry.version(),
                    ends: ends_by_the_clock(self.context, &self.entry),
                }
            }
            Err(error) => {
                let retryable = error.is_retryable();
                self.refusal = Some(error);
                Event::Refused { retryable }
            }
        }
    }
}
