//! What the server sends: the schemas come from the types that are encoded.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    super::{
        encode::{AuthAck, Empty, ErrorBody, JoinAck, LeaveAck, ResumeAck, SentBody},
        reply::Welcome,
        value::{Ref, RoomName, UserId},
    },
    DirectMessage, RoomMessage, Schemas, object,
};

/// One type of frame that the server sends.
#[derive(Clone, Debug)]
pub struct ServerFrame {
    /// `type` on the wire.
    pub kind: &'static str,
    /// What it says, in a line.
    pub summary: &'static str,
    /// It also comes by itself, not as the reply to a request.
    pub is_pushed: bool,
    /// The schema of the frame.
    pub schema: Value,
}

/// All frames, in the order of the documentation.
pub fn server_frames(schemas: &mut Schemas) -> Vec<ServerFrame> {
    let reply = |kind, summary, schema| ServerFrame {
        kind,
        summary,
        is_pushed: false,
        schema,
    };
    let pushed = |kind, summary, schema| ServerFrame {
        is_pushed: true,
        ..reply(kind, summary, schema)
    };
    let s = schemas;
    vec![
        pushed(
            "message",
            "Somebody said something in a joined room",
            live::<RoomMessage>(s, "message"),
        ),
        pushed(
            "dm",
            "Somebody said something to this user, or this user did elsewhere",
            live::<DirectMessage>(s, "dm"),
        ),
        reply("room_history", "A part of a room", room_history(s)),
        reply("dm_history", "A part of a conversation", dm_history(s)),
        reply(
            "join_ack",
            "The room is received from now on",
            acknowledged::<JoinAck<'_>>(s, "join_ack"),
        ),
        reply(
            "leave_ack",
            "The room is received no more",
            acknowledged::<LeaveAck<'_>>(s, "leave_ack"),
        ),
        reply(
            "message_sent",
            "The message is durable",
            sent(s, "message_sent", "room", "to"),
        ),
        reply(
            "dm_sent",
            "The message is durable",
            sent(s, "dm_sent", "to", "room"),
        ),
        reply(
            "welcome",
            "Who you are and what holds here",
            acknowledged::<Welcome>(s, "welcome"),
        ),
        reply(
            "resume_ack",
            "Where the reader stands; the replay follows",
            answered::<ResumeAck<'_>>(s, "resume_ack"),
        ),
        reply(
            "auth_ack",
            "The newer token is in force",
            answered::<AuthAck>(s, "auth_ack"),
        ),
        reply("pong", "A sign of life", answered::<Empty>(s, "pong")),
        reply(
            "error",
            "The request was refused and changed nothing",
            error(s),
        ),
    ]
}

fn kind(name: &str) -> Value {
    json!({ "type": "string", "const": name })
}

fn live<T: JsonSchema>(schemas: &mut Schemas, name: &str) -> Value {
    object(vec![("type", kind(name)), ("data", schemas.of::<T>())], &[])
}

/// A reply that comes only to a request with a `ref`.
fn acknowledged<T: JsonSchema>(schemas: &mut Schemas, name: &str) -> Value {
    let data = schemas.inline::<T>();
    envelope(schemas, name, data, &[])
}

/// A reply that always comes.
fn answered<T: JsonSchema>(schemas: &mut Schemas, name: &str) -> Value {
    let data = schemas.inline::<T>();
    envelope(schemas, name, data, &["ref"])
}

fn envelope(schemas: &mut Schemas, name: &str, data: Value, optional: &[&str]) -> Value {
    let fields = vec![
        ("type", kind(name)),
        ("data", data),
        ("ref", schemas.of::<Ref>()),
    ];
    object(fields, optional)
}

/// The acknowledgement of a send has the place that was sent to, and not the `other`.
fn sent(schemas: &mut Schemas, name: &str, place: &str, other: &str) -> Value {
    let mut data = schemas.inline::<SentBody<'_>>();
    if let Some(Value::Object(properties)) = data.get_mut("properties") {
        properties.remove(other);
    }
    if let Some(Value::Array(required)) = data.get_mut("required") {
        required.push(json!(place));
    }
    envelope(schemas, name, data, &[])
}

fn history(
    schemas: &mut Schemas,
    name: &str,
    messages: Value,
    whose: (&'static str, Value),
) -> Value {
    let data =
        json!({ "type": "array", "items": messages, "description": "In chronological order." });
    let has_more = json!({
        "type": "boolean",
        "description": "There is more beyond the end that was read towards."
    });
    let reference = schemas.of::<Ref>();
    let fields = vec![
        ("type", kind(name)),
        ("data", data),
        whose,
        ("hasMore", has_more),
        ("ref", reference),
    ];
    object(fields, &["ref"])
}

fn room_history(schemas: &mut Schemas) -> Value {
    let (messages, room) = (schemas.of::<RoomMessage>(), schemas.of::<RoomName>());
    history(schemas, "room_history", messages, ("room", room))
}

fn dm_history(schemas: &mut Schemas) -> Value {
    let (messages, with) = (schemas.of::<DirectMessage>(), schemas.of::<UserId>());
    history(schemas, "dm_history", messages, ("with", with))
}

fn error(schemas: &mut Schemas) -> Value {
    let message = json!({ "type": "string", "description": "The same as in `data`." });
    let data = error_body(schemas);
    let reference = schemas.of::<Ref>();
    let fields = vec![
        ("type", kind("error")),
        ("message", message),
        ("data", data),
        ("ref", reference),
    ];
    object(fields, &["ref"])
}

/// The inside of an error, the same in a frame and over HTTP.
pub(super) fn error_body(schemas: &mut Schemas) -> Value {
    schemas.of::<ErrorBody<'_>>()
}
