//! The WebSocket door: the handshake, and the two tasks of an open connection.
//!
//! Reading is tungstenite's: masks, fragments, UTF-8, the answers to pings and closes. Writing is ours alone: one pump
//! takes whatever the outbox holds and hands it to the kernel in one `writev`, the frames as they were encoded once for
//! everybody. What tungstenite wants to write goes into the outbox like all else, so frames never mix.

mod pump;
mod tap;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{SinkExt as _, Stream, StreamExt as _, future::ready};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message, Utf8Bytes,
        error::ProtocolError,
        handshake::server::create_response_with_body,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{App, Peer, assets, error, token};
use crate::{
    auth::Identity,
    hub::{End, Outbox},
    metrics::Metrics,
    protocol::{CloseCode, Reject},
    session::{Event, Session},
};
use tap::Tap;

/// What one socket may hold and how long it may hang.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Longest frame, and longest message, in bytes.
    pub frame_bytes: usize,
    /// Read buffer of each connection, in bytes.
    pub read_buffer_bytes: usize,
    /// What waits for one connection, in bytes.
    pub outbox_bytes: usize,
    /// What the system holds for one connection, in bytes: asked for, the system may give less.
    pub send_buffer_bytes: usize,
    /// A peer that takes nothing for so long is too slow.
    pub stall: Duration,
    /// After our close frame, how long the peer's is waited for.
    pub linger: Duration,
}

/// `GET /`: the page, or a socket if that is asked for.
pub(super) async fn page_or_socket(
    app: State<Arc<App>>,
    peer: Extension<Peer>,
    request: Request,
) -> Response {
    if asks_for_socket(&request) {
        return socket(app, peer, request).await;
    }
    match request.method().as_str() {
        "GET" | "HEAD" => assets::page(request.headers()),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, HEAD")],
        )
            .into_response(),
    }
}

/// `GET /ws` and `GET /ws/chat`.
pub(super) async fn socket(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    if !asks_for_socket(&request) {
        // RFC 9110 section 15.5.22.
        let reject = Reject::invalid(
            "upgrade",
            "this path speaks WebSocket: send Upgrade: websocket; the page is at /",
        );
        let headers = [
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "upgrade"),
        ];
        return (StatusCode::UPGRADE_REQUIRED, headers, error::body(&reject)).into_response();
    }
    match admit(&app, request).await {
        Ok(Admitted {
            response,
            identity,
            token,
            upgrade,
        }) => {
            let by = (identity, token);
            app.tasks.spawn(serve(app.clone(), upgrade, by, peer));
            response
        }
        Err(reject) => error::refused_handshake(&app, &reject),
    }
}

fn asks_for_socket(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

struct Admitted {
    response: Response,
    identity: Identity,
    /// Only if it must be asked about again.
    token: Option<String>,
    upgrade: OnUpgrade,
}

/// Origin, then token, then the handshake itself (RFC 6455 section 4.2).
async fn admit(app: &App, mut request: Request) -> Result<Admitted, Reject> {
    app.origins.judge(request.headers())?;
    let token = token::of_handshake(request.headers(), request.uri());
    let identity = token::identify(app, token.as_deref()).await?;
    let token = token.filter(|token| app.authority.must_ask_again(token));
    let user_id = identity.user.get();
    tracing::info!(user_id, "🔐 Authentification réussie");
    let response = create_response_with_body(&request, Body::empty);
    let mut response = response
        .map_err(|fault| Reject::invalid("upgrade", format!("no WebSocket handshake: {fault}")))?;
    if token::subprotocols(request.headers()).any(|name| name == token::SUBPROTOCOL) {
        let selected = HeaderValue::from_static(token::SUBPROTOCOL);
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, selected);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tracing::info!(user_id, "✅ Connexion WS autorisée");
    Ok(Admitted {
        response,
        identity,
        token,
        upgrade,
    })
}

/// Who was let in, and the token if it must be asked about again.
type By = (Identity, Option<String>);

/// From the accepted handshake to the closed socket.
async fn serve(app: Arc<App>, upgrade: OnUpgrade, by: By, peer: Peer) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(%error, "the peer left during the handshake"),
    };
    converse(&app, upgraded, by, &peer).await;
}

fn note_end(metrics: &Metrics, user_id: i64, end: End) {
    match end {
        End::Close(code) => {
            metrics.closed(code);
            tracing::info!(
                user_id,
                code = code.code(),
                reason = code.reason(),
                "connection closed by the server"
            );
        }
        End::Finish => tracing::info!(user_id, "connection closed by the client"),
    }
}

/// An open connection. However its session ends, also by a panic, the pump is told and the count is right.
struct Open<'a> {
    metrics: &'a Metrics,
    outbox: Arc<Outbox>,
}

impl<'a> Open<'a> {
    fn new(metrics: &'a Metrics, outbox: Arc<Outbox>) -> Self {
        metrics.connections.inc();
        metrics.connections_opened.inc();
        Self { metrics, outbox }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        // The first end wins: this one counts only where there was none.
        self.outbox.end(End::Close(CloseCode::Internal));
    }
}

/// The two rare ends of this, opening and closing, lie in boxes of their own: what is in the task itself, ten thousand
/// idle connections hold.
async fn converse(app: &App, upgraded: Upgraded, by: By, peer: &Peer) {
    let user_id = by.0.user.get();
    let Some((session, mut socket, outbox)) = Box::pin(open(app, upgraded, by, peer)).await else {
        return;
    };
    let _open = Open::new(&app.metrics, outbox.clone());
    let end = session.run(events(&mut socket)).await;
    note_end(&app.metrics, user_id, end);
    Box::pin(close(&mut socket, &outbox, end, app.socket_limits.linger)).await;
}

async fn open(
    app: &App,
    upgraded: Upgraded,
    (identity, token): By,
    peer: &Peer,
) -> Option<(Session, WebSocketStream<Tap>, Arc<Outbox>)> {
    let limits = app.socket_limits;
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("an upgraded connection is no TCP stream");
        return None;
    };
    let stream = parts.io.into_inner();
    if let Err(error) = set_socket_send_buffer_size(&stream, limits.send_buffer_bytes) {
        tracing::debug!(%error, "the send buffer keeps the system's size");
    }
    let (read, write) = stream.into_split();
    let outbox = Arc::new(Outbox::new(limits.outbox_bytes));
    let presence = app.hub.connect(identity.user, outbox.clone());
    app.tasks
        .spawn(pump::run(write, outbox.clone(), limits, peer.clone()));
    let tap = Tap::new(read, parts.read_buf, outbox.clone());
    let socket = WebSocketStream::from_raw_socket(tap, Role::Server, Some(config(limits))).await;
    let session = Session::new(app.sessions.clone(), identity, presence, outbox.clone());
    let session = match token {
        Some(token) => session.by_token(&token),
        None => session,
    };
    Some((session, socket, outbox))
}

async fn close(socket: &mut WebSocketStream<Tap>, outbox: &Outbox, end: End, linger: Duration) {
    // The answer to the peer's close, behind the acknowledgements.
    let _ = socket.flush().await;
    outbox.end(end);
    // Closing a TCP socket with unread bytes in it would tear the close frame out of the peer's hands.
    let _ = tokio::time::timeout(linger, socket.get_mut().drain()).await;
}

fn config(limits: SocketLimits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer_bytes)
        // Control frames go to the tap at once.
        .write_buffer_size(0)
        .max_write_buffer_size(limits.frame_bytes)
        .max_message_size(Some(limits.frame_bytes))
        .max_frame_size(Some(limits.frame_bytes))
}

/// What the socket says, in the session's words. Ends when the peer has closed or is gone.
fn events(socket: &mut WebSocketStream<Tap>) -> impl Stream<Item = Event<Utf8Bytes>> + '_ {
    socket
        .map(|message| match message {
            Ok(Message::Text(text)) => Some(Some(Event::Text(text))),
            Ok(Message::Binary(_)) => Some(Some(Event::Violation(CloseCode::Binary))),
            Ok(Message::Ping(_) | Message::Pong(_)) => Some(Some(Event::Alive)),
            // The answer to it waits inside for the next flush.
            Ok(Message::Close(_)) => Some(Some(Event::Goodbye)),
            Ok(Message::Frame(_)) => Some(None),
            Err(error) => violation(&error).map(|code| Some(Event::Violation(code))),
        })
        .take_while(|event| ready(event.is_some()))
        .filter_map(|event| ready(event.flatten()))
}

/// Which rule was broken; `None` when the connection merely ended.
fn violation(error: &SocketError) -> Option<CloseCode> {
    match error {
        SocketError::Capacity(_) => Some(CloseCode::TooLarge),
        SocketError::Utf8(_) => Some(CloseCode::NotUtf8),
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        SocketError::Protocol(_) => Some(CloseCode::ProtocolError),
        _ => None,
    }
}
