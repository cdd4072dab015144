//! What this server says of itself to programs: OpenAPI of the paths, AsyncAPI of the frames.
//!
//! Both are made at start, out of the types, limits and registries that the server itself works with, and hold the limits
//! in force. The schemas are [`crate::protocol::schema`]'s, the same for both. That every route is described, and that
//! every answer is as described, is held by `tests/describe`.

mod asyncapi;
mod openapi;
mod operations;

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use crate::protocol::Limits;

/// The two documents for a server with its limits.
#[derive(Clone, Debug)]
pub struct Descriptions {
    /// OpenAPI 3.1.
    pub openapi: Value,
    /// AsyncAPI 3.0.
    pub asyncapi: Value,
}

impl Descriptions {
    /// `frame_bytes` is the longest frame, and the longest body.
    pub fn new(limits: &Limits, frame_bytes: usize) -> Self {
        Self {
            openapi: openapi::document(limits, frame_bytes),
            asyncapi: asyncapi::document(limits, frame_bytes),
        }
    }
}

/// A document as it is sent, made once.
pub(super) fn encoded(document: &Value) -> Bytes {
    Bytes::from(document.to_string())
}

/// The answer that is nothing but a document.
pub(super) fn answer(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
