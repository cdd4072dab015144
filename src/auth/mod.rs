//! From a token to an identity, or to a reason that a developer can act on.
//!
//! One key, one algorithm, both from configuration: what a token's header asks for is compared, never obeyed. What is
//! wrong with the claims is told only once the signature holds, so that a stranger learns nothing.

mod claims;
mod explain;
mod key;
mod parts;
mod secret;

use std::borrow::Cow;

use jsonwebtoken::{EncodingKey, Header, encode};

pub use claims::{Claims, Demands, Expiry};
pub(crate) use claims::{role_of, span};
pub use explain::explain;
pub use key::{Key, PublicAlgorithm};
use parts::decoded;
pub(crate) use parts::{header_for, readable_exp};
pub use secret::Secret;

use crate::protocol::{ErrorCode, Reject, UserId, Username};

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

impl From<Denial> for Reject {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Refused(refusal) => Self::new(ErrorCode::Unauthorized, refusal.reason),
            Denial::Forbidden(refusal) => Self::new(ErrorCode::Forbidden, refusal.reason),
            Denial::Unavailable(why) => Self::new(ErrorCode::Unavailable, why),
        }
    }
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
        header_for(token, self.key.algorithm())?;
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
        encode(&Header::default(), &claims, key).or_else(|error| {
            refuse(
                format!("the token could not be signed: {error}"),
                SAME_SECRET,
            )
        })
    }
}

const NO_JWT: &str = "this is no JWT: three base64url parts with dots between are expected";

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
