//! Generates the OpenAPI 3.1 document from the table and the shapes.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    param::{Param, Place},
    problem::ErrorBody,
    route::{Handler, Route, Verb},
    table::ROUTES,
};
use crate::error::Code;

const KEY: &[Code] = &[
    Code::KeyMissing,
    Code::KeyMalformed,
    Code::KeyUnknown,
    Code::KeyRevoked,
    Code::KeyExpired,
    Code::KeyInsufficient,
    Code::KeyInUrl,
    Code::HeaderDuplicate,
    Code::HeaderValueInvalid,
    Code::StoreUnavailable,
    Code::StoreCorrupt,
    Code::Tampered,
    Code::VaultKeyUnknown,
    Code::Internal,
];
const ID: &[Code] = &[Code::IdEmpty, Code::IdTooLong, Code::IdInvalid];
const QUERY: &[Code] = &[Code::FilterUnknown, Code::FilterDuplicate, Code::QueryTooLarge];
const BODY: &[Code] = &[
    Code::BodyInvalid,
    Code::FieldMissing,
    Code::FieldInvalid,
    Code::FieldUnknown,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::ContentTypeUnsupported,
];

/// Every error of a route: its own, and those of its key, path, query and body.
pub(super) fn errors(route: &Route) -> Vec<Code> {
    let mut codes = vec![route.late];
    let checked = matches!(route.handler, Handler::Api(_) | Handler::Admin(_));
    if checked {
        codes.extend(KEY);
    } else {
        codes.push(Code::Internal);
    }
    if matches!(route.handler, Handler::Api(_)) {
        codes.push(Code::IntegrationMismatch);
        // X-Integration-Id.
        codes.extend(ID);
    } else if route.template.names().next().is_some() {
        codes.extend(ID);
    }
    if !matches!(route.handler, Handler::Browser(_)) && route.verb != Verb::Any {
        codes.extend(QUERY);
    }
    if route.takes.is_some() {
        codes.extend(BODY);
    }
    codes.extend(route.fails);
    let mut seen = BTreeSet::new();
    codes.retain(|code| seen.insert(code.as_str()));
    codes
}

/// The document of a service below `public_url`.
pub(super) fn document(public_url: &str) -> Value {
    // OpenAPI 3.1 uses JSON Schema 2020-12; only the place of definitions differs.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let error = schemas.subschema_for::<ErrorBody<'static>>().to_value();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let operations = paths.entry(route.template.0.replace("...}", "}")).or_default();
        for method in route.verb.methods() {
            let name = method.as_str().to_ascii_lowercase();
            let operation = operation(route, &name, &error, &mut schemas);
            operations.insert(name, operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Grantry",
            "summary": "Connections to your users' accounts, with working tokens",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": public_url }],
        "tags": [
            { "name": "browser", "description": "What a browser visits." },
            { "name": "connections", "description": "With an API key, which reaches its own integration only." },
            { "name": "integrations", "description": "With an admin key." },
            { "name": "document" },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "apiKey": { "type": "http", "scheme": "bearer", "description": "An integration's API key." },
                "adminKey": { "type": "http", "scheme": "bearer", "description": "An admin key." },
            },
        },
    })
}

fn operation(route: &Route, method: &str, error: &Value, schemas: &mut SchemaGenerator) -> Value {
    let (tag, security) = match route.handler {
        Handler::Browser(_) => ("browser", json!([])),
        Handler::Api(_) => ("connections", json!([{ "apiKey": [] }])),
        Handler::Admin(_) => ("integrations", json!([{ "adminKey": [] }])),
        Handler::Open(_) => ("document", json!([])),
    };
    let mut operation = Map::new();
    operation.insert("operationId".into(), operation_id(route, method).into());
    operation.insert("tags".into(), json!([tag]));
    operation.insert("summary".into(), route.summary.into());
    operation.insert("security".into(), security);
    let mut parameters: Vec<Value> = route.template.names().map(path_parameter).collect();
    parameters.extend(route.params.iter().map(parameter));
    if matches!(route.handler, Handler::Api(_)) {
        let header = Param::header(
            "X-Integration-Id",
            "If given, it must be the integration of the key.",
        );
        parameters.push(parameter(&header));
    }
    operation.insert("parameters".into(), parameters.into());
    if let Some(takes) = route.takes {
        let schema = (takes.schema)(schemas);
        let content = json!({ "application/json": { "schema": schema } });
        operation.insert(
            "requestBody".into(),
            json!({ "required": takes.required, "content": content }),
        );
    } else if route.verb == Verb::Any && !matches!(method, "get" | "head") {
        operation.insert("requestBody".into(), json!({ "content": { "*/*": {} } }));
    }
    operation.insert("responses".into(), responses(route, error, schemas).into());
    operation.into()
}

/// The operation id of a route: `get /api/v1/usage` is `getUsage`.
fn operation_id(route: &Route, method: &str) -> String {
    let template = route.template.0.replace("...", "");
    let parts = template
        .split(['/', '-', '.'])
        .filter(|part| !matches!(*part, "" | "api" | "v1"));
    parts.fold(method.to_owned(), |mut id, part| {
        let name = part.trim_matches(['{', '}']);
        if name.len() < part.len() {
            id.push_str("By");
        }
        let mut letters = name.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.extend(letters.filter(char::is_ascii_alphanumeric));
        id
    })
}

fn path_parameter(name: &str) -> Value {
    let name = name.trim_end_matches("...");
    let (about, schema) = match name {
        "path" => (
            "The path below the instance URL. It may have slashes.",
            json!({ "type": "string" }),
        ),
        "provider" => (
            "The name of the connection's provider.",
            json!({ "type": "string" }),
        ),
        "integrationId" => (
            "The integration's id, or its slug.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$" }),
        ),
        _ => (
            "An id that the broker returned.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$" }),
        ),
    };
    json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
}

fn parameter(param: &Param) -> Value {
    let mut schema = Map::new();
    schema.insert(
        "type".into(),
        if param.integer { "integer" } else { "string" }.into(),
    );
    if !param.values.is_empty() {
        schema.insert("enum".into(), param.values.into());
    }
    let place = match param.place {
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": param.name,
        "in": place,
        "required": param.required,
        "description": param.about,
        "schema": schema,
    })
}

fn responses(route: &Route, error: &Value, schemas: &mut SchemaGenerator) -> Map<String, Value> {
    let mut responses = Map::new();
    let gives = route.gives;
    let mut success = json!({ "description": gives.about });
    if let Some(schema) = gives.schema {
        success["content"] = json!({ "application/json": { "schema": schema(schemas) } });
    }
    responses.insert(gives.status.to_string(), success);
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in errors(route) {
        by_status.entry(code.http_status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let lines: Vec<String> = codes
            .iter()
            .map(|code| format!("- `{}`: {}", code.as_str(), code.message()))
            .collect();
        let content = match route.handler {
            Handler::Browser(_) => json!({ "text/html": {} }),
            _ => json!({ "application/json": { "schema": error } }),
        };
        let response = json!({ "description": lines.join("\n"), "content": content });
        responses.insert(status.to_string(), response);
    }
    responses
}
