//! What there is: rooms, people, and one's own conversations.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{App, Part, finish, query, text, token};
use crate::{
    auth::Identity,
    protocol::{Listing, NewRoom, Query, Reject},
};

/// `GET /api/v1/rooms`.
pub(in crate::http) async fn rooms(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let work = async {
        let (_, query, limit) = asked(&app, &headers, &uri).await?;
        let found = app.chat.rooms(query.after_room()?, limit).await?;
        Ok(listed("rooms", found))
    };
    finish(&app, work.await)
}

/// `POST /api/v1/rooms`: 201 with the room, 200 when it was there.
pub(in crate::http) async fn create_room(
    State(app): State<Arc<App>>,
    request: Request,
) -> Response {
    let work = async {
        let me = token::identify(&app, token::of_header(request.headers())).await?;
        let NewRoom { name } = NewRoom::parse(&text(&app, request).await?)?;
        let (room, is_new) = app.chat.create_room(&me, name).await?;
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok((status, Json(room)).into_response())
    };
    finish(&app, work.await)
}

/// `GET /api/v1/users`.
pub(in crate::http) async fn users(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let work = async {
        let (_, query, limit) = asked(&app, &headers, &uri).await?;
        let after = query.after_user()?;
        let found = match query.online()? {
            true => app.chat.users_online(after, limit).await?,
            false => app.chat.users(after, limit).await?,
        };
        Ok(listed("users", found))
    };
    finish(&app, work.await)
}

/// `GET /api/v1/dms`.
pub(in crate::http) async fn conversations(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let work = async {
        let (me, query, limit) = asked(&app, &headers, &uri).await?;
        let before = query.before()?;
        let found = app.chat.conversations(me.user, before, limit).await?;
        Ok(listed("dms", found))
    };
    finish(&app, work.await)
}

/// Who asks for a list, with which parameters, and how many entries they get at most.
async fn asked(
    app: &App,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<(Identity, Query, u32), Reject> {
    let me = token::identify(app, token::of_header(headers)).await?;
    let query = query(uri)?;
    let limit = query.limit(&app.sessions.limits)?;
    Ok((me, query, limit))
}

fn listed<T: Serialize>(name: &'static str, found: Listing<T>) -> Response {
    let Listing { entries, has_more } = found;
    Json(Part {
        name,
        entries,
        has_more,
    })
    .into_response()
}
