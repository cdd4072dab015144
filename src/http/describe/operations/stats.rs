//! The numbers that the page draws.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::JsonSchema;

use super::{Access, Operation, answer};
use crate::protocol::{ErrorCode::Forbidden, LimitsInForce, schema::Schemas};

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let schema = schemas.of::<Stats>();
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

/// How the server is doing.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Stats {
    /// Versions of the program and of its database, and how it was built.
    build: BTreeMap<String, String>,
    uptime_seconds: u64,
    /// `standalone` or `integrated`: where a token comes from.
    #[schemars(extend("enum" = ["standalone", "integrated"]))]
    mode: String,
    /// Names this log.
    epoch: String,
    connections: u64,
    users: u64,
    rooms: u64,
    /// Rooms joined, counted once for each connection.
    joins: u64,
    limits: LimitsInForce,
    messages: Messages,
    commits: Commits,
    outbox: Outbox,
    storage: Storage,
    /// One for each second of the last five minutes, oldest first.
    samples: Vec<Sample>,
}

/// Since the start.
#[derive(JsonSchema)]
struct Messages {
    stored: u64,
    delivered: u64,
}

/// Commits since the start.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Commits {
    count: u64,
    messages: u64,
    latency_ms: Latency,
    batch: Batch,
}

/// How long commits took, in milliseconds.
#[derive(JsonSchema)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

/// Messages in one commit.
#[derive(JsonSchema)]
struct Batch {
    mean: f64,
    max: f64,
}

/// What waits for connections.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Outbox {
    bytes: u64,
    /// Of the connection with the most.
    max_bytes: u64,
    /// Connections that are served from the log.
    behind: u64,
}

/// What the database takes on disk.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Storage {
    bytes: u64,
    wal_bytes: u64,
}

/// One second; what is counted is counted in it alone.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Sample {
    /// Unix time in milliseconds.
    at: i64,
    stored: f64,
    delivered: f64,
    commits: f64,
    /// Mean of the commits of this second; 0 when there was none.
    commit_ms: f64,
    connections: u64,
    outbox_bytes: u64,
    outbox_max_bytes: u64,
}
