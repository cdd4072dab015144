//! The table of operations: every path and method of the router, what it takes, and everything that it may answer.

mod accounts;
mod listing;
mod messages;
mod stats;
mod supervision;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::protocol::{ErrorCode, schema::Schemas};

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Open,
    /// Who has a token.
    Bearer,
    /// This machine, or a token of an admin.
    LocalOrAdmin,
}

/// One method of one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) access: Access,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    /// Errors of this operation, besides those that its access, its body and its storage bring.
    pub(super) errors: &'static [ErrorCode],
    /// Errors under another status than their own.
    pub(super) odd_errors: Vec<(StatusCode, Vec<ErrorCode>)>,
    /// It asks or changes storage.
    pub(super) uses_storage: bool,
    /// It is refused to web pages of unknown origin.
    pub(super) judges_origin: bool,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) schema: Value,
    pub(super) is_required: bool,
    pub(super) examples: Vec<(&'static str, Value)>,
}

/// What comes back when it goes well.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) about: &'static str,
    /// Media types, each with its schema.
    pub(super) content: Vec<(&'static str, Value)>,
    pub(super) example: Option<Value>,
}

/// All operations, in the order of the documentation.
pub(super) fn all(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = accounts::operations(schemas);
    all.extend(messages::operations(schemas));
    all.extend(messages::histories(schemas));
    all.extend(listing::operations(schemas));
    all.push(stats::operation(schemas));
    all.extend(supervision::operations(schemas));
    all
}

impl Operation {
    /// A path of the API that needs a token and storage; the rest is set by `with`.
    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            tag: "messages",
            summary,
            about: "",
            access: Access::Bearer,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            errors: &[],
            odd_errors: Vec::new(),
            uses_storage: true,
            judges_origin: true,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Every error code that it may answer with, each once.
    pub(super) fn error_codes(&self) -> Vec<ErrorCode> {
        use ErrorCode::{
            Forbidden, Internal, InvalidField, InvalidJson, StorageFull, TooLarge, Unauthorized,
            Unavailable,
        };
        let groups: [(bool, &[ErrorCode]); 5] = [
            (true, self.errors),
            (self.access != Access::Open, &[Unauthorized]),
            (self.judges_origin, &[Forbidden]),
            (self.body.is_some(), &[InvalidJson, InvalidField, TooLarge]),
            (self.uses_storage, &[StorageFull, Unavailable, Internal]),
        ];
        let has = |code: &ErrorCode| {
            groups
                .iter()
                .any(|(holds, codes)| *holds && codes.contains(code))
        };
        ErrorCode::ALL.into_iter().filter(has).collect()
    }
}

fn answer(status: StatusCode, about: &'static str, schema: Value) -> Answer {
    Answer {
        status,
        about,
        content: vec![("application/json", schema)],
        example: None,
    }
}

fn shown(status: StatusCode, about: &'static str, schema: Value, example: Value) -> Answer {
    Answer {
        example: Some(example),
        ..answer(status, about, schema)
    }
}

/// A parameter of the query that may be left out.
fn query(name: &str, mut schema: Value) -> Value {
    let about = schema
        .as_object_mut()
        .and_then(|schema| schema.remove("description"));
    json!({ "name": name, "in": "query", "required": false, "description": about, "schema": schema })
}

/// A part of the path.
fn part(name: &str, about: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
}

/// A part of a list, or of a conversation: `{name: […], hasMore}`.
fn page(name: &str, items: Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            name: { "type": "array", "items": items },
            "hasMore": { "type": "boolean", "description": "There is more beyond the end that was read towards." }
        },
        "required": [name, "hasMore"]
    })
}
