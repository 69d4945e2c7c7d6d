//! Step 6: a new token set is stored, whoever holds the turn by then. Until it is, it lives in the lifeboat: this task's
//! memory, from which callers are served, while the write is repeated for ever.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;

use super::{
    cache::Entry,
    flight::{Landing, Pilot},
    present::access_life_of,
    protocol::{self, Commit, Policy},
    schedule,
};
use crate::{
    connection::{Reason, SetName},
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::{Grant, tokens_context},
    id::ConnectionId,
    integrations::Loaded,
    provider::{AccessLife, Expiry, TokenSet},
    random,
    record::{Owed, Record},
    secret::{Secret, fingerprint},
    store::{Revision, Stored, Swap},
    vault::VaultError,
};

/// A received set on its way into the store.
struct Lifeboat {
    grant: Grant,
    spent: SetName,
    set: u128,
    /// Sealed for the name that it will have.
    sealed: Option<(SetName, Bytes, String)>,
    /// Fingerprint of the refresh token that was spent.
    token: String,
}

/// What became of one try to store.
enum Try {
    Stored {
        record: Record,
        revision: Revision,
        verify: bool,
    },
    Superseded(Stored),
    Ended(Option<Stored>),
    Again,
}

/// Stores what came back for the set `spent`, serves the waiting callers, and does not give up.
#[expect(clippy::too_many_arguments, reason = "everything a settlement needs")]
pub(super) async fn settle(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    record: Record,
    stored: Stored,
    spent: Grant,
    answer: TokenSet,
    token: String,
    pilot: &Pilot,
) -> Landing {
    let instance_changed = answer
        .instance_url
        .as_ref()
        .is_some_and(|url| *url != spent.instance_url);
    let grant = Grant::merged(answer, &spent, engine.clock.wall());
    drop(spent);
    let mut boat = Lifeboat {
        grant,
        spent: record.facts.row.name,
        set: random::id()?,
        sealed: None,
        token,
    };
    let id = record.id.clone();
    let mut unsaved = false;
    let mut row = Some((record, stored.revision));
    for round in 0.. {
        let outcome = match row.take() {
            Some((record, revision)) => {
                engine
                    .try_store(&mut boat, integration, policy, record, revision)
                    .await
            }
            None => match engine.stores.connections.connection(&id).await {
                Ok((Some(stored), _)) => match Record::decode(&stored) {
                    Ok(record) => {
                        engine
                            .try_store(&mut boat, integration, policy, record, stored.revision)
                            .await
                    }
                    Err(_) => Try::Again,
                },
                Ok((None, _)) => Try::Ended(None),
                Err(_) => Try::Again,
            },
        };
        match outcome {
            Try::Stored {
                record,
                revision,
                verify,
            } => {
                if unsaved {
                    engine.saved(&record);
                }
                if instance_changed {
                    engine.emit(&record.integration, Some(&id), What::InstanceChanged);
                }
                engine.emit(
                    &record.integration,
                    Some(&id),
                    What::Refreshed(record.facts.row.name),
                );
                let entry = engine.make_entry(&record, boat.grant, Some(revision), integration)?;
                let entry = engine.cache.put(&id, entry);
                if let Ok(mut slot) = entry.revision.lock() {
                    *slot = Some(revision);
                }
                return if verify {
                    self::verify(engine, integration, &id, entry).await
                } else {
                    Ok(entry)
                };
            }
            Try::Superseded(stored) => {
                engine.emit(&integration.id, Some(&id), What::Superseded);
                return engine.load(&stored, integration).await;
            }
            Try::Ended(stored) => {
                engine.owe_late(integration, &id, stored, &boat).await;
                engine.cache.remove(&id);
                return Err(Code::ConnectionNotFound.into());
            }
            Try::Again => {
                if round > 0 && !unsaved {
                    // The second failure: callers are served from memory, visibly.
                    unsaved = true;
                    engine.publish_unsaved(&id, &boat, integration, pilot).await;
                }
                tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
            }
        }
    }
    Err(Error::new(Code::Internal).because("settle"))
}

impl Engine {
    async fn try_store(
        &self,
        boat: &mut Lifeboat,
        integration: &Loaded,
        policy: &Policy,
        record: Record,
        revision: Revision,
    ) -> Try {
        let (row, verify, rolled_back) =
            match protocol::commit(&record.facts.row, boat.spent, boat.set, policy) {
                Commit::Write {
                    row,
                    verify,
                    rolled_back,
                } => (row, verify, rolled_back),
                Commit::Stored => {
                    return Try::Stored {
                        record,
                        revision,
                        verify: false,
                    };
                }
                Commit::Superseded => return Try::Superseded(self.stored(record, revision)),
                Commit::Ended => return Try::Ended(Some(self.stored(record, revision))),
            };
        let Ok((sealed, key)) = self.seal_boat(boat, &record, row.name).await else {
            return Try::Again;
        };
        let mut next = record;
        if rolled_back {
            self.emit(&next.integration, Some(&next.id), What::StoreRolledBack);
        }
        next.facts.row = row;
        next.take_set(
            &boat.grant,
            sealed,
            key,
            integration.provider.idle_limit(&integration.client()),
        );
        let token = boat.token.clone();
        self.note(&mut next, "refreshed", None, Some(&token));
        match self
            .stores
            .connections
            .swap_connection(&next.encode(), revision)
            .await
        {
            Ok(Swap::Swapped(revision)) => Try::Stored {
                record: next,
                revision,
                verify,
            },
            Ok(Swap::Missing) => Try::Ended(None),
            Ok(Swap::Conflict) | Err(_) => Try::Again,
        }
    }

    async fn seal_boat(
        &self,
        boat: &mut Lifeboat,
        record: &Record,
        name: SetName,
    ) -> Result<(Bytes, String), VaultError> {
        if let Some((sealed_for, sealed, key)) = &boat.sealed
            && *sealed_for == name
        {
            return Ok((sealed.clone(), key.clone()));
        }
        let context = tokens_context(&record.integration, &record.id, name);
        let sealed = Bytes::from(self.vault.seal(&context, &boat.grant.encode()).await?);
        let key = self.vault.key_of(&sealed).unwrap_or_default();
        boat.sealed = Some((name, sealed.clone(), key.clone()));
        Ok((sealed, key))
    }

    fn stored(&self, record: Record, revision: Revision) -> Stored {
        Stored {
            row: record.encode(),
            revision,
            hot: crate::store::HotFacts::default(),
        }
    }

    /// Serves the waiting callers from memory, since the set is safe here but not stored yet.
    async fn publish_unsaved(&self, id: &ConnectionId, boat: &Lifeboat, integration: &Loaded, pilot: &Pilot) {
        self.emit(&integration.id, Some(id), What::Unsaved);
        metrics::gauge!("grantry_unsaved").increment(1.0);
        tracing::error!(connection = %id, "a new token set cannot be stored yet; it lives in this process only");
        let Some(old) = self.cache.get(id) else { return };
        let name = SetName {
            generation: boat.spent.generation + 1,
            ..boat.spent
        };
        let Ok(mut authorization) =
            http::HeaderValue::from_str(&format!("Bearer {}", boat.grant.access_token.expose()))
        else {
            return;
        };
        authorization.set_sensitive(true);
        let credentials = crate::connection::Credentials {
            access_token: boat.grant.access_token.duplicate(),
            instance_url: boat.grant.instance_url.clone(),
            environment: old.credentials.environment,
            region: old.credentials.region.clone(),
            token_type: "Bearer",
            expires_at: boat.grant.expiry.at(),
            set: name,
            authorization,
        };
        let entry = Entry::new(
            integration.id.clone(),
            credentials,
            integration.gate.clone(),
            boat.grant.expiry,
            boat.grant.obtained_at,
            None,
            Bytes::new(),
            String::new(),
            boat.set,
            self.settings.minimum,
            random::spread(),
        );
        let entry = self.cache.put(id, Arc::new(entry));
        pilot.land(Ok(entry));
    }

    fn saved(&self, record: &Record) {
        metrics::gauge!("grantry_unsaved").decrement(1.0);
        self.emit(&record.integration, Some(&record.id), What::Saved);
    }

    /// A set came back for a connection that was ended or reconnected meanwhile. It is owed a revocation, unless its
    /// refresh token is the one that the connection lives on.
    async fn owe_late(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        id: &ConnectionId,
        stored: Option<Stored>,
        boat: &Lifeboat,
    ) {
        let mine = boat
            .grant
            .refresh_token
            .as_ref()
            .unwrap_or(&boat.grant.access_token);
        for round in 0..6 {
            let current = match (&stored, round) {
                (Some(stored), 0) => Some(stored.clone()),
                _ => match self.stores.connections.connection(id).await {
                    Ok((current, _)) => current,
                    Err(_) => {
                        tokio::time::sleep(schedule::store_retry(round, random::spread())).await;
                        continue;
                    }
                },
            };
            let Some(current) = current else { break };
            let Ok(mut record) = Record::decode(&current) else {
                break;
            };
            if let Ok(living) = super::turn::open(self, &record).await
                && living.refresh_token.as_ref() == Some(mine)
            {
                return;
            }
            let name = SetName {
                generation: boat.spent.generation + 1,
                ..boat.spent
            };
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
            self.note(
                &mut record,
                "late_set_owed",
                None,
                Some(&fingerprint(mine.expose())),
            );
            if let Ok(Swap::Swapped(_)) = self
                .stores
                .connections
                .swap_connection(&record.encode(), current.revision)
                .await
            {
                self.revoke_owed(id);
                return;
            }
        }
        // No row to write it in: it is revoked from memory, as far as that goes.
        let _ = integration
            .provider
            .revoke(&self.http(), &integration.client(), mine)
            .await;
    }
}

/// Tries a set that may have been ended by another presentation. Dead: the connection is expired, visibly. Unknown: it
/// is served, and the first refused call will tell.
pub(super) async fn verify(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    id: &ConnectionId,
    entry: Arc<Entry>,
) -> Landing {
    let set = TokenSet {
        access_token: entry.credentials.access_token.duplicate(),
        refresh_token: None::<Secret>,
        instance_url: Some(entry.credentials.instance_url.clone()),
        scopes: None,
        expiry: Expiry::Assumed(entry.expiry.at()),
        subject: None,
    };
    if access_life_of(engine, integration, &set).await != Some(AccessLife::Dead) {
        return Ok(entry);
    }
    entry.refuse();
    for _ in 0..3 {
        let (Some(stored), _) = engine.stores.connections.connection(id).await? else {
            break;
        };
        let record = Record::decode(&stored)?;
        let Some(row) = protocol::found_dead(&record.facts.row, entry.name(), Reason::OutcomeUnknown) else {
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
