//! A sample token, judged by what would judge it in a handshake, in the same words. Shows nothing of it but whose it is.

use super::{answer, report::Finding, setup::Setup};
use crate::{
    auth::{Denial, Identity, LEEWAY_SECONDS, span},
    authority::Backend,
    outbound::under,
    protocol::Timestamp,
    server::kept_tokens,
    store::sqlite::companion,
};

const SUBJECT: &str = "token";

pub(super) async fn check(setup: &Setup) -> Vec<Finding> {
    let Some(token) = &setup.token else {
        return Vec::new();
    };
    let now = Timestamp::now().unix_ms() / 1000;
    let verdict = match (&setup.tokens, setup.judging_backend()) {
        (Err(_), _) => {
            return vec![no_judge(
                "the secret or key is not usable",
                "mend that first",
            )];
        }
        (Ok(Some(tokens)), _) => tokens
            .verify(token, now, LEEWAY_SECONDS)
            .map_err(Denial::from),
        (Ok(None), Some(backend)) => match answer::outbound(backend) {
            Ok(outbound) => {
                let me = under(backend, "/api/v1/auth/me");
                Backend::new(outbound, me).identity(token, now).await
            }
            Err(silence) => Err(Denial::Unavailable(silence.to_string())),
        },
        (Ok(None), None) => match kept(setup, token, now) {
            Ok(verdict) => verdict,
            Err(finding) => return vec![*finding],
        },
    };
    vec![told(verdict, now)]
}

/// By the secret of the built-in accounts, if there is one yet.
fn kept(setup: &Setup, token: &str, now: i64) -> Result<Result<Identity, Denial>, Box<Finding>> {
    let Ok(database) = &setup.database else {
        return Err(Box::new(no_judge(
            "the database is not known",
            "mend that first",
        )));
    };
    let database = database.canonicalize().unwrap_or(database.clone());
    // One that is not there would be made.
    if !companion(&database, "secret").exists() {
        return Err(Box::new(no_judge(
            "no secret is set, and this server has none of its own yet",
            "set JWT_SECRET, --jwt-public-key or --backend-url as the server has it, or start the server once",
        )));
    }
    match kept_tokens(&database) {
        Ok(tokens) => Ok(tokens
            .verify(token, now, LEEWAY_SECONDS)
            .map_err(Denial::from)),
        Err(fault) => Err(Box::new(Finding::error(SUBJECT, &fault))),
    }
}

fn no_judge(why: &str, fix: &str) -> Finding {
    Finding::fail(SUBJECT, format!("it cannot be judged: {why}"), fix)
}

fn told(verdict: Result<Identity, Denial>, now: i64) -> Finding {
    match verdict {
        Ok(identity) => {
            let Identity {
                user,
                username,
                role,
                expiry,
            } = identity;
            let left = expiry.0.saturating_sub(now);
            // A token of which nobody can read when it ends lasts for ever.
            let left = if left > CENTURY_SECONDS {
                String::new()
            } else {
                format!(", for another {}", span(left))
            };
            Finding::ok(
                SUBJECT,
                format!("lets in user {user} \"{username}\", role {role}{left}"),
            )
        }
        Err(Denial::Refused(refusal)) => {
            Finding::fail(SUBJECT, format!("refused (401): {refusal}"), refusal.fix)
        }
        Err(Denial::Forbidden(refusal)) => {
            Finding::fail(SUBJECT, format!("refused (403): {refusal}"), refusal.fix)
        }
        Err(Denial::Unavailable(why)) => Finding::fail(
            SUBJECT,
            format!("cannot be judged now (503): {why}"),
            "see what is said of the backend",
        ),
    }
}

const CENTURY_SECONDS: i64 = 100 * 366 * 86_400;
