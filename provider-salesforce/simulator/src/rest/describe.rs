//! What objects look like: describe global and describe, with the members that clients use most.

use serde_json::{Value, json};

use crate::rest::schema::{Field, Kind, OBJECTS, Object};

/// The answer of `GET /sobjects`
pub(crate) fn global(version: &str) -> Value {
    let all: Vec<Value> = (0..OBJECTS.len())
        .map(|object| summary(object, version))
        .collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": all })
}

/// One object of the list.
pub(crate) fn summary(object: usize, version: &str) -> Value {
    let schema = &OBJECTS[object];
    let path = format!("/services/data/v{version}/sobjects/{}", schema.name);
    json!({
        "name": schema.name, "label": schema.name, "labelPlural": schema.plural, "keyPrefix": schema.prefix,
        "createable": schema.creatable, "updateable": schema.creatable, "deletable": schema.creatable,
        "undeletable": schema.creatable, "queryable": true, "retrieveable": true, "layoutable": true,
        "searchable": schema.creatable, "triggerable": schema.creatable, "replicateable": true,
        "custom": false, "customSetting": false, "deprecatedAndHidden": false, "activateable": false,
        "mergeable": false, "feedEnabled": false, "mruEnabled": schema.creatable,
        "urls": { "sobject": path, "describe": format!("{path}/describe"), "rowTemplate": format!("{path}/{{ID}}") },
    })
}

/// The answer of `GET /sobjects/X/describe`
pub(crate) fn object(object: usize, version: &str) -> Value {
    let schema = &OBJECTS[object];
    let mut described = summary(object, version);
    described["fields"] = schema.fields.iter().map(|each| field(schema, each)).collect();
    described["childRelationships"] = json!([]);
    described["recordTypeInfos"] = json!([]);
    described
}

fn field(schema: &Object, field: &Field) -> Value {
    let (kind, soap, length) = match field.kind {
        Kind::Id => ("id", "tns:ID", 18),
        Kind::Reference(..) => ("reference", "tns:ID", 18),
        Kind::Text(length) if length > 255 => ("textarea", "xsd:string", length),
        Kind::Text(length) if field.name.ends_with("Email") => ("email", "xsd:string", length),
        Kind::Text(length) if field.name.ends_with("Phone") => ("phone", "xsd:string", length),
        Kind::Text(length) => ("string", "xsd:string", length),
        Kind::Number => ("double", "xsd:double", 0),
        Kind::Bool => ("boolean", "xsd:boolean", 0),
        Kind::Date => ("date", "xsd:date", 0),
        Kind::DateTime => ("datetime", "xsd:dateTime", 0),
    };
    let (relationship, targets) = match field.kind {
        Kind::Reference(relationship, target) => (Some(relationship), vec![target]),
        _ => (None, Vec::new()),
    };
    let writable = field.writable && schema.creatable;
    json!({
        "name": field.name, "label": field.name, "type": kind, "soapType": soap, "length": length,
        "byteLength": length * 3, "createable": writable, "updateable": writable, "nillable": !field.required && field.name != "Id",
        "defaultedOnCreate": matches!(field.name, "Id" | "OwnerId") || !field.writable, "filterable": kind != "textarea",
        "sortable": kind != "textarea", "groupable": kind != "textarea", "nameField": field.name == "Name",
        "referenceTo": targets, "relationshipName": relationship, "custom": false, "unique": false,
        "externalId": false, "calculated": false, "picklistValues": [],
    })
}
