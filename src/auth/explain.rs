//! A token explained to a person: header, claims, what is wrong and how to mend it.

use serde_json::Value;

use super::{
    Denial, Identity,
    claims::span,
    parts::{decoded, header},
};
use crate::protocol::printable;

/// The report on `token`, of which a handshake at `now` (Unix seconds) would think `verdict`.
///
/// Shows what the token says before it says whether that is true: the one place where unverified claims are read, for
/// the eyes of somebody who already holds the token.
pub fn explain(token: &str, now: i64, verdict: &Result<Identity, Denial>) -> String {
    let mut text = String::new();
    let mut tell = |line: String| {
        text.push_str(&printable(&line));
        text.push('\n');
    };
    if let Some(header) = header(token) {
        tell(format!("header   {}", Value::Object(header)));
    }
    if let Some(claims) = token.split('.').nth(1).and_then(decoded) {
        for (claim, value) in &claims {
            let moment = moment(claim, value, now);
            tell(format!("claim    {claim} = {value}{moment}"));
        }
    }
    match verdict {
        Ok(identity) => {
            tell(format!(
                "ok       user {} \"{}\", role {}, {}",
                identity.user,
                identity.username,
                identity.role,
                identity.expiry.left(now),
            ));
        }
        Err(Denial::Refused(refusal) | Denial::Forbidden(refusal)) => {
            tell(format!("refused  {refusal}"));
            tell(format!("fix      {}", refusal.fix));
        }
        Err(Denial::Unavailable(why)) => {
            tell(format!("unknown  {why}"));
            tell("fix      see that the backend runs and answers: chat-server doctor".to_owned());
        }
    }
    text
}

fn moment(claim: &str, value: &Value, now: i64) -> String {
    let Some(seconds) = value
        .as_i64()
        .filter(|_| matches!(claim, "exp" | "iat" | "nbf"))
    else {
        return String::new();
    };
    let Ok(time) = jiff::Timestamp::from_second(seconds) else {
        return String::new();
    };
    let away = seconds.saturating_sub(now);
    if away >= 0 {
        format!("  ({time}, in {})", span(away))
    } else {
        format!("  ({time}, {} ago)", span(-away))
    }
}
