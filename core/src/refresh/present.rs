//! Presents the refresh token, once, and says what came back. Core's own sight of the wire is believed before the
//! provider's word.

use std::{sync::Arc, time::Duration};

use super::protocol::{Policy, attempt::Answer};
use crate::{
    connection::Reason,
    engine::Engine,
    error::Error,
    grant::Grant,
    integrations::Loaded,
    provider::{AccessLife, Expiry, Failure, Presentation, TokenHttp, TokenSet, Verdict},
    random,
    secret::Secret,
    time::BootInstant,
};

/// How long a question about a token, or a revocation, may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A token set that came back.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) set: TokenSet,
    /// When its access token ends.
    pub(super) ends: BootInstant,
}

/// What came of a presentation, with the tokens if some came.
pub(super) enum Presented {
    Tokens(Received),
    Other(Answer),
    /// The client is refused, with the error for those who wait.
    ClientRefused(Reason, Error),
}

pub(super) async fn present(
    engine: &Arc<Engine>,
    integration: &Loaded,
    policy: &Policy,
    refresh_token: &Secret,
) -> Presented {
    let (http, presentation) = TokenHttp::new(engine.transport.clone());
    let client = integration.client();
    let (sent, wall) = (engine.clock.boot(), engine.clock.wall());
    let refresh = integration.provider.refresh(http, &client, refresh_token, wall);
    let answer = tokio::time::timeout(policy.time_limit, refresh)
        .await
        .unwrap_or(Err(Failure::Unknown(Reason::AnswerLost)));
    let answer = believe(answer, &presentation);
    let host = engine.hosts.get(integration.provider.token_host(&client));
    let failure = match answer {
        Ok(set) => {
            host.answered();
            integration.gate.client.mend();
            let ends = sent + wall.until(set.expiry.at());
            return Presented::Tokens(Received { set, ends });
        }
        Err(failure) => failure,
    };
    host.failed(failure, engine.clock.boot());
    let refusal = match failure {
        Failure::NotSent => return Presented::Other(Answer::NotSent),
        Failure::Unknown(reason) => return Presented::Other(Answer::Unknown(reason)),
        Failure::Refused(refusal) => refusal,
    };
    let reason = refusal.reason;
    Presented::Other(match refusal.verdict {
        Verdict::GrantDead => {
            integration.gate.client.mend();
            Answer::GrantDead(reason)
        }
        // Told before anything is written: a write may take a while, and nobody else should ask meanwhile.
        Verdict::ClientMisconfigured => {
            let error = engine.client_refused(integration, reason);
            return Presented::ClientRefused(reason, error);
        }
        Verdict::InProgress => Answer::InProgress(reason),
        Verdict::MayPass => Answer::NotNow {
            reason,
            retry_after: refusal.retry_after,
            jitter: random::spread(),
        },
    })
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

/// Best-effort revocation of a token that no row holds.
pub(super) async fn revoke_at_once(engine: &Engine, integration: &Loaded, token: &Secret) {
    let (http, client) = (engine.http(), integration.client());
    let revoke = integration.provider.revoke(&http, &client, token);
    let _ = tokio::time::timeout(LIMIT, revoke).await;
}

/// Whether the access token of a grant works; `None` if that cannot be found out now.
pub(super) async fn access_life(
    engine: &Engine,
    integration: &Loaded,
    access_token: Secret,
    instance_url: String,
    expiry: Expiry,
) -> Option<AccessLife> {
    let set = TokenSet {
        access_token,
        refresh_token: None,
        instance_url: Some(instance_url),
        scopes: None,
        expiry,
        subject: None,
    };
    let (http, client) = (engine.http(), integration.client());
    let ask = integration.provider.access_life(&http, &client, &set);
    tokio::time::timeout(LIMIT, ask).await.ok()?.ok()
}

/// The token with which a grant is revoked.
pub(super) fn revocable(grant: &Grant) -> &Secret {
    grant.refresh_token.as_ref().unwrap_or(&grant.access_token)
}
