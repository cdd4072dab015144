//! Who the users are, and whose a token is.

use std::collections::HashMap;

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Refusal, Shared, bearer, lock, plain::isolated, refuse, say};

#[derive(Default)]
pub struct Users {
    /// A user's id is the place here, counted from 1. Ids are never given to somebody else.
    names: Vec<String>,
    /// The place of the user whose each token is.
    tokens: HashMap<String, usize>,
}

impl Users {
    fn tell(&self, place: usize) -> Value {
        let id = place + 1;
        let email = format!("user{id}@example.com");
        json!({ "id": id, "username": self.names[place], "email": email, "role": "user" })
    }
}

/// `GET /api/v1/auth/me`: whose a token is. The rules:
///
/// - 200 with the user lets in. The answer is believed for a minute: whoever is thrown out here may come in that long.
/// - 401 and 403 keep out, and the user is shown the reason. They are for tokens and users that are no good, and never for
///   mistakes of yours.
/// - Anything else, and silence for 2 seconds, lets nobody in either, and is tried again.
pub async fn me(State(backend): Shared, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let Some(token) = bearer(&headers) else {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "no token: send Authorization: Bearer …",
        );
    };
    let users = lock(&backend.users);
    let Some(&place) = users.tokens.get(token) else {
        say("whose    a token that is not known");
        return refuse(
            StatusCode::UNAUTHORIZED,
            "this token is not known here: log in again",
        );
    };
    say(&format!(
        "whose    {}'s token",
        isolated(&users.names[place])
    ));
    Ok(Json(json!({ "data": users.tell(place) })))
}

#[derive(Deserialize)]
struct Entrant {
    username: String,
}

/// `POST /api/v1/auth/login`: a token for a name, which is somebody's from the first time on. Yours asks for a password.
pub async fn log_in(State(backend): Shared, body: Bytes) -> Result<Json<Value>, Refusal> {
    let Ok(Entrant { username }) = serde_json::from_slice(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "send {\"username\": …}");
    };
    let name = username.trim();
    if name.is_empty() || name.chars().count() > 64 || name.contains(char::is_control) {
        return refuse(StatusCode::BAD_REQUEST, "a name has 1 to 64 characters");
    }
    let mut users = lock(&backend.users);
    let known = users.names.iter().position(|other| other == name);
    let place = known.unwrap_or_else(|| {
        users.names.push(name.to_owned());
        users.names.len() - 1
    });
    // It says nothing by itself: who wants to know whose it is must ask.
    let token = format!("{:032x}", rand::random::<u128>());
    users.tokens.insert(token.clone(), place);
    say(&format!(
        "log in   {} is user {}",
        isolated(name),
        place + 1
    ));
    Ok(Json(json!({ "token": token, "user": users.tell(place) })))
}

/// Pages of this machine may log in, whatever their port: a front end under development comes from another one.
pub async fn cors(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.filter(is_from_here) {
        let allowed = HeaderValue::from_static("authorization, content-type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

fn is_from_here(origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|text| text.parse().ok());
    let host = origin.as_ref().and_then(Uri::host);
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host))
}
