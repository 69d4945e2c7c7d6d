//! Connections' rows: the one place that reads them to change them, and writes them. Only a copy to another store does so,
//! too.
//!
//! A change is made in one of two forms. [`Ledger::swap`] is one try, for whoever knows what a conflict or a lost answer
//! means to it: the machines of the refresh, and a reconnect. [`Ledger::update`] reads, decides and swaps until it is done.

pub(crate) mod due;
pub(crate) mod grant;
mod hand;
pub(crate) mod record;
mod update;

use std::sync::Arc;

use bytes::Bytes;
use grant::{Grant, tokens_context};
pub(crate) use hand::Hand;
use record::Record;
pub(crate) use update::Change;

use super::{freshness::Freshness, limits, scope::Scope};
use crate::{
    connection::{Decision, GrantVersion, Reason, Status},
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    store::{
        ConnectionStore, HotFacts, Inserted, Removed, Revision, StoreError, StoreErrorKind, Stored, Swap,
    },
    time::{Clock, StoreInstant, Timestamp},
    vault::{TokenVault, VaultError},
};

/// The connections of the broker's store.
#[derive(Debug)]
pub(crate) struct Ledger {
    store: Arc<dyn ConnectionStore>,
    vault: Arc<dyn TokenVault>,
    clock: Arc<dyn Clock>,
    freshness: Arc<Freshness>,
    due: due::Schedule,
}

/// A row as it was read or written.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) revision: Revision,
    pub(crate) hot: HotFacts,
    /// The change epoch from before it was read.
    pub(crate) read_at: u64,
}

impl Found {
    /// # Errors
    /// `connection_corrupt`.
    pub(crate) fn decode(stored: &Stored, read_at: u64) -> Result<Self, Error> {
        Ok(Self {
            record: Record::decode(stored)?,
            revision: stored.revision,
            hot: stored.hot,
            read_at,
        })
    }
}

/// A sealed token set, and the id of the key that sealed it.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) bytes: Bytes,
    pub(crate) key: String,
}

impl Ledger {
    pub(crate) fn new(
        store: Arc<dyn ConnectionStore>,
        vault: Arc<dyn TokenVault>,
        clock: Arc<dyn Clock>,
        freshness: Arc<Freshness>,
        due: due::Schedule,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            freshness,
            due,
        }
    }

    /// Wall time.
    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Must be read before a row that is then put into the cache.
    pub(crate) fn change_epoch(&self) -> u64 {
        self.freshness.change_epoch()
    }

    /// A row, undecoded, and the store's time that came with it.
    pub(crate) async fn stored(
        &self,
        id: &ConnectionId,
    ) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        self.store.connection(id).await
    }

    /// [`Ledger::stored`] for callers with a live token: a store that hangs delays them by two seconds only.
    pub(crate) async fn stored_soon(
        &self,
        id: &ConnectionId,
    ) -> Result<(Option<Stored>, StoreInstant), StoreError> {
        let read = self.store.connection(id);
        tokio::time::timeout(limits::STORE_WAIT, read)
            .await
            .unwrap_or_else(|_| Err(StoreError::bare(StoreErrorKind::Unavailable, "connection")))
    }

    /// A row; `None` if there is none.
    pub(crate) async fn read(&self, id: &ConnectionId) -> Result<Option<Found>, Error> {
        let read_at = self.change_epoch();
        let (stored, _) = self.store.connection(id).await?;
        stored.map(|stored| Found::decode(&stored, read_at)).transpose()
    }

    /// A connection that is not deleted.
    ///
    /// # Errors
    /// `connection_not_found`, `integration_mismatch`, `store_moved`, `connection_corrupt`.
    pub(crate) async fn find(&self, scope: Scope<'_>, id: &ConnectionId) -> Result<Found, Error> {
        let read_at = self.change_epoch();
        let (Some(stored), _) = self.store.connection(id).await? else {
            return Err(Code::ConnectionNotFound.into());
        };
        scope.admit(&stored.row.index.integration, &stored.row.index.owner)?;
        let deleted = stored.row.index.status == Status::Deleted;
        match Found::decode(&stored, read_at) {
            Ok(found) if found.record.facts.migrated.is_some() => Err(Code::StoreMoved.into()),
            _ if deleted => Err(Code::ConnectionNotFound.into()),
            read => read,
        }
    }

    /// Creates a row.
    pub(crate) async fn insert(&self, record: &Record) -> Result<Inserted, Error> {
        let row = record.encode(self.due_at(record))?;
        Ok(self.store.insert_connection(&row).await?)
    }

    /// Replaces a row that has this revision. An error means that the outcome is not known.
    pub(crate) async fn swap(&self, next: &Record, expected: Revision) -> Result<Swap, Error> {
        let row = next.encode(self.due_at(next))?;
        Ok(self.store.swap_connection(&row, expected).await?)
    }

    /// Removes a row that has this revision.
    pub(crate) async fn remove(&self, id: &ConnectionId, expected: Revision) -> Result<Removed, StoreError> {
        self.store.remove_connection(id, expected).await
    }

    /// Whether the row of this revision is there and would survive the loss of a machine. `write` says what it holds, for
    /// metrics.
    pub(crate) async fn confirm(&self, id: &ConnectionId, revision: Revision, write: &'static str) -> bool {
        let confirm = self.store.confirm_connection(id, revision);
        let confirmed = matches!(tokio::time::timeout(limits::CONFIRM, confirm).await, Ok(Ok(true)));
        if !confirmed {
            metrics::counter!("grantry_not_confirmed", "write" => write).increment(1);
            tracing::warn!(connection = %id, write, "a write is not known to survive the loss of a machine");
        }
        confirmed
    }

    /// When a sweep should look at a row that is written now.
    pub(crate) fn due_at(&self, record: &Record) -> Option<Timestamp> {
        due::due(&record.facts, jitter_of(&record.id), self.clock.wall(), self.due)
    }

    /// When the sweep should refresh a connection that no caller refreshes before.
    pub(crate) fn refresh_due(&self, record: &Record, now: Timestamp) -> Option<Timestamp> {
        due::refresh_due(&record.facts, jitter_of(&record.id), now, self.due)
    }

    /// Adds a decision to a record's history.
    pub(crate) fn note(&self, record: &mut Record, what: &str, reason: Option<Reason>, token: Option<&str>) {
        let token = token.filter(|t| !t.is_empty()).map(str::to_owned);
        record.note(Decision {
            at: self.clock.wall(),
            what: what.to_owned(),
            version: record.facts.row.version,
            reason,
            token,
        });
    }

    /// Opens the tokens of a row.
    ///
    /// # Errors
    /// The vault's; `connection_corrupt`.
    pub(crate) async fn open(&self, record: &Record) -> Result<Grant, Error> {
        self.open_sealed(record, record.facts.row.version, &record.sealed)
            .await
    }

    /// Opens tokens that were sealed for this version of a connection's set.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(crate) async fn open_sealed(
        &self,
        record: &Record,
        version: GrantVersion,
        sealed: &[u8],
    ) -> Result<Grant, Error> {
        grant::open(&*self.vault, &record.integration, &record.id, version, sealed).await
    }

    /// Seals tokens for this version of a connection's set.
    pub(crate) async fn seal(
        &self,
        integration: &IntegrationId,
        id: &ConnectionId,
        version: GrantVersion,
        grant: &Grant,
    ) -> Result<Sealed, VaultError> {
        let context = tokens_context(integration, id, version);
        let bytes = Bytes::from(self.vault.seal(&context, &grant.encode()).await?);
        let key = self.vault.key_of(&bytes).unwrap_or_default();
        Ok(Sealed { bytes, key })
    }

    /// Whether new tokens could be sealed.
    pub(crate) async fn can_seal(&self) -> Result<(), VaultError> {
        self.vault.ready().await
    }
}

/// Whether the connection serves tokens at all.
///
/// # Errors
/// Why not.
pub(crate) fn serves(record: &Record) -> Result<(), Error> {
    let row = &record.facts.row;
    if record.facts.migrated.is_some() {
        return Err(Code::StoreMoved.into());
    }
    let code = match row.status {
        Status::Connected => return Ok(()),
        Status::Expired => Code::ConnectionExpired,
        Status::Revoked => Code::ConnectionRevoked,
        Status::Deleted => Code::ConnectionNotFound,
    };
    let error = Error::new(code);
    Err(match row.reason {
        Some(reason) => error.because(reason.as_str()),
        None => error,
    })
}

/// Always the same for a connection, so that every process reckons the same times.
fn jitter_of(id: &ConnectionId) -> u8 {
    crc32fast::hash(id.as_str().as_bytes()).to_le_bytes()[0]
}
