//! Built-in accounts, and who am I.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{Answer, App, Peer, error, finish, text, token};
use crate::{
    chat::accounts::{Accounts, Grant, PublicUser},
    protocol::{Credentials, ErrorCode, Reject},
};

/// `POST /api/v1/auth/register`.
pub(in crate::http) async fn register(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
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
                .register(peer.address.ip(), &username, &password, app.clock.seconds())
                .await,
        )
    };
    finish(&app, work.await)
}

/// `POST /api/v1/auth/login`.
pub(in crate::http) async fn login(State(app): State<Arc<App>>, request: Request) -> Response {
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
pub(in crate::http) async fn guest(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
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
                .guest(peer.address.ip(), username.as_deref(), app.clock.seconds())
                .await,
        )
    };
    finish(&app, work.await)
}

/// `POST /api/v1/auth/refresh`.
pub(in crate::http) async fn refresh(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
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
pub(in crate::http) async fn me(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
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

fn accounts(app: &App) -> Result<&Accounts, Reject> {
    app.accounts.as_ref().ok_or_else(|| {
        let message =
            "this server takes its users from your backend (JWT_SECRET is set): get a token there";
        Reject::new(ErrorCode::Forbidden, message)
    })
}

fn granted(status: StatusCode, grant: Result<Grant, Reject>) -> Answer {
    Ok((status, Json(grant?)).into_response())
}
