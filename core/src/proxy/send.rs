//! One call from request to response: token, plan limit, sending, and the refresh after a refused token.

use std::{pin::pin, sync::Arc, time::Duration};

use http::StatusCode;

use super::{
    ApiRequest, ApiResponse, ProxyClient,
    client::{Answer, Deadline, Failed},
    headers,
    request::Call,
};
use crate::{
    engine::{
        cache::{Cache, Entry},
        directory::{Directory, Loaded},
        journal::Journal,
        limits::COME_BACK,
        refresh::{Refresher, Want},
        scope::Scope,
    },
    error::{Code, Error, causes},
    event::What,
    id::ConnectionId,
    usage::{Meter, Ticket},
};

/// Sends calls.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) client: ProxyClient,
    pub(crate) refresher: Arc<Refresher>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) journal: Arc<Journal>,
    /// How much of an access token's life must be left.
    pub(crate) minimum: Duration,
}

/// How much of a refusal's body is read to judge it.
const PREFIX: usize = 8 * 1024;

impl Proxy {
    /// Sends `request` with the connection's token. `provider` is the one that the caller expects.
    ///
    /// # Errors
    /// What is wrong with the request; why the connection serves no token; `plan_limit_exceeded`; why no response came. A
    /// response is never an error, whatever its status.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call, which may have reached the provider; a refresh that it waits for goes on.
    pub(crate) async fn send(
        &self,
        id: &ConnectionId,
        scope: Scope<'_>,
        provider: Option<&str>,
        request: ApiRequest,
    ) -> Result<ApiResponse, Error> {
        let mut call = request.check()?;
        let window = call.timeout.unwrap_or(self.client.limits.answer);
        let sleep = pin!(tokio::time::sleep(window));
        let mut deadline = Deadline { sleep, window };

        let (mut entry, integration, mut ticket) = deadline
            .or_none(self.prepare(id, scope, provider, &mut call))
            .await
            .unwrap_or_else(|| Err(busy()))?;
        metrics::counter!("grantry_api_calls").increment(1);

        let mut may_refresh = true;
        let mut may_repeat = call.is_safe();
        let mut fresh = false;
        let mut body = call.content.outgoing();
        loop {
            let Some(outgoing) = body.take() else {
                return Err(Code::Internal.into());
            };
            let outcome = self
                .client
                .send(
                    &entry.credentials,
                    &call,
                    outgoing,
                    &mut deadline,
                    &mut ticket.sent,
                    fresh,
                )
                .await;
            let mut answer = match outcome {
                Ok(answer) => answer,
                Err(Failed { lost: true, .. }) if may_repeat => {
                    may_repeat = false;
                    fresh = true;
                    body = call.content.outgoing();
                    continue;
                }
                Err(Failed { error, .. }) => {
                    tracing::debug!(connection = %id, code = error.code().as_str(), causes = causes(&error), "an API call got no response");
                    return Err(error);
                }
            };
            let refused = self
                .read_verdict(id, &entry, &integration, &mut answer, &mut deadline)
                .await;
            if refused && may_refresh {
                may_refresh = false;
                metrics::counter!("grantry_api_calls_refused").increment(1);
                let newer = deadline
                    .or_none(self.refresher.after_refusal(id, scope, entry.version()))
                    .await;
                let newer = newer.unwrap_or_else(|| Err(busy()))?;
                if newer.version() != entry.version() {
                    // A refused call did not run, so every method may be sent again, if its body can.
                    body = call.content.outgoing();
                    if body.is_some() {
                        entry = newer;
                        continue;
                    }
                }
            }
            headers::filter_answer(&mut answer.headers);
            return Ok(ApiResponse {
                status: answer.status,
                headers: answer.headers,
                body: answer.body.into(),
            });
        }
    }

    /// Everything that is needed to send the call.
    async fn prepare(
        &self,
        id: &ConnectionId,
        scope: Scope<'_>,
        provider: Option<&str>,
        call: &mut Call,
    ) -> Result<(Arc<Entry>, Arc<Loaded>, Ticket), Error> {
        let want = Want {
            minimum: self.minimum,
            not: None,
        };
        let entry = self.refresher.serve(id, scope, want).await?;
        let integration = self.directory.get(entry.integration()).await?;
        let facts = integration.provider.facts();
        if provider.is_some_and(|name| name != facts.name) {
            return Err(Code::ProviderMismatch.into());
        }
        call.fit(facts)?;
        let limit = integration.body.monthly_limit;
        let reserved = self.meter.reserve(&integration.id, limit).await;
        if let Err(error) = &reserved
            && error.code() == Code::PlanLimitExceeded
            && self.meter.limit_is_news(&integration.id)
        {
            self.journal.emit(&integration.id, None, What::LimitReached);
        }
        Ok((entry, integration, reserved?))
    }

    /// Notes what a response tells besides its content; `true` if it refuses the token.
    async fn read_verdict(
        &self,
        id: &ConnectionId,
        entry: &Arc<Entry>,
        integration: &Loaded,
        answer: &mut Answer,
        deadline: &mut Deadline<'_>,
    ) -> bool {
        if answer.status >= StatusCode::BAD_REQUEST {
            answer.body.read_ahead(PREFIX, deadline.sleep.as_mut()).await;
        }
        let prefix = answer.body.prefix(PREFIX);
        let verdict = integration
            .provider
            .classify_api_response(answer.status, &answer.headers, &prefix);
        if let Some(usage) = verdict.api_usage {
            self.cache.note_api_usage(id, entry, usage);
        }
        // Reported once, until a call gets through again.
        if verdict.limit_reached {
            if entry.limit_is_news() {
                self.journal
                    .emit(&integration.id, Some(id), What::ProviderLimitReached);
            }
        } else if answer.status.is_success() {
            entry.limit_is_over();
        }
        verdict.token_refused
    }
}

/// The deadline passed before anything could be sent: a refresh, or the store, is slow.
fn busy() -> Error {
    Error::new(Code::RefreshInProgress).retry_after(COME_BACK)
}
