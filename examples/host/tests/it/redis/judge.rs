//! What became of every connection and of every token that was presented, as the provider has it.
//!
//! A connection *works* if a caller who finds its tokens refused gets new ones that are the living ones at the provider.
//! That takes a refresh, so the stored refresh token was the living one. Otherwise it must be *shown* by the health route
//! of a living host: its outcome is unknown, or it has expired. One that is neither is a silent loss.
//!
//! A token may be presented again only if its row recorded both leases, and a minute after the first.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use grantry_salesforce_simulator::Presentation;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::fleet::{Fleet, PATIENCE, generation};
use crate::support::{ADMIN_KEY, Host};

/// What the protocol waits after a presentation whose outcome is not known.
const QUARANTINE: i64 = 60_000;
/// A lease is half a minute, and one that lapsed shows; the rest is for slow machines.
const SHOWS_WITHIN: Duration = Duration::from_secs(90);
/// A lease, a quarantine, the sweep, and the rest for slow machines.
const DECIDED_WITHIN: Duration = Duration::from_secs(240);

/// What was found, over all rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) presentations: usize,
    /// Presentations of a token that was presented before.
    pub(super) repeated: usize,
    /// Those of them that no record allowed.
    pub(super) unrecorded: usize,
    /// Connections whose outcome is unknown, or that expired.
    pub(super) shown: BTreeMap<String, Shown>,
}

/// A connection that does not work.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// Whether the store lacks the set that lives at the provider.
    pub(super) lost: bool,
}

impl Verdict {
    /// The connections whose living set no longer exists outside of the provider.
    pub(super) fn lost(&self) -> usize {
        self.shown.values().filter(|shown| shown.lost).count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            presentations,
            repeated,
            unrecorded,
            shown,
        } = self;
        let lost = self.lost();
        write!(
            f,
            "presentations={presentations} repeated={repeated} unrecorded={unrecorded} lost={lost} silent=0 shown={}",
            shown.len()
        )
    }
}

impl Fleet {
    /// Looks at all connections, when nobody works with them, and at all presentations so far. Those that do not work are
    /// set aside.
    pub(super) async fn judge(self: &Arc<Self>, verdict: &mut Verdict) {
        let mut all = JoinSet::new();
        for connection in self.users().into_keys() {
            if verdict.shown.contains_key(&connection) {
                continue;
            }
            let fleet = self.clone();
            all.spawn(async move {
                let shown = fleet.works_or_shows(&connection).await;
                (connection, shown)
            });
        }
        for (connection, shown) in all.join_all().await {
            if let Some(shown) = shown {
                self.set_aside(&connection);
                verdict.shown.insert(connection, shown);
            }
        }
        self.count_presentations(verdict).await;
    }

    async fn works_or_shows(&self, connection: &str) -> Option<Shown> {
        let looking = async {
            loop {
                // Each is asked, since one may have in its memory what the store lost.
                for host in self.hosts() {
                    if self.works(&host, connection).await {
                        return None;
                    }
                }
                // One that a host still has to store is on its way.
                if self.is_unsaved(connection).await {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
                let host = &self.hosts()[0];
                if shown(host, connection).await && !self.is_unsaved(connection).await {
                    let user = &self.users()[connection];
                    let history = self.history(host, connection).await;
                    let lost = self.living(&user.name) != Some(generation(&last_lease(&history)));
                    println!(
                        "{connection} does not work, lost={lost}:\n{}",
                        self.log(connection)
                    );
                    return Some(Shown { lost });
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let Ok(found) = tokio::time::timeout(SHOWS_WITHIN, looking).await else {
            panic!(
                "{connection} does not work, and nothing shows it: a silent loss\n{}",
                self.log(connection)
            );
        };
        found
    }

    async fn works(&self, host: &Host, connection: &str) -> bool {
        let asked = tokio::time::timeout(PATIENCE, self.refresh(host, connection));
        let Ok(Ok(set)) = asked.await else {
            return false;
        };
        // It may be in work for a caller who went away.
        if self.living(&self.users()[connection].name) != Some(generation(&set)) {
            return false;
        }
        let call = json!({ "method": "GET", "path": "/services/data/v66.0/limits" });
        host.proxy(connection, &self.integration.api_key, &call)
            .await
            .status
            == 200
    }

    /// Whether a host has a set of this connection that is not stored yet.
    async fn is_unsaved(&self, connection: &str) -> bool {
        for host in self.hosts() {
            let health = health(&host).await;
            let unsaved = health["unsaved"].as_array().unwrap();
            if unsaved
                .iter()
                .any(|unsaved| unsaved["connectionId"] == connection)
            {
                return true;
            }
        }
        false
    }

    /// The generation that lives at the provider.
    fn living(&self, user: &str) -> Option<u64> {
        let families = self.world.simulator.families();
        let family = families.into_iter().find(|family| family.username == user)?;
        Some(family.generation)
    }

    async fn history(&self, host: &Host, connection: &str) -> Vec<Value> {
        let path = format!("/api/v1/connections/{connection}/history");
        let told = host
            .get(&path, &self.integration.api_key)
            .await
            .expect(200)
            .json();
        told["history"].as_array().unwrap().clone()
    }

    /// Looks at every token that was presented more than once.
    async fn count_presentations(&self, verdict: &mut Verdict) {
        let mut tokens: BTreeMap<String, Vec<Presentation>> = BTreeMap::new();
        let log = self.world.presentations();
        verdict.presentations = log.len();
        verdict.repeated = 0;
        verdict.unrecorded = 0;
        for entry in log {
            tokens
                .entry(entry.token_fingerprint.clone())
                .or_default()
                .push(entry);
        }
        for (_, presentations) in tokens.iter().filter(|(_, all)| all.len() > 1) {
            verdict.repeated += presentations.len() - 1;
            let allowed = self.leases(&presentations[0]).await >= presentations.len();
            for pair in presentations.windows(2) {
                let early = pair[1].arrived_at - pair[0].arrived_at < QUARANTINE;
                if early || pair[1].in_flight_overlap || !allowed {
                    verdict.unrecorded += 1;
                    let connection = self.connection_of(&pair[1]).unwrap_or_default();
                    println!(
                        "presented again without a record: {pair:#?}\n{}",
                        self.log(&connection)
                    );
                }
            }
        }
    }

    fn connection_of(&self, presented: &Presentation) -> Option<String> {
        let users = self.users().into_iter();
        let mut found = users.filter(|(_, user)| presented.username.as_ref() == Some(&user.name));
        found.next().map(|(connection, _)| connection)
    }

    /// How many turns the row has recorded for a token.
    async fn leases(&self, presented: &Presentation) -> usize {
        let host = &self.hosts()[0];
        let Some(connection) = self.connection_of(presented) else {
            return 0;
        };
        let history = self.history(host, &connection).await;
        let of_this = history.iter().filter(|decision| {
            let set = decision["tokenSet"].as_str().unwrap_or_default();
            decision["what"] == "turn_taken" && Some(generation(set)) == presented.generation
        });
        of_this.count()
    }

    /// Waits until of everything that was shown it is decided whether it is lost: what lives works again, what does not
    /// has expired for that reason. No access token lives any more, since nothing is risked while one does.
    pub(super) async fn decide(self: &Arc<Self>, verdict: &mut Verdict) {
        self.world.simulator.expire_sessions(None).unwrap();
        let mut all = JoinSet::new();
        for (connection, Shown { lost }) in verdict.shown.clone() {
            let fleet = self.clone();
            all.spawn(async move { fleet.is_decided(&connection, lost).await });
        }
        all.join_all().await;
        self.count_presentations(verdict).await;
    }

    async fn is_decided(&self, connection: &str, lost: bool) {
        let host = &self.hosts()[0];
        let mut last = String::new();
        let decided = async {
            loop {
                let Err(refused) = self.refresh(host, connection).await else {
                    assert!(!lost, "{connection} was lost and works");
                    return;
                };
                last = refused;
                let path = format!("/api/v1/connections/{connection}");
                let detail = host.get(&path, &self.integration.api_key).await;
                let detail = detail.expect(200).json();
                if detail["status"] == "expired" {
                    assert_eq!(detail["reason"], "outcome_unknown", "{detail}");
                    assert!(lost, "{connection} was not lost and has expired: {detail}");
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let in_time = tokio::time::timeout(DECIDED_WITHIN, decided).await;
        assert!(
            in_time.is_ok(),
            "{connection} is never decided: {last}\n{}",
            self.log(connection)
        );
    }
}

async fn health(host: &Host) -> Value {
    host.get("/api/v1/health", ADMIN_KEY).await.expect(200).json()
}

/// Whether the health route of a host shows a connection as one that may need its user.
async fn shown(host: &Host, connection: &str) -> bool {
    let health = health(host).await;
    ["outcomeUnknown", "expired"].into_iter().any(|kind| {
        let items = health[kind]["items"].as_array();
        items.is_some_and(|items| items.iter().any(|item| item["connectionId"] == connection))
    })
}

/// The set that the last lease was about.
fn last_lease(history: &[Value]) -> String {
    let lease = history
        .iter()
        .rev()
        .find(|decision| decision["what"] == "turn_taken");
    lease.unwrap()["tokenSet"].as_str().unwrap().to_owned()
}
