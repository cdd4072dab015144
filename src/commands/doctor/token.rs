//! A sample token, judged by what would judge it in a handshake, in the same words. Shows nothing of it but whose it is.

use super::{report::Finding, setup::Setup};
use crate::{
    auth::{Denial, Identity, LEEWAY_SECONDS},
    config::StartupError,
    protocol::Timestamp,
    server::{TOKENS_SECRET, tokens_of},
    store::{Mode, Secrets},
};

const SUBJECT: &str = "token";

pub(super) async fn check(setup: &Setup) -> Vec<Finding> {
    let Some(token) = &setup.token else {
        return Vec::new();
    };
    let now = Timestamp::now().unix_ms() / 1000;
    let verdict = match &setup.authority {
        Ok(Some(authority)) => authority.identity(token, now, LEEWAY_SECONDS).await,
        Ok(None) if setup.mode() == Mode::Standalone => match kept(setup, token, now).await {
            Ok(verdict) => verdict,
            Err(finding) => return vec![*finding],
        },
        _ => {
            return vec![no_judge(
                "what judges tokens is not set right",
                "mend that first",
            )];
        }
    };
    vec![told(verdict, now)]
}

/// By the secret of the built-in accounts, if there is one yet.
async fn kept(
    setup: &Setup,
    token: &str,
    now: i64,
) -> Result<Result<Identity, Denial>, Box<Finding>> {
    let Ok(database) = &setup.database else {
        return Err(Box::new(no_judge(
            "the database is not known",
            "mend that first",
        )));
    };
    let secrets = Secrets::of(&database.canonical());
    let fault = |error| Box::new(Finding::error(SUBJECT, &StartupError::Secret(error)));
    // One that is not there would be made.
    let Some(secret) = secrets.look(TOKENS_SECRET).await.map_err(fault)? else {
        return Err(Box::new(no_judge(
            "no secret is set, and this server has none of its own yet",
            "set JWT_SECRET, --jwt-public-key, --jwks-url or --backend-url as the server has it, or start the server once",
        )));
    };
    let tokens = tokens_of(&secrets, &secret).map_err(fault)?;
    Ok(tokens
        .verify(token, now, LEEWAY_SECONDS)
        .map_err(Denial::from))
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
            Finding::ok(
                SUBJECT,
                format!(
                    "lets in user {user} \"{username}\", role {role}, {}",
                    expiry.left(now)
                ),
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
