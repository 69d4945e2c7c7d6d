//! Reads every connection, and asks the providers, to find common misconfigurations of the app.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;

use super::{
    Health, Trap, TrapKind,
    doctor::Doctor,
    traps::{Gathering, Terms},
};
use crate::{
    engine::{
        directory::{Loaded, Switch},
        ledger::record::Record,
        pages,
    },
    error::{Code, Error},
    provider::{Failure, Verdict},
    store::{ConnectionFilter, StatusFilter},
};

/// Synchronised clocks differ by less.
const SKEW: Duration = Duration::from_secs(60);
/// Rows overdue by more mean that no process sweeps.
const BEHIND: Duration = Duration::from_secs(600);

impl Doctor {
    /// Every trap that can be detected.
    pub(crate) async fn diagnose(&self, health: &Health) -> Result<Vec<Trap>, Error> {
        let mut traps = Vec::new();
        let mut add = |kind, count| {
            traps.push(Trap {
                kind,
                integration: None,
                count,
                connections: Vec::new(),
            });
        };
        let missing: u64 = health
            .keys
            .iter()
            .filter(|k| !k.at_hand)
            .map(|k| k.connections)
            .sum();
        if missing > 0 {
            add(TrapKind::KeyMissing, missing);
        }
        if health.sweep_behind > BEHIND {
            add(TrapKind::NobodySweeps, 0);
        }
        for stored in self.directory.rows().await? {
            // `health` reports what cannot be read.
            if let Ok(loaded) = self.directory.keep(&stored).await {
                if let Some(away) = loaded.body.migrated() {
                    traps.push(Trap {
                        kind: match away {
                            Code::StoreArriving => TrapKind::StoreArriving,
                            _ => TrapKind::StoreMoved,
                        },
                        integration: Some(stored.row.id.clone()),
                        count: 0,
                        connections: Vec::new(),
                    });
                    continue;
                }
                traps.extend(self.traps_of(&loaded).await?);
            }
        }
        Ok(traps)
    }

    async fn traps_of(&self, integration: &Arc<Loaded>) -> Result<Vec<Trap>, Error> {
        let client = integration.client();
        let terms = Terms {
            required_scopes: integration.offering.required_scopes.clone(),
            grants_per_user: integration.provider.grants_per_user(&client),
            has_idle_limit: integration.provider.idle_limit(&client).is_some(),
        };
        let mut gathering = Gathering::new(terms, self.clock.wall());
        let filter = ConnectionFilter::of(&integration.id, StatusFilter::Live);
        let mut pages = pin!(pages::connections(&*self.connections, &filter));
        while let Some(page) = pages.try_next().await? {
            for record in page.iter().filter_map(|stored| Record::decode(stored).ok()) {
                gathering.see(&record);
            }
        }
        let mut traps = gathering.traps(&integration.id, self.keep_alive.idle_limit);
        if integration.body.switch == Switch::On {
            traps.extend(self.ask(integration).await.map(|kind| Trap {
                kind,
                integration: Some(integration.id.clone()),
                count: 0,
                connections: Vec::new(),
            }));
        }
        Ok(traps)
    }

    /// Verifies the client with the provider, which spends nothing, and compares clocks.
    async fn ask(&self, integration: &Loaded) -> Option<TrapKind> {
        let target = integration.target();
        let asked = self.upstream.verify_client(&target).await;
        match asked.map_err(|failed| failed.failure) {
            Err(Failure::NotSent | Failure::Unknown(_)) => Some(TrapKind::ProviderUnreachable),
            Err(Failure::Refused(refusal)) if refusal.verdict == Verdict::ClientMisconfigured => {
                Some(TrapKind::ClientRefused)
            }
            Ok(()) | Err(Failure::Refused(_)) => {
                let skew = self.upstream.skew(&target);
                skew.is_some_and(|skew| skew > SKEW)
                    .then_some(TrapKind::ClockSkew)
            }
        }
    }
}
