//! What the backend answers about a token: the user, or its own words about why not.

use serde_json::{Map, Value};

use crate::{
    auth::{Expiry, Identity, Refusal, role_of},
    outbound::Answer,
    protocol::{UserId, Username, is_unsafe_in_names},
};

/// Tokens of fewer bytes can be guessed.
const SECRET_BYTES: usize = 12;
/// Most of the backend's own words that are passed on, in characters.
const WORDS_MAX_CHARS: usize = 200;

/// Who the answer says it is.
pub(super) fn identity(answer: &Answer, exp: Option<i64>, now: i64) -> Option<Identity> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let user = user(body.as_object()?)?;
    let id = match user.get("id")? {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()?
        }
        value => value.as_i64()?,
    };
    let id = UserId::new(id)?;
    let username = user.get("username")?.as_str()?;
    Some(Identity {
        user: id,
        username: Username::cleaned(username, id),
        role: role_of(user),
        expiry: exp.map_or_else(|| Expiry::untold(now), Expiry),
    })
}

/// The user: bare, or within `data` or `user`, or both. What a user has in fields of such names is no wrap, and may be the
/// user's own words.
fn user(told: &Map<String, Value>) -> Option<&Map<String, Value>> {
    if told.contains_key("id") && told.contains_key("username") {
        return Some(told);
    }
    let within = |wrap| user(told.get(wrap)?.as_object()?);
    ["data", "user"].into_iter().find_map(within)
}

/// The backend's own words, if it has some that are fit to be shown.
pub(super) fn refusal(answer: &Answer, token: &str, otherwise: &str) -> Refusal {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let words = body.as_ref().and_then(Value::as_object).and_then(words);
    let words = words.unwrap_or_default();
    // Reasons are logged, and some backends repeat what they refuse. Shorter ones are words, and no secrets.
    let words = match token.len() < SECRET_BYTES {
        true => words.to_owned(),
        false => words.replace(token, "…"),
    };
    let shown: String = words
        .chars()
        .filter(|&c| !is_unsafe_in_names(c))
        .take(WORDS_MAX_CHARS)
        .collect();
    let shown = shown.trim();
    Refusal {
        reason: match shown {
            "" => otherwise.to_owned(),
            words => format!("the backend says: {words}"),
        },
        fix: "get a new token from the backend: log in there again".into(),
    }
}

/// Where backends say why: `error`, `message` or `detail`, as text or as an object with `message`.
fn words(body: &Map<String, Value>) -> Option<&str> {
    let said = |field| match body.get(field)? {
        Value::Object(inner) => inner.get("message")?.as_str(),
        value => value.as_str(),
    };
    let mut all = ["error", "message", "detail"].into_iter().filter_map(said);
    all.find(|words| !words.trim().is_empty())
}
