//! OpenAPI 3.1 of the paths: the table of operations, written out.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::operations::{self, Access, Answer, Operation};
use crate::{
    http::error,
    protocol::{
        ErrorCode, Limits,
        schema::{Schemas, error_codes},
    },
};

pub(super) fn document(limits: &Limits, frame_bytes: usize) -> Value {
    let mut schemas = Schemas::new(limits);
    let mut paths = Map::new();
    for operation in operations::all(&mut schemas) {
        let path = paths.entry(operation.path).or_insert(json!({}));
        path[operation.method] = described(&operation, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": info(frame_bytes),
        "servers": [{ "url": "/", "description": "Where this document came from." }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas.into_components(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "A token of `/api/v1/auth/…`, or of the backend whose secret this server knows."
            } }
        }
    })
}

fn info(frame_bytes: usize) -> Value {
    let about = format!(
        "The HTTP API beside the WebSocket, which is described at `/asyncapi.json`. Bodies are JSON of at most {frame_bytes} \
         bytes; unknown fields and parameters are ignored. Every refusal is `{{\"error\":{{\"code\",\"message\",\"field\"?}}}}`: \
         a program decides on `code`.\n\n\
         Below `/api/v1`, a path that does not exist answers 404 and a method that a path does not take 405, both with \
         `invalid_field`. \
         Beyond `--max-connections`, every request is answered with an empty 503."
    );
    json!({
        "title": "chat-server",
        "version": env!("CARGO_PKG_VERSION"),
        "description": about,
        "license": { "name": "MIT", "identifier": "MIT" }
    })
}

fn tags() -> Value {
    let tags = [
        (
            "accounts",
            "Who am I. The built-in accounts exist in standalone mode only; with a backend's JWT_SECRET they answer 403.",
        ),
        ("messages", "Rooms, direct messages and people."),
        ("socket", "The WebSocket's handshake."),
        ("operation", "What a supervisor asks."),
        ("description", "These documents."),
    ];
    tags.map(|(name, about)| json!({ "name": name, "description": about }))
        .into_iter()
        .collect()
}

fn described(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": security(operation.access),
        "responses": responses(operation, schemas)
    });
    if !operation.about.is_empty() {
        described["description"] = json!(operation.about);
    }
    if !operation.parameters.is_empty() {
        described["parameters"] = json!(operation.parameters);
    }
    if let Some(body) = &operation.body {
        let examples = named(&body.examples);
        described["requestBody"] = json!({
            "required": body.is_required,
            "content": { "application/json": { "schema": body.schema, "examples": examples } }
        });
    }
    described
}

/// A list of alternatives; the empty one is: nothing is needed.
fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Bearer => json!([{ "bearer": [] }]),
        Access::LocalOrAdmin => json!([{}, { "bearer": [] }]),
    }
}

fn named(examples: &[(&'static str, Value)]) -> Map<String, Value> {
    examples
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({ "value": value })))
        .collect()
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Map<String, Value> {
    let mut responses: Map<String, Value> = operation
        .answers
        .iter()
        .map(|answer| (answer.status.as_str().to_owned(), success(answer)))
        .collect();
    let mut by_status: BTreeMap<StatusCode, Vec<ErrorCode>> = BTreeMap::new();
    for code in operation.error_codes() {
        by_status.entry(error::status(code)).or_default().push(code);
    }
    for (status, codes) in by_status {
        responses.insert(status.as_str().to_owned(), refusal(status, &codes, schemas));
    }
    for (status, codes) in &operation.odd_errors {
        responses.insert(status.as_str().to_owned(), refusal(*status, codes, schemas));
    }
    responses
}

fn success(answer: &Answer) -> Value {
    let mut response = json!({ "description": answer.about });
    for (media_type, schema) in &answer.content {
        response["content"][*media_type] = json!({ "schema": schema });
        if let Some(example) = &answer.example {
            response["content"][*media_type]["example"] = example.clone();
        }
    }
    response
}

/// An error with one of `codes`, whose words in the registry say what each means.
fn refusal(status: StatusCode, codes: &[ErrorCode], schemas: &mut Schemas) -> Value {
    let lines = error_codes();
    let line = |code: ErrorCode| {
        let line = lines.iter().find(|(known, _)| *known == code);
        line.map(|(_, line)| line.clone()).unwrap_or_default()
    };
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let about: Vec<String> = codes
        .iter()
        .map(|&code| format!("- `{}`: {}", code.as_str(), line(code)))
        .collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|&code| {
            let mut error =
                json!({ "code": code.as_str(), "message": "what is wrong, and what to do" });
            if code == ErrorCode::RateLimited {
                error["retryAfterMs"] = json!(400);
            }
            let value = json!({ "error": error });
            (
                code.as_str().to_owned(),
                json!({ "summary": line(code), "value": value }),
            )
        })
        .collect();
    let error =
        json!({ "allOf": [schemas.error(), { "properties": { "code": { "enum": names } } }] });
    let schema =
        json!({ "type": "object", "properties": { "error": error }, "required": ["error"] });
    let mut response = json!({
        "description": about.join("\n"),
        "content": { "application/json": { "schema": schema, "examples": examples } }
    });
    let header = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Some(("Retry-After", json!({ "type": "integer", "minimum": 0 })))
        }
        StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", json!({ "const": "Bearer" }))),
        _ => None,
    };
    if let Some((name, schema)) = header {
        response["headers"] = json!({ name: { "schema": schema } });
    }
    response
}
