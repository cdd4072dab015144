//! A token explained to a person: header, claims, what is wrong and how to mend it.

use std::fmt::Write as _;

use serde_json::Value;

use super::{LEEWAY_SECONDS, Refusal, Tokens, claims::span, decoded, header};

/// The report on `token` and whether a handshake would accept it at `now` (Unix seconds).
///
/// Shows what the token says before it says whether that is true: the one place where unverified claims are read, for
/// the eyes of somebody who already holds the token.
pub fn explain(tokens: &Tokens, token: &str, now: i64) -> (String, Result<(), Refusal>) {
    let mut text = String::new();
    if let Some(header) = header(token) {
        let _ = writeln!(text, "header   {}", Value::Object(header));
    }
    if let Some(claims) = token.split('.').nth(1).and_then(decoded) {
        for (claim, value) in &claims {
            let _ = writeln!(
                text,
                "claim    {claim} = {value}{}",
                moment(claim, value, now)
            );
        }
    }
    let verdict = tokens.verify(token, now, LEEWAY_SECONDS);
    match &verdict {
        Ok(identity) => {
            let _ = writeln!(
                text,
                "ok       user {} \"{}\", role {}, for another {}",
                identity.user,
                identity.username,
                identity.role,
                span(identity.expiry.0.saturating_sub(now)),
            );
        }
        Err(refusal) => {
            let _ = writeln!(text, "refused  {refusal}\nfix      {}", refusal.fix);
        }
    }
    (text, verdict.map(|_| ()))
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
