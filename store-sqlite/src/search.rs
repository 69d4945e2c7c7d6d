//! The search index: which rows contain a text in their e-mail address, a label or an owner.
//!
//! A row's entry is a list of short terms, each marked with the row's integration, so that the rows of one
//! integration are found without passing over those of others. Pieces of one, two and three bytes of the address are
//! terms, so that short search texts are no special case. A search asks for the rows that have all terms of the
//! filter and gets them by descending place. Whether a row really matches is checked on the row itself, so a term may
//! be a hash.
//!
//! The entry is written when one of these columns changes, and so never by a refresh.

use std::{collections::BTreeSet, fmt::Write as _};

use grantry::{
    connection::Status,
    id::IntegrationId,
    store::{ConnectionFilter, Index, StatusFilter},
};
use rusqlite::{Connection, params};

use crate::{hash::hash, row};

/// The length of the longest pieces.
const PIECE: usize = 3;
/// How many pieces of a search text are looked up; the rest is checked on the rows.
const LOOKED_UP: usize = 16;

/// Writes the entry of a new row.
pub(crate) fn insert(db: &Connection, n: i64, index: &Index) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO search (rowid, terms) VALUES (?1, ?2)")?
        .execute(params![n, entry(index)])?;
    Ok(())
}

/// Removes the entry of a row.
pub(crate) fn remove(db: &Connection, n: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM search WHERE rowid = ?1")?
        .execute([n])?;
    Ok(())
}

/// Moves the entry of a row that has already been moved.
pub(crate) fn relocate(db: &Connection, from: i64, to: i64) -> rusqlite::Result<()> {
    const SQL: &str = concat!(
        "SELECT ",
        row::index_columns!(),
        " FROM connection AS c WHERE c.n = ?1"
    );
    let index = db
        .prepare_cached(SQL)?
        .query_row([to], |row| row::index(row, 0, None))?;
    remove(db, from)?;
    insert(db, to, &index)
}

/// Whether two versions of a row have different entries.
pub(crate) fn differs(a: &Index, b: &Index) -> bool {
    let same_but_for_what_is_not_searched = Index {
        attention: b.attention,
        connected_at: b.connected_at,
        due_at: b.due_at,
        sealed_by: b.sealed_by.clone(),
        ..a.clone()
    };
    same_but_for_what_is_not_searched != *b
}

/// The terms of a row.
fn entry(index: &Index) -> String {
    let Index {
        integration,
        environment,
        status,
        email,
        owner,
        metadata,
        attention: _,
        connected_at: _,
        due_at: _,
        sealed_by: _,
    } = index;
    let mut terms = Terms::new(integration, *status == Status::Deleted);
    let email = email.as_bytes();
    let pieces: BTreeSet<&[u8]> = (1..=PIECE).flat_map(|length| email.windows(length)).collect();
    for piece in pieces {
        terms.piece(piece);
    }
    terms.hashed('o', &[owner.as_bytes()]);
    terms.hashed('e', &[environment.as_str().as_bytes()]);
    terms.hashed('s', &[status.as_str().as_bytes()]);
    for (key, value) in metadata {
        terms.hashed('m', &[key.as_bytes(), value.as_bytes()]);
    }
    terms.text
}

/// The terms that a row must have to match the filter. They consist of letters and digits, which have no meaning in
/// the search language; adjacent words must all be present.
pub(crate) fn query(filter: &ConnectionFilter) -> String {
    let ConnectionFilter {
        integration,
        status,
        environment,
        email_contains,
        owner,
        metadata,
    } = filter;
    let deleted = StatusFilter::Only(Status::Deleted);
    let mut terms = Terms::new(integration, *status == deleted);
    if let Some(text) = email_contains {
        for piece in pieces_to_look_up(text.as_bytes()) {
            terms.piece(piece);
        }
    }
    for (key, value) in metadata {
        terms.hashed('m', &[key.as_bytes(), value.as_bytes()]);
    }
    if let Some(owner) = owner {
        terms.hashed('o', &[owner.as_bytes()]);
    }
    if let StatusFilter::Only(status) = status
        && *status != Status::Deleted
    {
        terms.hashed('s', &[status.as_str().as_bytes()]);
    }
    if let Some(environment) = environment {
        terms.hashed('e', &[environment.as_str().as_bytes()]);
    }
    terms.text
}

/// Every second piece, and the last one. They overlap, so hardly any row has all of them in another order; the pieces
/// in between would rule out few rows more, and each costs a look-up.
fn pieces_to_look_up(text: &[u8]) -> BTreeSet<&[u8]> {
    let last = &text[text.len().saturating_sub(PIECE)..];
    let others = text.windows(PIECE).step_by(2).take(LOOKED_UP);
    others.chain([last]).collect()
}

/// Terms: `x`, the integration's mark, a letter for the kind, and the value.
struct Terms {
    mark: u32,
    text: String,
}

impl Terms {
    /// The mark of deleted rows: no other list ever wants them.
    fn new(integration: &IntegrationId, deleted: bool) -> Self {
        let hash = hash(&[integration.as_str().as_bytes(), &[u8::from(deleted)]]);
        Self {
            mark: u32::try_from(hash >> 32).unwrap_or_default(),
            text: String::new(),
        }
    }

    fn begin(&mut self, kind: char) {
        // Writing to a string never fails.
        let _ = write!(self.text, " x{:08x}{kind}", self.mark);
    }

    fn piece(&mut self, piece: &[u8]) {
        self.begin('p');
        for byte in piece {
            let _ = write!(self.text, "{byte:02x}");
        }
    }

    fn hashed(&mut self, kind: char, parts: &[&[u8]]) {
        self.begin(kind);
        let _ = write!(self.text, "{:016x}", hash(parts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_up_by_few_pieces() {
        let cases: [(&str, &[&str]); 7] = [
            ("a", &["a"]),
            ("ab", &["ab"]),
            ("abc", &["abc"]),
            ("abcd", &["abc", "bcd"]),
            ("abcde", &["abc", "cde"]),
            ("abcdef", &["abc", "cde", "def"]),
            ("abababab", &["aba", "bab"]),
        ];
        for (text, expected) in cases {
            let expected: BTreeSet<&[u8]> = expected.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(pieces_to_look_up(text.as_bytes()), expected, "{text}");
        }
        let long = "0123456789".repeat(1000);
        assert!(pieces_to_look_up(long.as_bytes()).len() <= LOOKED_UP + 1);
    }
}
