//! Token hosts, and whether they work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::breaker::Breaker;
use crate::{
    connection::Reason,
    engine::limits,
    provider::{Failure, Verdict},
    time::BootInstant,
};

/// One token host, as this process sees it.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    /// Stops keep-alive, and presentations after an unknown outcome; never a first one that a caller waits for.
    pub(crate) breaker: Breaker,
    /// Stops the sweep's revocations, and nothing else: an endpoint that fails to revoke says little about the token
    /// endpoint, and one that revokes does not say that tokens are given again.
    pub(crate) revocations: Breaker,
}

impl Host {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A token request was answered, perhaps with a refusal.
    pub(crate) fn answered(&self) {
        if self.breaker.mend() {
            tracing::info!(host = self.name, "the token host responds again");
            metrics::gauge!("grantry_token_hosts_down").decrement(1.0);
        }
    }

    /// A token request failed.
    pub(crate) fn failed(&self, failure: Failure, now: BootInstant) {
        let Some((reason, asked)) = outage(failure) else {
            return self.answered();
        };
        if self.breaker.trip(reason, asked, now) {
            tracing::warn!(host = self.name, reason = reason.as_str(), "the token host fails");
            metrics::gauge!("grantry_token_hosts_down").increment(1.0);
        }
    }

    /// A revocation was answered, be it with a refusal.
    pub(crate) fn revoked(&self) {
        if self.revocations.mend() {
            tracing::info!(host = self.name, "revocations are answered again");
        }
    }

    /// A revocation failed.
    pub(crate) fn not_revoked(&self, failure: Failure, now: BootInstant) {
        let Some((reason, asked)) = outage(failure) else {
            return self.revoked();
        };
        if self.revocations.trip(reason, asked, now) {
            tracing::warn!(host = self.name, reason = reason.as_str(), "revocations fail");
        }
    }
}

/// Why an endpoint fails, and for how long it asks to be left alone. `None`: it works, and refuses one account, one client or
/// one grant.
fn outage(failure: Failure) -> Option<(Reason, Option<Duration>)> {
    match failure {
        Failure::NotSent => Some((Reason::NotSent, None)),
        Failure::Unknown(reason) => Some((reason, None)),
        Failure::Refused(refusal) => match (refusal.verdict, refusal.reason) {
            (Verdict::MayPass, Reason::ServerUnavailable | Reason::RateLimited) => {
                Some((refusal.reason, refusal.retry_after))
            }
            _ => None,
        },
    }
}

/// All token hosts that this process has called.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<BTreeMap<String, Arc<Host>>>);

impl Hosts {
    pub(crate) fn get(&self, name: String) -> Arc<Host> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let host = map.entry(name).or_insert_with_key(|name| {
            Arc::new(Host {
                name: name.clone(),
                breaker: Breaker::new(limits::HOST_FAILURES),
                revocations: Breaker::new(limits::HOST_FAILURES),
            })
        });
        host.clone()
    }

    /// The hosts whose breaker is open, why, and for how much longer.
    pub(crate) fn down(&self, now: BootInstant) -> Vec<(String, Reason, Duration)> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.values()
            .filter_map(|host| {
                let (reason, left) = host.breaker.open(now)?;
                Some((host.name.clone(), reason, left))
            })
            .collect()
    }
}
