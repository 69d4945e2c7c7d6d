//! The row in hand: the one on whose revision the next write is made.

use std::sync::Arc;

use super::{Found, Ledger, record::Record};
use crate::{
    connection::Reason,
    engine::protocol::machine::{Access, Note, Read, View, Write, Written},
    error::{Code, Error, causes},
    id::ConnectionId,
    store::Swap,
    time::{BootInstant, StoreInstant},
};

/// What a machine has read or written last.
#[derive(Debug)]
pub(crate) struct Hand {
    ledger: Arc<Ledger>,
    pub(crate) id: ConnectionId,
    held: Option<Found>,
    /// Boot time from before the last read, and the store's time that came with it.
    asked: BootInstant,
    now: StoreInstant,
    /// Fingerprint of the refresh token concerned, for the history.
    pub(crate) token: Option<String>,
    /// Why the last read or write that failed did.
    cause: Option<Error>,
}

impl Hand {
    pub(crate) fn empty(ledger: &Arc<Ledger>, id: &ConnectionId) -> Self {
        Self {
            ledger: ledger.clone(),
            id: id.clone(),
            held: None,
            asked: BootInstant::default(),
            now: StoreInstant::default(),
            token: None,
            cause: None,
        }
    }

    /// Reads the row and takes it in hand.
    pub(crate) async fn read(&mut self) -> Read {
        match self.fetch().await {
            Ok((found, view)) => {
                self.held = Some(found);
                Read::Row(view)
            }
            Err(read) => read,
        }
    }

    /// Reads the row, and leaves the one in hand.
    pub(crate) async fn peek(&mut self) -> Read {
        match self.fetch().await {
            Ok((_, view)) => Read::Row(view),
            Err(read) => read,
        }
    }

    async fn fetch(&mut self) -> Result<(Found, View), Read> {
        let read_at = self.ledger.change_epoch();
        self.asked = self.ledger.clock.boot();
        let (stored, now) = match self.ledger.stored(&self.id).await {
            Ok((Some(stored), now)) => (stored, now),
            Ok((None, _)) => return Err(Read::Missing),
            Err(error) => {
                self.failed(error);
                return Err(Read::Failed);
            }
        };
        self.now = now;
        let found = Found::decode(&stored, read_at).map_err(|error| {
            self.failed(error);
            Read::Unreadable
        })?;
        let changed = self
            .held
            .as_ref()
            .is_none_or(|old| old.revision != found.revision);
        let view = self.view_of(&found, changed);
        Ok((found, view))
    }

    fn view_of(&self, found: &Found, changed: bool) -> View {
        let facts = &found.record.facts;
        View {
            row: facts.row,
            migrated: facts.migrated.as_ref().map(|moved| moved.row),
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
    pub(crate) fn view(&self) -> Read {
        self.held
            .as_ref()
            .map_or(Read::Missing, |held| Read::Row(self.view_of(held, false)))
    }

    /// What is made of the row in hand from here on is newer than the changes that were applied until now.
    pub(crate) fn renew(&mut self) {
        let read_at = self.ledger.change_epoch();
        if let Some(held) = &mut self.held {
            held.read_at = read_at;
        }
    }

    /// Writes over the row in hand.
    pub(crate) async fn swap(&mut self, write: Write) -> Written {
        let Ok(mut next) = self.record().cloned() else {
            return Written::Missing;
        };
        next.facts.row = write.row;
        self.note(&mut next, write.note);
        self.write(next).await
    }

    /// Writes `next` over the row in hand, and takes it in hand.
    pub(crate) async fn write(&mut self, next: Record) -> Written {
        let Some(held) = &mut self.held else {
            return Written::Missing;
        };
        match self.ledger.swap(&next, held.revision).await {
            Ok(Swap::Swapped(revision)) => {
                (held.record, held.revision) = (next, revision);
                Written::Swapped
            }
            Ok(Swap::Conflict) => Written::Conflict,
            Ok(Swap::Missing) => Written::Missing,
            Err(error) => {
                self.failed(error);
                Written::Failed
            }
        }
    }

    /// Adds to a record's history what a machine says of a write.
    pub(crate) fn note(&self, record: &mut Record, note: Note) {
        let token = self.token.as_deref();
        let mut say = |what, reason, token| self.ledger.note(record, what, reason, token);
        match note {
            Note::Restamped => {}
            Note::Leased => say("turn_taken", None, None),
            Note::NotSent => say("not_sent", Some(Reason::NotSent), None),
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

    /// Whether the row in hand would survive the loss of a machine. `write` says what it holds, for metrics.
    pub(crate) async fn confirm(&self, write: &'static str) -> bool {
        match &self.held {
            Some(held) => self.ledger.confirm(&self.id, held.revision, write).await,
            None => false,
        }
    }

    /// # Errors
    /// There is no row in hand.
    pub(crate) fn held(&self) -> Result<&Found, Error> {
        self.held.as_ref().ok_or_else(|| Code::ConnectionNotFound.into())
    }

    /// # Errors
    /// There is no row in hand.
    pub(crate) fn record(&self) -> Result<&Record, Error> {
        Ok(&self.held()?.record)
    }

    /// Notes why something that the row in hand was needed for failed.
    pub(crate) fn failed(&mut self, error: impl Into<Error>) {
        let error = error.into();
        tracing::debug!(connection = %self.id, code = error.code().as_str(), causes = causes(&error), "a step of a refresh failed");
        self.cause = Some(error);
    }

    /// Why the last read or write that failed did, for an operator's log.
    pub(crate) fn why(&self) -> String {
        self.cause
            .as_ref()
            .map_or(String::new(), |error| format!("{error}: {}", causes(error)))
    }

    /// Why the last read or write that failed did.
    pub(crate) fn failure(&mut self) -> Error {
        self.cause
            .take()
            .unwrap_or_else(|| Error::new(Code::Internal).because("refresh"))
    }
}
