//! Carries out what a [`KeepSet`] asks for. Holds the received tokens meanwhile.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;

use super::{
    hand::Hand,
    lead::Flight,
    open,
    present::{revocable, revoke_at_once},
    protocol::{
        KeepSet, Policy,
        keep_set::{Answer, Command, Compared, Confirm, Event, Notice},
        machine::{Read, Write, Written},
    },
    run::{self, Execute},
    single_flight::Outcome,
    unsaved::Guard,
    verify,
};
use crate::{
    connection::SetName,
    engine::Engine,
    error::Code,
    event::What,
    grant::{Grant, tokens_context},
    integrations::Loaded,
    record::Owed,
    secret::fingerprint,
    time::BootInstant,
    vault::VaultError,
};

/// What it works with.
pub(super) struct Executor<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) integration: &'a Arc<Loaded>,
    pub(super) policy: &'a Policy,
    pub(super) hand: Hand,
    pub(super) set: Set,
    /// Those who wait for the refresh; `None` once they are answered.
    pub(super) flight: Option<Flight>,
    /// The set in memory once the store took it, or what its verification found.
    pub(super) stored: Option<Outcome>,
}

/// A received token set.
pub(super) struct Set {
    pub(super) grant: Grant,
    pub(super) spent: SetName,
    pub(super) write_id: u128,
    /// When its access token ends.
    pub(super) ends: BootInstant,
    /// Where the connection's API is served is news.
    pub(super) instance_changed: bool,
    /// Sealed for the name that it will have.
    pub(super) sealed: Option<Sealed>,
    pub(super) guard: Guard,
}

pub(super) struct Sealed {
    name: SetName,
    bytes: Bytes,
    key: String,
}

impl Execute<KeepSet> for Executor<'_> {
    async fn execute(&mut self, command: Command) -> Event {
        match command {
            Command::Read => {
                let read = self.hand.read().await;
                Event::Read(self.with_owed(read))
            }
            Command::Seal(name) => Event::Sealed(self.seal(name).await),
            Command::Store { write, migrated } => Event::Written(self.store(write, migrated).await),
            Command::Verify => {
                self.verify().await;
                Event::Done
            }
            Command::Answer(answer) => {
                self.answer(answer).await;
                Event::Done
            }
            Command::Confirm(Confirm::Set) => Event::Confirmed(self.hand.confirm("set").await),
            Command::Confirm(Confirm::Reconnect) => Event::Confirmed(self.hand.confirm("reconnect").await),
            Command::Compare => Event::Compared(self.compare().await),
            Command::Owe => Event::Written(self.owe().await),
            Command::RevokeReceived => {
                revoke_at_once(self.engine, self.integration, revocable(&self.set.grant)).await;
                Event::Done
            }
            Command::Sleep(wait) => {
                run::sleep(wait).await;
                Event::Woken
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        let (id, integration) = (&self.hand.id, &self.integration.id);
        let emit = |what| self.engine.emit(integration, Some(id), what);
        match notice {
            Notice::Late => {
                emit(What::LatePresenter);
                metrics::counter!("grantry_late_presenters").increment(1);
            }
            Notice::RolledBack => self.engine.rolled_back(integration, id),
            Notice::Stored { recovers } => self.stored = Some(self.keep_in_memory(recovers)),
            Notice::Superseded => emit(What::Superseded),
            Notice::Forget => self.engine.cache.remove(id),
            Notice::Unsaved => self.publish_unsaved(),
            Notice::AtRisk => {
                self.set.guard.mark_unsaved(self.engine.clock.wall());
                emit(What::Unsaved);
                tracing::error!(connection = %id, "a token set is kept at hand, since what is stored might be lost with a machine");
            }
            Notice::Saved => emit(What::Saved),
            Notice::CameAfterCopy => {
                emit(What::CameAfterCopy);
                tracing::error!(connection = %id, "a token set came back after its connection was copied to another store; run the copy once more, so that it gets there");
            }
            Notice::LeftOver => {
                tracing::error!(connection = %id, "a token set came back for a connection that was ended and copied to another store; its grant may live on at the provider");
            }
            Notice::Owed => self.engine.revoke_owed(id),
        }
    }
}

impl Executor<'_> {
    /// The name under which the set is owed a revocation.
    fn own_name(&self) -> SetName {
        let spent = self.set.spent;
        SetName {
            generation: spent.generation + 1,
            ..spent
        }
    }

    pub(super) fn with_owed(&self, read: Read) -> Read {
        let Read::Row(mut view) = read else { return read };
        view.owed = self.hand.held().is_ok_and(|held| held.owes(self.own_name()));
        Read::Row(view)
    }

    async fn seal(&mut self, name: SetName) -> bool {
        if self.set.sealed.as_ref().is_some_and(|sealed| sealed.name == name) {
            return true;
        }
        let Ok(bytes) = self.seal_as(name).await else {
            return false;
        };
        let key = self.engine.vault.key_of(&bytes).unwrap_or_default();
        self.set.sealed = Some(Sealed { name, bytes, key });
        true
    }

    async fn seal_as(&self, name: SetName) -> Result<Bytes, VaultError> {
        let context = tokens_context(&self.integration.id, &self.hand.id, name);
        let sealed = self.engine.vault.seal(&context, &self.set.grant.encode()).await?;
        Ok(Bytes::from(sealed))
    }

    async fn store(&mut self, write: Write, migrated: bool) -> Written {
        let Some(Sealed { bytes, key, .. }) = &self.set.sealed else {
            return Written::Failed;
        };
        let Ok(record) = self.hand.record() else {
            return Written::Missing;
        };
        let copy = record
            .facts
            .moved
            .as_ref()
            .filter(|_| migrated)
            .map(|moved| moved.copy);
        let mut next = match record.departed() {
            Some((record, _)) if migrated => record,
            _ => record.clone(),
        };
        next.facts.row = write.row;
        let idle = self.integration.provider.idle_limit(&self.integration.client());
        next.take_set(&self.set.grant, bytes.clone(), key.clone(), idle);
        self.hand.note(&mut next, write.note);
        if let Some(copy) = copy {
            let due_at = self.engine.row(&next).index.due_at;
            next.depart(copy, due_at);
        }
        self.hand.write(next).await
    }

    /// Serves the stored set from memory.
    fn keep_in_memory(&self, recovers: bool) -> Outcome {
        let (engine, id) = (self.engine, &self.hand.id);
        let held = self.hand.held()?;
        let name = held.record.facts.row.name;
        let emit = |what| engine.emit(&self.integration.id, Some(id), what);
        if recovers {
            emit(What::Recovered);
        }
        if self.set.instance_changed {
            emit(What::InstanceChanged);
        }
        emit(What::Refreshed(name));
        let grant = self.set.grant.duplicate();
        let entry = engine.make_entry(&held.record, grant, Some(held.revision), self.integration)?;
        // A reconnect that was seen meanwhile, and which the store lost since.
        if engine.cache.get(id).is_some_and(|e| e.name().epoch != name.epoch) {
            engine.cache.remove(id);
        }
        Ok(engine.cache.put(id, entry, held.looks))
    }

    /// Serves the waiting callers from memory, since the set is safe here but not stored yet.
    fn publish_unsaved(&self) {
        let (engine, id) = (self.engine, &self.hand.id);
        self.set.guard.mark_unsaved(engine.clock.wall());
        engine.emit(&self.integration.id, Some(id), What::Unsaved);
        tracing::error!(connection = %id, "a new token set cannot be stored yet; it lives in this process only");
        let Ok(record) = self.hand.record() else { return };
        let mut record = record.clone();
        record.facts.row.name = self.own_name();
        record.facts.row.set = self.set.write_id;
        (record.sealed, record.sealed_by) = (Bytes::new(), String::new());
        let grant = self.set.grant.duplicate();
        if let Ok(entry) = engine.make_entry(&record, grant, None, self.integration) {
            let entry = engine.cache.put(id, entry, engine.cache.looks());
            if let Some(flight) = &self.flight {
                flight.publish(Ok(entry));
            }
        }
    }

    async fn verify(&mut self) {
        let held = self.hand.held();
        let made = held.and_then(|held| {
            let grant = self.set.grant.duplicate();
            self.engine
                .make_entry(&held.record, grant, Some(held.revision), self.integration)
        });
        self.stored = Some(match made {
            Ok(entry) => {
                let ends = self.set.ends;
                verify::verify(
                    self.engine,
                    self.integration,
                    self.policy,
                    &self.hand.id,
                    entry,
                    ends,
                )
                .await
            }
            Err(error) => Err(error),
        });
    }

    async fn answer(&mut self, answer: Answer) {
        let outcome = match answer {
            Answer::Stored => self.stored.take().unwrap_or_else(|| Err(Code::Internal.into())),
            Answer::InHand => match self.hand.held() {
                Ok(held) => self.engine.load(held, self.integration, None).await,
                Err(error) => Err(error),
            },
            Answer::NotFound => Err(Code::ConnectionNotFound.into()),
            Answer::Migrated => Err(Code::StoreMoved.into()),
        };
        if let Some(flight) = self.flight.take() {
            flight.finish(outcome).await;
        }
    }

    async fn compare(&self) -> Compared {
        let Ok(record) = self.hand.record() else {
            return Compared::Unknown;
        };
        match open(&*self.engine.vault, record).await {
            Ok(living) if living.refresh_token.as_ref() == Some(revocable(&self.set.grant)) => Compared::Same,
            Err(error) if error.is_retryable() => Compared::Unknown,
            // What does not open is not what it lives on.
            Ok(_) | Err(_) => Compared::Other,
        }
    }

    async fn owe(&mut self) -> Written {
        let name = self.own_name();
        let (Ok(sealed), Ok(record)) = (self.seal_as(name).await, self.hand.record()) else {
            return Written::Failed;
        };
        let mut next = record.clone();
        next.facts.owed.push(Owed {
            name,
            sealed: BASE64_STANDARD_NO_PAD.encode(sealed),
            failures: 0,
            next: self.engine.clock.wall(),
        });
        let token = fingerprint(revocable(&self.set.grant).expose());
        self.engine.note(&mut next, "late_set_owed", None, Some(&token));
        self.hand.write(next).await
    }
}
