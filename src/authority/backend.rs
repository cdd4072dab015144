//! Tokens that the backend is asked about: it says whose they are.
//!
//! One question for each token at a time, whoever waits; its answer is remembered for a while, a silence is not.

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
use tokio::{
    sync::{Mutex as Turn, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    auth::{
        Denial, Expiry, Identity, Refusal, TOKEN_MAX_BYTES, readable_exp, refuse, role_of, span,
    },
    outbound::{Answer, Outbound},
    protocol::{UserId, Username, is_unsafe_in_names},
};

/// A no is not asked about again for this long: a client that tries again and again is one question in five seconds.
const NO: Duration = Duration::from_secs(5);
/// When a token ends of which nobody can read it: later than any connection lasts, in seconds from now.
const FAR_SECONDS: i64 = 365 * 86_400;
/// Tokens that are remembered, at about 300 bytes each. Beyond, a token is asked about whenever it comes.
const REMEMBERED: usize = 20_000;
/// Between two clearings of what is remembered in vain.
const CLEARED_EVERY: Duration = Duration::from_secs(1);
/// Questions that the backend is asked at once. Anybody can invent tokens, and each is a question.
const ASKED_AT_ONCE: usize = 64;
/// Most of the backend's own words that are passed on, in characters.
const WORDS_MAX_CHARS: usize = 200;

type Digest = [u8; 32];
type Verdict = Result<Identity, Denial>;
type Entry = Arc<Turn<Option<Known>>>;

/// How long the backend is waited for, and believed.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For an answer, and before it for a place among those who ask.
    pub answer: Duration,
    /// In what it said of a good token, though never beyond the token's own `exp`.
    pub yes: Duration,
}

/// Asks the backend whose a token is. Cheap to clone.
#[derive(Clone)]
pub struct Backend(Arc<Inner>);

struct Inner {
    outbound: Outbound,
    me: Uri,
    patience: Patience,
    places: Semaphore,
    known: Mutex<Remembered>,
}

struct Remembered {
    tokens: HashMap<Digest, Entry>,
    cleared: Instant,
}

#[derive(Clone, Debug)]
struct Known {
    verdict: Verdict,
    /// When it was answered: whoever asked before that has asked this.
    at: Instant,
    until: Instant,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Backend");
        shown.field("me", &self.0.me).finish_non_exhaustive()
    }
}

impl Backend {
    /// Asks at `me`, such as <http://localhost:8080/api/v1/auth/me>.
    pub fn new(outbound: Outbound, me: Uri, patience: Patience) -> Self {
        Self(Arc::new(Inner {
            outbound,
            me,
            patience,
            places: Semaphore::new(ASKED_AT_ONCE),
            known: Mutex::new(Remembered {
                tokens: HashMap::new(),
                cleared: Instant::now(),
            }),
        }))
    }

    /// Whose `token` is at `now` (Unix seconds).
    pub async fn identity(&self, token: &str, now: i64) -> Verdict {
        let exp = readable_exp(token);
        acceptable(token, exp, now)?;
        let (inner, token) = (self.0.clone(), token.to_owned());
        // In a task of its own: whoever leaves while it is asked does not make the next one ask again.
        let asked = tokio::spawn(async move { inner.identity(&token, exp, now).await });
        asked.await.unwrap_or_else(|_| Err(unavailable("stopping")))
    }
}

impl Inner {
    async fn identity(&self, token: &str, exp: Option<i64>, now: i64) -> Verdict {
        let came = Instant::now();
        let entry = self.entry(token);
        let mut known = entry.lock().await;
        if let Some(known) = &*known
            && (came < known.at || Instant::now() < known.until)
        {
            return known.verdict.clone();
        }
        let verdict = self.ask(token, exp, now).await;
        let at = Instant::now();
        let kept = match &verdict {
            Ok(_) => exp.map_or(self.patience.yes, |exp| {
                self.patience.yes.min(until(exp, now))
            }),
            // Those who wait have asked this; whoever comes later may have more luck.
            Err(Denial::Unavailable(_)) => Duration::ZERO,
            Err(_) => NO,
        };
        *known = Some(Known {
            verdict: verdict.clone(),
            at,
            until: at + kept,
        });
        verdict
    }

    /// Where those who ask about one token wait for each other.
    fn entry(&self, token: &str) -> Entry {
        let mut key = Digest::default();
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.tokens.get(&key) {
            return entry.clone();
        }
        if known.tokens.len() >= REMEMBERED && known.cleared.elapsed() >= CLEARED_EVERY {
            known.tokens.retain(|_, entry| is_of_use(entry));
            known.cleared = Instant::now();
        }
        let entry = Entry::default();
        if known.tokens.len() < REMEMBERED {
            known.tokens.insert(key, entry.clone());
        }
        entry
    }

    async fn ask(&self, token: &str, exp: Option<i64>, now: i64) -> Verdict {
        let request = Request::get(self.me.clone())
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(ACCEPT, "application/json")
            .body(Full::default());
        let Ok(request) = request else {
            return Ok(refuse("the token cannot be sent to the backend", COPY)?);
        };
        let place = timeout(self.patience.answer, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            tracing::warn!(backend = %self.me, questions = ASKED_AT_ONCE, "a token could not be checked: too many others wait for the backend");
            return Err(unavailable("is asked too much at once"));
        };
        let answer = self.outbound.send(request).await.map_err(|silence| {
            tracing::warn!(backend = %self.me, reason = %silence, "a token could not be checked");
            unavailable("does not answer")
        })?;
        self.judge(&answer, exp, now)
    }

    fn judge(&self, answer: &Answer, exp: Option<i64>, now: i64) -> Verdict {
        match answer.status {
            200 => identity(answer, exp, now).ok_or_else(|| {
                tracing::warn!(backend = %self.me, "a token could not be checked: the answer is no JSON object of a user with id and username");
                unavailable("does not say whose token this is")
            }),
            401 => Err(Denial::Refused(refusal(answer, "the backend does not know this token"))),
            403 => Err(Denial::Forbidden(refusal(answer, "the backend does not let this user in"))),
            status => {
                tracing::warn!(backend = %self.me, status, "a token could not be checked");
                Err(unavailable(&format!("answered {status}")))
            }
        }
    }
}

const COPY: &str = "copy the whole token, without quotes or line breaks";

fn unavailable(what: &str) -> Denial {
    Denial::Unavailable(format!(
        "the backend, which knows the users, {what}: try again in a moment"
    ))
}

/// What somebody waits for, or still says something.
fn is_of_use(entry: &Entry) -> bool {
    Arc::strong_count(entry) > 1
        || entry.try_lock().is_ok_and(|known| {
            known
                .as_ref()
                .is_some_and(|known| Instant::now() < known.until)
        })
}

fn until(exp: i64, now: i64) -> Duration {
    Duration::from_secs(exp.saturating_sub(now).max(0).unsigned_abs())
}

/// What no backend needs to be asked about.
fn acceptable(token: &str, exp: Option<i64>, now: i64) -> Result<(), Refusal> {
    let is_sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() > TOKEN_MAX_BYTES || !is_sendable {
        let reason = format!("a token has 1 to {TOKEN_MAX_BYTES} visible ASCII characters");
        return refuse(reason, COPY);
    }
    if let Some(exp) = exp.filter(|exp| *exp <= now) {
        let ago = span(now.saturating_sub(exp));
        return refuse(
            format!("token expired {ago} ago"),
            "get a new token from the backend: log in there again",
        );
    }
    Ok(())
}

/// The user in the answer, bare or within `data` or `user`, or both.
fn identity(answer: &Answer, exp: Option<i64>, now: i64) -> Option<Identity> {
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
    let username = user.get("username")?.as_str()?;
    Some(Identity {
        user: id,
        username: Username::cleaned(username, id),
        role: role_of(user),
        expiry: Expiry(exp.unwrap_or_else(|| now.saturating_add(FAR_SECONDS))),
    })
}

/// The backend's own words, if it has some that are fit to be shown.
fn refusal(answer: &Answer, otherwise: &str) -> Refusal {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let words = body.as_ref().and_then(Value::as_object).and_then(words);
    let shown: String = words
        .unwrap_or_default()
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
        Value::String(text) => Some(text.as_str()),
        Value::Object(inner) => inner.get("message")?.as_str(),
        _ => None,
    };
    ["error", "message", "detail"].into_iter().find_map(said)
}
