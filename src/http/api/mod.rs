//! The HTTP API: the verbs for those without a socket, and accounts.
//!
//! Every path answers JSON and refuses by `{"error":{"code","message","field"?}}`, with the codes and words of the frames.

mod accounts;
mod listing;
mod messages;

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRequest as _, Request, rejection::StringRejection},
    http::{StatusCode, Uri},
    response::Response,
    routing::{get, post},
};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{App, Peer, error, token};
use crate::protocol::{ErrorCode, Query, Reject};

type Answer = Result<Response, Reject>;

/// All paths below `/api/v1`.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/auth/register", post(accounts::register))
        .route("/auth/login", post(accounts::login))
        .route("/auth/guest", post(accounts::guest))
        .route("/auth/refresh", post(accounts::refresh))
        .route("/auth/me", get(accounts::me))
        .route("/chat/messages", post(messages::send))
        .route("/rooms", get(listing::rooms).post(listing::create_room))
        .route("/rooms/{room}/messages", get(messages::of_room))
        .route("/users", get(listing::users))
        .route("/dms", get(listing::conversations))
        .route("/dms/{user}/messages", get(messages::of_dm))
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

/// The parameters of the query.
fn query(uri: &Uri) -> Result<Query, Reject> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let unreadable = |_| {
        Reject::invalid(
            "query",
            "the query cannot be read: give name=value pairs, joined by &",
        )
    };
    Ok(Query::new(pairs.map_err(unreadable)?.0))
}

/// The answer `{"<name>":[…],"hasMore":…}`.
struct Part<T> {
    name: &'static str,
    entries: Vec<T>,
    has_more: bool,
}

impl<T: Serialize> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_map(Some(2))?;
        answer.serialize_entry(self.name, &self.entries)?;
        answer.serialize_entry("hasMore", &self.has_more)?;
        answer.end()
    }
}

fn finish(app: &App, answer: Answer) -> Response {
    answer.unwrap_or_else(|reject| error::answer(app, &reject))
}
