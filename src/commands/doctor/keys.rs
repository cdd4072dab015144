//! The keys that the backend publishes: whether they can be fetched, and whether one of them is of the configured kind.

use serde_json::{Map, Value};

use super::{
    answer::{described, fetch},
    report::Finding,
    setup::Setup,
};
use crate::{
    auth::{Key, PublicAlgorithm},
    outbound::Answer,
};

const SUBJECT: &str = "keys";

pub(super) async fn check(setup: &Setup) -> Vec<Finding> {
    let (url, algorithm) = match &setup.jwks {
        Ok(Some(jwks)) => jwks,
        Ok(None) => return Vec::new(),
        Err(fault) => return vec![Finding::error(SUBJECT, fault)],
    };
    let shown = url.authority().map_or("", |authority| authority.as_str());
    let where_from = format!("--jwks-url ({shown})");
    vec![match fetch(url).await {
        Ok(answer) => match usable(&answer, *algorithm) {
            Ok((usable, all)) if usable > 0 => Finding::ok(
                SUBJECT,
                format!(
                    "{where_from} gives {all} keys, {usable} of them for {}",
                    algorithm.as_str()
                ),
            ),
            Ok((_, all)) => Finding::fail(
                SUBJECT,
                format!(
                    "{where_from} gives {all} keys, none of them for {}: nobody is let in",
                    algorithm.as_str()
                ),
                "say with --jwt-algorithm what the backend signs with: RS256, ES256 or EdDSA",
            ),
            Err(got) => Finding::fail(
                SUBJECT,
                format!("{where_from} answers {got}: nobody is let in"),
                "give the address of the key set itself, often …/.well-known/jwks.json",
            ),
        },
        Err(silence) => Finding::fail(
            SUBJECT,
            format!("{where_from} gives no answer: {silence}; nobody is let in"),
            "correct the address, or start what publishes the keys",
        ),
    }]
}

/// How many keys can verify tokens, and how many there are; or what was answered instead.
fn usable(answer: &Answer, algorithm: PublicAlgorithm) -> Result<(usize, usize), String> {
    let set: Option<Map<String, Value>> = serde_json::from_slice(&answer.body).ok();
    let keys = set.as_ref().and_then(|set| set.get("keys")?.as_array());
    let Some(keys) = keys.filter(|_| answer.status == 200) else {
        let without = if answer.status == 200 {
            ", and no set of keys"
        } else {
            ""
        };
        return Err(described(answer) + without);
    };
    let is_usable = |key: &&Value| {
        key.as_object()
            .is_some_and(|key| Key::of_jwk(key, algorithm, "--jwks-url").is_ok())
    };
    Ok((keys.iter().filter(is_usable).count(), keys.len()))
}
