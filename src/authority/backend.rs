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
use tokio::{
    sync::{Mutex as Turn, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::answer::{identity, refusal};
use crate::{
    auth::{Denial, Identity, Refusal, TOKEN_MAX_BYTES, readable_exp, refuse, span},
    outbound::{Answer, Outbound},
};

/// A no is not asked about again for this long: a client that tries again and again is one question in five seconds.
const NO: Duration = Duration::from_secs(5);
/// Tokens that are remembered, at about 300 bytes each. Beyond, a token is asked about whenever it comes.
const REMEMBERED: usize = 20_000;
/// Between two clearings of what is remembered in vain.
const CLEARED_EVERY: Duration = Duration::from_secs(1);
/// Questions that the backend is asked at once. Anybody can invent tokens, and each is a question.
const ASKED_AT_ONCE: usize = 64;

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
    places: Arc<Semaphore>,
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
            places: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
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
        let came = Instant::now();
        let mut known = self.0.entry(token).lock_owned().await;
        if let Some(known) = &*known
            && (came < known.at || Instant::now() < known.until)
        {
            return known.verdict.clone();
        }
        let inner = self.0.clone();
        // About a token whose bearer leaves before there is a place, nobody is asked.
        let place = match inner.place().await {
            Ok(place) => place,
            Err(denial) => return inner.remember(&mut known, Err(denial), exp, now),
        };
        let token = token.to_owned();
        // In a task of its own: whoever leaves while it is asked does not make the next one ask again.
        let asked = tokio::spawn(async move {
            let verdict = inner.ask(&token, exp, now).await;
            drop(place);
            inner.remember(&mut known, verdict, exp, now)
        });
        asked
            .await
            .unwrap_or_else(|_| Err(unavailable("was not asked to the end")))
    }
}

impl Inner {
    /// Among those who ask.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Denial> {
        let place = self.places.clone().acquire_owned();
        match timeout(self.patience.answer, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                tracing::warn!(backend = %self.me, questions = ASKED_AT_ONCE, "a token could not be checked: too many others wait for the backend");
                Err(unavailable("is asked too much at once"))
            }
        }
    }

    fn remember(
        &self,
        known: &mut Option<Known>,
        verdict: Verdict,
        exp: Option<i64>,
        now: i64,
    ) -> Verdict {
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
            known.tokens.retain(|_, entry| is_of_use(entry, true));
            if known.tokens.len() > REMEMBERED / 2 {
                // Whoever invents tokens does not keep those out that are good.
                known.tokens.retain(|_, entry| is_of_use(entry, false));
            }
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
        let answer = self.outbound.ask(request).await.map_err(|silence| {
            tracing::warn!(backend = %self.me, reason = %silence, "a token could not be checked");
            unavailable("does not answer")
        })?;
        self.judge(&answer, token, exp, now)
    }

    fn judge(&self, answer: &Answer, token: &str, exp: Option<i64>, now: i64) -> Verdict {
        let refusal = |otherwise| refusal(answer, token, otherwise);
        match answer.status {
            200 => identity(answer, exp, now).ok_or_else(|| {
                tracing::warn!(backend = %self.me, "a token could not be checked: the answer is no JSON object of a user with id and username");
                unavailable("does not say whose token this is")
            }),
            401 => Err(Denial::Refused(refusal("the backend does not know this token"))),
            403 => Err(Denial::Forbidden(refusal("the backend does not let this user in"))),
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

/// What somebody waits for, or still says something: a yes, or a no if those are `kept`.
fn is_of_use(entry: &Entry, kept: bool) -> bool {
    let says = |known: &Known| Instant::now() < known.until && (kept || known.verdict.is_ok());
    Arc::strong_count(entry) > 1
        || entry
            .try_lock()
            .is_ok_and(|known| known.as_ref().is_some_and(says))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::Expiry,
        protocol::{UserId, Username},
    };

    #[tokio::test(start_paused = true)]
    async fn invented_tokens_keep_no_good_one_from_being_remembered() {
        let url = Uri::from_static("http://localhost:8080");
        let yes = Duration::from_secs(60);
        let answer = Duration::from_secs(2);
        let outbound = Outbound::new(&url, answer).unwrap();
        let Backend(backend) = Backend::new(outbound, url, Patience { answer, yes });
        let says = |token: &str, verdict| {
            let entry = backend.entry(token);
            backend.remember(&mut entry.try_lock().unwrap(), verdict, None, 0)
        };
        let user = UserId::new(7).unwrap();
        let ann = Identity {
            user,
            username: Username::cleaned("ann", user),
            role: "user".into(),
            expiry: Expiry(0),
        };
        says("ann's", Ok(ann.clone())).unwrap();
        for n in 1..REMEMBERED {
            says(&n.to_string(), refuse("no", "").map_err(Into::into)).unwrap_err();
        }
        tokio::time::advance(CLEARED_EVERY).await;
        says("bob's", Ok(ann)).unwrap();
        for token in ["ann's", "bob's"] {
            let entry = backend.entry(token);
            let known = entry.try_lock().unwrap();
            assert!(
                known.as_ref().is_some_and(|known| known.verdict.is_ok()),
                "{token}"
            );
        }
        assert_eq!(backend.known.lock().unwrap().tokens.len(), 2);
    }
}
