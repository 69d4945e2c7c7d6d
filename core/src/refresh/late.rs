//! Sets that come late: after the connection was ended or reconnected, or after another presentation that may have ended
//! their family.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

use super::{
    cache::Entry,
    flight::Landing,
    present::{access_life_of, revoke_at_once},
    protocol, schedule,
    settle::{Lifeboat, stored},
};
use crate::{
    connection::{Reason, SetName},
    engine::Engine,
    error::{Code, Error},
    grant::tokens_context,
    id::ConnectionId,
    integrations::Loaded,
    provider::{AccessLife, Expiry, TokenSet},
    random,
    record::{Owed, Record},
    secret::{Secret, fingerprint},
    store::{Stored, Swap},
    time::BootInstant,
};

impl Engine {
    /// A set came back for a connection that was ended or reconnected meanwhile. It is owed a revocation, unless its
    /// refresh token is the one that the connection lives on. Answers the row, if there is one.
    pub(super) async fn owe_late(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        id: &ConnectionId,
        boat: &Lifeboat,
    ) -> Option<Stored> {
        let mine = boat
            .grant
            .refresh_token
            .as_ref()
            .unwrap_or(&boat.grant.access_token);
        let name = SetName {
            generation: boat.spent.generation + 1,
            ..boat.spent
        };
        for round in 0.. {
            if round > 0 {
                tokio::time::sleep(schedule::store_retry(round - 1, random::spread())).await;
            }
            let Ok((current, _)) = self.stores.connections.connection(id).await else {
                continue;
            };
            let Some(current) = current else { break };
            let Ok(mut record) = Record::decode(&current) else {
                continue;
            };
            if record.facts.moved.is_some() {
                // It lives elsewhere, perhaps on the very same grant.
                return Some(current);
            }
            let known = |o: &Owed| o.name == name;
            if record.facts.owed.iter().any(known) || record.facts.row.set == boat.set {
                // My write was applied though its answer was lost.
                return Some(current);
            }
            match super::turn::open(self, &record).await {
                Ok(living) if living.refresh_token.as_ref() == Some(mine) => return Some(current),
                // Whether it lives on my token cannot be seen now; it must not be revoked by mistake.
                Err(error) if error.is_retryable() => continue,
                Ok(_) | Err(_) => {}
            }
            let context = tokens_context(&record.integration, id, name);
            let Ok(sealed) = self.vault.seal(&context, &boat.grant.encode()).await else {
                continue;
            };
            record.facts.owed.push(Owed {
                name,
                sealed: BASE64_STANDARD_NO_PAD.encode(sealed),
                failures: 0,
                next: self.clock.wall(),
            });
            let token = fingerprint(mine.expose());
            self.note(&mut record, "late_set_owed", None, Some(&token));
            if let Ok(Swap::Swapped(revision)) = self
                .stores
                .connections
                .swap_connection(&self.row(&record), current.revision)
                .await
            {
                self.revoke_owed(id);
                return Some(stored(&record, revision));
            }
        }
        // No row to write it in.
        revoke_at_once(self, integration, mine).await;
        None
    }
}

/// When the access token of a set ends, by the present wall clock.
pub(super) fn ends_by_the_clock(engine: &Engine, entry: &Entry) -> BootInstant {
    engine.clock.boot() + engine.clock.wall().until(entry.expiry.at())
}

/// Tries a set that may have been ended by another presentation. Dead: the connection is expired, visibly. Unknown: it
/// is served, and the first refused call will tell. The access token `ends` at that moment anyway, whatever was done to
/// the wall clock since it was given.
pub(super) async fn verify(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    id: &ConnectionId,
    entry: Arc<Entry>,
    ends: BootInstant,
) -> Landing {
    let set = TokenSet {
        access_token: entry.credentials.access_token.duplicate(),
        refresh_token: None::<Secret>,
        instance_url: Some(entry.credentials.instance_url.clone()),
        scopes: None,
        expiry: Expiry::Assumed(entry.expiry.at()),
        subject: None,
    };
    let life = access_life_of(engine, integration, &set).await;
    // A token that came to its own end on the way, for instance while the machine slept, says nothing about its family.
    if life != Some(AccessLife::Dead) || engine.clock.boot() >= ends {
        return Ok(entry);
    }
    entry.refuse();
    for _ in 0..3 {
        let looks = engine.cache.looks();
        let (Some(stored), _) = engine.stores.connections.connection(id).await? else {
            break;
        };
        let record = Record::decode(&stored)?;
        let Some(row) = protocol::found_dead(&record.facts.row, entry.name(), Reason::OutcomeUnknown) else {
            // What replaced it meanwhile may be of the family that was ended, and then nobody else would notice.
            if protocol::follows(&record.facts.row, entry.name()) {
                let entry = engine.load(&stored, integration, looks).await?;
                let ends = ends_by_the_clock(engine, &entry);
                return Box::pin(verify(engine, integration, id, entry, ends)).await;
            }
            break;
        };
        if engine
            .expire(record, stored.revision, row, Reason::OutcomeUnknown)
            .await?
        {
            break;
        }
    }
    Err(Error::new(Code::ConnectionExpired).because(Reason::OutcomeUnknown.as_str()))
}
