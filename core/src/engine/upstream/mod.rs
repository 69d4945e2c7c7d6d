//! Every call to a provider. What every call needs is applied here, so that no provider can forget it: a time limit, the
//! token host's breaker, the client's breaker, and the check of where tokens may be sent.

pub(crate) mod breaker;
mod hosts;

use std::{sync::Arc, time::Duration};

use breaker::Breaker;
pub(crate) use hosts::Host;
use hosts::Hosts;

use super::{journal::Journal, limits};
use crate::{
    connection::{Profile, Reason},
    error::{Code, Error},
    event::What,
    integration::Client,
    provider::{
        AccessLife, CodeExchange, Failure, Presentation, Provider, ProviderHttp, TokenHttp, TokenSet, Verdict,
    },
    secret::Secret,
    time::{BootInstant, Clock, Timestamp},
    transport::{Dated, Unanswered, Witness},
};

/// The way to all providers.
#[derive(Debug)]
pub(crate) struct Upstream {
    transport: Arc<Dated>,
    clock: Arc<dyn Clock>,
    journal: Arc<Journal>,
    hosts: Hosts,
}

/// The provider to call, and the client to call it for.
pub(crate) struct Target<'a> {
    pub(crate) provider: &'a dyn Provider,
    pub(crate) client: Client<'a>,
    /// Opens when the provider refuses the client.
    pub(crate) breaker: &'a Breaker,
}

/// How a call failed, according to the provider's code and to the transport.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) unanswered: Unanswered,
}

/// A token set that came back.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) set: TokenSet,
    /// When its access token ends.
    pub(crate) ends: BootInstant,
}

impl Upstream {
    pub(crate) fn new(transport: Arc<Dated>, clock: Arc<dyn Clock>, journal: Arc<Journal>) -> Self {
        Self {
            transport,
            clock,
            journal,
            hosts: Hosts::default(),
        }
    }

    fn witness(&self) -> Arc<Witness> {
        Witness::new(self.transport.clone())
    }

    /// The token host of a client, as this process sees it.
    pub(crate) fn host(&self, target: &Target<'_>) -> Arc<Host> {
        self.hosts.get(target.provider.token_host(&target.client))
    }

    /// The token hosts whose breaker is open, why, and for how much longer.
    pub(crate) fn hosts_down(&self) -> Vec<(String, Reason, Duration)> {
        self.hosts.down(self.clock.boot())
    }

    /// How much the token host's clock differed from ours at its last response.
    pub(crate) fn skew(&self, target: &Target<'_>) -> Option<Duration> {
        self.transport.skew(&target.provider.token_host(&target.client))
    }

    /// Presents a refresh token, once. What core saw on the wire takes precedence over what the provider's code reports.
    ///
    /// # Errors
    /// What is known of the outcome.
    pub(crate) async fn refresh(
        &self,
        target: &Target<'_>,
        refresh_token: &Secret,
        limit: Duration,
    ) -> Result<Received, Failed> {
        let witness = self.witness();
        let (http, presentation) = TokenHttp::new(witness.clone());
        let (sent, wall) = (self.clock.boot(), self.clock.wall());
        let refresh = target.provider.refresh(http, &target.client, refresh_token, wall);
        let answer = tokio::time::timeout(limit, refresh)
            .await
            .unwrap_or(Err(Failure::Unknown(Reason::AnswerLost)));
        let host = self.host(target);
        match believe(answer, &presentation) {
            Ok(mut set) => {
                host.answered();
                target.breaker.mend();
                check_origin(target, &mut set);
                let ends = sent + wall.until(set.expiry.at());
                Ok(Received { set, ends })
            }
            Err(failure) => {
                host.failed(failure, self.clock.boot());
                if is_refused(&failure, Verdict::GrantDead) {
                    target.breaker.mend();
                }
                let unanswered = witness.unanswered();
                Err(Failed { failure, unanswered })
            }
        }
    }

    /// Exchanges an authorization code (RFC 6749 section 4.1.3).
    ///
    /// # Errors
    /// What is known of the outcome. Tokens that came with an instance URL to which none may be sent are revoked, best
    /// effort.
    pub(crate) async fn exchange_code(
        &self,
        target: &Target<'_>,
        code: &Secret,
        code_verifier: &Secret,
        now: Timestamp,
    ) -> Result<TokenSet, Failed> {
        let witness = self.witness();
        let (http, _) = TokenHttp::new(witness.clone());
        let request = CodeExchange {
            code,
            code_verifier,
            now,
        };
        let exchange = target.provider.exchange_code(http, &target.client, request);
        let mut set = in_time(exchange, &witness).await?;
        let named = set.instance_url.is_some();
        check_origin(target, &mut set);
        if named && set.instance_url.is_none() {
            let token = set.refresh_token.as_ref().unwrap_or(&set.access_token);
            let _ = self.revoke(target, token).await;
            return Err(Failed {
                failure: Failure::refused(Verdict::MayPass, Reason::InstanceUrlRejected),
                unanswered: Unanswered::default(),
            });
        }
        Ok(set)
    }

    /// Revokes a token (RFC 7009).
    ///
    /// # Errors
    /// It is not certain that the token is gone.
    pub(crate) async fn revoke(&self, target: &Target<'_>, token: &Secret) -> Result<(), Failed> {
        let witness = self.witness();
        let http = ProviderHttp::new(witness.clone());
        let revoked = in_time(target.provider.revoke(&http, &target.client, token), &witness).await;
        let host = self.host(target);
        match &revoked {
            Ok(()) => host.revoked(),
            Err(failed) => host.not_revoked(failed.failure, self.clock.boot()),
        }
        revoked
    }

    /// Whether an access token works, and until when. `None`: that cannot be found out now.
    pub(crate) async fn access_life(&self, target: &Target<'_>, set: &TokenSet) -> Option<AccessLife> {
        let witness = self.witness();
        let http = ProviderHttp::new(witness.clone());
        let life = target.provider.access_life(&http, &target.client, set);
        in_time(life, &witness).await.ok()
    }

    /// Finds out who connected. Tried twice, since asking is harmless.
    ///
    /// # Errors
    /// It could not be found out.
    pub(crate) async fn identify(&self, target: &Target<'_>, set: &TokenSet) -> Result<Profile, Failed> {
        let witness = self.witness();
        let http = ProviderHttp::new(witness.clone());
        let ask = || target.provider.identify(&http, &target.client, set);
        match in_time(ask(), &witness).await {
            Ok(profile) => Ok(profile),
            Err(_) => in_time(ask(), &witness).await,
        }
    }

    /// Checks client id and secret without a user.
    ///
    /// # Errors
    /// They are wrong, or that cannot be determined now.
    pub(crate) async fn verify_client(&self, target: &Target<'_>) -> Result<(), Failed> {
        let witness = self.witness();
        let http = ProviderHttp::new(witness.clone());
        let verify = target.provider.verify_client(&http, &target.client);
        within(limits::VERIFY_CLIENT, verify, &witness).await
    }

    /// Notes that the provider refuses a client, which is a fault of the integration, not of its connections.
    pub(crate) fn client_refused(&self, target: &Target<'_>, reason: Reason) -> Error {
        if target.breaker.trip(reason, None, self.clock.boot()) {
            let integration = target.client.integration;
            self.journal
                .emit(integration, None, What::IntegrationFault(reason));
        }
        Error::new(Code::ClientInvalid).because(reason.as_str())
    }
}

pub(crate) fn is_refused(failure: &Failure, verdict: Verdict) -> bool {
    matches!(failure, Failure::Refused(refusal) if refusal.verdict == verdict)
}

async fn in_time<T>(ask: impl Future<Output = Result<T, Failure>>, witness: &Witness) -> Result<T, Failed> {
    within(limits::UPSTREAM, ask, witness).await
}

async fn within<T>(
    limit: Duration,
    ask: impl Future<Output = Result<T, Failure>>,
    witness: &Witness,
) -> Result<T, Failed> {
    let answer = tokio::time::timeout(limit, ask).await;
    answer
        .unwrap_or(Err(Failure::Unknown(Reason::AnswerLost)))
        .map_err(|failure| Failed {
            failure,
            unanswered: witness.unanswered(),
        })
}

/// An origin to which no token may be sent is not taken over: a refresh must not lose its tokens over it, and what the
/// connection had stays.
fn check_origin(target: &Target<'_>, set: &mut TokenSet) {
    let Some(url) = &set.instance_url else { return };
    match target.provider.check_instance_url(&target.client, url) {
        Ok(origin) => set.instance_url = Some(origin),
        Err(error) => {
            tracing::error!(integration = %target.client.integration, why = error.why, "the provider named an instance URL to which no token may be sent; it is ignored");
            set.instance_url = None;
        }
    }
}

fn believe(answer: Result<TokenSet, Failure>, presentation: &Presentation) -> Result<TokenSet, Failure> {
    match answer {
        Ok(set) if presentation.answered() => Ok(set),
        Err(Failure::Refused(refusal)) if presentation.answered() => Err(Failure::Refused(refusal)),
        _ if presentation.certainly_not_sent() => Err(Failure::NotSent),
        Err(Failure::Unknown(reason)) => Err(Failure::Unknown(reason)),
        _ => Err(Failure::Unknown(Reason::AnswerLost)),
    }
}
