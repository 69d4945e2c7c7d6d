//! A row's content, for tests that do not trust the broker's own report.

use crate::{
    engine::{
        ledger::{grant::open, record::Record},
        protocol::Row,
    },
    error::Error,
    store::Stored,
    time::Timestamp,
    vault::TokenVault,
};

/// A connection's row, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the protocol decides about.
    pub row: Row,
    /// The stored access token; empty if there is none.
    pub access: String,
    /// The stored refresh token; empty if there is none.
    pub refresh: String,
    /// When the access token ends, as the row has it.
    pub access_ends: Timestamp,
    /// When each revocation that is owed will be tried.
    pub owed: Vec<Timestamp>,
    /// The latest decision.
    pub last: String,
}

impl Seen {
    /// Opens a row with the keys that sealed it.
    ///
    /// # Errors
    /// `connection_corrupt`, and what the vault says.
    pub async fn open(stored: &Stored, vault: &dyn TokenVault) -> Result<Self, Error> {
        let record = Record::decode(stored)?;
        let grant = if record.sealed.is_empty() {
            None
        } else {
            Some(
                open(
                    vault,
                    &record.integration,
                    &record.id,
                    record.facts.row.version,
                    &record.sealed,
                )
                .await?,
            )
        };
        let text =
            |secret: Option<&crate::secret::Secret>| secret.map_or(String::new(), |s| s.expose().to_owned());
        Ok(Self {
            row: record.facts.row,
            access: text(grant.as_ref().map(|g| &g.access_token)),
            refresh: text(grant.as_ref().and_then(|g| g.refresh_token.as_ref())),
            access_ends: record.facts.access_ends,
            owed: record.facts.owed.iter().map(|owed| owed.next).collect(),
            last: record.history().pop().map(|d| d.what).unwrap_or_default(),
        })
    }
}
