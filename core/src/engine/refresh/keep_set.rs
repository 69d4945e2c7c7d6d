//! Carries out what a [`KeepSet`] asks for. Holds the received tokens meanwhile.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;

use super::{
    context::Context,
    load,
    single_flight::Outcome,
    unsaved::Guard,
    verify::{self, verify_behind},
};
use crate::{
    connection::GrantVersion,
    engine::{
        directory::Loaded,
        ledger::{Hand, Sealed, grant::Grant, record::Owed},
        protocol::{
            KeepSet, Policy,
            keep_set::{Answer, Command, Compared, Confirm, Event, Notice},
            machine::{Read, Write, Written},
        },
        runner::{self, Execute},
    },
    error::Code,
    event::What,
    secret::fingerprint,
    time::BootInstant,
};

/// Answers those who wait for the refresh.
pub(super) trait Waiting: Send + Sync {
    /// Answers them, and those who still come, while the refresh goes on.
    fn publish(&self, outcome: Outcome);
    /// Answers them for good, and lets the next one refresh.
    fn finish(self, outcome: Outcome) -> impl Future<Output = ()> + Send;
}

/// What it works with.
pub(super) struct Executor<'a, W> {
    pub(super) context: &'a Arc<Context>,
    pub(super) integration: &'a Arc<Loaded>,
    pub(super) policy: &'a Policy,
    pub(super) hand: Hand,
    pub(super) set: Set,
    /// Those who wait for the refresh; `None` once they are answered.
    pub(super) waiting: Option<W>,
    /// The set in memory once the store took it, or what its verification found.
    pub(super) stored: Option<Outcome>,
}

/// A received token set.
pub(super) struct Set {
    pub(super) grant: Grant,
    pub(super) spent: GrantVersion,
    pub(super) write_id: u128,
    /// When its access token ends.
    pub(super) ends: BootInstant,
    /// Where the connection's API is served is news.
    pub(super) instance_changed: bool,
    /// Sealed as the version that it will be.
    pub(super) sealed: Option<(GrantVersion, Sealed)>,
    pub(super) guard: Guard,
}

impl<W: Waiting> Execute<KeepSet> for Executor<'_, W> {
    async fn execute(&mut self, command: Command) -> Event {
        match command {
            Command::Read => {
                let read = self.hand.read().await;
                Event::Read(self.with_owed(read))
            }
            Command::Seal(version) => Event::Sealed(self.seal(version).await),
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
                // As far as that goes: no row holds it.
                let token = self.set.grant.revocable();
                let _ = self
                    .context
                    .upstream
                    .revoke(&self.integration.target(), token)
                    .await;
                Event::Done
            }
            Command::Sleep(wait) => {
                runner::sleep(wait).await;
                Event::Woken
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        let (id, integration) = (&self.hand.id, &self.integration.id);
        let emit = |what| self.context.journal.emit(integration, Some(id), what);
        match notice {
            Notice::Late => {
                emit(What::LatePresenter);
                metrics::counter!("grantry_late_presenters").increment(1);
            }
            Notice::RolledBack => self.context.rolled_back(integration, id),
            Notice::Stored { recovers } => self.stored = Some(self.keep_in_memory(recovers)),
            Notice::Superseded => emit(What::Superseded),
            Notice::Forget => self.context.cache.remove(id),
            Notice::Unsaved => self.publish_unsaved(),
            Notice::AtRisk => {
                self.set.guard.mark_unsaved(self.context.clock.wall());
                emit(What::Unsaved);
                tracing::error!(connection = %id, why = self.hand.why(), "a token set is kept at hand, since what is stored might be lost with a machine");
            }
            Notice::Saved => emit(What::Saved),
            Notice::CameAfterCopy => {
                emit(What::CameAfterCopy);
                tracing::error!(connection = %id, "a token set came back after its connection was copied to another store; run the copy once more, so that it gets there");
            }
            Notice::LeftOver => {
                tracing::error!(connection = %id, "a token set came back for a connection that was ended and copied to another store; its grant may live on at the provider");
            }
            Notice::Owed => self.context.revoker.run_owed_behind(id),
        }
    }
}

impl<W: Waiting> Executor<'_, W> {
    /// The version as which the set is owed a revocation.
    fn own_version(&self) -> GrantVersion {
        let spent = self.set.spent;
        GrantVersion {
            generation: spent.generation + 1,
            ..spent
        }
    }

    pub(super) fn with_owed(&self, read: Read) -> Read {
        let Read::Row(mut view) = read else { return read };
        view.owed = self
            .hand
            .record()
            .is_ok_and(|record| record.owes(self.own_version()));
        Read::Row(view)
    }

    async fn seal(&mut self, version: GrantVersion) -> bool {
        if self
            .set
            .sealed
            .as_ref()
            .is_some_and(|(sealed_for, _)| *sealed_for == version)
        {
            return true;
        }
        let sealed = self
            .context
            .ledger
            .seal(&self.integration.id, &self.hand.id, version, &self.set.grant);
        match sealed.await {
            Ok(sealed) => {
                self.set.sealed = Some((version, sealed));
                true
            }
            Err(error) => {
                self.hand.failed(error);
                false
            }
        }
    }

    async fn store(&mut self, write: Write, migrated: bool) -> Written {
        let Some((_, Sealed { bytes, key })) = &self.set.sealed else {
            return Written::Failed;
        };
        let Ok(record) = self.hand.record() else {
            return Written::Missing;
        };
        let copy = record
            .facts
            .migrated
            .as_ref()
            .filter(|_| migrated)
            .map(|migrated| migrated.copy);
        let mut next = match record.before_migration() {
            Some((record, _)) if migrated => record,
            _ => record.clone(),
        };
        next.facts.row = write.row;
        next.take_set(
            &self.set.grant,
            bytes.clone(),
            key.clone(),
            self.integration.idle_limit(),
        );
        self.hand.note(&mut next, write.note);
        if let Some(copy) = copy {
            let due_at = self.context.ledger.due_at(&next);
            next.migrate(copy, due_at);
        }
        self.hand.write(next).await
    }

    /// Serves the stored set from memory.
    fn keep_in_memory(&self, recovers: bool) -> Outcome {
        let (context, id) = (self.context, &self.hand.id);
        let held = self.hand.held()?;
        let version = held.record.facts.row.version;
        let emit = |what| context.journal.emit(&self.integration.id, Some(id), what);
        if recovers {
            emit(What::Recovered);
        }
        if self.set.instance_changed {
            emit(What::InstanceChanged);
        }
        emit(What::Refreshed(version));
        let grant = self.set.grant.duplicate();
        let entry = load::entry(
            context,
            &held.record,
            grant,
            Some(held.revision),
            self.integration,
        )?;
        // A reconnect that was seen meanwhile, and which the store lost since.
        if context
            .cache
            .get(id)
            .is_some_and(|e| e.version().epoch != version.epoch)
        {
            context.cache.remove(id);
        }
        Ok(context.cache.put(id, entry, held.read_at))
    }

    /// Serves the waiting callers from memory, since the set is safe here but not stored yet.
    fn publish_unsaved(&self) {
        let (context, id) = (self.context, &self.hand.id);
        self.set.guard.mark_unsaved(context.clock.wall());
        context
            .journal
            .emit(&self.integration.id, Some(id), What::Unsaved);
        tracing::error!(connection = %id, why = self.hand.why(), "a new token set cannot be stored yet; it lives in this process only");
        let Ok(record) = self.hand.record() else { return };
        let mut record = record.clone();
        record.facts.row.version = self.own_version();
        record.facts.row.write_id = self.set.write_id;
        (record.sealed, record.sealed_by) = (Bytes::new(), String::new());
        let grant = self.set.grant.duplicate();
        if let Ok(entry) = load::entry(context, &record, grant, None, self.integration) {
            let entry = context.cache.put(id, entry, context.ledger.change_epoch());
            if let Some(waiting) = &self.waiting {
                waiting.publish(Ok(entry));
            }
        }
    }

    async fn verify(&mut self) {
        let made = self.hand.held().and_then(|held| {
            let grant = self.set.grant.duplicate();
            load::entry(
                self.context,
                &held.record,
                grant,
                Some(held.revision),
                self.integration,
            )
        });
        self.stored = Some(match made {
            Ok(entry) => {
                let (id, ends) = (&self.hand.id, self.set.ends);
                verify::verify(self.context, self.integration, self.policy, id, entry, ends).await
            }
            Err(error) => Err(error),
        });
    }

    async fn answer(&mut self, answer: Answer) {
        let outcome = match answer {
            Answer::Stored => self.stored.take().unwrap_or_else(|| Err(Code::Internal.into())),
            Answer::InHand => self.load_in_hand().await,
            Answer::NotFound => Err(Code::ConnectionNotFound.into()),
            Answer::Migrated => Err(Code::StoreMoved.into()),
        };
        if let Some(waiting) = self.waiting.take() {
            waiting.finish(outcome).await;
        }
    }

    async fn load_in_hand(&self) -> Outcome {
        let served = load::load(self.context, self.hand.held()?, self.integration, None).await?;
        if served.doubtful {
            verify_behind(self.context, self.integration, &self.hand.id, &served.entry);
        }
        Ok(served.entry)
    }

    async fn compare(&self) -> Compared {
        let Ok(record) = self.hand.record() else {
            return Compared::Unknown;
        };
        match self.context.ledger.open(record).await {
            Ok(living) if living.refresh_token.as_ref() == Some(self.set.grant.revocable()) => Compared::Same,
            Err(error) if error.is_retryable() => Compared::Unknown,
            // What does not open is not what it lives on.
            Ok(_) | Err(_) => Compared::Other,
        }
    }

    async fn owe(&mut self) -> Written {
        let (version, grant) = (self.own_version(), &self.set.grant);
        let sealed = self
            .context
            .ledger
            .seal(&self.integration.id, &self.hand.id, version, grant);
        let (Ok(sealed), Ok(record)) = (sealed.await, self.hand.record()) else {
            return Written::Failed;
        };
        let mut next = record.clone();
        next.facts.owed.push(Owed {
            version,
            sealed: BASE64_STANDARD_NO_PAD.encode(sealed.bytes),
            failures: 0,
            next: self.context.clock.wall(),
        });
        let token = fingerprint(grant.revocable().expose());
        self.context
            .ledger
            .note(&mut next, "late_set_owed", None, Some(&token));
        self.hand.write(next).await
    }
}
