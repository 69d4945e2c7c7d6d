//! How values are stored in columns: encoding, decoding, and the errors of what does not decode.

use std::{collections::BTreeMap, str::FromStr};

use bytes::Bytes;
use grantry::{
    connection::{Attention, Status},
    id::{ConnectionId, IntegrationId},
    integration::Environment,
    store::{ConnectionRow, HotFacts, Index, Revision, StoreError, StoreErrorKind, Stored},
    time::Timestamp,
};
use rusqlite::{
    Row,
    types::{Type, ValueRef},
};

/// The labels of most rows.
const NO_LABELS: &str = "{}";

/// The columns that [`index`] reads, of `connection AS c`.
macro_rules! index_columns {
    () => {
        "c.integration, c.environment, c.status, c.concern, c.email, c.owner, c.metadata, c.connected_at, c.due_at, \
         c.sealed_by"
    };
}
pub(crate) use index_columns;

/// The columns that [`stored`] reads, of `connection AS c LEFT JOIN activity AS a`.
macro_rules! stored_columns {
    () => {
        concat!(
            "c.id, c.counter, c.write, ",
            crate::row::index_columns!(),
            ", c.body, a.last_active_at, a.used, a.allowed"
        )
    };
}
pub(crate) use stored_columns;

/// Ids that the reader already has; a row with an equal id gets a clone, which costs next to nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    pub(crate) id: Option<&'a ConnectionId>,
    pub(crate) integration: Option<&'a IntegrationId>,
}

/// Reads a row of [`stored_columns`].
pub(crate) fn stored(row: &Row<'_>, known: Known<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        row: ConnectionRow {
            id: id(row, 0, known.id)?,
            index: index(row, 3, known.integration)?,
            body: bytes(row, 13)?,
        },
        revision: revision(row, 1)?,
        hot: HotFacts {
            last_active_at: time(row, 14)?,
            api_usage: usage(row)?,
        },
    })
}

/// Reads [`index_columns`] from column `first` on.
pub(crate) fn index(
    row: &Row<'_>,
    first: usize,
    integration: Option<&IntegrationId>,
) -> rusqlite::Result<Index> {
    Ok(Index {
        integration: id(row, first, integration)?,
        environment: parse(row, first + 1, Environment::parse)?,
        status: parse(row, first + 2, Status::parse)?,
        attention: attention(row, first + 3)?,
        email: row.get(first + 4)?,
        owner: row.get(first + 5)?,
        metadata: parse(row, first + 6, labels)?,
        connected_at: Timestamp(row.get(first + 7)?),
        due_at: time(row, first + 8)?,
        sealed_by: row.get(first + 9)?,
    })
}

fn id<T: Clone + AsRef<str> + FromStr>(
    row: &Row<'_>,
    column: usize,
    known: Option<&T>,
) -> rusqlite::Result<T> {
    parse(row, column, |text| match known {
        Some(known) if known.as_ref() == text => Some(known.clone()),
        _ => text.parse().ok(),
    })
}

fn attention(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Attention>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => parse(row, column, Attention::parse).map(Some),
    }
}

fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    if text == NO_LABELS {
        return Some(BTreeMap::new());
    }
    serde_json::from_str(text).ok()
}

fn usage(row: &Row<'_>) -> rusqlite::Result<Option<(u64, u64)>> {
    let used: Option<i64> = row.get(15)?;
    let allowed: Option<i64> = row.get(16)?;
    // Stored bit for bit, so that every count is read back unchanged.
    Ok(used
        .zip(allowed)
        .map(|(used, allowed)| (used.cast_unsigned(), allowed.cast_unsigned())))
}

/// The revision whose counter and write id are in columns `first` and `first + 1`.
pub(crate) fn revision(row: &Row<'_>, first: usize) -> rusqlite::Result<Revision> {
    Ok(Revision {
        counter: count(row, first)?,
        write: u128::from_be_bytes(row.get(first + 1)?),
    })
}

/// The revision after `counter`, with a fresh write id.
pub(crate) fn next_revision(counter: u64, operation: &'static str) -> Result<Revision, StoreError> {
    let mut write = [0; 16];
    getrandom::fill(&mut write).map_err(|e| StoreError::new(StoreErrorKind::Unavailable, operation, e))?;
    Ok(Revision {
        counter: counter.saturating_add(1),
        write: u128::from_be_bytes(write),
    })
}

/// A count as a column. Counts start at zero and grow by calls, so the upper half of the range is never reached.
pub(crate) fn column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count that cannot be negative.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

pub(crate) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let value = row.get_ref(column)?;
    value
        .as_blob()
        .map(Bytes::copy_from_slice)
        .map_err(|_| unreadable(column))
}

/// A text that `parse` accepts.
pub(crate) fn parse<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let value = row.get_ref(column)?;
    value
        .as_str()
        .ok()
        .and_then(parse)
        .ok_or_else(|| unreadable(column))
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, String::new(), Type::Text)
}

/// Labels as one JSON column, ordered by key.
pub(crate) fn metadata(labels: &BTreeMap<String, String>) -> String {
    // Strings always serialise. Should that ever change, nothing is lost silently: an empty text does not decode.
    serde_json::to_string(labels).unwrap_or_default()
}
