//! Carries out what an [`Attempt`] asks for.

use std::sync::Arc;

use super::{
    Cause, breaker,
    cache::Entry,
    hand::Hand,
    open,
    present::{self, Presented, Received, access_life, revoke_at_once},
    protocol::{
        Attempt, Policy,
        attempt::{Answer, Command, Event, Life, Notice, Pass, Repaired},
        machine::Read,
    },
    run::{self, Execute},
};
use crate::{
    connection::Reason,
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::Grant,
    integrations::Loaded,
    provider::{AccessLife, TokenSet},
    secret::fingerprint,
};

/// What an attempt works with.
pub(super) struct Executor<'a> {
    pub(super) engine: &'a Arc<Engine>,
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
                    revoke_at_once(self.engine, self.integration, token).await;
                }
                Event::Revoked
            }
            Command::Sleep(wait) => {
                run::sleep(wait).await;
                Event::Woken
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        let (id, integration) = (&self.hand.id, &self.integration.id);
        match notice {
            Notice::HeldIsDead => self.held.refuse(),
            Notice::Forget => self.engine.cache.remove(id),
            Notice::OutcomeUnknown => {
                self.engine.emit(integration, Some(id), What::OutcomeUnknown);
                metrics::counter!("grantry_outcomes_unknown").increment(1);
            }
            Notice::Cooling(reason) => self.engine.emit(integration, Some(id), What::Cooling(reason)),
            Notice::Expired(reason) => self.engine.expired(integration, id, reason),
        }
    }
}

impl Executor<'_> {
    /// Adds what this process knows of refused access tokens.
    fn with_refusals(&self, read: Read) -> Read {
        let Read::Row(mut view) = read else { return read };
        let is_refused = |entry: &Entry| entry.name() == view.row.name && entry.is_refused();
        view.access.refused = is_refused(self.held)
            || self
                .engine
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
                alive: self.held.alive(self.engine.clock.wall()),
            },
            Err(error) => {
                self.refusal = Some(error);
                Event::Refused
            }
        }
    }

    async fn try_prepare(&mut self, pass: bool, host: bool) -> Result<Pass, Error> {
        let (integration, now) = (self.integration, self.engine.clock.boot());
        let mut granted = Pass::Free;
        if pass {
            granted = match integration.gate.client.pass(now).map_err(client_fault)? {
                breaker::Pass::Free => Pass::Free,
                breaker::Pass::Probe => Pass::Probe,
            };
        }
        integration.may_refresh(self.cause)?;
        if host {
            let host = integration.provider.token_host(&integration.client());
            if let Some((reason, wait)) = self.engine.hosts.get(host).breaker.open(now) {
                // One more request to a host that is down would only make the next quarantine longer.
                return Err(Error::new(Code::RefreshOutcomeUnknown)
                    .because(reason.as_str())
                    .retry_after(wait));
            }
        }
        self.engine.vault.ready().await?;
        self.grant = Some(open(&*self.engine.vault, self.hand.record()?).await?);
        Ok(granted)
    }

    fn check_client(&mut self) -> Event {
        let fault = self.integration.gate.client.open(self.engine.clock.boot());
        self.refusal = fault.map(client_fault).or(self.refusal.take());
        Event::Client {
            serves: fault.is_none(),
        }
    }

    async fn open(&mut self) -> Event {
        let opened = match self.hand.record() {
            Ok(record) => open(&*self.engine.vault, record).await,
            Err(error) => Err(error),
        };
        match opened {
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

    async fn present(&mut self, attempt: u32) -> Answer {
        let (Some(grant), Ok(record)) = (&self.grant, self.hand.record()) else {
            return Answer::NotSent;
        };
        let Some(refresh_token) = &grant.refresh_token else {
            return Answer::NotSent;
        };
        let (token, set) = (fingerprint(refresh_token.expose()), record.facts.row.name);
        tracing::info!(connection = %self.hand.id, %set, attempt, token, "presenting");
        let which = if attempt == 1 { "first" } else { "after_unknown" };
        metrics::counter!("grantry_presentations", "attempt" => which).increment(1);
        let presented = present::present(self.engine, self.integration, self.policy, refresh_token).await;
        let same_user = |set: &TokenSet| {
            let known = &record.facts.subject;
            known.is_empty() || set.subject.as_ref().is_none_or(|subject| subject == known)
        };
        let answer = match presented {
            Presented::Tokens(received) => {
                let answer = if same_user(&received.set) {
                    Answer::Received
                } else {
                    Answer::IdentityChanged
                };
                self.received = Some(received);
                answer
            }
            Presented::ClientRefused(reason, error) => {
                self.refusal = Some(error);
                Answer::ClientRefused(reason)
            }
            Presented::Other(answer) => answer,
        };
        self.hand.token = Some(token);
        answer
    }

    async fn probe(&mut self) -> Life {
        let opened = match self.hand.record() {
            Ok(record) => open(&*self.engine.vault, record)
                .await
                .map(|grant| (grant, record.expiry())),
            Err(error) => Err(error),
        };
        let (grant, expiry) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.refusal = Some(error);
                return Life::Refused;
            }
        };
        let Grant {
            access_token,
            instance_url,
            ..
        } = grant;
        match access_life(self.engine, self.integration, access_token, instance_url, expiry).await {
            Some(AccessLife::Alive(until)) => Life::Alive(until),
            Some(AccessLife::Dead) => Life::Dead,
            None => Life::Unknown,
        }
    }

    async fn repair(&mut self) -> Repaired {
        match self
            .engine
            .repair(&self.hand.id, self.held, self.integration)
            .await
        {
            Ok(true) => Repaired::Kept,
            Ok(false) => Repaired::Gone,
            Err(error) => {
                self.hand.cause = Some(error);
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
