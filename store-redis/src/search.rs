//! Terms: what lists and search know of a row.
//!
//! Two sorted sets hold them, every member a term and, behind it, an id, in the order of their bytes. So the rows of a
//! term stand side by side in the order of their ids, and a page begins where the last one ended.
//!
//! - *Lists*: terms of nine bytes, a letter and a hash of what it stands for, the integration with it.
//! - *Search*: of an e-mail address every piece of three bytes, behind a mark of four for the integration; the last two
//!   pieces are filled up, so that each byte begins one. A search text of three bytes or more is looked up by its
//!   pieces, and the rarest one leads; a shorter one is the begin of pieces, whose rows are merged. Nothing ever scans.
//!
//! A hash may say too much now and then, and pieces may stand in another order; whether a row really fits is seen on the
//! row itself. Both sets are written only when what stands in them changes, and thus never by a refresh.

use std::collections::BTreeSet;

use grantry::{
    connection::{Concern, Status},
    id::IntegrationId,
    store::{ConnectionFilter, Index, StatusFilter},
};

use crate::hash::hash;

/// Bytes of a term of the lists.
pub(crate) const TERM: usize = 9;
/// Bytes of a piece.
const PIECE: usize = 3;
/// Pieces of a search text that are looked up; the rest is seen on the rows.
const LOOKED_UP: usize = 8;
/// The place of the lists among the keys of `walk.lua`, and of the search.
const LISTS: u8 = b'1';
const SEARCH: u8 = b'2';

/// What marks an integration's pieces. Deleted rows have a mark of their own: no other list ever wants them.
pub(crate) fn mark(integration: &IntegrationId, deleted: bool) -> [u8; 4] {
    let [a, b, c, d, ..] = hash(&[integration.as_str().as_bytes(), &[u8::from(deleted)]]).to_be_bytes();
    [a, b, c, d]
}

/// Rows that need somebody's eyes for this, over all integrations.
pub(crate) fn concern(concern: Concern) -> [u8; TERM] {
    term(b'c', &[concern.as_str().as_bytes()])
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

/// The terms of a row, one behind the other. A refresh changes none of them.
pub(crate) fn terms(index: &Index) -> Vec<u8> {
    let Index {
        integration,
        environment,
        status,
        concern: need,
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
        terms.extend(concern(*need));
    }
    for (key, value) in metadata {
        terms.extend(term(b'm', &[of, &deleted, key.as_bytes(), value.as_bytes()]));
    }
    terms
}

/// What a row must have to fit a filter.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Terms, each behind the number of its set.
    pub(crate) terms: Vec<Vec<u8>>,
    /// What a piece must begin with; empty if that is no condition.
    pub(crate) begin: Vec<u8>,
}

impl Query {
    /// What has this term of the lists.
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
        let environment = environment.map(|environment| environment.as_str().as_bytes());
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

/// Every second piece, and the last one. They overlap, so that hardly a row has all of them in another order; those in
/// between would sort out hardly any more, and each one costs a look-up.
fn pieces_to_look_up(text: &[u8]) -> BTreeSet<&[u8]> {
    let last = &text[text.len().saturating_sub(PIECE)..];
    let others = text.windows(PIECE).step_by(2).take(LOOKED_UP);
    others.chain([last]).collect()
}
