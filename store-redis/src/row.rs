//! The encoding of rows.
//!
//! What scripts read comes first (see `lua/facts.lua`): the revision, when the row is due, and its facts, which are
//! the terms by which lists find it, its mark and e-mail address, and the id of its sealing key. A refresh changes no
//! fact. The remaining columns follow as JSON, then the body.

use std::collections::BTreeMap;

use bytes::Bytes;
use grantry::{
    connection::{Attention, Status},
    id::ConnectionId,
    integration::Environment,
    store::{ConnectionRow, HotFacts, Index, Revision, StoreError, StoreErrorKind, Stored},
    time::Timestamp,
};

use crate::search;

/// The length of a revision.
pub(crate) const REVISION: usize = 24;
/// The length of a time.
const TIME: usize = 20;
/// The offset of the facts.
const FACTS: usize = REVISION + TIME;
/// Stands for a time that the row does not have.
const NEVER: [u8; TIME] = [0; TIME];
const MARK: usize = 4;

/// Columns that no script reads, in this order: integration, environment, status, attention, owner, labels, when
/// connected.
type Columns = (
    String,
    String,
    String,
    Option<String>,
    String,
    BTreeMap<String, String>,
    i64,
);

pub(crate) fn encode(row: &ConnectionRow, revision: Revision) -> Vec<u8> {
    let ConnectionRow { id: _, index, body } = row;
    let Index {
        integration,
        environment,
        status,
        attention,
        email,
        owner,
        metadata,
        connected_at,
        due_at,
        sealed_by,
    } = index;
    let columns = (
        integration,
        environment.as_str(),
        status.as_str(),
        attention.map(Attention::as_str),
        owner,
        metadata,
        connected_at.0,
    );
    // Strings and numbers always serialise; an empty text would fail to decode, so nothing is lost silently.
    let columns = serde_json::to_vec(&columns).unwrap_or_default();
    let mut mail = search::mark(integration, *status == Status::Deleted).to_vec();
    mail.extend_from_slice(email.as_bytes());
    let mut facts = Vec::new();
    for fact in [&search::terms(index)[..], &mail, sealed_by.as_bytes()] {
        push(&mut facts, fact);
    }
    let mut bytes = encode_revision(revision).to_vec();
    bytes.extend_from_slice(&encode_time(*due_at));
    push(&mut bytes, &facts);
    push(&mut bytes, &columns);
    bytes.extend_from_slice(body);
    bytes
}

/// A time as a score.
fn encode_time(at: Option<Timestamp>) -> [u8; TIME] {
    let digits = at.map(|at| format!("{:+0TIME$}", at.0));
    let digits = digits.and_then(|digits| digits.as_bytes().try_into().ok());
    digits.unwrap_or(NEVER)
}

/// Appends a length-prefixed part.
fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(part);
}

/// Splits a length-prefixed part off the front.
fn pull(bytes: &mut Bytes) -> Option<Bytes> {
    let length: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let end = usize::try_from(u32::from_be_bytes(length)).ok()?.checked_add(4)?;
    let part = (end <= bytes.len()).then(|| bytes.slice(4..end))?;
    *bytes = bytes.slice(end..);
    Some(part)
}

/// `None` if the bytes are not a row.
pub(crate) fn decode(id: &ConnectionId, bytes: Vec<u8>, hot: Option<&[u8]>) -> Option<Stored> {
    let bytes = Bytes::from(bytes);
    let revision = decode_revision(&bytes)?;
    let mut rest = (bytes.len() >= FACTS).then(|| bytes.slice(FACTS..))?;
    let mut facts = pull(&mut rest)?;
    let (_terms, mail, sealed_by) = (pull(&mut facts)?, pull(&mut facts)?, pull(&mut facts)?);
    let columns = pull(&mut rest)?;
    let (integration, environment, status, attention, owner, metadata, connected_at): Columns =
        serde_json::from_slice(&columns).ok()?;
    let index = Index {
        integration: integration.parse().ok()?,
        environment: Environment::parse(&environment)?,
        status: Status::parse(&status)?,
        attention: match attention {
            None => None,
            Some(attention) => Some(Attention::parse(&attention)?),
        },
        email: String::from_utf8(mail.get(MARK..)?.to_vec()).ok()?,
        owner,
        metadata,
        connected_at: Timestamp(connected_at),
        due_at: match bytes.get(REVISION..FACTS)? {
            never if never == NEVER => None,
            digits => Some(Timestamp(std::str::from_utf8(digits).ok()?.parse().ok()?)),
        },
        sealed_by: String::from_utf8(sealed_by.to_vec()).ok()?,
    };
    Some(Stored {
        row: ConnectionRow {
            id: id.clone(),
            index,
            body: rest,
        },
        revision,
        hot: match hot {
            None => HotFacts::default(),
            Some(hot) => decode_hot(hot)?,
        },
    })
}

pub(crate) fn encode_revision(revision: Revision) -> [u8; REVISION] {
    let Revision { counter, write } = revision;
    let mut bytes = [0; REVISION];
    bytes[..8].copy_from_slice(&counter.to_be_bytes());
    bytes[8..].copy_from_slice(&write.to_be_bytes());
    bytes
}

/// The revision at the front.
pub(crate) fn decode_revision(bytes: &[u8]) -> Option<Revision> {
    Some(Revision {
        counter: u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?),
        write: u128::from_be_bytes(bytes.get(8..REVISION)?.try_into().ok()?),
    })
}

/// Time, used and allowed as decimals separated by bars; unknown ones are empty.
fn decode_hot(bytes: &[u8]) -> Option<HotFacts> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.split('|');
    let (at, used, allowed) = (parts.next()?, parts.next()?, parts.next()?);
    let last_active_at = match at {
        "" => None,
        at => Some(Timestamp(at.parse().ok()?)),
    };
    let api_usage = match (used, allowed) {
        ("", "") => None,
        (used, allowed) => Some((used.parse().ok()?, allowed.parse().ok()?)),
    };
    Some(HotFacts {
        last_active_at,
        api_usage,
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

/// The error for bytes that are not a row.
pub(crate) fn corrupt(operation: &'static str) -> StoreError {
    StoreError::bare(StoreErrorKind::Corrupt, operation)
}
