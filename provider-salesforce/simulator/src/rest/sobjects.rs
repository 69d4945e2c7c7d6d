//! Records one by one: create, read, update, delete.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::clock::{Millis, rest_time};
use crate::http::Form;
use crate::ids::to_15;
use crate::rest::records::OrgData;
use crate::rest::schema::{Field, Kind, OBJECTS, index};
use crate::rest::soql::Column;
use crate::rest::{Reply, RestError, describe};

/// A call on `/sobjects/…`.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) version: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) form: &'a Form,
    pub(crate) is_json: bool,
    pub(crate) body: &'a [u8],
    pub(crate) user_id: &'a str,
    pub(crate) now: Millis,
}

/// `/sobjects` and what is below.
pub(crate) fn sobjects(data: &mut OrgData, path: &[&str], call: &Call<'_>) -> Result<Reply, RestError> {
    let Some((name, rest)) = path.split_first() else {
        RestError::allow(call.method, &[Method::GET])?;
        return Ok(Reply::value(&describe::global(call.version)));
    };
    let object = index(name).ok_or_else(RestError::not_found)?;
    match rest {
        [] if *call.method == Method::POST => create(data, object, call),
        [] => {
            RestError::allow(call.method, &[Method::GET, Method::POST])?;
            Ok(Reply::value(&json!({
                "objectDescribe": describe::summary(object, call.version),
                "recentItems": [],
            })))
        }
        ["describe"] => {
            RestError::allow(call.method, &[Method::GET])?;
            Ok(Reply::value(&describe::object(object, call.version)))
        }
        [id] => {
            let allowed = [Method::GET, Method::PATCH, Method::DELETE];
            RestError::allow(call.method, &allowed)?;
            let row = locate(data, object, id)?;
            match *call.method {
                Method::PATCH => update(data, object, row, call),
                Method::DELETE => delete(data, object, row, call.now),
                _ => read(data, object, row, call),
            }
        }
        _ => Err(RestError::not_found()),
    }
}

fn locate(data: &OrgData, object: usize, id: &str) -> Result<usize, RestError> {
    let name = OBJECTS[object].name;
    let malformed = || {
        let text = format!("{name} ID: id value of incorrect type: {id}");
        RestError::bad_request("MALFORMED_ID", text).with_fields(&["Id"])
    };
    let short = to_15(id).ok_or_else(malformed)?;
    if !short.starts_with(OBJECTS[object].prefix) {
        return Err(malformed());
    }
    let table = data.tables.get(object).ok_or_else(RestError::not_found)?;
    let row = table.row(short).ok_or_else(RestError::not_found)?;
    match table.rows.get(row) {
        Some(record) if record.deleted => Err(RestError::new(
            StatusCode::NOT_FOUND,
            "ENTITY_IS_DELETED",
            "entity is deleted".to_owned(),
        )),
        Some(_) => Ok(row),
        None => Err(RestError::not_found()),
    }
}

fn read(data: &OrgData, object: usize, row: usize, call: &Call<'_>) -> Result<Reply, RestError> {
    let schema = &OBJECTS[object];
    let columns = match call.form.get("fields") {
        None => (0..schema.fields.len())
            .map(|field| Column { parent: None, field })
            .collect(),
        Some(list) => list
            .split(',')
            .map(|name| {
                let field = schema
                    .field(name.trim())
                    .ok_or_else(|| unknown_field(name.trim(), schema.name))?;
                Ok(Column { parent: None, field })
            })
            .collect::<Result<Vec<_>, RestError>>()?,
    };
    let record = data
        .tables
        .get(object)
        .and_then(|table| table.rows.get(row))
        .ok_or_else(RestError::not_found)?;
    let mut out = String::new();
    data.write_record(&mut out, object, record, &columns, call.version);
    Ok(Reply::ok(out))
}

fn create(data: &mut OrgData, object: usize, call: &Call<'_>) -> Result<Reply, RestError> {
    let schema = &OBJECTS[object];
    let given = parse(call)?;
    if !schema.creatable {
        let text = format!("entity type cannot be inserted: {}", schema.name);
        return Err(RestError::bad_request(
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            text,
        ));
    }
    let mut values = vec![Value::Null; schema.fields.len()];
    assign(object, &mut values, given)?;
    complain_of_missing(object, &values)?;
    let id = data.next_id(schema);
    data.insert(object, &id, values, call.user_id, call.now);
    Ok(Reply {
        status: StatusCode::CREATED,
        location: Some(format!(
            "/services/data/v{}/sobjects/{}/{id}",
            call.version, schema.name
        )),
        body: json!({ "id": id, "success": true, "errors": [] }).to_string(),
    })
}

fn update(data: &mut OrgData, object: usize, row: usize, call: &Call<'_>) -> Result<Reply, RestError> {
    let given = parse(call)?;
    let schema = &OBJECTS[object];
    if !schema.creatable {
        let text = "insufficient access rights on object id".to_owned();
        return Err(RestError::bad_request("INSUFFICIENT_ACCESS_OR_READONLY", text));
    }
    let record = data
        .tables
        .get_mut(object)
        .and_then(|table| table.rows.get_mut(row));
    let record = record.ok_or_else(RestError::not_found)?;
    let mut values = record.values.clone();
    assign(object, &mut values, given)?;
    complain_of_missing(object, &values)?;
    for (slot, field) in values.iter_mut().zip(schema.fields) {
        match field.name {
            "LastModifiedDate" | "SystemModstamp" => *slot = Value::from(rest_time(call.now)),
            "LastModifiedById" => *slot = Value::from(call.user_id),
            _ => {}
        }
    }
    record.values = values;
    Ok(Reply::no_content())
}

fn delete(data: &mut OrgData, object: usize, row: usize, now: Millis) -> Result<Reply, RestError> {
    let schema = &OBJECTS[object];
    if !schema.creatable {
        let text = "insufficient access rights on object id".to_owned();
        return Err(RestError::bad_request("INSUFFICIENT_ACCESS_OR_READONLY", text));
    }
    let record = data
        .tables
        .get_mut(object)
        .and_then(|table| table.rows.get_mut(row));
    let record = record.ok_or_else(RestError::not_found)?;
    record.deleted = true;
    for (slot, field) in record.values.iter_mut().zip(schema.fields) {
        match field.name {
            "IsDeleted" => *slot = Value::from(true),
            "LastModifiedDate" | "SystemModstamp" => *slot = Value::from(rest_time(now)),
            _ => {}
        }
    }
    Ok(Reply::no_content())
}

fn parse(call: &Call<'_>) -> Result<Map<String, Value>, RestError> {
    if !call.is_json {
        let text = "Content-Type header must be application/json".to_owned();
        return Err(RestError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            text,
        ));
    }
    match serde_json::from_slice(call.body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(RestError::bad_request(
            "JSON_PARSER_ERROR",
            "Expected an object".to_owned(),
        )),
        Err(error) => Err(RestError::bad_request("JSON_PARSER_ERROR", error.to_string())),
    }
}

fn unknown_field(name: &str, object: &str) -> RestError {
    RestError::bad_request(
        "INVALID_FIELD",
        format!("No such column '{name}' on sobject of type {object}"),
    )
}

fn assign(object: usize, values: &mut [Value], given: Map<String, Value>) -> Result<(), RestError> {
    let schema = &OBJECTS[object];
    for (name, value) in given {
        if name == "attributes" {
            continue;
        }
        if name.eq_ignore_ascii_case("Id") {
            let text = "The Id field should not be specified in the sobject data.".to_owned();
            return Err(RestError::bad_request("INVALID_FIELD", text));
        }
        let place = schema
            .field(&name)
            .ok_or_else(|| unknown_field(&name, schema.name))?;
        let (Some(field), Some(slot)) = (schema.fields.get(place), values.get_mut(place)) else {
            continue;
        };
        if !field.writable {
            let text = format!("Unable to create/update fields: {}.", field.name);
            return Err(
                RestError::bad_request("INVALID_FIELD_FOR_INSERT_UPDATE", text).with_fields(&[field.name])
            );
        }
        check(field, &value)?;
        *slot = if value.as_str() == Some("") {
            Value::Null
        } else {
            value
        };
    }
    full_name(object, values);
    outcome(object, values);
    Ok(())
}

/// Whether an opportunity is closed and won: its stage tells, in an org that kept Salesforce's own stages.
fn outcome(object: usize, values: &mut [Value]) {
    let schema = &OBJECTS[object];
    let Some(stage) = schema.field("StageName").and_then(|place| values.get(place)) else {
        return;
    };
    let won = stage == "Closed Won";
    let closed = won || stage == "Closed Lost";
    for (name, value) in [("IsClosed", closed), ("IsWon", won)] {
        if let Some(slot) = schema.field(name).and_then(|place| values.get_mut(place)) {
            *slot = Value::from(value);
        }
    }
}

/// A contact's name is made of its two parts.
fn full_name(object: usize, values: &mut [Value]) {
    let schema = &OBJECTS[object];
    if schema.name != "Contact" {
        return;
    }
    let part = |name| {
        schema
            .field(name)
            .and_then(|place| values.get(place))
            .and_then(Value::as_str)
    };
    let name = [part("FirstName"), part("LastName")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(slot) = schema.field("Name").and_then(|place| values.get_mut(place)) {
        *slot = Value::from(name);
    }
}

fn check(field: &Field, value: &Value) -> Result<(), RestError> {
    let right = match (field.kind, value) {
        (_, Value::Null)
        | (Kind::Bool, Value::Bool(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::DateTime, Value::String(_)) => true,
        (Kind::Text(longest), Value::String(text)) => {
            if text.chars().count() > longest {
                let text = format!("{}: data value too large (max length={longest})", field.name);
                return Err(RestError::bad_request("STRING_TOO_LONG", text).with_fields(&[field.name]));
            }
            true
        }
        (Kind::Date, Value::String(text)) => text.parse::<jiff::civil::Date>().is_ok(),
        (Kind::Id | Kind::Reference(..), Value::String(id)) => {
            if to_15(id).is_none() {
                let text = format!("{}: id value of incorrect type: {id}", field.name);
                return Err(RestError::bad_request("MALFORMED_ID", text).with_fields(&[field.name]));
            }
            true
        }
        _ => false,
    };
    if right {
        return Ok(());
    }
    let text = format!(
        "Cannot deserialize instance of {} from the value given",
        field.name
    );
    Err(RestError::bad_request("JSON_PARSER_ERROR", text))
}

fn complain_of_missing(object: usize, values: &[Value]) -> Result<(), RestError> {
    let missing: Vec<&str> = OBJECTS[object]
        .fields
        .iter()
        .zip(values)
        .filter(|(field, value)| field.required && value.is_null())
        .map(|(field, _)| field.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("Required fields are missing: [{}]", missing.join(", "));
    Err(RestError::bad_request("REQUIRED_FIELD_MISSING", text).with_fields(&missing))
}
