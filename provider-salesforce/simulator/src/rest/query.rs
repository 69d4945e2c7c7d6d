//! Queries and their pages.

use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::Value;

use crate::clock::Millis;
use crate::http::Form;
use crate::rest::records::{Cursor, OrgData, Record};
use crate::rest::schema::OBJECTS;
use crate::rest::soql::{Column, Selection};
use crate::rest::soql_parser::parse;
use crate::rest::{Reply, RestError};

const LARGEST_PAGE: usize = 2000;
const SMALLEST_PAGE: usize = 200;
const CURSOR_LIFE: Millis = 2 * 86_400_000;
const MOST_CURSORS: usize = 1000;

/// Who is asking, and how.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) version: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) user: usize,
    pub(crate) now: Millis,
}

/// `GET /query?q=` and `GET /queryAll?q=`
pub(crate) fn query(
    data: &mut OrgData,
    method: &Method,
    form: &Form,
    asked: &Asked<'_>,
    with_deleted: bool,
) -> Result<Reply, RestError> {
    RestError::allow(method, &[Method::GET])?;
    let Some(text) = form.get("q") else {
        return Err(RestError::bad_request(
            "MALFORMED_QUERY",
            "A query string has to be specified".to_owned(),
        ));
    };
    let query = parse(text)?;
    let rows = data.find(&query, with_deleted);
    let columns = match query.selection {
        Selection::Count => {
            return Ok(Reply::ok(format!(
                r#"{{"totalSize":{},"done":true,"records":[]}}"#,
                rows.len()
            )));
        }
        Selection::CountOf => {
            return Ok(Reply::ok(format!(
                r#"{{"totalSize":1,"done":true,"records":[{{"attributes":{{"type":"AggregateResult"}},"expr0":{}}}]}}"#,
                rows.len()
            )));
        }
        Selection::Columns(columns) => columns,
    };
    let cursor = Cursor {
        object: query.object,
        columns,
        rows,
        user: asked.user,
        created_at: asked.now,
    };
    let size = page_size(asked.headers);
    if cursor.rows.len() <= size {
        return Ok(Reply::ok(data.page(&cursor, 0, size, "", asked.version)));
    }
    let locator = data.next_locator();
    let cursor = Arc::new(cursor);
    data.remember(locator.clone(), Arc::clone(&cursor));
    Ok(Reply::ok(data.page(&cursor, 0, size, &locator, asked.version)))
}

/// `GET /query/01g…-2000`
pub(crate) fn more(
    data: &OrgData,
    method: &Method,
    locator: &str,
    asked: &Asked<'_>,
) -> Result<Reply, RestError> {
    RestError::allow(method, &[Method::GET])?;
    let invalid = || RestError::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator".to_owned());
    let (id, start) = locator.rsplit_once('-').ok_or_else(invalid)?;
    let start: usize = start.parse().map_err(|_| invalid())?;
    let cursor = data.cursors.get(id).map(Arc::clone).ok_or_else(invalid)?;
    let usable = cursor.user == asked.user && asked.now - cursor.created_at < CURSOR_LIFE;
    if !usable || start >= cursor.rows.len() {
        return Err(invalid());
    }
    Ok(Reply::ok(data.page(
        &cursor,
        start,
        page_size(asked.headers),
        id,
        asked.version,
    )))
}

fn page_size(headers: &HeaderMap) -> usize {
    let options = headers
        .get("sforce-query-options")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    options
        .split(',')
        .filter_map(|option| option.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("batchSize"))
        .and_then(|(_, size)| size.trim().parse::<usize>().ok())
        .map_or(LARGEST_PAGE, |size| size.clamp(SMALLEST_PAGE, LARGEST_PAGE))
}

impl OrgData {
    fn remember(&mut self, locator: String, cursor: Arc<Cursor>) {
        if self.cursor_order.len() >= MOST_CURSORS
            && let Some(oldest) = self.cursor_order.pop_front()
        {
            self.cursors.remove(&oldest);
        }
        self.cursor_order.push_back(locator.clone());
        self.cursors.insert(locator, cursor);
    }

    /// Writes one page of a query.
    fn page(&self, cursor: &Cursor, start: usize, size: usize, locator: &str, version: &str) -> String {
        let end = cursor.rows.len().min(start + size);
        let rows = cursor.rows.get(start..end).unwrap_or_default();
        let done = end == cursor.rows.len();
        let mut out = String::with_capacity(128 + rows.len() * (96 + 40 * cursor.columns.len()));
        out.push_str(r#"{"totalSize":"#);
        out.push_str(&cursor.rows.len().to_string());
        out.push_str(if done {
            r#","done":true"#
        } else {
            r#","done":false"#
        });
        if !done {
            let next = format!(r#","nextRecordsUrl":"/services/data/v{version}/query/{locator}-{end}""#);
            out.push_str(&next);
        }
        out.push_str(r#","records":["#);
        let records = self
            .tables
            .get(cursor.object)
            .map_or(&[][..], |table| table.rows.as_slice());
        for (place, record) in rows.iter().filter_map(|row| records.get(*row)).enumerate() {
            if place > 0 {
                out.push(',');
            }
            self.write_record(&mut out, cursor.object, record, &cursor.columns, version);
        }
        out.push_str("]}");
        out
    }

    /// Writes a record with these columns.
    pub(crate) fn write_record(
        &self,
        out: &mut String,
        object: usize,
        record: &Record,
        columns: &[Column],
        version: &str,
    ) {
        out.push('{');
        write_attributes(out, object, record, version);
        for (place, column) in columns.iter().enumerate() {
            if let Some((reference, target, name)) = column.parent {
                let is_first = columns
                    .get(..place)
                    .unwrap_or_default()
                    .iter()
                    .all(|other| other.parent.is_none_or(|(earlier, _, _)| earlier != reference));
                if is_first {
                    self.write_parent(out, record, (reference, target, name), columns, version);
                }
            } else if let Some(field) = OBJECTS
                .get(object)
                .and_then(|object| object.fields.get(column.field))
            {
                out.extend([",\"", field.name, "\":"]);
                write_value(out, self.value(record, column));
            }
        }
        out.push('}');
    }

    fn write_parent(
        &self,
        out: &mut String,
        record: &Record,
        (reference, target, name): (usize, usize, &str),
        columns: &[Column],
        version: &str,
    ) {
        out.extend([",\"", name, "\":"]);
        let Some(parent) = self.parent(record, reference, target) else {
            out.push_str("null");
            return;
        };
        out.push('{');
        write_attributes(out, target, parent, version);
        for column in columns
            .iter()
            .filter(|column| column.parent.is_some_and(|(other, _, _)| other == reference))
        {
            if let Some(field) = OBJECTS
                .get(target)
                .and_then(|object| object.fields.get(column.field))
            {
                out.extend([",\"", field.name, "\":"]);
                write_value(out, parent.values.get(column.field).unwrap_or(&Value::Null));
            }
        }
        out.push('}');
    }
}

fn write_attributes(out: &mut String, object: usize, record: &Record, version: &str) {
    let name = OBJECTS.get(object).map_or("", |object| object.name);
    let id = record.values.first().and_then(Value::as_str).unwrap_or_default();
    out.extend([
        r#""attributes":{"type":""#,
        name,
        r#"","url":"/services/data/v"#,
        version,
        "/sobjects/",
        name,
        "/",
    ]);
    out.extend([id, r#""}"#]);
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        other => out.push_str(&other.to_string()),
    }
}
