//! What a client may send: each request with its fields, its limits, and what answers it.

use serde_json::{Value, json};

use super::{
    super::value::{Content, Cursor, MAX_ID, Nonce, Ref, RoomName, UserId},
    Schemas, object,
};

/// One type of frame that a client sends.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    /// `type` on the wire.
    pub kind: &'static str,
    /// What it asks for, in a line.
    pub summary: &'static str,
    /// What else there is to know.
    pub about: &'static str,
    /// The `type` of what answers it; an `error` may always.
    pub replies: &'static [&'static str],
    /// It is answered also when it has no `ref`.
    pub always_answered: bool,
    /// The schema of the frame.
    pub schema: Value,
}

/// All requests, in the order of the documentation.
pub fn request_frames(schemas: &mut Schemas) -> Vec<RequestFrame> {
    vec![
        join(schemas),
        message(schemas),
        dm(schemas),
        room_history(schemas),
        dm_history(schemas),
        leave(schemas),
        hello(schemas),
        resume(schemas),
        auth(schemas),
        ping(schemas),
    ]
}

fn frame(
    schemas: &mut Schemas,
    kind: &'static str,
    mut fields: Vec<(&'static str, Value)>,
    optional: &[&str],
) -> Value {
    let kind = json!({ "type": "string", "const": kind });
    fields.splice(0..0, [("type", kind), ("ref", schemas.of::<Ref>())]);
    object(fields, optional)
}

fn join(schemas: &mut Schemas) -> RequestFrame {
    let fields = vec![("room", schemas.of::<RoomName>())];
    RequestFrame {
        kind: "join",
        summary: "Receive what is said in a room from now on",
        about: "A room exists from its first `join` or `message`, unless the server runs with `--rooms listed`. Joining \
                twice is joining once.",
        replies: &["join_ack"],
        always_answered: false,
        schema: frame(schemas, "join", fields, &["ref"]),
    }
}

fn message(schemas: &mut Schemas) -> RequestFrame {
    let fields = vec![
        ("room", schemas.of::<RoomName>()),
        ("content", schemas.of::<Content>()),
        ("nonce", schemas.of::<Nonce>()),
    ];
    RequestFrame {
        kind: "message",
        summary: "Say something in a room",
        about: "Acknowledged once the message is durable. It needs no `join`; a sender who has joined receives its own \
                message like everybody, before or after the acknowledgement.",
        replies: &["message_sent"],
        always_answered: false,
        schema: frame(schemas, "message", fields, &["ref", "nonce"]),
    }
}

fn dm(schemas: &mut Schemas) -> RequestFrame {
    let fields = vec![
        ("to", schemas.of::<UserId>()),
        ("content", schemas.of::<Content>()),
        ("nonce", schemas.of::<Nonce>()),
    ];
    RequestFrame {
        kind: "dm",
        summary: "Say something to one user",
        about: "It goes to every connection of the recipient and to every other connection of the sender. Acknowledged \
                once the message is durable.",
        replies: &["dm_sent"],
        always_answered: false,
        schema: frame(schemas, "dm", fields, &["ref", "nonce"]),
    }
}

/// `limit`, `before` and `after` of a history, as fields or as parameters.
pub(super) fn window(schemas: &mut Schemas) -> [(&'static str, Value); 3] {
    let (default, most) = (
        schemas.limits().history_default,
        schemas.limits().history_max,
    );
    let limit = json!({
        "type": "integer", "minimum": 1, "default": default,
        "description": format!("Most messages; more than {most} is taken as {most}.")
    });
    let before = json!({
        "type": "integer", "minimum": 1, "maximum": MAX_ID,
        "description": "The newest messages before this id."
    });
    let after = json!({
        "allOf": [schemas.of::<Cursor>()],
        "description": "The oldest messages after this id."
    });
    [("limit", limit), ("before", before), ("after", after)]
}

fn history(schemas: &mut Schemas, kind: &'static str, whose: (&'static str, Value)) -> Value {
    let mut fields = vec![whose];
    fields.extend(window(schemas));
    let mut schema = frame(schemas, kind, fields, &["ref", "limit", "before", "after"]);
    schema["not"] = json!({ "required": ["before", "after"] });
    schema
}

const HISTORY: &str = "The newest messages (before `before`), or the oldest after `after`; not both. Always in chronological \
                       order. An unknown conversation is an empty one.";

fn room_history(schemas: &mut Schemas) -> RequestFrame {
    let room = ("room", schemas.of::<RoomName>());
    RequestFrame {
        kind: "room_history",
        summary: "Read a room",
        about: HISTORY,
        replies: &["room_history"],
        always_answered: true,
        schema: history(schemas, "room_history", room),
    }
}

fn dm_history(schemas: &mut Schemas) -> RequestFrame {
    let with = ("with", schemas.of::<UserId>());
    RequestFrame {
        kind: "dm_history",
        summary: "Read the conversation with a user",
        about: HISTORY,
        replies: &["dm_history"],
        always_answered: true,
        schema: history(schemas, "dm_history", with),
    }
}

fn leave(schemas: &mut Schemas) -> RequestFrame {
    let fields = vec![("room", schemas.of::<RoomName>())];
    RequestFrame {
        kind: "leave",
        summary: "Receive no more from a room",
        about: "",
        replies: &["leave_ack"],
        always_answered: false,
        schema: frame(schemas, "leave", fields, &["ref"]),
    }
}

fn hello(schemas: &mut Schemas) -> RequestFrame {
    RequestFrame {
        kind: "hello",
        summary: "Ask who I am and what holds here",
        about: "The only request that must have a `ref`, since all that it does is to be answered.",
        replies: &["welcome"],
        always_answered: true,
        schema: frame(schemas, "hello", Vec::new(), &[]),
    }
}

fn resume(schemas: &mut Schemas) -> RequestFrame {
    let rooms = json!({
        "type": "array", "items": schemas.of::<RoomName>(), "maxItems": schemas.limits().resume_rooms,
        "description": "The rooms to receive from now on; those that do not exist are made, as `join` would."
    });
    let after = json!({
        "allOf": [schemas.of::<Cursor>()],
        "description": "Everything up to here has been received."
    });
    let epoch = json!({
        "type": "string",
        "description": "The log that `after` is a position of, from `welcome` or `resume_ack`; unchecked when it is not given."
    });
    let fields = vec![("after", after), ("rooms", rooms), ("epoch", epoch)];
    RequestFrame {
        kind: "resume",
        summary: "Go on where an earlier connection ended",
        about: "Joins all `rooms` and replays what was missed since `after` there and in the user's DMs, as ordinary \
                `message` and `dm` frames in id order after the `resume_ack`; then goes on live. All or nothing: with \
                `complete` false nothing is replayed, `reason` says why, and the client asks for histories.",
        replies: &["resume_ack"],
        always_answered: true,
        schema: frame(schemas, "resume", fields, &["ref", "epoch"]),
    }
}

fn auth(schemas: &mut Schemas) -> RequestFrame {
    let token = json!({
        "type": "string",
        "description": "A newer JWT of the same user."
    });
    RequestFrame {
        kind: "auth",
        summary: "Bring a newer token",
        about: "A connection is closed with 4401 when its token expires; this lets it go on. A bad token changes nothing.",
        replies: &["auth_ack"],
        always_answered: true,
        schema: frame(schemas, "auth", vec![("token", token)], &["ref"]),
    }
}

fn ping(schemas: &mut Schemas) -> RequestFrame {
    RequestFrame {
        kind: "ping",
        summary: "Ask for a sign of life",
        about: "For clients that cannot send WebSocket pings. What was asked before it has been handled by then.",
        replies: &["pong"],
        always_answered: true,
        schema: frame(schemas, "ping", Vec::new(), &["ref"]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        super::super::{
            Incoming, MAX_ID, RoomName,
            request::{NAMES, TYPES},
        },
        super::{conversation, server_frames},
        *,
    };
    use crate::protocol::Limits;
    use serde_json::Map;

    fn limits() -> Limits {
        Limits {
            content_bytes: 100,
            history_default: 50,
            history_max: 500,
            history_bytes: 1000,
            resume_rooms: 3,
        }
    }

    fn validator(schema: Value, components: &Map<String, Value>) -> jsonschema::Validator {
        let mut root = schema;
        root["components"] = json!({ "schemas": components });
        jsonschema::validator_for(&root).unwrap()
    }

    fn examples(kind: &str) -> Vec<Value> {
        let requests = conversation().into_iter().map(|exchange| exchange.request);
        requests.filter(|request| request["type"] == kind).collect()
    }

    /// What may stand in a field, good and bad.
    fn candidates() -> Vec<Value> {
        let long = |length: usize| "x".repeat(length);
        let mut all: Vec<Value> = [
            -1,
            0,
            1,
            50,
            500,
            501,
            MAX_ID,
            MAX_ID + 1,
            i64::MAX,
            i64::MIN,
        ]
        .map(Value::from)
        .to_vec();
        all.extend(
            [
                "",
                " ",
                "a",
                " a",
                "a ",
                "a\u{7}b",
                "a\u{202E}b",
                "\0",
                "x\0",
                "é",
                "general",
                "\u{FEFF}",
                "\u{85}",
            ]
            .map(Value::from),
        );
        all.extend([64, 65, 100, 101].map(|length| json!(long(length))));
        all.extend([json!(1.5), json!(true), json!({}), json!([])]);
        all.extend([
            json!(["a"]),
            json!(["a", "b", "c"]),
            json!(["a", "b", "c", "d"]),
            json!([" "]),
            json!([1]),
        ]);
        all
    }

    #[test]
    fn the_description_and_the_parser_agree_on_every_field() {
        let limits = limits();
        let mut schemas = Schemas::new(&limits);
        let frames = request_frames(&mut schemas);
        let components = schemas.into_components();
        let mut compared = 0;
        for frame in frames {
            let fields = frame.schema["properties"].as_object().unwrap().clone();
            let validator = validator(frame.schema.clone(), &components);
            let mut judge = |request: &Value| {
                let parsed = Incoming::parse(&request.to_string(), &limits).request;
                let described = validator.is_valid(request);
                assert_eq!(
                    described,
                    parsed.is_ok(),
                    "{request}: described as {described}, but {parsed:?}"
                );
                compared += 1;
            };
            let examples = examples(frame.kind);
            assert!(!examples.is_empty(), "{} has no example", frame.kind);
            for example in examples {
                judge(&example);
                for field in fields.keys().filter(|field| *field != "type") {
                    let mut without = example.clone();
                    without.as_object_mut().unwrap().remove(field);
                    judge(&without);
                    for candidate in candidates() {
                        let mut with = example.clone();
                        with[field] = candidate;
                        judge(&with);
                    }
                }
            }
        }
        assert!(compared > 1000, "{compared}");
    }

    #[test]
    fn every_type_and_every_field_that_is_read_is_described() {
        let mut schemas = Schemas::new(&limits());
        let frames = request_frames(&mut schemas);
        let kinds: Vec<&str> = frames.iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds.join(", "), TYPES);
        let described: BTreeSet<String> = frames
            .iter()
            .flat_map(|frame| {
                frame.schema["properties"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
            })
            .collect();
        assert_eq!(described, NAMES.map(str::to_owned).into());
    }

    #[test]
    fn names_are_refused_for_the_same_characters() {
        let mut schemas = Schemas::new(&limits());
        let name = schemas.of::<RoomName>();
        let validator = validator(name, &schemas.into_components());
        let characters = (0..0x3100).chain(0xFE00..=0xFFFF);
        for c in characters.filter_map(char::from_u32) {
            for name in [format!("a{c}b"), format!("{c}a"), format!("a{c}")] {
                assert_eq!(
                    validator.is_valid(&json!(name)),
                    RoomName::new(&name).is_ok(),
                    "{name:?}"
                );
            }
        }
    }

    #[test]
    fn every_reply_that_is_named_is_described() {
        let mut schemas = Schemas::new(&limits());
        let requests = request_frames(&mut schemas);
        let frames = server_frames(&mut schemas);
        for reply in requests.iter().flat_map(|request| request.replies) {
            assert!(frames.iter().any(|frame| frame.kind == *reply), "{reply}");
        }
    }
}
