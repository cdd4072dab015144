//! Keys that the backend publishes as a JSON Web Key Set (RFC 7517), fetched when they are needed.
//!
//! Of one algorithm, which is configured: keys of another one, and secrets, are dropped. A fetch that fails changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{Request, Uri, header::ACCEPT};
use serde_json::{Map, Value};
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard},
    time::Instant,
};

use crate::{
    auth::{Demands, Denial, Identity, Key, PublicAlgorithm, Refusal, Tokens, header_for, refuse},
    outbound::Outbound,
};

/// Between two fetches for the sake of a key that is not known: anybody can invent its name.
const FETCHED_EVERY: Duration = Duration::from_secs(60);
/// Between two attempts while there are no keys at all.
const TRIED_EVERY: Duration = Duration::from_secs(1);
/// Keys are fetched anew after so long, so that one that was withdrawn is not believed for ever.
const BELIEVED: Duration = Duration::from_secs(15 * 60);
/// Keys that are kept of one set; backends publish two or three.
const KEYS_MAX: usize = 64;
/// Longest name of a key that is repeated to whoever invented it.
const NAME_MAX_BYTES: usize = 64;
const NAME: &str = "--jwks-url";

/// Verifies tokens with the keys at a URL.
#[derive(Debug)]
pub struct PublishedKeys {
    outbound: Outbound,
    url: Uri,
    algorithm: PublicAlgorithm,
    demands: Demands,
    keys: Mutex<Arc<KeySet>>,
    /// Held while the keys are fetched.
    fetching: Arc<Turn<Fetches>>,
}

/// When the last one ended.
#[derive(Debug, Default)]
struct Fetches {
    /// With no keys at hand.
    first: Option<Instant>,
    /// With some, for the sake of another one.
    again: Option<Instant>,
}

/// By name; the empty one is that of a key without.
#[derive(Debug, Default)]
struct KeySet {
    tokens: HashMap<String, Tokens>,
    since: Option<Instant>,
}

impl PublishedKeys {
    /// Keys for `algorithm` at `url`, of tokens that say what is demanded.
    pub fn new(outbound: Outbound, url: Uri, algorithm: PublicAlgorithm, demands: Demands) -> Self {
        Self {
            outbound,
            url,
            algorithm,
            demands,
            keys: Mutex::default(),
            fetching: Arc::default(),
        }
    }

    /// Whose `token` is at `now` (Unix seconds), with `leeway` seconds of clock skew.
    pub async fn identity(
        self: &Arc<Self>,
        token: &str,
        now: i64,
        leeway: i64,
    ) -> Result<Identity, Denial> {
        let wanted = wanted(token, self.algorithm)?;
        let mut keys = self.keys();
        if keys.find(wanted.as_deref()).is_none() || keys.is_old() {
            self.fetch(wanted.as_deref()).await;
            keys = self.keys();
        }
        if keys.tokens.is_empty() {
            return Err(Denial::Unavailable(
                "the keys of the backend's tokens cannot be had: try again in a moment".to_owned(),
            ));
        }
        match keys.find(wanted.as_deref()) {
            Some(tokens) => Ok(tokens.verify(token, now, leeway)?),
            None => Ok(refuse(
                match &wanted {
                    Some(name) if name.len() > NAME_MAX_BYTES => {
                        format!("token is signed with a key that {NAME} does not have")
                    }
                    Some(name) => {
                        format!("token is signed with the key {name:?}, which {NAME} does not have")
                    }
                    None => format!("token names no key (kid), and {NAME} has several"),
                },
                SAME_SET,
            )?),
        }
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Fetches the keys, unless that was done a short while ago. One at a time: whoever waited finds what came.
    async fn fetch(self: &Arc<Self>, wanted: Option<&str>) {
        let fetches = self.fetching.clone().lock_owned().await;
        let keys = self.keys();
        if keys.find(wanted).is_some() && !keys.is_old() {
            return;
        }
        let (last, pause) = match keys.tokens.is_empty() {
            true => (fetches.first, TRIED_EVERY),
            false => (fetches.again, FETCHED_EVERY),
        };
        if last.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        // In a task of its own: whoever leaves while they are fetched does not make the next one fetch them again.
        let all = self.clone();
        let _ = tokio::spawn(async move { all.replace(&keys, fetches).await }).await;
    }

    async fn replace(&self, keys: &KeySet, mut fetches: OwnedMutexGuard<Fetches>) {
        match self.ask().await {
            Ok(tokens) => {
                tracing::info!(url = %self.url, keys = tokens.len(), "the keys of the backend's tokens were fetched");
                let since = Some(Instant::now());
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) =
                    Arc::new(KeySet { tokens, since });
            }
            Err(reason) => {
                tracing::warn!(url = %self.url, %reason, kept = keys.tokens.len(), "the keys of the backend's tokens could not be fetched");
            }
        }
        let last = match keys.tokens.is_empty() {
            true => &mut fetches.first,
            false => &mut fetches.again,
        };
        *last = Some(Instant::now());
    }

    async fn ask(&self) -> Result<HashMap<String, Tokens>, String> {
        let request = Request::get(self.url.clone()).header(ACCEPT, "application/json");
        let request = request
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let answer = self
            .outbound
            .ask(request)
            .await
            .map_err(|silence| silence.to_string())?;
        if answer.status != 200 {
            return Err(format!("it answered {}", answer.status));
        }
        let set: Map<String, Value> = serde_json::from_slice(&answer.body)
            .map_err(|_| "its answer is no JSON object".to_owned())?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("its answer has no keys".to_owned());
        };
        let usable = keys.iter().filter_map(Value::as_object).filter_map(|jwk| {
            let key = Key::of_jwk(jwk, self.algorithm, NAME).ok()?;
            let name = jwk.get("kid").and_then(Value::as_str).unwrap_or_default();
            let tokens = Tokens::signed_elsewhere(key).that_say(self.demands.clone());
            Some((name.to_owned(), tokens))
        });
        let usable: HashMap<_, _> = usable.take(KEYS_MAX).collect();
        match usable.is_empty() {
            true => Err(format!(
                "none of its keys can verify {}",
                self.algorithm.as_str()
            )),
            false => Ok(usable),
        }
    }
}

impl KeySet {
    /// The key of that name; without a name, the only one.
    fn find(&self, name: Option<&str>) -> Option<&Tokens> {
        match name {
            Some(name) => self.tokens.get(name),
            None => (self.tokens.len() == 1)
                .then(|| self.tokens.values().next())
                .flatten(),
        }
    }

    fn is_old(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() > BELIEVED)
    }
}

/// The name of the key that `token` was signed with, if it has one. Tokens that no key could verify are refused here, so
/// that nothing is fetched for them.
fn wanted(token: &str, algorithm: PublicAlgorithm) -> Result<Option<String>, Refusal> {
    let header = header_for(token, algorithm.as_str())?;
    Ok(header.get("kid").and_then(Value::as_str).map(str::to_owned))
}

const SAME_SET: &str =
    "sign with a key that the backend publishes there, and name it in the token's header (kid)";
