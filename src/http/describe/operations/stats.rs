//! The numbers that the page draws.

use axum::http::StatusCode;

use super::{Access, Operation, answer};
use crate::{
    protocol::{ErrorCode::Forbidden, schema::Schemas},
    stats::Report,
};

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let schema = schemas.of::<Report<'_>>();
    Operation::new("get", "/api/v1/stats", "stats", "How the server is doing").with(|it| {
        it.tag = "operation";
        it.about =
            "For the server's own machine without a token, for others with one of role `admin`.";
        it.access = Access::LocalOrAdmin;
        it.answers = vec![answer(
            StatusCode::OK,
            "The numbers now, and those of the last five minutes.",
            schema,
        )];
        it.errors = &[Forbidden];
    })
}
