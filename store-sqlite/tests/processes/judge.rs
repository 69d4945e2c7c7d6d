//! How a connection ended, by what the provider says of its tokens.

use std::{collections::BTreeMap, ops::RangeInclusive};

use grantry::{
    Broker,
    connection::{Credentials, Reason, Status},
    health::Finding,
    provider::Transport as _,
    proxy::ApiRequest,
};
use grantry_salesforce_simulator::{Outcome, Presentation};
use http::{Request, StatusCode};

use crate::world::{Connected, World};

/// The least times from one presentation of a token to the next, in milliseconds: the quarantines after the first and the
/// second. A third one can be due, if the second's presenter died with the refusal in hand; more cannot.
const QUARANTINES: [i64; 2] = [60_000, 300_000];

const CALL: &str = "/services/data/v66.0/limits";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The stored refresh token is the one that lives, and calls work.
    Healthy,
    /// It is lost, and whoever looks sees that, and why.
    Visible,
    /// It is lost, and whoever looks sees that, with the provider's reason: a second presentation had ended its family, and
    /// whoever would have found that out by trying the set is dead or was slower.
    Refused,
    /// It is lost or wrong, and nothing says so.
    Silent(String),
}

impl World {
    /// Lets a caller use the connection, whose access token is dead. It ends healthy only if the stored refresh token was
    /// the living one.
    pub(crate) async fn end_of(&self, broker: &Broker, connected: &Connected) -> End {
        let error = match broker.connection(&connected.id).send(ApiRequest::get(CALL)).await {
            Ok(answer) => {
                let status = answer.into_http().status();
                let credentials = broker.credentials(&connected.id).await.unwrap();
                return match self.lives(&credentials).await {
                    true if status == StatusCode::OK => End::Healthy,
                    lives => End::Silent(format!("answer {status}, token lives: {lives}")),
                };
            }
            Err(error) => error,
        };
        match self.is_visible(broker, connected).await {
            Ok(Reason::OutcomeUnknown) => End::Visible,
            Ok(_) => End::Refused,
            Err(seen) => End::Silent(format!("{error:?}: {seen}")),
        }
    }

    /// Why a lost connection is lost, if it shows as such everywhere where one may look. Else what is seen.
    async fn is_visible(&self, broker: &Broker, connected: &Connected) -> Result<Reason, String> {
        let seen = broker.connection(&connected.id).view().await.unwrap();
        let history = broker.connection(&connected.id).history().await.unwrap();
        let last = history.iter().rev().find(|decision| decision.what == "expired");
        let last = last.and_then(|decision| decision.reason);
        let health = broker.health().await.expired;
        let found = |f: &Finding| f.connection == connected.id && f.reason == seen.reason;
        // It lists the newest ones.
        let is_listed = health.more || health.items.iter().any(found);
        match seen.reason {
            Some(reason @ (Reason::OutcomeUnknown | Reason::GrantExpiredOrRevoked))
                if seen.status == Status::Expired && last == Some(reason) && is_listed =>
            {
                Ok(reason)
            }
            reason => Err(format!(
                "{:?} {reason:?}, listed: {is_listed} {history:#?}",
                seen.status
            )),
        }
    }

    /// Whether an access token works, asked without a broker.
    pub(crate) async fn lives(&self, credentials: &Credentials) -> bool {
        self.token_lives(credentials.access_token.expose()).await
    }

    pub(crate) async fn token_lives(&self, token: &str) -> bool {
        let request = Request::get(format!("{}{CALL}", self.simulator.instance_url()))
            .header("authorization", format!("Bearer {token}"))
            .body(Vec::new())
            .unwrap();
        self.bare.send(request).await.unwrap().status() == StatusCode::OK
    }
}

/// A log in lines that can be read.
pub(crate) fn brief(log: &[Presentation]) -> String {
    let line = |e: &Presentation| {
        let Presentation {
            seq,
            arrived_at,
            at,
            token_fingerprint,
            generation,
            living_generation,
            result,
            ..
        } = e;
        format!(
            "\n  {seq} {arrived_at}..{at} {token_fingerprint} generation {generation:?} of {living_generation:?}: {result:?}{}",
            if e.in_flight_overlap { ", overlapping" } else { "" },
        )
    };
    log.iter().map(line).collect()
}

/// What is wrong with a log of strict refresh tokens: one was presented again without its quarantine, while
/// another request with it was in work, or too often. What was presented within `late`, in the provider's
/// time, may be of a process that had been stopped between gate and send for longer than a quarantine.
pub(crate) fn unsafe_presentations(log: &[Presentation], late: Option<&RangeInclusive<i64>>) -> Vec<String> {
    let mut tokens: BTreeMap<&str, Vec<&Presentation>> = BTreeMap::new();
    for entry in log.iter().filter(|entry| entry.result != Outcome::Unknown) {
        tokens.entry(&entry.token_fingerprint).or_default().push(entry);
    }
    let is_late = |entry: &Presentation| late.is_some_and(|times| times.contains(&entry.arrived_at));
    let mut wrong = Vec::new();
    for entries in tokens.values_mut() {
        // The log is in the order of decisions.
        entries.sort_by_key(|entry| entry.arrived_at);
        for entry in entries.iter().filter(|e| e.in_flight_overlap && !is_late(e)) {
            wrong.push(format!("two at once: {}", entry.seq));
        }
        for (pair, quarantine) in entries.windows(2).zip(QUARANTINES) {
            if !is_late(pair[1]) && pair[1].arrived_at - pair[0].arrived_at < quarantine {
                wrong.push(format!("presented again: {}", pair[1].seq));
            }
        }
        if let Some(entry) = entries.iter().filter(|e| !is_late(e)).nth(QUARANTINES.len() + 1) {
            wrong.push(format!("presented too often: {}", entry.seq));
        }
    }
    wrong
}
