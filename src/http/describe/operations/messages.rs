//! Saying something, and reading what was said.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Body, Operation, page, part, query, shown};
use crate::protocol::{
    Content,
    ErrorCode::{InvalidField, NonceReused, RateLimited, RoomNotFound, UserNotFound},
    Message, Nonce, RoomName, UserId,
    schema::{DirectMessage, RoomMessage, Schemas},
};

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    vec![send(schemas)]
}

/// Reading a conversation without a socket.
pub(super) fn histories(schemas: &mut Schemas) -> Vec<Operation> {
    vec![of_room(schemas), of_dm(schemas)]
}

/// A message as the examples show it.
pub(super) fn hello_room() -> Value {
    json!({
        "id": 1, "fromUser": 123, "username": "user", "content": "Hello!", "timestamp": "2026-01-15T12:00:00.123Z",
        "room": "general", "seq": 1
    })
}

/// A direct message as the examples show it.
pub(super) fn hello_dm() -> Value {
    json!({
        "id": 2, "fromUser": 123, "username": "user", "content": "Hello!", "timestamp": "2026-01-15T12:00:07.004Z",
        "to": 456, "seq": 1
    })
}

fn send(schemas: &mut Schemas) -> Operation {
    let schema = json!({
        "type": "object",
        "properties": {
            "room": schemas.of::<RoomName>(),
            "to": schemas.of::<UserId>(),
            "content": schemas.of::<Content>(),
            "nonce": schemas.of::<Nonce>()
        },
        "required": ["content"],
        "oneOf": [{ "required": ["room"] }, { "required": ["to"] }]
    });
    let (message, nonce) = (schemas.of::<Message>(), schemas.of::<Nonce>());
    Operation::new("post", "/api/v1/chat/messages", "sendMessage", "Say something in a room or to one user").with(|it| {
        it.about = "For bots and scripts. An error says that nothing was stored; when nobody knows, the connection is cut \
                    without an answer: repeat with the same nonce.";
        it.parameters = vec![json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": nonce,
            "description": "The nonce, for clients that send it as a header. With both, they must be the same. One that \
                            this server itself gives its copies, `<epoch>-<id>`, is refused with 409: the message is \
                            stored already."
        })];
        it.body = Some(Body {
            schema,
            is_required: true,
            examples: vec![
                ("room", json!({ "room": "general", "content": "Hello!" })),
                ("dm", json!({ "to": 456, "content": "Hello!", "nonce": "6f1c2b1e-8f0a-4a53-9a3e-0d6a2f6c7b11" })),
            ],
        });
        it.answers = vec![
            shown(StatusCode::CREATED, "It is durable.", message.clone(), hello_room()),
            shown(StatusCode::OK, "It was durable already, under the same nonce.", message, hello_room()),
        ];
        it.errors = &[RoomNotFound, UserNotFound, NonceReused, RateLimited];
    })
}

const HISTORY: &str = "The newest messages (before `before`), or the oldest after `after`; not both. Always in chronological \
                       order. An unknown conversation is an empty one.";

fn history(
    schemas: &mut Schemas,
    operation: Operation,
    whose: Value,
    messages: Value,
    example: &Value,
) -> Operation {
    let window = schemas.window().map(|(name, schema)| query(name, schema));
    operation.with(|it| {
        it.about = HISTORY;
        it.parameters = [vec![whose], window.to_vec()].concat();
        let example = json!({ "messages": [example], "hasMore": false });
        it.answers = vec![shown(
            StatusCode::OK,
            "A part of the conversation.",
            page("messages", messages),
            example,
        )];
        it.errors = &[InvalidField];
    })
}

fn of_room(schemas: &mut Schemas) -> Operation {
    let operation = Operation::new(
        "get",
        "/api/v1/rooms/{room}/messages",
        "roomHistory",
        "Read a room",
    );
    let (room, messages) = (schemas.of::<RoomName>(), schemas.of::<RoomMessage>());
    let whose = part("room", "The room's name, percent-encoded.", room);
    history(schemas, operation, whose, messages, &hello_room())
}

fn of_dm(schemas: &mut Schemas) -> Operation {
    let operation = Operation::new(
        "get",
        "/api/v1/dms/{user}/messages",
        "dmHistory",
        "Read the conversation with a user",
    );
    let (user, messages) = (schemas.of::<UserId>(), schemas.of::<DirectMessage>());
    let whose = part("user", "The other one's id.", user);
    history(schemas, operation, whose, messages, &hello_dm())
}
