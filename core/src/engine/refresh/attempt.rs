//! Carries out what an [`Attempt`] asks for.

use std::sync::Arc;

use super::{
    context::Context,
    load::{self, repair},
    verify::verify_behind,
};
use crate::{
    connection::Reason,
    engine::{
        cache::Entry,
        directory::{Cause, Loaded},
        ledger::{Hand, grant::Grant},
        protocol::{
            Attempt, Policy,
            attempt::{Answer, Command, Event, Life, Notice, Pass, Repaired},
            machine::Read,
        },
        runner::{self, Execute},
        upstream::{Received, breaker},
    },
    error::{Code, Error},
    event::What,
    provider::{AccessLife, Failure, TokenSet, Verdict},
    random,
    secret::fingerprint,
    transport::Unanswered,
};

/// What an attempt works with.
pub(super) struct Executor<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) integration: &'a Arc<Loaded>,
    pub(super) policy: &'a Policy,
    pub(super) cause: Cause,
    /// The set that is not good enough.
    pub(super) held: &'a Arc<Entry>,
    pub(super) hand: Hand,
    /// The opened tokens of the row in hand.
    pub(super) grant: Option<Grant>,
    pub(super) received: Option<Received>,
    /// Why a command was refused.
    pub(super) refusal: Option<Error>,
    /// Why the presentation got no answer.
    pub(super) unanswered: Unanswered,
}

impl Execute<Attempt> for Executor<'_> {
    async fn execute(&mut self, command: Command) -> Event {
        match command {
            Command::Read => {
                let read = self.hand.read().await;
                Event::Read(self.with_refusals(read))
            }
            Command::Peek => Event::Read(self.hand.peek().await),
            Command::Swap(write) => Event::Written(self.hand.swap(write).await),
            Command::Prepare { pass, host } => self.prepare(pass, host).await,
            Command::CheckClient => self.check_client(),
            Command::Open => self.open().await,
            Command::Confirm => Event::Confirmed(self.hand.confirm("turn").await),
            Command::Present { attempt } => Event::Answered(self.present(attempt).await),
            Command::Probe => Event::Probed(self.probe().await),
            Command::Repair => Event::Repaired(self.repair().await),
            Command::RevokeReceived => {
                if let Some(Received { set, .. }) = self.received.take() {
                    let token = set.refresh_token.as_ref().unwrap_or(&set.access_token);
                    // As far as that goes: no row holds it.
                    let _ = self
                        .context
                        .upstream
                        .revoke(&self.integration.target(), token)
                        .await;
                }
                Event::Revoked
            }
            Command::Sleep(wait) => {
                runner::sleep(wait).await;
                Event::Woken
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        let (id, integration) = (&self.hand.id, &self.integration.id);
        match notice {
            Notice::HeldIsDead => self.held.refuse(),
            Notice::Forget => self.context.cache.remove(id),
            Notice::OutcomeUnknown => {
                self.context
                    .journal
                    .emit(integration, Some(id), What::OutcomeUnknown);
                metrics::counter!("grantry_outcomes_unknown").increment(1);
            }
            Notice::Cooling(reason) => {
                self.context
                    .journal
                    .emit(integration, Some(id), What::Cooling(reason));
            }
            Notice::Expired(reason) => self.context.expired(integration, id, reason),
        }
    }
}

impl Executor<'_> {
    /// Adds what this process knows of refused access tokens.
    fn with_refusals(&self, read: Read) -> Read {
        let Read::Row(mut view) = read else { return read };
        let is_refused = |entry: &Entry| entry.version() == view.row.version && entry.is_refused();
        view.access.refused = is_refused(self.held)
            || self
                .context
                .cache
                .get(&self.hand.id)
                .is_some_and(|e| is_refused(&e));
        Read::Row(view)
    }

    async fn prepare(&mut self, pass: bool, host: bool) -> Event {
        match self.try_prepare(pass, host).await {
            Ok(pass) if self.grant.as_ref().is_some_and(|g| g.refresh_token.is_some()) => {
                Event::Prepared(pass)
            }
            Ok(_) => Event::NoRefreshToken {
                alive: self.held.alive(self.context.clock.wall()),
            },
            Err(error) => {
                self.refusal = Some(error);
                Event::Refused
            }
        }
    }

    async fn try_prepare(&mut self, pass: bool, host: bool) -> Result<Pass, Error> {
        let (context, integration) = (self.context, self.integration);
        let now = context.clock.boot();
        let mut granted = Pass::Free;
        if pass {
            granted = match integration.serving.client.pass(now).map_err(client_fault)? {
                breaker::Pass::Free => Pass::Free,
                breaker::Pass::Probe => Pass::Probe,
            };
        }
        integration.may_refresh(self.cause)?;
        if host && let Some((reason, wait)) = context.upstream.host(&integration.target()).breaker.open(now) {
            // One more request to a host that is down would only make the next quarantine longer.
            return Err(Error::new(Code::RefreshOutcomeUnknown)
                .because(reason.as_str())
                .retry_after(wait));
        }
        context.ledger.can_seal().await?;
        self.grant = Some(context.ledger.open(self.hand.record()?).await?);
        Ok(granted)
    }

    fn check_client(&mut self) -> Event {
        let fault = self.integration.serving.client.open(self.context.clock.boot());
        self.refusal = fault.map(client_fault).or(self.refusal.take());
        Event::Client {
            serves: fault.is_none(),
        }
    }

    async fn open(&mut self) -> Event {
        match self.opened().await {
            Ok(grant) => {
                self.grant = Some(grant);
                Event::Opened
            }
            Err(error) => {
                self.refusal = Some(error);
                Event::Refused
            }
        }
    }

    /// The tokens of the row in hand.
    async fn opened(&self) -> Result<Grant, Error> {
        self.context.ledger.open(self.hand.record()?).await
    }

    async fn present(&mut self, attempt: u32) -> Answer {
        let (Some(grant), Ok(record)) = (&self.grant, self.hand.record()) else {
            return Answer::NotSent;
        };
        let Some(refresh_token) = &grant.refresh_token else {
            return Answer::NotSent;
        };
        let (token, set) = (fingerprint(refresh_token.expose()), record.facts.row.version);
        tracing::info!(connection = %self.hand.id, %set, attempt, token, "presenting");
        let which = if attempt == 1 { "first" } else { "after_unknown" };
        metrics::counter!("grantry_presentations", "attempt" => which).increment(1);
        let (upstream, target) = (&self.context.upstream, self.integration.target());
        let presented = upstream
            .refresh(&target, refresh_token, self.policy.time_limit)
            .await;
        let same_user = |set: &TokenSet| {
            let known = &record.facts.subject;
            known.is_empty() || set.subject.as_ref().is_none_or(|subject| subject == known)
        };
        let presented = presented.map_err(|failed| {
            self.unanswered = failed.unanswered;
            failed.failure
        });
        let answer = match presented {
            Ok(received) => {
                let answer = if same_user(&received.set) {
                    Answer::Received
                } else {
                    Answer::IdentityChanged
                };
                self.received = Some(received);
                answer
            }
            Err(Failure::NotSent) => Answer::NotSent,
            Err(Failure::Unknown(reason)) => Answer::Unknown(reason),
            Err(Failure::Refused(refusal)) => match refusal.verdict {
                Verdict::GrantDead => Answer::GrantDead(refusal.reason),
                Verdict::InProgress => Answer::InProgress(refusal.reason),
                // Told before anything is written: a write may take a while, and nobody else should ask meanwhile.
                Verdict::ClientMisconfigured => {
                    self.refusal = Some(upstream.client_refused(&target, refusal.reason));
                    Answer::ClientRefused(refusal.reason)
                }
                Verdict::MayPass => Answer::NotNow {
                    reason: refusal.reason,
                    retry_after: refusal.retry_after,
                    jitter: random::jitter(),
                },
            },
        };
        self.hand.token = Some(token);
        answer
    }

    async fn probe(&mut self) -> Life {
        let grant = match self.opened().await {
            Ok(grant) => grant,
            Err(error) => {
                self.refusal = Some(error);
                return Life::Refused;
            }
        };
        let set = TokenSet {
            access_token: grant.access_token,
            refresh_token: None,
            instance_url: Some(grant.instance_url),
            scopes: None,
            expiry: grant.expiry,
            subject: None,
        };
        match self
            .context
            .upstream
            .access_life(&self.integration.target(), &set)
            .await
        {
            Some(AccessLife::Alive(until)) => Life::Alive(until),
            Some(AccessLife::Dead) => Life::Dead,
            None => Life::Unknown,
        }
    }

    async fn repair(&mut self) -> Repaired {
        match repair(self.context, &self.hand.id, self.held, self.integration).await {
            Ok(load::Repaired::Kept { doubtful }) => {
                if doubtful {
                    verify_behind(self.context, self.integration, &self.hand.id, self.held);
                }
                Repaired::Kept
            }
            Ok(load::Repaired::Gone) => Repaired::Gone,
            Err(error) => {
                self.hand.failed(error);
                Repaired::Failed
            }
        }
    }
}

fn client_fault((reason, wait): (Reason, std::time::Duration)) -> Error {
    Error::new(Code::ClientInvalid)
        .because(reason.as_str())
        .retry_after(wait)
}
