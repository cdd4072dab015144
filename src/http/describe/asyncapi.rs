//! AsyncAPI 3.0 of the socket, from the server's point of view: it *receives* what a client sends.

use serde_json::{Map, Value, json};

use crate::protocol::{
    Limits,
    schema::{
        Exchange, RequestFrame, Schemas, ServerFrame, close_codes, conversation, request_frames,
        server_frames,
    },
};

const CHANNEL: &str = "#/channels/chat";

pub(super) fn document(limits: &Limits, frame_bytes: usize) -> Value {
    let mut schemas = Schemas::new(limits);
    let requests = request_frames(&mut schemas);
    let frames = server_frames(&mut schemas);
    let exchanges = conversation();
    let mut components = schemas.into_components();
    components.insert("CloseCode".into(), close_code());
    json!({
        "asyncapi": "3.0.0",
        "info": info(frame_bytes),
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": { "chat": channel(&requests, &frames) },
        "operations": operations(&requests, &frames),
        "components": {
            "messages": messages(requests, frames, &exchanges),
            "schemas": components,
            "securitySchemes": security_schemes()
        }
    })
}

fn info(frame_bytes: usize) -> Value {
    let about = format!(
        "Rooms and direct messages over one WebSocket: one JSON object in one text frame, of at most {frame_bytes} bytes. \
         Unknown fields are ignored; an optional field may be null. Requests are handled in the order in which they came. \
         Within one connection `message` and `dm` frames come in strictly increasing `id` order. Nothing is pushed before \
         the first request was handled, or one second has passed.\n\n\
         A request with a `ref` gets a reply with the same `ref`. Without it only histories, `resume_ack`, `auth_ack`, \
         `pong` and errors are sent: a client that knows five requests receives five types of frames.\n\n\
         The HTTP API beside it is described at `/api/v1/openapi.json`."
    );
    json!({
        "title": "chat-server: the WebSocket",
        "version": env!("CARGO_PKG_VERSION"),
        "description": about,
        "license": { "name": "MIT" },
        "tags": [{ "name": "chat", "description": "Rooms and direct messages." }]
    })
}

fn servers() -> Value {
    let security: Vec<Value> = ["bearer", "subprotocol", "query"]
        .iter()
        .map(|name| json!({ "$ref": format!("#/components/securitySchemes/{name}") }))
        .collect();
    let host = json!({
        "default": "localhost:9001",
        "description": "Where this document came from."
    });
    let server = |protocol: &str, about: &str| {
        json!({
            "host": "{host}",
            "protocol": protocol,
            "protocolVersion": "13",
            "description": about,
            "variables": { "host": host },
            "security": security
        })
    };
    json!({
        "direct": server("ws", "The server itself."),
        "proxied": server("wss", "Behind a proxy that adds TLS.")
    })
}

fn security_schemes() -> Value {
    let claims = "A JWT with `exp` and a user id (`user_id`, else `sub` or `id`); `username` and `role` are optional. \
                  What is wrong with a refused one stands in the body of the 401.";
    json!({
        "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": claims },
        "subprotocol": {
            "type": "httpApiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
            "description": "For browsers: `chat.v1, bearer.<jwt>`; the server selects `chat.v1`."
        },
        "query": {
            "type": "httpApiKey", "in": "query", "name": "token",
            "description": "For clients that can set no header. An address is logged in more places than a header."
        }
    })
}

fn channel(requests: &[RequestFrame], frames: &[ServerFrame]) -> Value {
    let ids = requests
        .iter()
        .map(|request| request_id(request.kind))
        .chain(frames.iter().map(|frame| frame_id(frame.kind)));
    let messages: Map<String, Value> = ids
        .map(|id| {
            let target = format!("#/components/messages/{id}");
            (id, json!({ "$ref": target }))
        })
        .collect();
    let codes: Vec<String> = close_codes()
        .into_iter()
        .map(|(code, line)| format!("- {}: {line}", code.code()))
        .collect();
    let about = format!(
        "Also at `/` and `/ws/chat`. A refused handshake is HTTP 401 or 403 with `{{\"error\":{{\"code\",\"message\"}}}}`; a \
         browser cannot see it and asks `GET /api/v1/auth/me` for the same.\n\nThe server ends a connection with:\n\n{}",
        codes.join("\n")
    );
    json!({
        "address": "/ws",
        "title": "Everything",
        "description": about,
        "messages": messages,
        "bindings": { "ws": {
            "method": "GET",
            "query": query(),
            "headers": headers(),
            "bindingVersion": "0.1.0"
        } }
    })
}

fn query() -> Value {
    json!({
        "type": "object",
        "properties": { "token": { "type": "string", "description": "A JWT, where no header can be set." } }
    })
}

fn headers() -> Value {
    json!({
        "type": "object",
        "properties": {
            "Authorization": { "type": "string", "description": "`Bearer <jwt>`; first found, first used." },
            "Sec-WebSocket-Protocol": { "type": "string", "description": "`chat.v1, bearer.<jwt>`" },
            "Origin": { "type": "string", "description": "Sent by browsers; must be this machine's or one that is allowed." }
        }
    })
}

fn operations(requests: &[RequestFrame], frames: &[ServerFrame]) -> Value {
    let mut operations = Map::new();
    for request in requests {
        let id = request_id(request.kind);
        let replies = request.replies.iter().chain(&["error"]);
        let replies: Vec<Value> = replies.map(|kind| on_channel(&frame_id(kind))).collect();
        let when = match request.always_answered {
            true => "Always answered.",
            false => "Acknowledged when it has a `ref`; an error is always sent.",
        };
        let operation = json!({
            "action": "receive",
            "channel": { "$ref": CHANNEL },
            "title": request.kind,
            "summary": request.summary,
            "description": format!("{} {when}", request.about).trim(),
            "messages": [on_channel(&id)],
            "reply": { "channel": { "$ref": CHANNEL }, "messages": replies }
        });
        operations.insert(camel_case(request.kind), operation);
    }
    for frame in frames.iter().filter(|frame| frame.is_pushed) {
        let operation = json!({
            "action": "send",
            "channel": { "$ref": CHANNEL },
            "title": frame.kind,
            "summary": frame.summary,
            "messages": [on_channel(&frame_id(frame.kind))]
        });
        operations.insert(camel_case(&format!("push_{}", frame.kind)), operation);
    }
    Value::Object(operations)
}

fn on_channel(message: &str) -> Value {
    json!({ "$ref": format!("{CHANNEL}/messages/{message}") })
}

fn messages(
    requests: Vec<RequestFrame>,
    frames: Vec<ServerFrame>,
    exchanges: &[Exchange],
) -> Map<String, Value> {
    let mut messages = Map::new();
    for request in requests {
        let examples: Vec<Value> = exchanges
            .iter()
            .filter(|exchange| exchange.request["type"] == request.kind)
            .map(|exchange| json!({ "summary": exchange.title, "payload": exchange.request }))
            .collect();
        let message = message(
            request.kind,
            request.summary,
            request.schema,
            examples,
            true,
        );
        messages.insert(request_id(request.kind), message);
    }
    for frame in frames {
        let (kind, summary) = (frame.kind, frame.summary);
        let has_ref = frame.schema["properties"].get("ref").is_some();
        let examples = answers(exchanges, kind);
        let message = message(kind, summary, frame.schema, examples, has_ref);
        messages.insert(frame_id(kind), message);
    }
    messages
}

/// The frames of one type in the conversation, each once.
fn answers(exchanges: &[Exchange], kind: &str) -> Vec<Value> {
    let mut examples: Vec<Value> = Vec::new();
    for exchange in exchanges {
        for frame in exchange.answers.iter().chain(&exchange.heard) {
            let example = json!({ "summary": exchange.title, "payload": frame });
            let is_known = examples.iter().any(|known| known["payload"] == *frame);
            if frame["type"] == kind && !is_known {
                examples.push(example);
            }
        }
    }
    examples
}

fn message(kind: &str, summary: &str, schema: Value, examples: Vec<Value>, has_ref: bool) -> Value {
    let mut message = json!({
        "name": kind,
        "title": kind,
        "summary": summary,
        "contentType": "application/json",
        "payload": schema,
        "examples": examples
    });
    if has_ref {
        message["correlationId"] = json!({
            "location": "$message.payload#/ref",
            "description": "A reply bears the `ref` of its request."
        });
    }
    message
}

fn close_code() -> Value {
    let codes = close_codes();
    let lines: Vec<String> = codes
        .iter()
        .map(|(code, line)| format!("- `{}`: {line}", code.code()))
        .collect();
    let numbers: Vec<u16> = codes.iter().map(|(code, _)| code.code()).collect();
    json!({
        "type": "integer",
        "enum": numbers,
        "description": format!("How the server ends a connection (RFC 6455 section 7.4).\n\n{}", lines.join("\n"))
    })
}

/// A client's frame and a server's may bear the same `type`.
fn request_id(kind: &str) -> String {
    camel_case(&format!("{kind}_request"))
}

fn frame_id(kind: &str) -> String {
    camel_case(&format!("{kind}_frame"))
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut id = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}
