//! From a token to an identity, or to a reason that a developer can act on.
//!
//! One key, one algorithm, both from configuration: what a token's header asks for is compared, never obeyed. What is
//! wrong with the claims is told only once the signature holds, so that a stranger learns nothing.

mod claims;
mod explain;
mod secret;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, encode};
use serde_json::{Map, Value};

pub use claims::{Claims, Expiry};
pub use explain::explain;
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
    pub fix: &'static str,
}

/// Verifies and signs HS256 tokens with one secret.
pub struct Tokens {
    decoding: DecodingKey,
    encoding: EncodingKey,
    key_name: &'static str,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("key_name", &self.key_name)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// `key_name` is what the secret is called in error messages (`JWT_SECRET`).
    pub fn new(secret: &[u8], key_name: &'static str) -> Self {
        Self {
            decoding: DecodingKey::from_secret(secret),
            encoding: EncodingKey::from_secret(secret),
            key_name,
        }
    }

    /// The identity in `token` at `now` (Unix seconds), forgiving `leeway` seconds of clock skew.
    pub fn verify(&self, token: &str, now: i64, leeway: i64) -> Result<Identity, Refusal> {
        self.claims(token)?.identity(now, leeway)
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
        match header.get("alg").and_then(Value::as_str) {
            Some("HS256") => {}
            Some(other) if other.len() <= 16 => {
                return refuse(
                    format!("token is signed with {other:?}; this server takes HS256 only"),
                    HS256,
                );
            }
            _ => {
                return refuse(
                    "token names no algorithm; this server takes HS256 only",
                    HS256,
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
        match crypto::verify(
            signature,
            message.as_bytes(),
            &self.decoding,
            Algorithm::HS256,
        ) {
            Ok(true) => {}
            Ok(false) => {
                return refuse(
                    format!("signature does not match {}", self.key_name),
                    SAME_SECRET,
                );
            }
            Err(_) => return refuse("token is damaged: its signature is not base64url", COPY),
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
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).or_else(|error| {
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

fn decoded(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

const COPY: &str = "copy the whole token, without quotes, line breaks or the word Bearer";
const HS256: &str = "sign with HS256";
const SAME_SECRET: &str = "sign and verify with one secret: compare JWT_SECRET (or --jwt-secret-file) on both sides, to the last space";
const SMALLER: &str = "put fewer claims into the token";

fn refuse<T>(reason: impl Into<String>, fix: &'static str) -> Result<T, Refusal> {
    Err(Refusal {
        reason: reason.into(),
        fix,
    })
}
