//! A provider's servers: a script of what goes wrong, and a log that is the judge.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use url::{Url, form_urlencoded};

use super::{
    clock::TestClock,
    exchange::{Answer, Request},
    grants::{Pairs, Settings, State, refusal},
};
use crate::{
    connection::Reason,
    provider::{Refusal, Sent, Transport, TransportError, TransportFault, Verdict},
    time::{Clock as _, Timestamp},
};

/// The provider's servers, as a transport. Clones are the same servers.
#[derive(Clone)]
pub struct FakeUpstream {
    clock: TestClock,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for FakeUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeUpstream").finish_non_exhaustive()
    }
}

impl FakeUpstream {
    /// Servers with the default [`Settings`].
    pub fn new(clock: TestClock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// Changes the settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state().settings);
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    /// What the next refresh leads to; several are taken in order.
    pub fn next(&self, answer: Answer) {
        self.state().script.push_back(answer);
    }

    /// What every refresh leads to from now on; `None` is what it deserves.
    pub fn always(&self, answer: Option<Answer>) {
        self.state().always = answer;
    }

    /// The user logs in and allows the access: gives the query that the browser comes back with.
    ///
    /// # Panics
    /// If `url` is not an authorize URL of [`super::FakeProvider`].
    pub fn consent(&self, url: &str) -> String {
        let parameters: BTreeMap<_, _> = Url::parse(url)
            .map(|url| url.query_pairs().into_owned().collect())
            .unwrap_or_default();
        let mut state = self.state();
        let code = format!("code-{}", state.codes.len() + 1);
        let subject = state.settings.subject.clone();
        let challenge = parameters.get("code_challenge").cloned().unwrap_or_default();
        state.codes.insert(code.clone(), (challenge, subject));
        format!("code={code}&state={}", parameters["state"])
    }

    /// Everything that arrived, in order.
    pub fn log(&self) -> Vec<Request> {
        self.state()
            .log
            .iter()
            .map(|(_, request)| request.clone())
            .collect()
    }

    /// The refresh tokens that were presented, in order.
    pub fn presented(&self) -> Vec<String> {
        self.presented_at().into_iter().map(|(_, token)| token).collect()
    }

    /// The refresh tokens that were presented, and when.
    pub fn presented_at(&self) -> Vec<(Timestamp, String)> {
        let state = self.state();
        let refresh = |(at, request): &(Timestamp, Request)| match request {
            Request::Refresh(token) => Some((*at, token.clone())),
            _ => None,
        };
        state.log.iter().filter_map(refresh).collect()
    }

    /// The tokens that were to be revoked, in order.
    pub fn revoked(&self) -> Vec<String> {
        let revoked = |request| match request {
            Request::Revoke(token) => Some(token),
            _ => None,
        };
        self.log().into_iter().filter_map(revoked).collect()
    }

    /// How often a refresh token arrived while it was being processed already.
    pub fn overlaps(&self) -> u32 {
        self.state().overlaps
    }

    /// Ends the grant of a refresh token, as an administrator of the account would.
    pub fn end_grant(&self, refresh_token: &str) {
        if let Some(family) = self.state().family(refresh_token) {
            family.revoked = true;
        }
    }

    /// Lets the access token live this long from now, whatever its response stated.
    pub fn live_on(&self, access_token: &str, span: Duration) {
        let ends = self.clock.wall() + span;
        if let Some((_, end)) = self.state().access.get_mut(access_token) {
            *end = ends;
        }
    }

    /// The living refresh token of the `at`th grant that was given, and whether the grant lives.
    pub fn grant(&self, at: usize) -> Option<(String, bool)> {
        let state = self.state();
        let family = state.families.get(at)?;
        Some((family.living.clone(), !family.revoked))
    }

    /// When this access token ends, by the provider's clock.
    pub fn access_end(&self, access_token: &str) -> Option<Timestamp> {
        self.state().access.get(access_token).map(|(_, end)| *end)
    }

    /// Whether calls with this access token work.
    pub fn works(&self, access_token: &str) -> bool {
        let wall = self.clock.wall();
        self.state().works(access_token, wall)
    }

    /// Whether the refresh token is the living one of a living grant.
    pub fn lives(&self, refresh_token: &str) -> bool {
        self.state()
            .family(refresh_token)
            .is_some_and(|family| !family.revoked && family.living == refresh_token)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.boot();
        let wall = self.clock.wall();
        // What was queued and whose time has come is processed, whoever still waits for it.
        let (due, later) = std::mem::take(&mut state.queue)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        state.queue = later;
        for (_, token) in due {
            let _ = state.refresh(&token, wall);
        }
        state
    }

    fn refresh(&self, token: &str) -> Answer {
        let mut state = self.state();
        let wall = self.clock.wall();
        let answer = state.script.pop_front().or(state.always).unwrap_or(Answer::Right);
        if answer != Answer::NotSent {
            state.log.push((wall, Request::Refresh(token.to_owned())));
            if state.in_flight.iter().any(|t| t == token) {
                state.overlaps += 1;
            }
        }
        state.in_flight.push(token.to_owned());
        answer
    }

    fn landed(&self, token: &str) {
        let in_flight = &mut self.state().in_flight;
        if let Some(at) = in_flight.iter().position(|t| t == token) {
            in_flight.remove(at);
        }
    }

    async fn answer_refresh(&self, token: &str, secret: &str) -> Result<Pairs, TransportError> {
        let lost = |fault| TransportError::new(Sent::Maybe, fault);
        let answer = self.refresh(token);
        let takes = self.settings().takes;
        let wanted = self.settings().client_secret;
        if answer == Answer::NotSent {
            return Err(TransportError::new(Sent::No, TransportFault::Connect));
        }
        tokio::time::sleep(takes).await;
        if !wanted.is_empty() && wanted != secret {
            return Ok(refusal(
                Verdict::ClientMisconfigured,
                Reason::ClientSecretInvalid,
                None,
            ));
        }
        let wall = self.clock.wall();
        match answer {
            Answer::Right => Ok(self.state().refresh(token, wall)),
            Answer::Lost => {
                let _ = self.state().refresh(token, wall);
                Err(lost(TransportFault::Reset))
            }
            Answer::Dropped => Err(lost(TransportFault::Timeout)),
            Answer::Later(wait) => {
                let at = self.clock.boot() + wait;
                self.state().queue.push((at, token.to_owned()));
                Err(lost(TransportFault::Timeout))
            }
            Answer::Slow(wait) => {
                let pairs = self.state().refresh(token, wall);
                tokio::time::sleep(wait).await;
                Ok(pairs)
            }
            Answer::Held(wait) => {
                tokio::time::sleep(wait).await;
                let wall = self.clock.wall();
                Ok(self.state().refresh(token, wall))
            }
            Answer::Refused(Refusal {
                verdict,
                reason,
                retry_after,
            }) => Ok(refusal(verdict, reason, retry_after)),
            Answer::NotSent => Err(lost(TransportFault::Connect)),
        }
    }

    async fn answer(&self, path: &str, form: &BTreeMap<String, String>) -> Result<Pairs, TransportError> {
        let get = |name: &str| form.get(name).cloned().unwrap_or_default();
        let token = get("token");
        if path == "/refresh" {
            let guard = Landing(self, &token);
            let answer = self.answer_refresh(&token, &get("client_secret")).await;
            drop(guard);
            return answer;
        }
        let takes = self.settings().takes;
        tokio::time::sleep(takes).await;
        let wall = self.clock.wall();
        let mut state = self.state();
        let request = match path {
            "/code" => Request::Code(token.clone()),
            "/revoke" => Request::Revoke(token.clone()),
            "/life" => Request::Life(token.clone()),
            "/identify" => Request::Identify,
            _ => Request::Verify,
        };
        state.log.push((wall, request));
        let wanted = &state.settings.client_secret;
        let secret_fits = wanted.is_empty() || *wanted == get("client_secret");
        Ok(match path {
            "/code" => state.exchange(&token, &get("verifier"), wall),
            "/revoke" if state.settings.refuses_revocations => {
                refusal(Verdict::MayPass, Reason::ServerUnavailable, None)
            }
            "/revoke" => {
                if let Some(family) = state.family(&token).filter(|f| f.living == token) {
                    family.revoked = true;
                }
                done()
            }
            "/life" => state.life(&token, wall),
            "/identify" => Pairs::from([("email".to_owned(), "Ann@Acme.Example".to_owned())]),
            _ if !secret_fits => refusal(Verdict::ClientMisconfigured, Reason::ClientSecretInvalid, None),
            _ => done(),
        })
    }
}

fn done() -> Pairs {
    Pairs::from([("done".to_owned(), "true".to_owned())])
}

/// Takes a token out of flight, also when its sender goes away.
struct Landing<'a>(&'a FakeUpstream, &'a str);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.landed(self.1);
    }
}

#[async_trait]
impl Transport for FakeUpstream {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, TransportError> {
        let form = form_urlencoded::parse(request.body()).into_owned().collect();
        let pairs = self.answer(request.uri().path(), &form).await?;
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(&pairs);
        Ok(http::Response::new(out.finish().into_bytes().into()))
    }
}
