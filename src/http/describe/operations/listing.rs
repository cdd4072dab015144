//! What there is: rooms, people, and one's own conversations.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Body, Operation, messages, page, query, shown};
use crate::protocol::{
    Conversation,
    ErrorCode::{InvalidField, RateLimited},
    MAX_ID, Person, RoomEntry, RoomName,
    schema::Schemas,
};

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    vec![
        rooms(schemas),
        create_room(schemas),
        users(schemas),
        conversations(schemas),
    ]
}

fn limit(schemas: &mut Schemas) -> Value {
    let [(name, schema), ..] = schemas.window();
    query(name, schema)
}

fn general() -> Value {
    json!({ "name": "general", "memberCount": 2, "lastId": 1, "lastSeq": 1, "lastMessage": messages::hello_room() })
}

fn rooms(schemas: &mut Schemas) -> Operation {
    let mut after = json!({ "description": "Rooms after this name." });
    after["allOf"] = json!([schemas.of::<RoomName>()]);
    let (limit, room) = (limit(schemas), schemas.of::<RoomEntry>());
    Operation::new("get", "/api/v1/rooms", "rooms", "Rooms, by name").with(|it| {
        it.parameters = vec![limit, query("after", after)];
        let example = json!({ "rooms": [general()], "hasMore": false });
        it.answers = vec![shown(
            StatusCode::OK,
            "A part of the list.",
            page("rooms", room),
            example,
        )];
        it.errors = &[InvalidField];
    })
}

fn create_room(schemas: &mut Schemas) -> Operation {
    let (name, room) = (schemas.of::<RoomName>(), schemas.of::<RoomEntry>());
    Operation::new("post", "/api/v1/rooms", "createRoom", "Make a room").with(|it| {
        it.about = "Under the rules by which a `join` would. With `--rooms listed` only a token with role `admin` may; beyond `--max-rooms` nobody.";
        it.body = Some(Body {
            schema: json!({ "type": "object", "properties": { "name": name }, "required": ["name"] }),
            is_required: true,
            examples: vec![("general", json!({ "name": "general" }))],
        });
        it.answers = vec![
            shown(StatusCode::CREATED, "It was made.", room.clone(), general()),
            shown(StatusCode::OK, "It was there.", room, general()),
        ];
        it.errors = &[RateLimited];
    })
}

fn other(online: bool) -> Value {
    json!({ "id": 456, "username": "other", "online": online })
}

fn users(schemas: &mut Schemas) -> Operation {
    let after = json!({ "type": "integer", "minimum": 0, "maximum": MAX_ID, "description": "Users after this id." });
    let online = json!({ "type": "boolean", "default": false, "description": "Only those who are connected." });
    let (limit, person) = (limit(schemas), schemas.of::<Person>());
    Operation::new("get", "/api/v1/users", "users", "People, by id").with(|it| {
        it.parameters = vec![limit, query("after", after), query("online", online)];
        let example = json!({ "users": [other(true)], "hasMore": false });
        it.answers = vec![shown(
            StatusCode::OK,
            "A part of the list.",
            page("users", person),
            example,
        )];
        it.errors = &[InvalidField];
    })
}

fn conversations(schemas: &mut Schemas) -> Operation {
    let before = json!({
        "type": "integer", "minimum": 1, "maximum": MAX_ID,
        "description": "Conversations whose newest message lies before this id."
    });
    let (limit, dm) = (limit(schemas), schemas.of::<Conversation>());
    Operation::new("get", "/api/v1/dms", "conversations", "One's own conversations, newest first").with(|it| {
        it.parameters = vec![limit, query("before", before)];
        let dm_example = json!({ "with": other(false), "lastId": 2, "lastSeq": 1, "lastMessage": messages::hello_dm() });
        let example = json!({ "dms": [dm_example], "hasMore": false });
        it.answers = vec![shown(StatusCode::OK, "A part of the list.", page("dms", dm), example)];
        it.errors = &[InvalidField];
    })
}
