//! Terms: what lists and search know about a row.
//!
//! They are held in two sorted sets, ordered by bytes. A member is a term followed by an id, so the rows of a term
//! are adjacent and in the order of their ids, and a page begins where the last one ended.
//!
//! - *Lists*: terms of nine bytes, a letter and a hash of a value together with its integration.
//! - *Search*: every three-byte piece of an e-mail address, behind a four-byte mark of the integration; the last two
//!   pieces are padded, so that every byte begins one. A search text of three bytes or more is looked up by its
//!   pieces, driven by the rarest one; a shorter text is a prefix of pieces, whose rows are merged. Nothing ever
//!   scans.
//!
//! Hashes collide now and then, and pieces may occur in another order; whether a row really matches is checked on the
//! row itself. Both sets are written only when their content changes, and so never by a refresh.

use std::collections::BTreeSet;

use grantry::{
    connection::{Attention, Status},
    id::IntegrationId,
    store::{ConnectionFilter, Index, StatusFilter},
};

use crate::hash::hash;

/// The length of a list term.
pub(crate) const TERM: usize = 9;
/// The length of a piece.
const PIECE: usize = 3;
/// How many pieces of a search text are looked up; the rest is checked on the rows.
const LOOKED_UP: usize = 8;
/// The positions of lists and search among the keys of `walk.lua`.
const LISTS: u8 = b'1';
const SEARCH: u8 = b'2';

/// The mark of an integration's pieces. Deleted rows have another: no other list ever wants them.
pub(crate) fn mark(integration: &IntegrationId, deleted: bool) -> [u8; 4] {
    let [a, b, c, d, ..] = hash(&[integration.as_str().as_bytes(), &[u8::from(deleted)]]).to_be_bytes();
    [a, b, c, d]
}

/// Rows that need this kind of attention, over all integrations.
pub(crate) fn attention(attention: Attention) -> [u8; TERM] {
    term(b'c', &[attention.as_str().as_bytes()])
}

/// Rows of an integration that are not deleted.
pub(crate) fn live(integration: &IntegrationId) -> [u8; TERM] {
    term(b'l', &[integration.as_str().as_bytes(), &[0]])
}

fn term(kind: u8, parts: &[&[u8]]) -> [u8; TERM] {
    let mut term = [kind; TERM];
    term[1..].copy_from_slice(&hash(parts).to_be_bytes());
    term
}

/// The terms of a row, concatenated. A refresh changes none of them.
pub(crate) fn terms(index: &Index) -> Vec<u8> {
    let Index {
        integration,
        environment,
        status,
        attention: need,
        email: _,
        owner,
        metadata,
        connected_at: _,
        due_at: _,
        sealed_by: _,
    } = index;
    let of = integration.as_str().as_bytes();
    let deleted = [u8::from(*status == Status::Deleted)];
    let environment = environment.as_str().as_bytes();
    let status = status.as_str().as_bytes();
    let mut terms = [
        term(b'l', &[of, &deleted]),
        term(b'e', &[of, &deleted, environment]),
        term(b's', &[of, status]),
        term(b'x', &[of, status, environment]),
        term(b'o', &[of, &deleted, owner.as_bytes()]),
    ]
    .concat();
    if let Some(need) = need {
        terms.extend(attention(*need));
    }
    for (key, value) in metadata {
        terms.extend(term(b'm', &[of, &deleted, key.as_bytes(), value.as_bytes()]));
    }
    terms
}

/// What a row must have to match a filter.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Terms, each behind the number of its set.
    pub(crate) terms: Vec<Vec<u8>>,
    /// A prefix of pieces; empty if there is no such condition.
    pub(crate) begin: Vec<u8>,
}

impl Query {
    /// Matches rows with this list term.
    pub(crate) fn list(term: [u8; TERM]) -> Self {
        Self {
            terms: vec![[&[LISTS], &term[..]].concat()],
            begin: Vec::new(),
        }
    }

    pub(crate) fn of(filter: &ConnectionFilter) -> Self {
        let ConnectionFilter {
            integration,
            status,
            environment,
            email_contains,
            owner,
            metadata,
        } = filter;
        let of = integration.as_str().as_bytes();
        let is_deleted = *status == StatusFilter::Only(Status::Deleted);
        let deleted = [u8::from(is_deleted)];
        let mut query = Self::default();
        let mut add = |set: u8, term: &[u8]| query.terms.push([&[set], term].concat());
        if let Some(owner) = owner {
            add(LISTS, &term(b'o', &[of, &deleted, owner.as_bytes()]));
        }
        for (key, value) in metadata {
            add(
                LISTS,
                &term(b'm', &[of, &deleted, key.as_bytes(), value.as_bytes()]),
            );
        }
        let environment = environment
            .as_ref()
            .map(|environment| environment.as_str().as_bytes());
        match (status, environment) {
            (StatusFilter::Only(status), Some(environment)) => {
                add(LISTS, &term(b'x', &[of, status.as_str().as_bytes(), environment]));
            }
            (StatusFilter::Only(status), None) => {
                add(LISTS, &term(b's', &[of, status.as_str().as_bytes()]));
            }
            (StatusFilter::Live, Some(environment)) => {
                add(LISTS, &term(b'e', &[of, &deleted, environment]));
            }
            (StatusFilter::Live, None) => {}
        }
        if let Some(text) = email_contains {
            let mark = mark(integration, is_deleted);
            if text.len() < PIECE {
                query.begin = [&mark[..], text.as_bytes()].concat();
            } else {
                for piece in pieces_to_look_up(text.as_bytes()) {
                    add(SEARCH, &[&mark[..], piece].concat());
                }
            }
        }
        if query.terms.is_empty() && query.begin.is_empty() {
            return Self::list(live(integration));
        }
        query
    }
}

/// Every second piece, and the last one. They overlap, so hardly any row has all of them in another order; the pieces
/// in between would rule out few rows more, and each costs a look-up.
fn pieces_to_look_up(text: &[u8]) -> BTreeSet<&[u8]> {
    let last = &text[text.len().saturating_sub(PIECE)..];
    let others = text.windows(PIECE).step_by(2).take(LOOKED_UP);
    others.chain([last]).collect()
}
