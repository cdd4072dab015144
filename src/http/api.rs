//! The HTTP API: accounts, who am I, and sending without a socket.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequest as _, Request, State, rejection::StringRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{App, Peer, error, token};
use crate::{
    auth::Identity,
    chat::{
        SendFailure,
        accounts::{Accounts, Grant, PublicUser},
    },
    protocol::{Ack, Credentials, ErrorCode, Message, Reject, SendRequest},
};

type Answer = Result<Response, Reject>;

/// `POST /api/v1/auth/register`.
pub(super) async fn register(State(app): State<Arc<App>>, request: Request) -> Response {
    let work = async {
        let accounts = accounts(&app)?;
        let Credentials { username, password } = Credentials::parse(&text(&app, request).await?)?;
        let username =
            username.ok_or_else(|| Reject::invalid("username", "username is missing"))?;
        let password =
            password.ok_or_else(|| Reject::invalid("password", "password is missing"))?;
        granted(
            StatusCode::CREATED,
            accounts
                .register(&username, &password, app.clock.seconds())
                .await,
        )
    };
    finish(&app, work.await)
}

/// `POST /api/v1/auth/login`.
pub(super) async fn login(State(app): State<Arc<App>>, request: Request) -> Response {
    let work = async {
        let accounts = accounts(&app)?;
        let Credentials { username, password } = Credentials::parse(&text(&app, request).await?)?;
        let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
        granted(
            StatusCode::OK,
            accounts
                .login(&username, &password, app.clock.seconds())
                .await,
        )
    };
    finish(&app, work.await)
}

/// `POST /api/v1/auth/guest`, also without a body.
pub(super) async fn guest(State(app): State<Arc<App>>, request: Request) -> Response {
    let work = async {
        let accounts = accounts(&app)?;
        let body = text(&app, request).await?;
        let username = if body.trim().is_empty() {
            None
        } else {
            Credentials::parse(&body)?.username
        };
        granted(
            StatusCode::CREATED,
            accounts
                .guest(username.as_deref(), app.clock.seconds())
                .await,
        )
    };
    finish(&app, work.await)
}

/// `POST /api/v1/auth/refresh`.
pub(super) async fn refresh(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let work = async {
        let accounts = accounts(&app)?;
        let identity = token::identify(&app, token::of_header(&headers)).await?;
        granted(
            StatusCode::OK,
            accounts.refresh(&identity, app.clock.seconds()),
        )
    };
    finish(&app, work.await)
}

/// `GET /api/v1/auth/me`: the token's user, or what the handshake would say.
pub(super) async fn me(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    #[derive(Serialize)]
    struct Me {
        user: PublicUser,
    }
    match token::identify(&app, token::of_header(&headers)).await {
        Ok(identity) => Json(Me {
            user: PublicUser::from(&identity),
        })
        .into_response(),
        Err(reject) => error::refused_handshake(&app, &reject),
    }
}

/// `POST /api/v1/chat/messages`: `message` and `dm` for those without a socket.
///
/// Once the message is in line there is no time limit: an error would say that nothing was stored. When nobody knows, the
/// connection is cut without an answer, and the client repeats with the same nonce.
pub(super) async fn send_message(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let work = async {
        let identity = token::identify(&app, token::of_header(request.headers())).await?;
        let request = SendRequest::parse(&text(&app, request).await?, &app.sessions.limits)?;
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

fn accounts(app: &App) -> Result<&Accounts, Reject> {
    app.accounts.as_ref().ok_or_else(|| {
        let message =
            "this server takes its users from your backend (JWT_SECRET is set): get a token there";
        Reject::new(ErrorCode::Forbidden, message)
    })
}

/// The body as text; what it says is judged by whoever reads it.
async fn text(app: &App, request: Request) -> Result<String, Reject> {
    let body = String::from_request(request, &());
    let Ok(body) = tokio::time::timeout(app.request_timeout, body).await else {
        return Err(Reject::new(
            ErrorCode::InvalidJson,
            "the body took too long to arrive",
        ));
    };
    body.map_err(|rejection| match rejection {
        StringRejection::InvalidUtf8(_) => {
            Reject::new(ErrorCode::InvalidJson, "the body is not UTF-8")
        }
        rejection if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Reject::new(ErrorCode::TooLarge, "the body is too large")
        }
        _ => Reject::new(ErrorCode::InvalidJson, "the body broke off"),
    })
}

fn granted(status: StatusCode, grant: Result<Grant, Reject>) -> Answer {
    Ok((status, Json(grant?)).into_response())
}

fn finish(app: &App, answer: Answer) -> Response {
    answer.unwrap_or_else(|reject| error::answer(app, &reject))
}
