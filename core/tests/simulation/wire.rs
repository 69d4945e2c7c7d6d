//! The way between a process and the provider. Once a request has left, the provider processes it whatever becomes of the
//! process; and the judge logs what was handed over, what left, what was processed, and what came back.

use std::collections::BTreeMap;

use bytes::Bytes;
use grantry::{
    async_trait,
    provider::{Sent, Transport, TransportError, TransportFault},
    time::Clock as _,
};
use tokio::sync::oneshot;
use url::form_urlencoded;

use crate::{
    facts::{Token, Told},
    sim::{Fate, Sim},
    trace::Who,
    trip::Trip,
};

/// A request that was handed over is processed before the quarantine of whoever handed it over can be over.
pub const LATEST: u64 = 55_000;

type Pairs = BTreeMap<String, String>;

/// A process's way to the provider.
#[derive(Clone, Debug)]
pub struct Wire {
    pub sim: Sim,
    pub process: usize,
}

impl Wire {
    /// What the provider's servers make of it.
    async fn process(&self, request: http::Request<Vec<u8>>) -> Pairs {
        let answer = self.sim.upstream.send(request).await;
        let body = answer.map(http::Response::into_body).unwrap_or_default();
        form_urlencoded::parse(&body).into_owned().collect()
    }
}

/// Whoever stops waiting knows nothing.
struct Waiting<'a> {
    sim: &'a Sim,
    presentation: Option<usize>,
}

impl Waiting<'_> {
    fn told(&self, told: Told) {
        if let Some(at) = self.presentation {
            self.sim.state().judge.told(at, told);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.told(Told::Unknown);
    }
}

fn lost(fault: TransportFault) -> TransportError {
    TransportError::new(Sent::Maybe, fault)
}

fn refusal(verdict: &str, reason: &str, wait: u64) -> Pairs {
    let wait = if wait == 0 {
        String::new()
    } else {
        wait.to_string()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Pairs::from([
        pair("verdict", verdict),
        pair("reason", reason),
        pair("wait", &wait),
    ])
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, TransportError> {
        let sim = &self.sim;
        let path = request.uri().path().to_owned();
        let form: Pairs = form_urlencoded::parse(request.body()).into_owned().collect();
        let text = form.get("token").cloned().unwrap_or_default();
        let token = Token::parse(&text);
        let trip = self.trip(&path);
        let presentation = token.filter(|_| path == "/refresh").map(|token| {
            let mut state = sim.state();
            state.say(Who::Process(self.process), "presents", "", token.numbers());
            let now = state.now;
            let lives_for = self.lives_for(&state, token);
            state.judge.risks(self.process, token, lives_for);
            state.judge.handed(now, self.process, token)
        });
        if path == "/life" {
            sim.state()
                .judge
                .suspects
                .retain(|(_, _, access)| *access != text);
        }
        let handed = sim.now();
        // The provider says for how long, and the process reckons from when it asked.
        let skew = sim.machines[self.process].wall().0 - sim.provider_clock.wall().0;
        let waiting = Waiting { sim, presentation };
        tokio::time::sleep(trip.leaves).await;
        if trip.fate == Fate::NotSent {
            waiting.told(Told::Unspent);
            return Err(TransportError::new(Sent::No, TransportFault::Connect));
        }
        if let Some(at) = presentation {
            let mut state = sim.state();
            let now = state.now;
            state.judge.left(now, at);
        }
        let (answer, answered) = oneshot::channel();
        let due = sim.now() + trip.there.as_millis() as u64;
        let due = due.min((handed + LATEST).max(sim.now() + 1));
        let server = self.clone();
        tokio::spawn(async move {
            server.sim.until(due).await;
            let pairs = server.serve(request, trip, handed, presentation, token).await;
            if let Some(pairs) = pairs {
                server
                    .sim
                    .until(server.sim.now() + trip.back.as_millis() as u64)
                    .await;
                {
                    let mut state = server.sim.state();
                    if let Some(snare) = state.spring(server.process, false) {
                        // The answer is there, and nobody has read it.
                        state.seize(server.process, snare);
                    }
                }
                let _ = answer.send(pairs);
            } else {
                match trip.breaks {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            }
        });
        let Ok(mut pairs) = answered.await else {
            return Err(lost(TransportFault::Reset));
        };
        self.arrive(&mut pairs, &waiting, &path, skew);
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(&pairs);
        Ok(http::Response::new(out.finish().into_bytes().into()))
    }
}

impl Wire {
    /// For how long the stored access token lives, as the process can know. `None` if it does not, or if what the clock
    /// says makes waiting dangerous.
    fn lives_for(&self, state: &crate::sim::Held<'_>, token: Token) -> Option<u64> {
        let connection = state.judge.families.get(token.family)?.connection?;
        let seen = &state.judge.connections.get(connection)?.seen;
        let plan = &self.sim.plan;
        // What it decided a minute ago it decided by another clock.
        let jumped = state.judge.processes[self.process].jumped;
        let set_right = jumped > 0 && state.now < jumped + 60_000;
        let idle = plan.idle_limit.is_some() && plan.faults.clock;
        if set_right || idle || !self.sim.upstream.works(&seen.access) {
            return None;
        }
        if !plan.tells_expiry {
            return Some(u64::MAX);
        }
        Some(
            self.sim.machines[self.process]
                .wall()
                .until(seen.access_ends)
                .as_millis() as u64,
        )
    }

    /// The provider's side of one request: what is answered, if anything comes back.
    async fn serve(
        &self,
        request: http::Request<Vec<u8>>,
        trip: Trip,
        handed: u64,
        presentation: Option<usize>,
        token: Option<Token>,
    ) -> Option<Pairs> {
        let path = request.uri().path().to_owned();
        match trip.fate {
            Fate::RequestLost => return None,
            Fate::GarbageUnprocessed => return Some(Pairs::new()),
            Fate::MayPass(wait) => return Some(refusal("MayPass", "rate_limited", wait)),
            Fate::InProgress if path == "/refresh" => {
                return Some(refusal("InProgress", "already_processing", 0));
            }
            _ => {}
        }
        let revoked = token
            .filter(|_| path == "/revoke")
            .map(|t| (t, self.sim.upstream.lives(&t.text())));
        let code = form_urlencoded::parse(request.body())
            .find(|(k, _)| k == "token")
            .map(|(_, v)| v.into_owned());
        let pairs = self.process(request).await;
        let gave = pairs.get("access").map(|access| {
            let named = pairs.get("refresh").and_then(|text| Token::parse(text));
            (named.or(token), access.clone())
        });
        let mut state = self.sim.state();
        let now = state.now;
        if let Some((Some(token), access)) = gave.clone().filter(|_| path == "/code") {
            let connection = state
                .codes
                .iter()
                .find(|(c, _)| Some(c) == code.as_ref())
                .map(|(_, c)| *c);
            state.judge.granted(token, &access, connection.unwrap());
        }
        if let (Some(at), Some(token)) = (presentation, token) {
            let dead = pairs.get("verdict").is_some_and(|v| v == "GrantDead");
            let ended = self
                .sim
                .upstream
                .grant(token.family)
                .is_some_and(|(_, alive)| !alive);
            let about = if gave.is_some() {
                "tokens"
            } else if dead {
                "dead"
            } else {
                "refused"
            };
            state.say(Who::Provider, "processed", about, token.numbers());
            let gave = gave.and_then(|(token, access)| Some((token?, access)));
            state.judge.processed(now, at, gave, dead, ended);
        }
        if let Some((token, true)) = revoked {
            state.say(Who::Provider, "revoked", "", token.numbers());
            state.judge.family(token.family).revoked_by_broker = Some(handed);
        }
        match trip.fate {
            Fate::AnswerLost => None,
            Fate::Garbage => Some(Pairs::new()),
            _ => Some(pairs),
        }
    }

    /// An answer reaches a living process, whose clock was off by `skew` when it asked.
    fn arrive(&self, pairs: &mut Pairs, waiting: &Waiting<'_>, path: &str, skew: i64) {
        let sim = &self.sim;
        if let Some(ends) = pairs.get_mut("ends") {
            *ends = (ends.parse::<i64>().unwrap() + skew).to_string();
        }
        let verdict = pairs.get("verdict").map(String::as_str);
        let (told, about) = match verdict {
            _ if pairs.contains_key("access") => (Told::Tokens, "tokens"),
            Some("GrantDead") => (Told::Dead, "dead"),
            Some("MayPass" | "ClientMisconfigured") => (Told::Unspent, "refused for now"),
            _ => (Told::Unknown, "nothing of use"),
        };
        waiting.told(told);
        if path == "/code"
            && let Some(token) = pairs.get("refresh").and_then(|text| Token::parse(text))
        {
            sim.state().judge.family(token.family).arrived = true;
        }
        if path == "/refresh" {
            sim.say(Who::Process(self.process), "is told", about, [0, 0, 0]);
        }
    }
}
