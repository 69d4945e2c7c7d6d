//! The body of a connection's row. Stores see only bytes.
//!
//! ```text
//! format (1) | length of sealed | sealed token set | length of history | history | facts as JSON
//! ```
//! The history is kept as bytes until it is read: most readers need only the token set.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::grant::Grant;
use crate::{
    connection::{ConnectionView, Decision, GrantVersion, Profile, Status},
    engine::{
        limits::HISTORY,
        protocol::{self, Refresh, Row},
    },
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    provider::Expiry,
    store::{ConnectionRow, HotFacts, Index, Stored},
    time::Timestamp,
};

const FORMAT: u8 = 1;

/// A decoded row.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: ConnectionId,
    pub(crate) integration: IntegrationId,
    pub(crate) facts: Facts,
    /// The sealed token set; empty once the connection has ended.
    pub(crate) sealed: Bytes,
    /// Which key sealed it.
    pub(crate) sealed_by: String,
    history: Bytes,
}

/// Everything but the tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) row: Row,
    pub(crate) provider: String,
    pub(crate) environment: Environment,
    pub(crate) profile: Profile,
    /// The provider's stable name of the user.
    pub(crate) subject: String,
    pub(crate) owner: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) connected_at: Timestamp,
    /// When the token set was obtained and when its access token ends.
    pub(crate) obtained_at: Timestamp,
    pub(crate) access_ends: Timestamp,
    pub(crate) access_end_known: bool,
    /// When the refresh token ends if it is not used; `None` if it does not.
    pub(crate) refresh_by: Option<Timestamp>,
    /// Id of the set with which the user connected, the last time. It stays when the set is refreshed, so that whoever
    /// stored it and got no answer knows it again.
    #[serde(default)]
    pub(crate) connected_with: u128,
    /// Revocations still owed to the provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) owed: Vec<Owed>,
    /// The connection was copied to another store, and lives there.
    #[serde(rename = "moved", default, skip_serializing_if = "Option::is_none")]
    pub(crate) migrated: Option<Box<Migrated>>,
}

/// How a connection stood when it was copied to another store. Everything else stays in its row, the sealed tokens too, so
/// that it gets there whatever happens on the way; but the row reads as deleted, and nothing is due or owed in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Migrated {
    /// Which copy it went with.
    pub(crate) copy: u128,
    pub(crate) row: Row,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) owed: Vec<Owed>,
    pub(crate) due_at: Option<Timestamp>,
}

/// A refresh token that is still to be revoked at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    /// Which set it belonged to.
    #[serde(rename = "name")]
    pub(crate) version: GrantVersion,
    /// The sealed token set, base64, as it stood in the row.
    pub(crate) sealed: String,
    /// How often the revocation failed.
    pub(crate) failures: u32,
    /// When to try next.
    pub(crate) next: Timestamp,
}

impl Record {
    pub(crate) fn new(id: ConnectionId, integration: IntegrationId, facts: Facts) -> Self {
        Self {
            id,
            integration,
            facts,
            sealed: Bytes::new(),
            sealed_by: String::new(),
            history: Bytes::new(),
        }
    }

    /// Reads a stored row.
    pub(crate) fn decode(stored: &Stored) -> Result<Self, Error> {
        let body = &stored.row.body;
        let corrupt = || Error::new(Code::ConnectionCorrupt).because("row_corrupt");
        // Nothing behind the first byte is known of another format.
        if body.first().is_some_and(|format| *format != FORMAT) {
            return Err(Error::new(Code::ConnectionCorrupt).because("payload_version"));
        }
        let (sealed, at) = part(body, 1).ok_or_else(corrupt)?;
        let (history, at) = part(body, at).ok_or_else(corrupt)?;
        let facts = serde_json::from_slice(&body[at..]).map_err(|_| corrupt())?;
        Ok(Self {
            id: stored.row.id.clone(),
            integration: stored.row.index.integration.clone(),
            facts,
            sealed,
            sealed_by: stored.row.index.sealed_by.clone(),
            history,
        })
    }

    /// The row to write; a sweep looks at it at `due_at`.
    ///
    /// # Errors
    /// `internal`: it cannot be put into bytes. Nothing that could not be read again is ever written.
    pub(crate) fn encode(&self, due_at: Option<Timestamp>) -> Result<ConnectionRow, Error> {
        let unwritable = || Error::new(Code::Internal).because("row_encode");
        let json = serde_json::to_vec(&self.facts).map_err(|_| unwritable())?;
        let mut body = Vec::with_capacity(9 + self.sealed.len() + self.history.len() + json.len());
        body.push(FORMAT);
        for piece in [&self.sealed, &self.history] {
            let length = u32::try_from(piece.len()).map_err(|_| unwritable())?;
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(piece);
        }
        body.extend_from_slice(&json);
        let facts = &self.facts;
        Ok(ConnectionRow {
            id: self.id.clone(),
            index: Index {
                integration: self.integration.clone(),
                environment: facts.environment,
                status: facts.row.status,
                attention: protocol::attention(&facts.row),
                email: facts.profile.email.to_lowercase(),
                owner: facts.owner.clone(),
                metadata: facts.metadata.clone(),
                connected_at: facts.connected_at,
                due_at,
                sealed_by: self.sealed_by.clone(),
            },
            body: body.into(),
        })
    }

    /// Takes a new token set in: its seal, and the facts about it that are no secret.
    pub(crate) fn take_set(
        &mut self,
        grant: &Grant,
        sealed: Bytes,
        key: String,
        idle_limit: Option<Duration>,
    ) {
        self.sealed = sealed;
        self.sealed_by = key;
        let facts = &mut self.facts;
        facts.scopes.clone_from(&grant.scopes);
        facts.obtained_at = grant.obtained_at;
        facts.access_ends = grant.expiry.at();
        facts.access_end_known = matches!(grant.expiry, Expiry::Known(_));
        facts.refresh_by = idle_limit
            .filter(|_| grant.refresh_token.is_some())
            .map(|limit| grant.obtained_at + limit);
    }

    /// Takes over the token set that stands in another copy of the row.
    pub(crate) fn take_set_of(&mut self, other: &Self) {
        self.sealed = other.sealed.clone();
        self.sealed_by.clone_from(&other.sealed_by);
        let (facts, set) = (&mut self.facts, &other.facts);
        facts.scopes.clone_from(&set.scopes);
        facts.obtained_at = set.obtained_at;
        facts.access_ends = set.access_ends;
        facts.access_end_known = set.access_end_known;
        facts.refresh_by = set.refresh_by;
    }

    /// Whether the revocation of this set is owed.
    pub(crate) fn owes(&self, version: GrantVersion) -> bool {
        self.facts.owed.iter().any(|owed| owed.version == version)
    }

    /// Moves the token set out, to be revoked at the provider from `next` on.
    pub(crate) fn owe_set(&mut self, next: Timestamp) {
        if !self.sealed.is_empty() {
            let sealed = BASE64_STANDARD_NO_PAD.encode(&self.sealed);
            self.facts.owed.push(Owed {
                version: self.facts.row.version,
                sealed,
                failures: 0,
                next,
            });
            self.sealed = Bytes::new();
            self.sealed_by.clear();
        }
    }

    /// From now on the connection lives in another store. A sweep there looks at it at `due_at`.
    pub(crate) fn migrate(&mut self, copy: u128, due_at: Option<Timestamp>) {
        let facts = &mut self.facts;
        facts.migrated = Some(Box::new(Migrated {
            copy,
            row: facts.row,
            owed: std::mem::take(&mut facts.owed),
            due_at,
        }));
        facts.row = Row {
            status: Status::Deleted,
            reason: None,
            refresh: Refresh::Idle,
            ..facts.row
        };
    }

    /// The connection as it stood when it was migrated, and when a sweep should look at it; `None` if it lives here.
    pub(crate) fn before_migration(&self) -> Option<(Self, Option<Timestamp>)> {
        let mut record = self.clone();
        let Migrated {
            row, owed, due_at, ..
        } = *record.facts.migrated.take()?;
        record.facts.row = row;
        record.facts.owed = owed;
        Some((record, due_at))
    }

    /// Adds a decision; the oldest of more than 16 goes.
    pub(crate) fn note(&mut self, decision: Decision) {
        let mut ring = self.history();
        ring.push(decision);
        if ring.len() > HISTORY {
            ring.drain(..ring.len() - HISTORY);
        }
        // If it cannot be serialised, the history is left as it is.
        if let Ok(history) = serde_json::to_vec(&ring) {
            self.history = history.into();
        }
    }

    /// The last decisions, oldest first.
    pub(crate) fn history(&self) -> Vec<Decision> {
        serde_json::from_slice(&self.history).unwrap_or_default()
    }

    /// What the columns tell of a row whose body cannot be read, so that one such row does not hide a whole list.
    pub(crate) fn outline(stored: &Stored) -> ConnectionView {
        let Stored { row, hot, .. } = stored;
        let index = &row.index;
        ConnectionView {
            id: row.id.clone(),
            integration: index.integration.clone(),
            provider: String::new(),
            environment: index.environment,
            status: index.status,
            reason: None,
            profile: Profile {
                email: index.email.clone(),
                ..Profile::default()
            },
            owner: index.owner.clone(),
            metadata: index.metadata.clone(),
            scopes: Vec::new(),
            connected_at: index.connected_at,
            last_active_at: hot.last_active_at.unwrap_or(index.connected_at),
            epoch: 0,
            generation: 0,
        }
    }

    /// What the broker shows of it.
    pub(crate) fn view(&self, hot: HotFacts) -> ConnectionView {
        let facts = &self.facts;
        ConnectionView {
            id: self.id.clone(),
            integration: self.integration.clone(),
            provider: facts.provider.clone(),
            environment: facts.environment,
            status: facts.row.status,
            reason: facts.row.reason,
            profile: facts.profile.clone(),
            owner: facts.owner.clone(),
            metadata: facts.metadata.clone(),
            scopes: facts.scopes.clone(),
            connected_at: facts.connected_at,
            last_active_at: hot.last_active_at.unwrap_or(facts.connected_at),
            epoch: facts.row.version.epoch,
            generation: facts.row.version.generation,
        }
    }
}

fn part(body: &Bytes, at: usize) -> Option<(Bytes, usize)> {
    let length = body.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)?;
    let start = at + 4;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= body.len()).then(|| (body.slice(start..end), end))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::Revision;

    pub(crate) fn record() -> Record {
        Record::new(
            ConnectionId::generate(),
            IntegrationId::generate(),
            Facts {
                row: protocol::first(7),
                provider: "acme".to_owned(),
                environment: Environment::SANDBOX,
                profile: Profile {
                    email: "Ann@Acme.Example".to_owned(),
                    ..Profile::default()
                },
                subject: "org/user".to_owned(),
                owner: "u-1".to_owned(),
                metadata: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
                scopes: vec!["api".to_owned()],
                connected_at: Timestamp(5),
                obtained_at: Timestamp(5),
                access_ends: Timestamp(7_200_005),
                access_end_known: false,
                refresh_by: Some(Timestamp(90)),
                connected_with: 0,
                owed: Vec::new(),
                migrated: None,
            },
        )
    }

    fn stored(record: &Record) -> Stored {
        Stored {
            row: record.encode(Some(Timestamp(90))).unwrap(),
            revision: Revision { counter: 1, write: 2 },
            hot: HotFacts::default(),
        }
    }

    #[test]
    fn a_row_comes_back_whole() {
        let mut record = record();
        record.sealed = Bytes::from_static(b"sealed");
        record.note(Decision {
            at: Timestamp(1),
            what: "refreshed".to_owned(),
            version: GrantVersion {
                epoch: 1,
                generation: 2,
            },
            reason: None,
            token: None,
        });
        let row = stored(&record);
        assert_eq!(row.row.index.email, "ann@acme.example");
        assert_eq!(row.row.index.due_at, Some(Timestamp(90)));
        let back = Record::decode(&row).unwrap();
        assert_eq!(back.encode(row.row.index.due_at).unwrap(), row.row);
        assert_eq!(back.history(), record.history());
        assert_eq!(&back.sealed[..], b"sealed");
    }

    #[test]
    fn the_history_is_a_ring() {
        let mut record = record();
        for at in 0..40 {
            let set = record.facts.row.version;
            record.note(Decision {
                at: Timestamp(at),
                what: "x".to_owned(),
                version: set,
                reason: None,
                token: None,
            });
        }
        let ring = record.history();
        assert_eq!(
            (ring.len(), ring[0].at, ring[15].at),
            (16, Timestamp(24), Timestamp(39))
        );
    }

    #[test]
    fn damaged_bodies_are_one_typed_error() {
        let good = stored(&record());
        for end in 0..good.row.body.len() {
            let mut cut = good.clone();
            cut.row.body = good.row.body.slice(..end);
            assert_eq!(
                Record::decode(&cut).unwrap_err().code(),
                Code::ConnectionCorrupt,
                "cut at {end}"
            );
        }
        let mut newer = good.row.body.to_vec();
        newer[0] = 9;
        let newer = Stored {
            row: ConnectionRow {
                body: newer.into(),
                ..good.row.clone()
            },
            ..good
        };
        assert_eq!(
            Record::decode(&newer).unwrap_err().reason(),
            Some("payload_version")
        );
    }
}
