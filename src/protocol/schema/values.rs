//! The schemas of the values: each limit is the constant that the value's `new` checks.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::super::value::{
    Content, Cursor, MAX_ID, Message, MessageId, NAME_MAX_CHARS, NONCE_MAX_CHARS, Nonce,
    REF_MAX_CHARS, Ref, RoomName, Timestamp, UserId, Username,
};

/// What a name is refused for, as ECMA-262 writes it; a test compares it with what is refused, character by character.
const NAME_PATTERN: &str = r"^(?!\s)(?![\s\S]*\s$)[^\u0000-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069\uFEFF]+$";
/// Not blank, and no NUL. What is blank is Unicode's White_Space, which differs from ECMA-262's by two characters.
const CONTENT_PATTERN: &str = r"^[^\u0000]*([^\s\u0000\u0085]|\uFEFF)[^\u0000]*$";
const TIME_PATTERN: &str = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$";

macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(
    UserId,
    "UserId",
    json_schema!({
        "type": "integer", "minimum": 1, "maximum": MAX_ID,
        "description": "Who: drawn by the backend or by the built-in accounts."
    })
);
schema!(
    MessageId,
    "MessageId",
    json_schema!({
        "type": "integer", "minimum": 1, "maximum": MAX_ID,
        "description": "Which message: drawn in commit order for all rooms and DMs together, strictly increasing, never reused; gaps are allowed."
    })
);
schema!(
    Cursor,
    "Cursor",
    json_schema!({
        "type": "integer", "minimum": 0, "maximum": MAX_ID,
        "description": "A position in the log: everything with a larger id comes after it. 0 is before the first message."
    })
);
schema!(
    RoomName,
    "RoomName",
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS, "pattern": NAME_PATTERN,
        "description": "The name of a room; names are compared byte for byte."
    })
);
schema!(
    Username,
    "Username",
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS, "pattern": NAME_PATTERN,
        "description": "What a user is called. Not a key: with a backend, two users may bear one name."
    })
);
schema!(
    Content,
    "Content",
    json_schema!({
        "type": "string", "minLength": 1, "pattern": CONTENT_PATTERN
    })
);
schema!(
    Nonce,
    "Nonce",
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": NONCE_MAX_CHARS,
        "description": "The client's own name for a send, unique for that user (a UUID is a good choice): a send repeated with the same nonce is the same message."
    })
);
schema!(
    Ref,
    "Ref",
    json_schema!({
        "description": "Chosen by the client to recognise the reply, which echoes it.",
        "oneOf": [
            { "type": "string", "maxLength": REF_MAX_CHARS },
            { "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }
        ]
    })
);
schema!(
    Timestamp,
    "Timestamp",
    json_schema!({
        "type": "string", "format": "date-time", "pattern": TIME_PATTERN,
        "description": "When the server stored it: RFC 3339, UTC, milliseconds."
    })
);

/// A [`Message`] of a room.
#[derive(Debug)]
pub struct RoomMessage;
/// A [`Message`] to one user.
#[derive(Debug)]
pub struct DirectMessage;

impl JsonSchema for RoomMessage {
    fn schema_name() -> Cow<'static, str> {
        "RoomMessage".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let room = generator.subschema_for::<RoomName>();
        message(generator, "A stored message of a room.", "room", &room)
    }
}

impl JsonSchema for DirectMessage {
    fn schema_name() -> Cow<'static, str> {
        "DirectMessage".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let to = generator.subschema_for::<UserId>();
        message(generator, "A stored message to one user.", "to", &to)
    }
}

impl JsonSchema for Message {
    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A stored message, of a room or to one user.",
            "oneOf": [
                generator.subschema_for::<RoomMessage>(),
                generator.subschema_for::<DirectMessage>()
            ]
        })
    }
}

fn message(generator: &mut SchemaGenerator, about: &str, place: &str, schema: &Schema) -> Schema {
    json_schema!({
        "type": "object",
        "description": about,
        "properties": {
            "id": generator.subschema_for::<MessageId>(),
            "fromUser": generator.subschema_for::<UserId>(),
            "username": generator.subschema_for::<Username>(),
            "content": generator.subschema_for::<Content>(),
            "timestamp": generator.subschema_for::<Timestamp>(),
            place: schema,
            "seq": {
                "type": "integer", "minimum": 1,
                "description": "Its position in its conversation: 1 … n without a hole."
            },
            "nonce": generator.subschema_for::<Nonce>()
        },
        "required": ["id", "fromUser", "username", "content", "timestamp", place, "seq"]
    })
}
