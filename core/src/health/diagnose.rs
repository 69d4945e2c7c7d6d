//! Looks at every connection, and asks the providers, to name the traps that an app has fallen into.

use std::{sync::Arc, time::Duration};

use super::{
    Health, Trap, TrapKind,
    traps::{Gathering, Terms},
};
use crate::{
    engine::Engine,
    error::{Code, Error},
    id::ConnectionId,
    integrations::{Loaded, Switch},
    provider::{Failure, Verdict},
    record::Record,
    store::{ConnectionFilter, StatusFilter},
};

const PAGE: u32 = 256;
/// How long a provider is waited for.
const ASK_LIMIT: Duration = Duration::from_secs(9);
/// Clocks differ by less than this, as a rule.
const SKEW: Duration = Duration::from_secs(60);
/// Rows that wait longer say that nobody sweeps.
const BEHIND: Duration = Duration::from_secs(600);

impl Engine {
    /// Every trap that can be recognised.
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
        for stored in self.integrations.rows(self).await? {
            // What cannot be read is told by `health`.
            if let Ok(loaded) = self.integrations.keep(self, &stored).await {
                if let Some(away) = loaded.body.away() {
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
        let mut before: Option<ConnectionId> = None;
        loop {
            let page = self
                .stores
                .connections
                .list_connections(&filter, before.as_ref(), PAGE)
                .await?;
            for record in page.items.iter().filter_map(|stored| Record::decode(stored).ok()) {
                gathering.see(&record);
            }
            before = page.items.last().map(|stored| stored.row.id.clone());
            if !page.more || before.is_none() {
                break;
            }
        }
        let mut traps = gathering.traps(&integration.id, self.settings.keep_alive.idle_limit);
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

    /// Asks the provider about the client, which spends nothing, and looks at its clock.
    async fn ask(&self, integration: &Loaded) -> Option<TrapKind> {
        let (http, client) = (self.http(), integration.client());
        let verify = integration.provider.verify_client(&http, &client);
        let answer = tokio::time::timeout(ASK_LIMIT, verify).await;
        match answer {
            Err(_) | Ok(Err(Failure::NotSent | Failure::Unknown(_))) => Some(TrapKind::ProviderUnreachable),
            Ok(Err(Failure::Refused(refusal))) if refusal.verdict == Verdict::ClientMisconfigured => {
                Some(TrapKind::ClientRefused)
            }
            Ok(_) => {
                let skew = self.transport.skew(&integration.provider.token_host(&client));
                skew.is_some_and(|skew| skew > SKEW)
                    .then_some(TrapKind::ClockSkew)
            }
        }
    }
}
