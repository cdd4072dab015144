//! The copy of every message, in the order in which they came.

use std::{collections::HashMap, fmt, io};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Backend, Refusal, Shared, bearer, lock, plain::isolated, refuse, say};

#[derive(Default)]
pub struct Copies {
    messages: Vec<Message>,
    /// Where the message of each `Idempotency-Key` is: a UNIQUE column of a real table.
    keys: HashMap<String, usize>,
}

/// A message as the frames of the chat have it: the columns of your table. Fields that are not known are no mistake.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: u64,
    from_user: u64,
    username: String,
    content: String,
    timestamp: String,
    /// Counts the messages of one room, or of two users.
    seq: u64,
    /// There is this, or `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

/// `POST /api/v1/chat/messages`: keeps one message. The rules:
///
/// - 2xx only when it is stored, which for a real database is after its COMMIT: what got a 2xx is never sent again.
/// - One `Idempotency-Key` is one message. It comes twice when an answer was lost on its way, and is kept once.
/// - Messages come by id, and the next one only after this one was answered.
/// - 5xx and silence mean: later. So do 401, 408 and 429. `Retry-After` says when.
/// - 409 means: I have it. Any other 4xx means: never; the chat-server puts this message aside for a person to look at.
pub async fn take(
    State(backend): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    backend.admit(&headers)?;
    let key = headers.get("idempotency-key");
    let Some(key) = key.and_then(|key| key.to_str().ok()) else {
        return refuse(StatusCode::BAD_REQUEST, "no Idempotency-Key");
    };
    let message = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("no message: {error}")),
    };
    let (status, what) = lock(&backend.copies).keep(key, message);
    say(&what);
    if status == StatusCode::CONFLICT {
        return refuse(status, format!("{key} is another message here"));
    }
    if backend.args.moods.loses_this_answer() {
        say(&format!("lost     the answer to {}", isolated(key)));
        return Ok(hang_up());
    }
    Ok((status, Json(json!({ "data": { "key": key } }))).into_response())
}

/// `GET /api/v1/chat/messages`: all copies, for a person who wonders.
pub async fn list(State(backend): Shared, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    backend.admit(&headers)?;
    Ok(Json(json!({ "data": lock(&backend.copies).messages })))
}

impl Backend {
    /// Copies come from the chat-server alone: anybody else could put words into anybody's mouth.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.args.backend_token {
            Some(token) if bearer(headers) != Some(token) => refuse(
                StatusCode::UNAUTHORIZED,
                "not the token of this backend's --backend-token",
            ),
            _ => Ok(()),
        }
    }
}

impl Copies {
    fn keep(&mut self, key: &str, message: Message) -> (StatusCode, String) {
        let shown_key = isolated(key);
        match self.keys.get(key).map(|&place| &self.messages[place]) {
            None => {
                let line = format!("message  {shown_key}  {message}");
                self.keys.insert(key.to_owned(), self.messages.len());
                self.messages.push(message);
                (StatusCode::CREATED, line)
            }
            Some(known) if *known == message => {
                (StatusCode::OK, format!("again    {shown_key}  kept once"))
            }
            // Two messages with one name come from two servers, or from a file that was put back without `new-epoch`.
            Some(_) => {
                let line = format!("conflict {shown_key}  is another message here; not kept");
                (StatusCode::CONFLICT, line)
            }
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.room {
            Some(room) => format!("in #{}", isolated(room)),
            None => format!("to user {}", self.to.unwrap_or_default()),
        };
        let (user, bytes) = (self.from_user, self.content.len());
        let [name, content] = [&self.username, &self.content].map(|text| isolated(text));
        write!(f, "{place} from {name} ({user}), {bytes} bytes: {content}")
    }
}

/// A body that breaks before it has begun: the connection is closed in the place of an answer.
fn hang_up() -> Response {
    let broken = stream::once(async { Err::<Bytes, _>(io::Error::other("lost")) });
    Body::from_stream(broken).into_response()
}
