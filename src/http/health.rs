//! What a supervisor asks: is it alive, can it store.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{App, error};

/// The process answers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Alive {
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    version: &'static str,
    /// `standalone` or `integrated`: where a token comes from.
    #[schemars(extend("enum" = ["standalone", "integrated"]))]
    mode: &'static str,
    /// Whether register and guest are open.
    signup: bool,
}

/// `GET /healthz`: the process answers. Also tells front ends which ways in there are.
pub(super) async fn alive(State(app): State<Arc<App>>) -> Response {
    let (mode, signup) = match &app.accounts {
        Some(accounts) => ("standalone", accounts.signup()),
        None => ("integrated", false),
    };
    Json(Alive {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        mode,
        signup,
    })
    .into_response()
}

/// `GET /readyz`: a message could be stored now; 503 when not.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    #[derive(Serialize)]
    struct Ready {
        status: &'static str,
    }
    match app.chat.ready().await {
        Ok(()) => Json(Ready { status: "ready" }).into_response(),
        Err(reject) => (
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            error::body(&reject),
        )
            .into_response(),
    }
}
