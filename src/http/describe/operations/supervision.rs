//! The socket's handshake, what a supervisor asks, and these documents.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Access, Answer, Operation, answer, shown};
use crate::{
    http::health::Alive,
    protocol::{
        ErrorCode::{self, Forbidden, InvalidField, Unauthorized},
        schema::Schemas,
    },
};

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    vec![
        page_or_socket(),
        socket("/ws", "socket"),
        socket("/ws/chat", "socketChat"),
        alive(schemas),
        ready(),
        metrics(),
        document("/api/v1/openapi.json", "openapi", "This document"),
        document(
            "/asyncapi.json",
            "asyncapi",
            "AsyncAPI 3.0 of the WebSocket",
        ),
    ]
}

/// A path that everybody may ask and that judges nobody.
fn open(
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
) -> Operation {
    Operation::new("get", path, id, summary).with(|it| {
        it.tag = tag;
        it.access = Access::Open;
        it.judges_origin = false;
        it.uses_storage = false;
    })
}

const HANDSHAKE: &str = "With `Upgrade: websocket`; the frames are described at `/asyncapi.json`. The token comes, first found \
                         first used, in `Authorization: Bearer`, in `Sec-WebSocket-Protocol: chat.v1, bearer.<jwt>`, or in \
                         `?token=`.";

fn token() -> Value {
    json!({
        "name": "token", "in": "query", "required": false, "schema": { "type": "string" },
        "description": "A JWT, where no header can be set."
    })
}

fn switched() -> Answer {
    Answer {
        status: StatusCode::SWITCHING_PROTOCOLS,
        about: "The connection speaks WebSocket from now on.",
        content: Vec::new(),
        example: None,
    }
}

fn socket(path: &'static str, id: &'static str) -> Operation {
    open(path, id, "socket", "Open the WebSocket").with(|it| {
        it.about = HANDSHAKE;
        it.access = Access::Bearer;
        it.judges_origin = true;
        it.uses_storage = true;
        it.parameters = vec![token()];
        it.answers = vec![switched()];
        it.errors = &[InvalidField];
        it.odd_errors = vec![(StatusCode::UPGRADE_REQUIRED, vec![InvalidField])];
    })
}

fn page_or_socket() -> Operation {
    socket("/", "page").with(|it| {
        it.summary = "The page, or the WebSocket if that is asked for";
        it.access = Access::Open;
        it.odd_errors = Vec::new();
        it.errors = &[InvalidField, Unauthorized];
        it.answers.push(Answer {
            status: StatusCode::OK,
            about: "The page.",
            content: vec![("text/html", json!({ "type": "string" }))],
            example: None,
        });
        it.answers.push(Answer {
            status: StatusCode::NOT_MODIFIED,
            about: "The page that `If-None-Match` names is still the one.",
            content: Vec::new(),
            example: None,
        });
    })
}

fn alive(schemas: &mut Schemas) -> Operation {
    let schema = schemas.of::<Alive>();
    let example = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "mode": "standalone", "signup": true });
    open("/healthz", "alive", "operation", "The process answers").with(|it| {
        it.about = "Also tells a front end which ways in there are.";
        it.judges_origin = true;
        it.answers = vec![shown(StatusCode::OK, "It does.", schema, example)];
    })
}

fn ready() -> Operation {
    let schema = json!({
        "type": "object",
        "properties": { "status": { "type": "string", "const": "ready" } },
        "required": ["status"]
    });
    open(
        "/readyz",
        "ready",
        "operation",
        "A message could be stored now",
    )
    .with(|it| {
        it.answers = vec![shown(
            StatusCode::OK,
            "It could.",
            schema,
            json!({ "status": "ready" }),
        )];
        let why = vec![
            ErrorCode::StorageFull,
            ErrorCode::Unavailable,
            ErrorCode::Internal,
        ];
        it.odd_errors = vec![(StatusCode::SERVICE_UNAVAILABLE, why)];
    })
}

fn metrics() -> Operation {
    open("/metrics", "metrics", "operation", "What has been counted").with(|it| {
        it.about =
            "For the server's own machine without a token, for others with one of role `admin`.";
        it.access = Access::LocalOrAdmin;
        it.uses_storage = true;
        it.errors = &[Forbidden];
        let text = || json!({ "type": "string" });
        let content = vec![
            ("text/plain", text()),
            ("application/openmetrics-text", text()),
        ];
        it.answers = vec![Answer {
            status: StatusCode::OK,
            about: "In Prometheus' text format, or in OpenMetrics for those who ask for it.",
            content,
            example: None,
        }];
    })
}

fn document(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    open(path, id, "description", summary).with(|it| {
        it.judges_origin = true;
        it.answers = vec![answer(
            StatusCode::OK,
            "The document.",
            json!({ "type": "object" }),
        )];
    })
}
