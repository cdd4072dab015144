//! A token's parts, before anything is verified: what is read here lets nobody in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{COPY, NO_JWT, Refusal, SMALLER, TOKEN_MAX_BYTES, refuse};

/// The header of a token that a key for `ours` could verify, or what is wrong with it.
pub(crate) fn header_for(token: &str, ours: &str) -> Result<Map<String, Value>, Refusal> {
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
    Ok(header)
}

/// When the token ends, if it is a JWT that says so. Good for asking again sooner, never for letting in.
pub(crate) fn readable_exp(token: &str) -> Option<i64> {
    header(token)?;
    let claims = decoded(token.split('.').nth(1)?)?;
    let exp = claims.get("exp")?;
    // With a fraction too (RFC 7519 section 2).
    let rounded = || exp.as_f64().map(|seconds| seconds.floor() as i64);
    let exp = exp.as_i64().or_else(rounded);
    // Milliseconds, most likely: nobody means a token that outlives the calendar.
    exp.filter(|exp| *exp <= YEAR_9999)
}

/// The last second of that year, as Unix time.
const YEAR_9999: i64 = 253_402_300_799;

/// The header of `token`. `None` unless the token has exactly three parts.
pub(super) fn header(token: &str) -> Option<Map<String, Value>> {
    let (first, rest) = token.split_once('.')?;
    (rest.matches('.').count() == 1).then(|| decoded(first))?
}

pub(super) fn decoded(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
