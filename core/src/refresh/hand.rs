//! The row in hand: the one on whose revision the next write is made.

use std::sync::Arc;

use super::protocol::machine::{Access, Note, Read, View, Write, Written};
use crate::{
    connection::SetName,
    engine::Engine,
    error::{Code, Error},
    id::ConnectionId,
    record::Record,
    store::{Revision, Stored, Swap},
    time::{BootInstant, StoreInstant},
};

/// What a machine has read or written last.
#[derive(Debug)]
pub(super) struct Hand {
    engine: Arc<Engine>,
    pub(super) id: ConnectionId,
    held: Option<Held>,
    /// Boot time from before the last read, and the store's time that came with it.
    asked: BootInstant,
    now: StoreInstant,
    /// Fingerprint of the refresh token concerned, for the history.
    pub(super) token: Option<String>,
    /// Why the last read or write that failed did.
    pub(super) cause: Option<Error>,
}

/// A row as it was read or written.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) revision: Revision,
    /// The cache's count of changes from before the row was read.
    pub(super) looks: u64,
}

impl Hand {
    pub(super) fn empty(engine: &Arc<Engine>, id: &ConnectionId) -> Self {
        Self {
            engine: engine.clone(),
            id: id.clone(),
            held: None,
            asked: BootInstant::default(),
            now: StoreInstant::default(),
            token: None,
            cause: None,
        }
    }

    /// Reads the row and takes it in hand.
    pub(super) async fn read(&mut self) -> Read {
        match self.fetch().await {
            Ok((held, view)) => {
                self.held = Some(held);
                Read::Row(view)
            }
            Err(read) => read,
        }
    }

    /// Reads the row, and leaves the one in hand.
    pub(super) async fn peek(&mut self) -> Read {
        match self.fetch().await {
            Ok((_, view)) => Read::Row(view),
            Err(read) => read,
        }
    }

    async fn fetch(&mut self) -> Result<(Held, View), Read> {
        let looks = self.engine.cache.looks();
        self.asked = self.engine.clock.boot();
        let (stored, now) = match self.engine.stores.connections.connection(&self.id).await {
            Ok((Some(stored), now)) => (stored, now),
            Ok((None, _)) => return Err(Read::Missing),
            Err(error) => {
                self.cause = Some(error.into());
                return Err(Read::Failed);
            }
        };
        self.now = now;
        let held = Held::decode(&stored, looks).map_err(|error| {
            self.cause = Some(error);
            Read::Unreadable
        })?;
        let changed = self.held.as_ref().is_none_or(|old| old.revision != held.revision);
        let view = self.view_of(&held, changed);
        Ok((held, view))
    }

    fn view_of(&self, held: &Held, changed: bool) -> View {
        let facts = &held.record.facts;
        View {
            row: facts.row,
            migrated: facts.moved.as_ref().map(|moved| moved.row),
            changed,
            owed: false,
            access: Access {
                ends: facts.access_ends,
                known: facts.access_end_known,
                refresh_by: facts.refresh_by,
                refused: false,
            },
            asked: self.asked,
            now: self.now,
        }
    }

    /// The row in hand, as a machine sees it.
    pub(super) fn view(&self) -> Read {
        self.held
            .as_ref()
            .map_or(Read::Missing, |held| Read::Row(self.view_of(held, false)))
    }

    /// Changes that were applied to the cache before now are older than what is made of the row in hand from here on.
    pub(super) fn refresh_looks(&mut self) {
        let looks = self.engine.cache.looks();
        if let Some(held) = &mut self.held {
            held.looks = looks;
        }
    }

    /// Writes over the row in hand.
    pub(super) async fn swap(&mut self, write: Write) -> Written {
        let Ok(mut next) = self.record().cloned() else {
            return Written::Missing;
        };
        next.facts.row = write.row;
        self.note(&mut next, write.note);
        self.write(next).await
    }

    /// Writes `next` over the row in hand, and takes it in hand.
    pub(super) async fn write(&mut self, next: Record) -> Written {
        let Some(held) = &mut self.held else {
            return Written::Missing;
        };
        let row = self.engine.row(&next);
        match self
            .engine
            .stores
            .connections
            .swap_connection(&row, held.revision)
            .await
        {
            Ok(Swap::Swapped(revision)) => {
                (held.record, held.revision) = (next, revision);
                Written::Swapped
            }
            Ok(Swap::Conflict) => Written::Conflict,
            Ok(Swap::Missing) => Written::Missing,
            Err(error) => {
                self.cause = Some(error.into());
                Written::Failed
            }
        }
    }

    pub(super) fn note(&self, record: &mut Record, note: Note) {
        let token = self.token.as_deref();
        let mut say = |what, reason, token| self.engine.note(record, what, reason, token);
        match note {
            Note::Restamped => {}
            Note::Leased => say("turn_taken", None, None),
            Note::NotSent => say("not_sent", Some(crate::connection::Reason::NotSent), None),
            Note::ClientRefused(reason) => say("client_refused", Some(reason), None),
            Note::OutcomeUnknown(reason) => say("outcome_unknown", Some(reason), token),
            Note::AlreadyProcessing(reason) => say("already_processing", Some(reason), token),
            Note::Cooling(reason) => say("cooling", Some(reason), token),
            Note::Expired { refusal, reason } => {
                if let Some(refusal) = refusal {
                    say("grant_refused", Some(refusal), token);
                }
                say("expired", Some(reason), None);
            }
            Note::Refreshed => say("refreshed", None, token),
            Note::StoredAgain => say("stored_again", None, token),
            Note::CameAfterCopy => say("came_after_copy", None, token),
        }
    }

    /// Whether the row in hand would survive the loss of a machine.
    pub(super) async fn confirm(&self, write: &'static str) -> bool {
        match &self.held {
            Some(held) => self.engine.confirmed(&self.id, held.revision, write).await,
            None => false,
        }
    }

    /// # Errors
    /// There is no row in hand.
    pub(super) fn held(&self) -> Result<&Held, Error> {
        self.held.as_ref().ok_or_else(|| Code::ConnectionNotFound.into())
    }

    /// # Errors
    /// There is no row in hand.
    pub(super) fn record(&self) -> Result<&Record, Error> {
        Ok(&self.held()?.record)
    }

    /// Why it failed.
    pub(super) fn failure(&mut self) -> Error {
        self.cause
            .take()
            .unwrap_or_else(|| Error::new(Code::Internal).because("refresh"))
    }
}

impl Held {
    /// # Errors
    /// `connection_corrupt`.
    pub(super) fn decode(stored: &Stored, looks: u64) -> Result<Self, Error> {
        Ok(Self {
            record: Record::decode(stored)?,
            revision: stored.revision,
            looks,
        })
    }

    pub(super) fn owes(&self, name: SetName) -> bool {
        self.record.facts.owed.iter().any(|owed| owed.name == name)
    }
}
