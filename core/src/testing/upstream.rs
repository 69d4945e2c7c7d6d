//! A provider's servers: families of refresh tokens, a script of what goes wrong, and a log that is the judge.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use super::clock::TestClock;
use crate::{
    connection::Reason,
    provider::{Refusal, Rotation, Sent, Transport, TransportError, TransportFault, Verdict},
    time::{BootInstant, Clock as _, Timestamp},
};

/// What the provider's servers do, until a script says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the provider says about presenting a token twice.
    pub rotation: Rotation,
    /// Each refresh gives a new refresh token and spends the old one.
    pub rotates: bool,
    /// Presenting a spent token ends the grant and all its access tokens.
    pub revokes_families: bool,
    /// How long an access token lives.
    pub session: Duration,
    /// Token answers say so; else the provider assumes it.
    pub tells_expiry: bool,
    /// Whether questions about an access token's life are answered.
    pub tells_life: bool,
    /// Refresh answers leave out the refresh token if it stays, the instance URL and the scopes.
    pub omits: bool,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Where the API lives.
    pub instance_url: String,
    /// Who logs in.
    pub subject: String,
    /// The only client secret that is accepted; empty accepts any.
    pub client_secret: String,
    /// The issuer.
    pub issuer: Option<String>,
    /// How long an unused refresh token lives.
    pub idle_limit: Option<Duration>,
    /// Revocations are refused for now.
    pub refuses_revocations: bool,
    /// No answer holds a refresh token.
    pub no_refresh_token: bool,
    /// Who connects again gets the same refresh token.
    pub one_grant_per_user: bool,
    /// How long every answer takes.
    pub takes: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            rotates: true,
            revokes_families: true,
            session: Duration::from_secs(7200),
            tells_expiry: true,
            tells_life: true,
            omits: false,
            scopes: vec!["api".to_owned()],
            instance_url: "https://acme.api.test".to_owned(),
            subject: "org/user".to_owned(),
            client_secret: String::new(),
            issuer: None,
            idle_limit: None,
            refuses_revocations: false,
            no_refresh_token: false,
            one_grant_per_user: false,
            takes: Duration::from_millis(50),
        }
    }
}

/// What a refresh leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the token deserves.
    Right,
    /// It is processed, and the answer is lost.
    Lost,
    /// It arrives, is never processed, and no answer comes.
    Dropped,
    /// It is processed so much later, and no answer comes.
    Later(Duration),
    /// It is processed, and answered after this time.
    Slow(Duration),
    /// It waits for this time; then it is processed and answered.
    Held(Duration),
    /// No connection can be made.
    NotSent,
    /// It is refused without being processed.
    Refused(Refusal),
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A refresh token was presented.
    Refresh(String),
    /// A code was presented.
    Code(String),
    /// A token was to be revoked.
    Revoke(String),
    /// Whether an access token works was asked.
    Life(String),
    /// Who it is was asked.
    Identify,
    /// Client id and secret were tried.
    Verify,
}

#[derive(Debug)]
struct Family {
    living: String,
    spent: HashSet<String>,
    revoked: bool,
    subject: String,
    sets: u32,
}

#[derive(Debug, Default)]
struct State {
    settings: Settings,
    script: VecDeque<Answer>,
    always: Option<Answer>,
    log: Vec<(Timestamp, Request)>,
    families: Vec<Family>,
    /// Access tokens: family, and end.
    access: HashMap<String, (usize, Timestamp)>,
    /// Codes that were given, with their challenge and the user who gave them.
    codes: BTreeMap<String, (String, String)>,
    queue: Vec<(BootInstant, String)>,
    in_flight: Vec<String>,
    overlaps: u32,
}

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

    /// Ends a grant, as an admin of the org does: the one that the refresh token belongs to.
    pub fn end_grant(&self, refresh_token: &str) {
        if let Some(family) = self.state().family(refresh_token) {
            family.revoked = true;
        }
    }

    /// The access token lives for so long from now, whatever its answer said.
    pub fn live_on(&self, access_token: &str, span: Duration) {
        let ends = self.clock.wall() + span;
        if let Some((_, end)) = self.state().access.get_mut(access_token) {
            *end = ends;
        }
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
        let lost = |fault| TransportError {
            sent: Sent::Maybe,
            fault,
        };
        let answer = self.refresh(token);
        let takes = self.settings().takes;
        let wanted = self.settings().client_secret;
        if answer == Answer::NotSent {
            return Err(TransportError {
                sent: Sent::No,
                fault: TransportFault::Connect,
            });
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
                Pairs::new()
            }
            "/life" => state.life(&token, wall),
            "/identify" => Pairs::from([("email".to_owned(), "Ann@Acme.Example".to_owned())]),
            _ if !secret_fits => refusal(Verdict::ClientMisconfigured, Reason::ClientSecretInvalid, None),
            _ => Pairs::new(),
        })
    }
}

/// The fields of an answer.
type Pairs = BTreeMap<String, String>;

fn refusal(verdict: Verdict, reason: Reason, retry_after: Option<Duration>) -> Pairs {
    let wait = retry_after.map_or_else(String::new, |w| w.as_secs().to_string());
    Pairs::from([
        ("verdict".to_owned(), format!("{verdict:?}")),
        ("reason".to_owned(), reason.as_str().to_owned()),
        ("wait".to_owned(), wait),
    ])
}

/// Takes a token out of flight, also when its sender goes away.
struct Landing<'a>(&'a FakeUpstream, &'a str);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.landed(self.1);
    }
}

impl State {
    fn family(&mut self, token: &str) -> Option<&mut Family> {
        self.families
            .iter_mut()
            .find(|f| f.living == token || f.spent.contains(token))
    }

    fn refresh(&mut self, token: &str, wall: Timestamp) -> Pairs {
        let Settings {
            rotates,
            revokes_families,
            ..
        } = self.settings;
        let dead = || refusal(Verdict::GrantDead, Reason::GrantExpiredOrRevoked, None);
        let Some(at) = self
            .families
            .iter()
            .position(|f| f.living == token || f.spent.contains(token))
        else {
            return dead();
        };
        let family = &mut self.families[at];
        if family.living != token {
            family.revoked |= revokes_families;
            return dead();
        }
        if family.revoked {
            return dead();
        }
        if rotates {
            family.sets += 1;
            let next = format!("refresh-{at}-{}", family.sets);
            let spent = std::mem::replace(&mut family.living, next);
            family.spent.insert(spent);
        }
        self.tokens(at, wall, true)
    }

    fn exchange(&mut self, code: &str, verifier: &str, wall: Timestamp) -> Pairs {
        let proof = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let Some((challenge, subject)) = self.codes.remove(code).filter(|(c, _)| *c == proof) else {
            return refusal(Verdict::GrantDead, Reason::CodeRejected, None);
        };
        drop(challenge);
        // The place stays, so that no code is given twice.
        self.codes.insert(format!("{code}-used"), Default::default());
        if self.settings.one_grant_per_user
            && let Some(at) = self
                .families
                .iter()
                .position(|f| f.subject == subject && !f.revoked)
        {
            return self.tokens(at, wall, false);
        }
        let at = self.families.len();
        self.families.push(Family {
            living: format!("refresh-{at}-0"),
            spent: HashSet::new(),
            revoked: false,
            subject,
            sets: 0,
        });
        self.tokens(at, wall, false)
    }

    fn tokens(&mut self, at: usize, wall: Timestamp, refreshed: bool) -> Pairs {
        let access = format!("access-{at}-{}", self.access.len());
        let settings = &self.settings;
        let ends = wall + settings.session;
        let mut pairs = Pairs::from([
            ("access".to_owned(), access.clone()),
            ("ends".to_owned(), ends.0.to_string()),
        ]);
        let mut add = |name: &str, value: &str| pairs.insert(name.to_owned(), value.to_owned());
        add(
            "subject",
            if refreshed {
                &settings.subject
            } else {
                &self.families[at].subject
            },
        );
        if settings.tells_expiry {
            add("known", "true");
        }
        if !(refreshed && settings.omits) {
            add("instance", &settings.instance_url);
            add("scopes", &settings.scopes.join(" "));
        }
        let stays = refreshed && settings.omits && !settings.rotates;
        if !stays && !settings.no_refresh_token {
            add("refresh", &self.families[at].living);
        }
        self.access.insert(access, (at, ends));
        pairs
    }

    fn life(&self, token: &str, wall: Timestamp) -> Pairs {
        let mut pairs = Pairs::new();
        if !self.settings.tells_life {
            return refusal(Verdict::MayPass, Reason::ServerUnavailable, None);
        }
        let alive = self
            .access
            .get(token)
            .is_some_and(|(family, ends)| !self.families[*family].revoked && wall < *ends);
        pairs.insert("alive".to_owned(), alive.to_string());
        pairs
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
