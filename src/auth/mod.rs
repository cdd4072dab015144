//! From a token to an identity, or to a reason that a developer can act on.
//!
//! One key, one algorithm, both from configuration: what a token's header asks for is compared, never obeyed. What is
//! wrong with the claims is told only once the signature holds, so that a stranger learns nothing.

mod claims;
mod explain;
mod key;
mod secret;

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};

pub use claims::{Claims, Demands, Expiry};
pub(crate) use claims::{role_of, span};
pub use explain::explain;
pub use key::Key;
pub use secret::Secret;

use crate::protocol::{UserId, Username};

/// Clock skew that a handshake forgives, in seconds. An open connection is not forgiven.
pub const LEEWAY_SECONDS: i64 = 5;
/// Longest token, in bytes; a real one has a few hundred.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// Who a token says its bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The name in the token, made safe to show.
    pub username: Username,
    /// `user` unless the token says otherwise.
    pub role: String,
    /// When it ends.
    pub expiry: Expiry,
}

/// Why a token is not accepted, in words for a developer. Never contains the token or the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What is wrong.
    pub reason: String,
    /// How to mend it.
    pub fix: Cow<'static, str>,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The token is not accepted.
    Refused(Refusal),
    /// The token is good, and its user may not come in.
    Forbidden(Refusal),
    /// Nobody can say now; not the token's fault.
    Unavailable(String),
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Verifies tokens with one key, and signs some if that key is a secret.
#[derive(Debug)]
pub struct Tokens {
    key: Key,
    signing: Option<EncodingKey>,
    demands: Demands,
}

impl Tokens {
    /// Signed and verified with one secret; `key_name` is what it is called in error messages (`JWT_SECRET`).
    pub fn new(secret: &[u8], key_name: &'static str) -> Self {
        Self {
            key: Key::of_secret(secret, key_name),
            signing: Some(EncodingKey::from_secret(secret)),
            demands: Demands::default(),
        }
    }

    /// Verified with a public key, and signed elsewhere.
    pub fn signed_elsewhere(key: Key) -> Self {
        Self {
            key,
            signing: None,
            demands: Demands::default(),
        }
    }

    /// The same, of tokens that say what is demanded.
    pub fn that_say(self, demands: Demands) -> Self {
        Self { demands, ..self }
    }

    /// The identity in `token` at `now` (Unix seconds), forgiving `leeway` seconds of clock skew.
    pub fn verify(&self, token: &str, now: i64, leeway: i64) -> Result<Identity, Refusal> {
        let claims = self.claims(token)?;
        claims.satisfy(&self.demands)?;
        claims.identity(now, leeway)
    }

    /// The claims in `token` once its signature is verified; whether they are acceptable is not judged.
    fn claims(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > TOKEN_MAX_BYTES {
            return refuse(
                format!(
                    "token has {} bytes; at most {TOKEN_MAX_BYTES} are read",
                    token.len()
                ),
                SMALLER,
            );
        }
        let Some(header) = header(token) else {
            return refuse(NO_JWT, COPY);
        };
        let ours = self.key.algorithm();
        match header.get("alg").and_then(Value::as_str) {
            Some(theirs) if theirs == ours => {}
            Some(other) if other.len() <= 16 => {
                return refuse(
                    format!("token is signed with {other:?}; this server takes {ours} only"),
                    format!("sign with {ours}"),
                );
            }
            _ => {
                return refuse(
                    format!("token names no algorithm; this server takes {ours} only"),
                    format!("sign with {ours}"),
                );
            }
        }
        // RFC 7515 section 4.1.11: extensions that must be understood, and none is understood here.
        if header.contains_key("crit") {
            return refuse(
                "token header has crit: no extension is supported",
                "leave crit out of the header",
            );
        }
        let Some((message, signature)) = token.rsplit_once('.') else {
            return refuse(NO_JWT, COPY);
        };
        match self.key.verifies(signature, message) {
            Some(true) => {}
            Some(false) => {
                let fix = if self.key.is_shared() {
                    SAME_SECRET
                } else {
                    SAME_PAIR
                };
                return refuse(format!("signature does not match {}", self.key.name), fix);
            }
            None => return refuse("token is damaged: its signature is not base64url", COPY),
        }
        let claims = message
            .split_once('.')
            .and_then(|(_, payload)| decoded(payload));
        let Some(claims) = claims else {
            return refuse("token is damaged: its claims are no JSON object", COPY);
        };
        Ok(Claims(claims))
    }

    /// A token for `user`, valid from `now` for `ttl_seconds`.
    pub fn sign(
        &self,
        user: UserId,
        username: &Username,
        role: &str,
        now: i64,
        ttl_seconds: i64,
    ) -> Result<String, Refusal> {
        let claims = serde_json::json!({
            "user_id": user,
            "username": username,
            "role": role,
            "iat": now,
            "exp": now.saturating_add(ttl_seconds),
        });
        let Some(key) = &self.signing else {
            return refuse(
                "this server holds a public key, with which no token can be signed",
                SIGN_THERE,
            );
        };
        encode(&Header::new(Algorithm::HS256), &claims, key).or_else(|error| {
            refuse(
                format!("the token could not be signed: {error}"),
                SAME_SECRET,
            )
        })
    }
}

const NO_JWT: &str = "this is no JWT: three base64url parts with dots between are expected";

/// The header of `token`, not verified by anything. `None` unless the token has exactly three parts.
fn header(token: &str) -> Option<Map<String, Value>> {
    let (first, rest) = token.split_once('.')?;
    (rest.matches('.').count() == 1).then(|| decoded(first))?
}

/// When the token ends, if it is a JWT that says so. Nothing is verified: good for asking sooner, never for letting in.
pub(crate) fn readable_exp(token: &str) -> Option<i64> {
    header(token)?;
    decoded(token.split('.').nth(1)?)?.get("exp")?.as_i64()
}

fn decoded(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

const COPY: &str = "copy the whole token, without quotes, line breaks or the word Bearer";
const SAME_SECRET: &str = "sign and verify with one secret: compare JWT_SECRET (or --jwt-secret-file) on both sides, to the last space";
const SAME_PAIR: &str = "give the public half of the key that the backend signs with";
const SIGN_THERE: &str = "get one from the backend, which holds the private half";
const SMALLER: &str = "put fewer claims into the token";

pub(crate) fn refuse<T>(
    reason: impl Into<String>,
    fix: impl Into<Cow<'static, str>>,
) -> Result<T, Refusal> {
    Err(Refusal {
        reason: reason.into(),
        fix: fix.into(),
    })
}
