//! The doors: HTTP and the WebSocket upgrade, on one port.
//!
//! A door turns bytes into a verb of [`Chat`] and the result back into bytes. What may be done, and what is valid, is
//! decided below; SQL is not known here.

mod api;
mod assets;
mod describe;
mod error;
mod health;
mod operator;
mod origin;
mod stats;
mod token;
mod ws;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use describe::Descriptions;
pub use origin::OriginRule;
pub use ws::SocketLimits;

use crate::{
    authority::Authority,
    chat::{Chat, accounts::Accounts},
    clock::Clock,
    hub::Hub,
    metrics::Metrics,
    protocol::Reject,
    session,
    stats::Stats,
};

/// Everything that a request may need.
#[derive(Debug)]
pub struct App {
    /// The verbs.
    pub chat: Arc<Chat>,
    /// Who is here.
    pub hub: Arc<Hub>,
    /// Built-in accounts; `None` in integrated mode.
    pub accounts: Option<Accounts>,
    /// Judges tokens.
    pub authority: Authority,
    /// What time it is, for tokens.
    pub clock: Clock,
    /// Which web pages may talk to this server.
    pub origins: OriginRule,
    /// What sessions share.
    pub sessions: Arc<session::Shared>,
    /// What a socket may hold.
    pub socket_limits: SocketLimits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is told about all this.
    pub stats: Arc<Stats>,
    /// Every task that a connection runs in, so that a stop can wait for them.
    pub tasks: TaskTracker,
    /// Longest request body, in bytes.
    pub body_bytes: usize,
    /// In which the body of a request must arrive.
    pub request_timeout: Duration,
}

/// The TCP connection that a request came on.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// The connection's share of the connection limit, held as long as anybody holds this.
    pub slot: Arc<OwnedSemaphorePermit>,
    /// Cuts the connection without an answer.
    pub cut: CancellationToken,
}

/// All paths. Every request must carry a [`Peer`] among its extensions.
pub fn router(app: Arc<App>) -> Router {
    let described = Descriptions::new(&app.sessions.limits, app.body_bytes);
    let openapi = describe::encoded(&described.openapi);
    let asyncapi = describe::encoded(&described.asyncapi);
    let api = api::router()
        .route("/stats", get(stats::report))
        .route("/openapi.json", get(async || describe::answer(openapi)))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(app.body_bytes))
        .layer(middleware::from_fn_with_state(app.clone(), cross_origin));
    let beside = Router::new()
        .route("/asyncapi.json", get(async || describe::answer(asyncapi)))
        .route("/healthz", get(health::alive))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), cross_origin));
    Router::new()
        .route("/", any(ws::page_or_socket))
        .route("/ws", any(ws::socket))
        .route("/ws/chat", any(ws::socket))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(stats::metrics))
        .merge(beside)
        .nest("/api/v1", api)
        .fallback(assets::file)
        .layer(middleware::map_response(security_headers))
        .with_state(app)
}

async fn no_such_path() -> Response {
    let message = "there is no such path: the README lists all of them";
    (
        StatusCode::NOT_FOUND,
        error::body(&Reject::invalid("path", message)),
    )
        .into_response()
}

async fn wrong_method() -> Response {
    let message = "this path takes another method: the README says which";
    (
        StatusCode::METHOD_NOT_ALLOWED,
        error::body(&Reject::invalid("method", message)),
    )
        .into_response()
}

/// The same rule as for sockets (<https://fetch.spec.whatwg.org/#http-cors-protocol>): an origin that may not talk to this
/// server is refused before anything is done, one that may is told so.
async fn cross_origin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Err(reject) = app.origins.judge(request.headers()) {
        return error::refused_handshake(&app, &reject);
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match request.method() {
        &Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization, content-type, idempotency-key",
            ),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "retry-after"),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// For every answer: the page loads nothing from elsewhere, is framed by nobody, and no answer is taken for a script.
async fn security_headers(mut response: Response) -> Response {
    const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                       base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    // Files say themselves how they are kept and who may load them.
    headers
        .entry("cross-origin-resource-policy")
        .or_insert(HeaderValue::from_static("same-origin"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
