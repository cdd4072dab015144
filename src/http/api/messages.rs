//! Saying something, and reading what was said.

use std::sync::{Arc, Once};

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};

use super::{App, Part, finish, query, text, token};
use crate::{
    auth::Identity,
    chat::SendFailure,
    http::Peer,
    protocol::{Ack, ErrorCode, Message, Nonce, Place, Reject, RoomName, SendRequest, UserId},
};

/// `POST /api/v1/chat/messages`: `message` and `dm` for those without a socket.
///
/// Once the message is in line there is no time limit: an error would say that nothing was stored. When nobody knows, the
/// connection is cut without an answer, and the client repeats with the same nonce.
pub(in crate::http) async fn send(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let work = async {
        let identity = token::identify(&app, token::of_header(request.headers())).await?;
        let key = idempotency_key(request.headers(), app.chat.epoch())?;
        let request = SendRequest::parse(&text(&app, request).await?, &app.sessions.limits)?;
        let request = keyed(request, key)?;
        let mut pending = app.chat.send(&identity, request.clone(), None).await?;
        let result = pending.stored().await;
        match app.chat.conclude(pending, result) {
            Ok(sent) => Ok(stored(identity, request, sent.ack)),
            Err(SendFailure::Refused(reject)) => Err(reject),
            Err(SendFailure::Uncertain) => {
                peer.cut.cancel();
                std::future::pending().await
            }
        }
    };
    finish(&app, work.await)
}

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// What `Idempotency-Key` says, which is what a nonce may be. One of the log `epoch` itself is refused: it is a message
/// that left as a copy and comes back, for ever if it were stored.
fn idempotency_key(headers: &HeaderMap, epoch: &str) -> Result<Option<Nonce>, Reject> {
    let invalid =
        |fault: &str| Reject::invalid(IDEMPOTENCY_KEY, format!("{IDEMPOTENCY_KEY} {fault}"));
    let mut values = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("must be given once"));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid("must be visible ASCII"))?;
    let id = text
        .strip_prefix(epoch)
        .and_then(|rest| rest.strip_prefix('-'));
    if id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())) {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                "a copy of a message of this log came back: --backend-url or --webhook leads to this server, through a proxy"
            );
        });
        let message = "this message is of this very log, and was sent back to it: copies must go to another server (see \
                       --backend-url and --webhook)";
        return Err(Reject::new(ErrorCode::NonceReused, message).on(IDEMPOTENCY_KEY));
    }
    Nonce::new(text).map(Some).map_err(invalid)
}

/// `request`, of which the key is the nonce.
fn keyed(mut request: SendRequest, key: Option<Nonce>) -> Result<SendRequest, Reject> {
    match (&request.nonce, key) {
        (Some(nonce), Some(key)) if *nonce != key => {
            let message = "nonce and Idempotency-Key name the message differently: give one of them, or both the same";
            return Err(Reject::invalid("nonce", message));
        }
        (None, key) => request.nonce = key,
        _ => {}
    }
    Ok(request)
}

fn stored(identity: Identity, request: SendRequest, ack: Ack) -> Response {
    let message = Message {
        id: ack.id,
        seq: ack.seq,
        from: identity.user,
        username: identity.username,
        place: request.place,
        content: request.content,
        timestamp: ack.timestamp,
        nonce: request.nonce,
    };
    let status = if ack.duplicate {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    (status, Json(message)).into_response()
}

/// A path's parameter, or why it is none.
type Segment = Result<Path<String>, PathRejection>;

/// `GET /api/v1/rooms/{room}/messages`: `room_history`.
pub(in crate::http) async fn of_room(
    State(app): State<Arc<App>>,
    room: Segment,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let place = segment("room", room).and_then(|name| RoomName::of_path(&name).map(Place::Room));
    history(&app, place, &headers, &uri).await
}

/// `GET /api/v1/dms/{user}/messages`: `dm_history`.
pub(in crate::http) async fn of_dm(
    State(app): State<Arc<App>>,
    user: Segment,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let place = segment("user", user).and_then(|id| UserId::of_path(&id).map(Place::Dm));
    history(&app, place, &headers, &uri).await
}

async fn history(
    app: &App,
    place: Result<Place, Reject>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Response {
    let work = async {
        let me = token::identify(app, token::of_header(headers)).await?;
        let window = query(uri)?.window(&app.sessions.limits)?;
        let history = app.chat.history(me.user, place?, window).await?;
        let page = Part {
            name: "messages",
            entries: history.messages,
            has_more: history.has_more,
        };
        Ok(Json(page).into_response())
    };
    finish(app, work.await)
}

fn segment(name: &'static str, segment: Segment) -> Result<String, Reject> {
    let unreadable = |_| Reject::invalid(name, format!("{name} in the path is not UTF-8"));
    Ok(segment.map_err(unreadable)?.0)
}
