//! Common misconfigurations of OAuth apps, detected from the connections: pure.

use std::collections::BTreeMap;

use crate::{
    connection::{Reason, Status},
    engine::ledger::record::Record,
    engine::protocol::Refresh,
    id::{ConnectionId, IntegrationId},
    time::Timestamp,
};

/// How many connections a trap lists.
const NAMED: usize = 20;
/// A grant that ends within this time of its issue, in milliseconds, points to the app's policy.
const SOON: i64 = 26 * 3600 * 1000;

macro_rules! traps {
    ($($variant:ident = $text:literal: $advice:literal;)*) => {
        /// A common misconfiguration.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum TrapKind {
            $(#[doc = $advice] $variant,)*
        }

        impl TrapKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The kind in snake_case.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// What is wrong, and what to do.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice),* }
            }
        }
    };
}

traps! {
    RefreshPolicyImmediate = "refresh_policy_immediate": "The first refresh of these grants was refused within a day: the app's refresh token policy at the provider is probably 'immediately expire'. Choose 'valid until revoked' or an idle limit.";
    ScopeMissing = "scope_missing": "These grants lack a scope that is needed, such as refresh_token: add it to the app at the provider and let the users connect again.";
    ApprovalsExhausted = "approvals_exhausted": "One user has more grants for this app than the provider keeps: each new one silently ends the oldest. Delete connections that are not needed, and reconnect instead of connecting anew.";
    IdleLimitWithoutKeepAlive = "idle_limit_without_keep_alive": "The provider ends refresh tokens that are not used, and keep-alive is switched off here: connections that nobody uses will expire.";
    IdleLimitNear = "idle_limit_near": "These refresh tokens end within three days unless they are used: no process sweeps, or the token host has failed for days.";
    IpRestricted = "ip_restricted": "The account or the app does not accept this machine's address: add the addresses from which you call to its allowlist or relax its IP policy.";
    ClockSkew = "clock_skew": "This machine's clock and the provider's differ by more than a minute: set it by NTP. Ends of tokens are reckoned wrongly until then.";
    ClientRefused = "client_refused": "The provider refuses the integration's client id or secret: set the right one.";
    ProviderUnreachable = "provider_unreachable": "The token host could not be reached from here: see DNS, proxies and firewalls.";
    KeyMissing = "key_missing": "Connections are sealed with a key that this process was not given: add it to the key line, or they cannot be used.";
    StoreMoved = "store_moved": "This store was copied to another one: start the service on that one, and keep this one only until you trust the other.";
    StoreArriving = "store_arriving": "Another store is being copied into this one: run the copy until it is done.";
    NobodySweeps = "nobody_sweeps": "Rows have been due for more than ten minutes: run at least one process on this store with the broker's loops and keep-alive, or see in its log why it does not get on.";
}

/// A trap, and what it affects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trap {
    /// Which.
    pub kind: TrapKind,
    /// The integration, if it is about one.
    pub integration: Option<IntegrationId>,
    /// How many connections it affects; zero if it is not about connections.
    pub count: u64,
    /// Some of them, at most 20.
    pub connections: Vec<ConnectionId>,
}

/// What is known of an integration.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) required_scopes: Vec<String>,
    pub(super) grants_per_user: Option<u32>,
    pub(super) has_idle_limit: bool,
}

/// Gathers what the connections of one integration show.
#[derive(Debug)]
pub(super) struct Gathering {
    terms: Terms,
    now: Timestamp,
    found: BTreeMap<TrapKind, (u64, Vec<ConnectionId>)>,
    by_subject: BTreeMap<String, Vec<ConnectionId>>,
}

impl Gathering {
    pub(super) fn new(terms: Terms, now: Timestamp) -> Self {
        Self {
            terms,
            now,
            found: BTreeMap::new(),
            by_subject: BTreeMap::new(),
        }
    }

    /// Takes one connection into account.
    pub(super) fn see(&mut self, record: &Record) {
        let facts = &record.facts;
        let row = &facts.row;
        match row.status {
            Status::Expired => {
                let last = record.history().pop().map_or(self.now, |decision| decision.at);
                let soon = last.millis() - facts.connected_at.millis() < SOON;
                let first = row.version.generation <= row.version.epoch;
                if row.reason == Some(Reason::GrantExpiredOrRevoked) && first && soon {
                    self.add(TrapKind::RefreshPolicyImmediate, &record.id);
                }
            }
            Status::Connected => {
                if self
                    .terms
                    .required_scopes
                    .iter()
                    .any(|s| !facts.scopes.contains(s))
                {
                    self.add(TrapKind::ScopeMissing, &record.id);
                }
                let near = |by: Timestamp| by.millis() - self.now.millis() < 3 * 24 * 3600 * 1000;
                if facts.refresh_by.is_some_and(near) {
                    self.add(TrapKind::IdleLimitNear, &record.id);
                }
                if matches!(
                    row.refresh,
                    Refresh::Cooling {
                        reason: Reason::IpRestricted,
                        ..
                    }
                ) {
                    self.add(TrapKind::IpRestricted, &record.id);
                }
                if !facts.subject.is_empty() {
                    let subject = self.by_subject.entry(facts.subject.clone()).or_default();
                    subject.push(record.id.clone());
                }
            }
            Status::Revoked | Status::Deleted => {}
        }
    }

    fn add(&mut self, kind: TrapKind, id: &ConnectionId) {
        let (count, named) = self.found.entry(kind).or_default();
        *count += 1;
        if named.len() < NAMED {
            named.push(id.clone());
        }
    }

    /// The result.
    pub(super) fn traps(mut self, integration: &IntegrationId, keeps_alive: bool) -> Vec<Trap> {
        if let Some(most) = self.terms.grants_per_user {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            for ids in std::mem::take(&mut self.by_subject).into_values() {
                if ids.len() > most {
                    for id in &ids {
                        self.add(TrapKind::ApprovalsExhausted, id);
                    }
                }
            }
        }
        if self.terms.has_idle_limit && !keeps_alive {
            self.found.entry(TrapKind::IdleLimitWithoutKeepAlive).or_default();
        }
        self.found
            .into_iter()
            .map(|(kind, (count, connections))| Trap {
                kind,
                integration: Some(integration.clone()),
                count,
                connections,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connection::Decision, engine::ledger::record::tests::record};

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn terms() -> Terms {
        Terms {
            required_scopes: vec!["api".to_owned()],
            grants_per_user: Some(5),
            has_idle_limit: true,
        }
    }

    fn kinds(records: &[Record], keeps_alive: bool) -> Vec<(TrapKind, u64)> {
        let mut gathering = Gathering::new(terms(), NOW);
        for record in records {
            gathering.see(record);
        }
        let traps = gathering.traps(&IntegrationId::generate(), keeps_alive);
        traps.into_iter().map(|trap| (trap.kind, trap.count)).collect()
    }

    fn sound() -> Record {
        let mut record = record();
        record.facts.connected_at = NOW;
        record.facts.refresh_by = Some(Timestamp(NOW.0 + 30 * 24 * 3600 * 1000));
        record
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(kinds(&[sound()], true), []);
        assert_eq!(kinds(&[], false), [(TrapKind::IdleLimitWithoutKeepAlive, 0)]);
    }

    #[test]
    fn a_grant_that_never_could_be_refreshed_points_to_the_policy() {
        let mut dead = sound();
        dead.facts.row.status = Status::Expired;
        dead.facts.row.reason = Some(Reason::GrantExpiredOrRevoked);
        let mut expired_at = |millis: i64| {
            let set = dead.facts.row.version;
            dead.note(Decision {
                at: Timestamp(NOW.0 + millis),
                what: "expired".to_owned(),
                version: set,
                reason: None,
                token: None,
            });
            dead.clone()
        };
        let soon = expired_at(7_200_000);
        assert_eq!(
            kinds(std::slice::from_ref(&soon), true),
            [(TrapKind::RefreshPolicyImmediate, 1)]
        );
        let late = expired_at(40 * 24 * 3600 * 1000);
        assert_eq!(kinds(&[late], true), []);
        let mut refreshed = soon;
        refreshed.facts.row.version.generation = 4;
        assert_eq!(kinds(&[refreshed], true), []);
    }

    #[test]
    fn the_sixth_grant_of_a_user_is_one_too_many() {
        let five: Vec<_> = (0..5).map(|_| sound()).collect();
        assert_eq!(kinds(&five, true), []);
        let six: Vec<_> = (0..6).map(|_| sound()).collect();
        assert_eq!(kinds(&six, true), [(TrapKind::ApprovalsExhausted, 6)]);
    }

    #[test]
    fn scopes_limits_and_addresses_are_looked_at() {
        let mut record = sound();
        record.facts.scopes.clear();
        record.facts.refresh_by = Some(Timestamp(NOW.0 + 1));
        record.facts.row.refresh = Refresh::Cooling {
            until: NOW,
            failures: 1,
            reason: Reason::IpRestricted,
            unresolved: None,
        };
        let expected = [
            TrapKind::ScopeMissing,
            TrapKind::IdleLimitNear,
            TrapKind::IpRestricted,
        ];
        assert_eq!(kinds(&[record], true), expected.map(|kind| (kind, 1)));
    }
}
