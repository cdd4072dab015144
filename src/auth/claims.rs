//! What the claims of a verified token must say (RFC 7519 section 4.1), each fault in words.

use serde_json::{Map, Value};

use super::{Identity, LEEWAY_SECONDS, Refusal, refuse};
use crate::protocol::{MAX_ID, UserId, Username};

/// The payload of a token whose signature holds.
#[derive(Clone, Debug)]
pub struct Claims(pub(super) Map<String, Value>);

/// What a token must say besides who its bearer is (RFC 7519 sections 4.1.1 and 4.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Who must have issued it.
    pub issuer: Option<String>,
    /// For whom it must be.
    pub audience: Option<String>,
}

/// Unix time in seconds at which a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(pub i64);

impl Expiry {
    /// Later than any connection lasts, in seconds.
    const FAR_SECONDS: i64 = 365 * 86_400;

    /// Of a token at `now` of which nobody can read when it ends.
    pub fn untold(now: i64) -> Self {
        Self(now.saturating_add(Self::FAR_SECONDS))
    }

    /// How long that is from `now`, in words for a person.
    pub fn left(self, now: i64) -> String {
        if self == Self::untold(now) {
            return "until the backend says otherwise".to_owned();
        }
        format!("for another {}", span(self.0.saturating_sub(now)))
    }
}

const USER_CLAIMS: [&str; 3] = ["user_id", "sub", "id"];
const NAME_CLAIMS: [&str; 3] = ["username", "preferred_username", "name"];
const DEFAULT_ROLE: &str = "user";
/// Longest role that is believed, in bytes.
const ROLE_MAX_BYTES: usize = 64;

impl Claims {
    /// Who this is, if the claims hold at `now` (Unix seconds). `leeway` seconds are forgiven after `exp`, and
    /// [`LEEWAY_SECONDS`] before `nbf` and `iat`, which only say how far two clocks are apart.
    pub fn identity(&self, now: i64, leeway: i64) -> Result<Identity, Refusal> {
        let expiry = self.expiry()?;
        if now >= expiry.0.saturating_add(leeway) {
            let ago = span(now.saturating_sub(expiry.0));
            return refuse(format!("token expired {ago} ago"), RENEW);
        }
        self.not_before("nbf", "is valid only in", now)?;
        self.not_before("iat", "was issued in the future, in", now)?;
        let user = self.user()?;
        Ok(Identity {
            user,
            username: self.username(user),
            role: role_of(&self.0),
            expiry,
        })
    }

    /// Whether the token was issued by whom, and for whom, it must be.
    pub fn satisfy(&self, demands: &Demands) -> Result<(), Refusal> {
        if let Some(issuer) = &demands.issuer
            && self.0.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            let reason = match self.0.get("iss") {
                None => format!("token has no iss; it must be {issuer:?} (--jwt-issuer)"),
                Some(_) => format!("token is from another issuer than {issuer:?} (--jwt-issuer)"),
            };
            return refuse(reason, ISSUER);
        }
        if let Some(audience) = &demands.audience {
            let is_it = |value: &Value| value.as_str() == Some(audience);
            let reason = match self.0.get("aud") {
                None => format!("token has no aud; it must hold {audience:?} (--jwt-audience)"),
                Some(Value::Array(several)) if several.iter().any(is_it) => return Ok(()),
                Some(one) if is_it(one) => return Ok(()),
                Some(_) => {
                    format!("token is for another audience than {audience:?} (--jwt-audience)")
                }
            };
            return refuse(reason, AUDIENCE);
        }
        Ok(())
    }

    fn expiry(&self) -> Result<Expiry, Refusal> {
        match self.0.get("exp") {
            None => refuse("token has no exp: a token must expire", SECONDS),
            Some(exp) => match exp.as_i64() {
                Some(seconds) => Ok(Expiry(seconds)),
                None => refuse("exp must be an integer: Unix time in seconds", SECONDS),
            },
        }
    }

    fn not_before(&self, claim: &str, words: &str, now: i64) -> Result<(), Refusal> {
        let Some(value) = self.0.get(claim) else {
            return Ok(());
        };
        let Some(seconds) = value.as_i64() else {
            return refuse(
                format!("{claim} must be an integer: Unix time in seconds"),
                SECONDS,
            );
        };
        let early = seconds.saturating_sub(now);
        if early > LEEWAY_SECONDS {
            let early = span(early);
            return refuse(
                format!("token {words} {early}: compare the clocks of both machines"),
                CLOCKS,
            );
        }
        Ok(())
    }

    /// `user_id` as an integer, else `sub` or `id` as an integer or a numeric string. The first that is there decides:
    /// going on after a bad one would let a token be read as somebody else's.
    fn user(&self) -> Result<UserId, Refusal> {
        let Some(&claim) = USER_CLAIMS
            .iter()
            .find(|&&claim| self.0.get(claim).is_some_and(|v| !v.is_null()))
        else {
            return refuse(
                format!("no user id: looked for {}", USER_CLAIMS.join(", ")),
                USER_ID,
            );
        };
        let number = match &self.0[claim] {
            Value::String(text)
                if claim != "user_id" && text.bytes().all(|b| b.is_ascii_digit()) =>
            {
                text.parse().ok()
            }
            value => value.as_i64(),
        };
        match number.and_then(UserId::new) {
            Some(user) => Ok(user),
            None => refuse(
                format!("{claim} must be an integer from 1 to {MAX_ID}"),
                USER_ID,
            ),
        }
    }

    fn username(&self, user: UserId) -> Username {
        let name = NAME_CLAIMS
            .iter()
            .find_map(|&claim| self.0.get(claim)?.as_str());
        Username::cleaned(name.unwrap_or_default(), user)
    }
}

/// The role that is told, if it is one.
pub(crate) fn role_of(told: &Map<String, Value>) -> String {
    let role = told.get("role").and_then(Value::as_str);
    let role = role.filter(|role| !role.is_empty() && role.len() <= ROLE_MAX_BYTES);
    role.unwrap_or(DEFAULT_ROLE).to_owned()
}

const RENEW: &str =
    "get a new token: log in again, or print one with chat-server token --user-id … --username …";
const SECONDS: &str = "write exp, nbf and iat as whole seconds since 1970";
const ISSUER: &str = "let the backend write iss, or correct --jwt-issuer to the letter";
const AUDIENCE: &str = "let the backend write aud, or correct --jwt-audience to the letter";
const CLOCKS: &str = "set the clocks of both machines (NTP)";
const USER_ID: &str = "put the user's number into the claim user_id";

/// `seconds` in the largest unit that says enough: `45 s`, `3 min`, `2 h`, `5 d`.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
