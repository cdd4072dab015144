//! Tokens that the backend is asked about: it says whose they are, and nothing but its yes is a way in.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use http_body_util::Full;
use hyper::{
    Request, Uri,
    header::{ACCEPT, AUTHORIZATION},
};
use serde_json::{Map, Value};
use tokio::{sync::Mutex as Turn, time::Instant};

use crate::{
    auth::{
        Denial, Expiry, Identity, Refusal, TOKEN_MAX_BYTES, readable_exp, refuse, role_of, span,
    },
    outbound::{Answer, Outbound},
    protocol::{MAX_ID, UserId, Username},
};

/// A yes is believed for this long, and never beyond the token's own `exp`.
const YES: Duration = Duration::from_secs(60);
/// A no is not asked about again for this long: a client that tries again and again is one question in five seconds.
const NO: Duration = Duration::from_secs(5);
/// A backend that does not answer is not asked by everybody who waits, one after the other.
const SILENT: Duration = Duration::from_secs(1);
/// A token of which nobody can read when it ends is asked about again after this long.
pub const CHECKED_AGAIN: Duration = Duration::from_secs(300);
/// Tokens that are remembered, at about 200 bytes each.
const REMEMBERED: usize = 20_000;
/// Most of the backend's own words that are passed on, in characters.
const WORDS_MAX_CHARS: usize = 200;

type Digest = [u8; 32];
type Verdict = Result<Identity, Denial>;

/// Asks the backend whose a token is.
pub struct Backend {
    outbound: Outbound,
    me: Uri,
    known: Mutex<HashMap<Digest, Arc<Turn<Option<Known>>>>>,
}

#[derive(Clone, Debug)]
struct Known {
    verdict: Verdict,
    until: Instant,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

impl Backend {
    /// Asks at `me`, such as <http://localhost:8080/api/v1/auth/me>.
    pub fn new(outbound: Outbound, me: Uri) -> Self {
        Self {
            outbound,
            me,
            known: Mutex::default(),
        }
    }

    /// Whose `token` is at `now` (Unix seconds). However many ask at once, the backend is asked once.
    pub async fn identity(&self, token: &str, now: i64) -> Verdict {
        let exp = readable_exp(token);
        acceptable(token, exp, now)?;
        let turn = self.turn(token);
        let mut known = turn.lock().await;
        if let Some(Known { verdict, until }) = &*known
            && Instant::now() < *until
        {
            return verdict.clone();
        }
        let verdict = self.ask(token, exp).await;
        let kept = match &verdict {
            Ok(_) => exp.map_or(YES, |exp| {
                YES.min(Duration::from_secs(
                    exp.saturating_sub(now).max(0).unsigned_abs(),
                ))
            }),
            Err(Denial::Unavailable(_)) => SILENT,
            Err(_) => NO,
        };
        *known = Some(Known {
            verdict: verdict.clone(),
            until: Instant::now() + kept,
        });
        verdict
    }

    /// Where those who ask about one token wait for each other.
    fn turn(&self, token: &str) -> Arc<Turn<Option<Known>>> {
        let mut key = Digest::default();
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            let now = Instant::now();
            // What somebody waits for, or cannot be looked into, is in use.
            known.retain(|_, turn| {
                Arc::strong_count(turn) > 1
                    || turn
                        .try_lock()
                        .is_ok_and(|known| known.as_ref().is_some_and(|known| now < known.until))
            });
        }
        known.entry(key).or_default().clone()
    }

    async fn ask(&self, token: &str, exp: Option<i64>) -> Verdict {
        let request = Request::get(self.me.clone())
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(ACCEPT, "application/json")
            .body(Full::default());
        let Ok(request) = request else {
            return refuse(
                "the token cannot be sent to the backend",
                "copy the whole token",
            )?;
        };
        let answer = self.outbound.send(request).await;
        let answer = answer.map_err(|silence| {
            tracing::warn!(backend = %self.me, reason = %silence, "a token could not be checked");
            Denial::Unavailable(
                "the backend that knows the users does not answer: try again".to_owned(),
            )
        })?;
        match answer.status {
            200 => identity(&answer, exp).ok_or_else(|| {
                tracing::warn!(backend = %self.me, "a token could not be checked: the answer is no user with an id");
                Denial::Unavailable("the backend's answer names no user: see the server's log".to_owned())
            }),
            401 => Err(Denial::Refused(refusal(&answer, "the backend does not know this token"))),
            403 => Err(Denial::Forbidden(refusal(&answer, "the backend does not let this user in"))),
            status => {
                tracing::warn!(backend = %self.me, status, "a token could not be checked");
                Err(Denial::Unavailable(format!(
                    "the backend that knows the users answered {status}: try again"
                )))
            }
        }
    }
}

/// What no backend needs to be asked about.
fn acceptable(token: &str, exp: Option<i64>, now: i64) -> Result<(), Denial> {
    let is_sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() > TOKEN_MAX_BYTES || !is_sendable {
        let reason = format!("a token has 1 to {TOKEN_MAX_BYTES} visible ASCII characters");
        refuse(
            reason,
            "copy the whole token, without quotes or line breaks",
        )?;
    }
    if let Some(exp) = exp.filter(|exp| *exp <= now) {
        let ago = span(now.saturating_sub(exp));
        refuse(
            format!("token expired {ago} ago"),
            "get a new token: log in again",
        )?;
    }
    Ok(())
}

/// The user in the answer, bare or within `data` or `user`, or both.
fn identity(answer: &Answer, exp: Option<i64>) -> Option<Identity> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let mut user = body.as_object()?;
    for wrap in ["data", "user"] {
        if let Some(Value::Object(inner)) = user.get(wrap) {
            user = inner;
        }
    }
    let id = match user.get("id")? {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()?
        }
        value => value.as_i64()?,
    };
    let id = UserId::new(id)?;
    let text = |field| user.get(field).and_then(Value::as_str).unwrap_or_default();
    Some(Identity {
        user: id,
        username: Username::cleaned(text("username"), id),
        role: role_of(user),
        expiry: Expiry(exp.unwrap_or(MAX_ID)),
    })
}

/// The backend's own words, if it has some that are fit to be shown.
fn refusal(answer: &Answer, otherwise: &str) -> Refusal {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let words = body
        .as_ref()
        .and_then(Value::as_object)
        .and_then(words)
        .unwrap_or(otherwise);
    let shown: String = words
        .chars()
        .filter(|&c| !crate::protocol::is_unsafe_in_names(c))
        .take(WORDS_MAX_CHARS)
        .collect();
    Refusal {
        reason: format!("{shown} (the backend's answer to GET /api/v1/auth/me)"),
        fix: "get a new token from the backend: log in there again".into(),
    }
}

/// Where backends say why: `error` or `message`, as text or as an object with `message`.
fn words(body: &Map<String, Value>) -> Option<&str> {
    ["error", "message", "detail"]
        .iter()
        .find_map(|&field| match body.get(field)? {
            Value::String(text) => Some(text.as_str()),
            Value::Object(inner) => inner.get("message")?.as_str(),
            _ => None,
        })
}
