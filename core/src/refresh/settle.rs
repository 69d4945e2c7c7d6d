//! Step 6: a new token set is stored, whoever holds the turn by then. Until it is, it lives in the lifeboat: this task's
//! memory, from which callers are served, while the write is repeated for ever.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    cache::Entry,
    confirm::{self, Stands},
    flight::{Landing, Pilot},
    late,
    lifeboats::Seat,
    present::{Turn, revoke_at_once},
    protocol::{self, Commit, Policy},
    schedule,
};
use crate::{
    connection::{SetName, Status},
    engine::Engine,
    error::{Code, Error},
    event::What,
    grant::{Grant, tokens_context},
    id::ConnectionId,
    integration::Environment,
    integrations::Loaded,
    provider::TokenSet,
    random,
    record::Record,
    store::{Revision, Stored, Swap},
    time::BootInstant,
    vault::VaultError,
};

/// A received set on its way into the store.
pub(super) struct Lifeboat {
    pub(super) grant: Grant,
    pub(super) spent: SetName,
    pub(super) set: u128,
    /// Sealed for the name that it will have.
    sealed: Option<(SetName, Bytes, String)>,
    /// Fingerprint of the refresh token that was spent.
    pub(super) token: String,
    /// One of the tries to store would have it verified.
    pub(super) verify: bool,
    /// It came back for an expired connection.
    recovers: bool,
    /// The turn in which it was asked for had passed.
    late: bool,
    environment: Environment,
    region: String,
    /// Where the connection's API is served is news.
    moved_instance: bool,
    /// When the access token ends.
    pub(super) ends: BootInstant,
    /// The store took it once.
    pub(super) taken: bool,
    pub(super) seat: Seat,
}

/// The row as it was read.
pub(super) fn stored(record: &Record, revision: Revision) -> Stored {
    Stored {
        row: record.encode(None),
        revision,
        hot: crate::store::HotFacts::default(),
    }
}

/// What became of one try to store.
#[expect(
    clippy::large_enum_variant,
    reason = "made once per refresh, and taken apart at once"
)]
pub(super) enum Try {
    Stored {
        record: Record,
        revision: Revision,
        /// It was written now, and did not stand there already.
        written: bool,
    },
    Superseded(Stored),
    /// By this row, or it is gone.
    Ended(Option<Stored>),
    /// The connection was copied to another store.
    Moved,
    /// Somebody else wrote the row.
    Conflict,
    /// The store or the vault did not do it, as far as is known.
    Failed,
}

/// Stores what came back for the set `spent`, whose access token `ends` at that moment, serves the waiting callers, and does not give up.
#[expect(clippy::too_many_arguments, reason = "everything a settlement needs")]
pub(super) async fn settle(
    engine: &Arc<Engine>,
    integration: &Arc<Loaded>,
    policy: &Policy,
    record: Record,
    stored: Stored,
    spent: Grant,
    answer: TokenSet,
    ends: BootInstant,
    token: String,
    turn: Turn,
    pilot: &Pilot,
) -> Landing {
    let moved_instance = answer
        .instance_url
        .as_ref()
        .is_some_and(|url| *url != spent.instance_url);
    let grant = Grant::merged(answer, &spent, engine.clock.wall());
    drop(spent);
    let seat = engine
        .lifeboats
        .seat(&record.id, record.facts.row.name, turn.holder);
    let mut boat = Lifeboat {
        grant,
        spent: record.facts.row.name,
        set: turn.holder,
        sealed: None,
        token,
        verify: false,
        recovers: false,
        late: false,
        environment: record.facts.environment,
        region: record.facts.profile.region.clone(),
        moved_instance,
        ends,
        taken: false,
        seat,
    };
    if engine.clock.boot() - turn.since > policy.turn {
        engine.came_late(&mut boat, &record);
    }
    let id = record.id.clone();
    let mut failures = 0;
    let mut row = Some((record, stored.revision));
    loop {
        let looks = engine.cache.looks();
        let outcome = match row.take() {
            Some((record, revision)) => {
                engine
                    .try_store(&mut boat, integration, policy, record, revision)
                    .await
            }
            None => engine.look_and_store(&mut boat, integration, policy, &id).await,
        };
        match outcome {
            Try::Stored { record, revision, .. } => {
                let (made, served) = engine.landed(&mut boat, integration, &record, revision, looks)?;
                let verify = boat.verify;
                if policy.rules.confirm {
                    confirm::keep_until_safe(engine, integration, policy, &id, boat, Stands::Set(revision));
                }
                return if verify {
                    late::verify(engine, integration, &id, made, ends).await
                } else {
                    Ok(served)
                };
            }
            Try::Superseded(stored) => {
                engine.emit(&integration.id, Some(&id), What::Superseded);
                if !policy.rules.superseded_kept
                    && let Some(token) = &boat.grant.refresh_token
                {
                    revoke_at_once(engine, integration, token).await;
                }
                return engine.load(&stored, integration, looks).await;
            }
            Try::Ended(ended) => {
                engine.cache.remove(&id);
                let end = Stands::ended(ended.as_ref());
                confirm::keep_until_safe(engine, integration, policy, &id, boat, end);
                // Who reconnected it meanwhile left a set to serve.
                return match ended {
                    Some(stored) => engine.load(&stored, integration, looks).await,
                    None => Err(Code::ConnectionNotFound.into()),
                };
            }
            Try::Moved => {
                if boat.seat.is_lowered() {
                    engine.emit(&integration.id, Some(&id), What::Saved);
                }
                engine.cache.remove(&id);
                return Err(Code::StoreMoved.into());
            }
            Try::Conflict => {}
            Try::Failed => {
                // The second failure: callers are served from memory, visibly.
                if failures > 0 && boat.seat.lower(engine.clock.wall()) {
                    engine.publish_unsaved(&id, &boat, integration, pilot);
                }
                tokio::time::sleep(schedule::store_retry(failures, random::spread())).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

impl Engine {
    /// Reads the row, and stores the set if that is to be done.
    pub(super) async fn look_and_store(
        &self,
        boat: &mut Lifeboat,
        integration: &Loaded,
        policy: &Policy,
        id: &ConnectionId,
    ) -> Try {
        match self.stores.connections.connection(id).await {
            Ok((Some(stored), _)) => match Record::decode(&stored) {
                Ok(record) => {
                    self.try_store(boat, integration, policy, record, stored.revision)
                        .await
                }
                Err(_) => Try::Failed,
            },
            Ok((None, _)) => Try::Ended(None),
            Err(_) => Try::Failed,
        }
    }

    async fn try_store(
        &self,
        boat: &mut Lifeboat,
        integration: &Loaded,
        policy: &Policy,
        record: Record,
        revision: Revision,
    ) -> Try {
        if record.facts.moved.is_some() {
            return self
                .keep_for_copy(boat, integration, policy, &record, revision)
                .await;
        }
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
                        written: false,
                    };
                }
                Commit::Superseded => return Try::Superseded(stored(&record, revision)),
                Commit::Ended => return Try::Ended(Some(stored(&record, revision))),
            };
        let Ok((sealed, key)) = self.seal_boat(boat, &record, row.name).await else {
            return Try::Failed;
        };
        if !protocol::holds(&record.facts.row, boat.set) {
            self.came_late(boat, &record);
        }
        boat.verify |= verify;
        boat.recovers |= record.facts.row.status == Status::Expired;
        let mut next = record;
        if rolled_back || boat.taken {
            self.rolled_back(&next);
        }
        next.facts.row = row;
        next.take_set(
            &boat.grant,
            sealed,
            key,
            integration.provider.idle_limit(&integration.client()),
        );
        let token = boat.token.clone();
        let what = if boat.taken { "stored_again" } else { "refreshed" };
        self.note(&mut next, what, None, Some(&token));
        match self
            .stores
            .connections
            .swap_connection(&self.row(&next), revision)
            .await
        {
            Ok(Swap::Swapped(revision)) => Try::Stored {
                record: next,
                revision,
                written: true,
            },
            Ok(Swap::Missing) => Try::Ended(None),
            Ok(Swap::Conflict) => Try::Conflict,
            Err(_) => Try::Failed,
        }
    }

    /// The presenter slept, or was cut off, for longer than its turn.
    fn came_late(&self, boat: &mut Lifeboat, record: &Record) {
        if !std::mem::replace(&mut boat.late, true) {
            self.emit(&record.integration, Some(&record.id), What::LatePresenter);
            metrics::counter!("grantry_late_presenters").increment(1);
        }
    }

    pub(super) async fn seal_boat(
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

    /// The store took the set, which is said, and it is served from memory: the entry that was made of it, and the one that
    /// is served, which may be a newer one.
    pub(super) fn landed(
        &self,
        boat: &mut Lifeboat,
        integration: &Loaded,
        record: &Record,
        revision: Revision,
        looks: u64,
    ) -> Result<(Arc<Entry>, Arc<Entry>), Error> {
        boat.taken = true;
        let (integration_id, id) = (&record.integration, &record.id);
        if boat.recovers {
            self.emit(integration_id, Some(id), What::Recovered);
        }
        if boat.moved_instance {
            self.emit(integration_id, Some(id), What::InstanceChanged);
        }
        let name = record.facts.row.name;
        self.emit(integration_id, Some(id), What::Refreshed(name));
        let made = self.make_entry(record, boat.grant.duplicate(), Some(revision), integration)?;
        // A reconnect that was seen meanwhile, and which the store lost since.
        if self.cache.get(id).is_some_and(|e| e.name().epoch != name.epoch) {
            self.cache.remove(id);
        }
        let served = self.cache.put(id, made.clone(), looks);
        Ok((made, served))
    }

    /// Serves the waiting callers from memory, since the set is safe here but not stored yet.
    fn publish_unsaved(&self, id: &ConnectionId, boat: &Lifeboat, integration: &Loaded, pilot: &Pilot) {
        self.emit(&integration.id, Some(id), What::Unsaved);
        tracing::error!(connection = %id, "a new token set cannot be stored yet; it lives in this process only");
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
            environment: boat.environment,
            region: boat.region.clone(),
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
        let entry = self.cache.put(id, Arc::new(entry), self.cache.looks());
        pilot.tell(Ok(entry));
    }
}
