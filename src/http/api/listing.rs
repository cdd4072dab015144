//! What there is: rooms, people, and one's own conversations.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{App, finish, query, text, token};
use crate::protocol::{Conversation, NewRoom, Person, RoomEntry};

/// `GET /api/v1/rooms`.
pub(in crate::http) async fn rooms(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Rooms {
        rooms: Vec<RoomEntry>,
        has_more: bool,
    }
    let work = async {
        token::identify(&app, token::of_header(&headers)).await?;
        let query = query(&uri)?;
        let limit = query.limit(&app.sessions.limits)?;
        let found = app.chat.rooms(query.after_room()?, limit).await?;
        let (rooms, has_more) = (found.entries, found.has_more);
        Ok(Json(Rooms { rooms, has_more }).into_response())
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
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Users {
        users: Vec<Person>,
        has_more: bool,
    }
    let work = async {
        token::identify(&app, token::of_header(&headers)).await?;
        let query = query(&uri)?;
        let (after, limit) = (query.after_user()?, query.limit(&app.sessions.limits)?);
        let found = match query.online()? {
            true => app.chat.users_online(after, limit).await?,
            false => app.chat.users(after, limit).await?,
        };
        let (users, has_more) = (found.entries, found.has_more);
        Ok(Json(Users { users, has_more }).into_response())
    };
    finish(&app, work.await)
}

/// `GET /api/v1/dms`.
pub(in crate::http) async fn conversations(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Dms {
        dms: Vec<Conversation>,
        has_more: bool,
    }
    let work = async {
        let me = token::identify(&app, token::of_header(&headers)).await?;
        let query = query(&uri)?;
        let (before, limit) = (query.before()?, query.limit(&app.sessions.limits)?);
        let found = app.chat.conversations(me.user, before, limit).await?;
        let (dms, has_more) = (found.entries, found.has_more);
        Ok(Json(Dms { dms, has_more }).into_response())
    };
    finish(&app, work.await)
}
