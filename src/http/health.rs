//! What a supervisor asks: is it alive, can it store, what has it counted.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{App, Peer, error, token};
use crate::protocol::{ErrorCode, Reject};

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

/// `GET /healthz`: the process answers. Also tells the page which ways in there are.
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

/// `GET /metrics`: for this machine, and for admins. What came through a proxy, or through a name that only leads here,
/// does not count as this machine.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if !peer.address.ip().to_canonical().is_loopback() || !app.origins.is_local(&headers) {
        match token::identify(&app, token::of_header(&headers)).await {
            Ok(identity) if identity.role == "admin" => {}
            Ok(_) => {
                let message =
                    "metrics are for the server's own machine and for tokens with role admin";
                return error::answer(&app, &Reject::new(ErrorCode::Forbidden, message));
            }
            Err(reject) => return error::refused_handshake(&app, &reject),
        }
    }
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], app.metrics.render()).into_response()
}
