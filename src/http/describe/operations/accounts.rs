//! Built-in accounts, and who am I.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Access, Body, Operation, answer, shown};
use crate::{
    chat::accounts::{Grant, PASSWORD_CHARS, PublicUser},
    protocol::{
        ErrorCode::{InvalidField, NameTaken, RateLimited, Unauthorized, Unavailable},
        Username,
        schema::Schemas,
    },
};

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    vec![
        register(schemas),
        login(schemas),
        guest(schemas),
        refresh(schemas),
        me(schemas),
    ]
}

fn account(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("post", path, id, summary).with(|it| {
        it.tag = "accounts";
        it.access = Access::Open;
    })
}

fn ann() -> Value {
    json!({ "id": 1, "username": "ann", "role": "user" })
}

fn granted() -> Value {
    json!({ "token": "eyJhbGciOiJIUzI1NiJ9.e30.signature", "user": ann() })
}

/// `limited`: only a password within the limits makes an account, but any may be tried.
fn credentials(schemas: &mut Schemas, limited: bool) -> Body {
    let (username, password) = match limited {
        true => (
            schemas.of::<Username>(),
            json!({ "type": "string", "minLength": PASSWORD_CHARS.start(), "maxLength": PASSWORD_CHARS.end() }),
        ),
        false => (json!({ "type": "string" }), json!({ "type": "string" })),
    };
    Body {
        schema: json!({
            "type": "object",
            "properties": { "username": username, "password": password },
            "required": ["username", "password"]
        }),
        is_required: true,
        examples: vec![(
            "ann",
            json!({ "username": "ann", "password": "correct horse" }),
        )],
    }
}

fn register(schemas: &mut Schemas) -> Operation {
    let grant = schemas.of::<Grant>();
    let body = credentials(schemas, true);
    account(
        "/api/v1/auth/register",
        "register",
        "Make an account with a password",
    )
    .with(|it| {
        it.about = "403 when the server runs with `--no-signup`.";
        it.body = Some(body);
        it.answers = vec![shown(
            StatusCode::CREATED,
            "The account, and a token for it.",
            grant,
            granted(),
        )];
        it.errors = &[NameTaken, RateLimited];
    })
}

fn login(schemas: &mut Schemas) -> Operation {
    let grant = schemas.of::<Grant>();
    let body = credentials(schemas, false);
    account("/api/v1/auth/login", "login", "Get a token for a password").with(|it| {
        it.about = "Every way in which the two do not fit gets the same 401.";
        it.body = Some(body);
        it.answers = vec![shown(StatusCode::OK, "A token.", grant, granted())];
        it.errors = &[Unauthorized, RateLimited];
    })
}

fn guest(schemas: &mut Schemas) -> Operation {
    let (grant, username) = (schemas.of::<Grant>(), schemas.of::<Username>());
    account("/api/v1/auth/guest", "guest", "Get a token without a password").with(|it| {
        it.about = "Under a free name of one's own, or under one that is drawn. 403 when the server runs with `--no-signup`.";
        it.body = Some(Body {
            schema: json!({ "type": "object", "properties": { "username": username } }),
            is_required: false,
            examples: vec![("drawn", json!({})), ("chosen", json!({ "username": "ann" }))],
        });
        let mut guest = granted();
        guest["user"]["role"] = json!("guest");
        it.answers = vec![shown(StatusCode::CREATED, "The guest, and a token for it.", grant, guest)];
        it.errors = &[NameTaken, InvalidField, Unavailable];
    })
}

fn refresh(schemas: &mut Schemas) -> Operation {
    let grant = schemas.of::<Grant>();
    account(
        "/api/v1/auth/refresh",
        "refresh",
        "Get a fresh token for one that is still good",
    )
    .with(|it| {
        it.access = Access::Bearer;
        it.answers = vec![shown(
            StatusCode::OK,
            "A token that lasts longer.",
            grant,
            granted(),
        )];
    })
}

fn me(schemas: &mut Schemas) -> Operation {
    let user = schemas.of::<PublicUser>();
    let schema = json!({ "type": "object", "properties": { "user": user }, "required": ["user"] });
    Operation::new(
        "get",
        "/api/v1/auth/me",
        "me",
        "The token's user, or what the WebSocket's handshake would say",
    )
    .with(|it| {
        it.tag = "accounts";
        it.about = "In every mode. For browsers, which cannot see why a handshake was refused.";
        it.answers = vec![answer(StatusCode::OK, "Who the token stands for.", schema)];
        it.answers[0].example = Some(json!({ "user": ann() }));
    })
}
