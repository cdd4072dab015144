//! What a node made up and all must know, in a table: made once, by whichever is first.

use super::{Url, error::OpenError, visit::visit};
use crate::auth::Secret;

const LOOK: &str = "SELECT value FROM chat_secrets WHERE name = $1";
const KEEP: &str =
    "INSERT INTO chat_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

/// The secret of this name, if there is one.
pub(in crate::store) async fn look_for_secret(
    url: &Url,
    name: &str,
) -> Result<Option<Secret>, OpenError> {
    match ask(url, name, None).await {
        Err(OpenError::NoLog) => Ok(None),
        asked => asked,
    }
}

/// The secret of this name, which is `made` unless there was one.
pub(in crate::store) async fn keep_secret(
    url: &Url,
    name: &str,
    made: String,
) -> Result<Secret, OpenError> {
    let kept = ask(url, name, Some(made)).await?;
    kept.ok_or_else(|| OpenError::NotReady("it was deleted at that moment".into()))
}

async fn ask(url: &Url, name: &str, made: Option<String>) -> Result<Option<Secret>, OpenError> {
    let (session, _) = visit(url).await?;
    if let Some(made) = &made {
        session.client.execute(KEEP, &[&name, made]).await?;
    }
    let found = session.client.query_opt(LOOK, &[&name]).await?;
    let value = found.map(|row| row.try_get::<_, String>(0)).transpose()?;
    Ok(value.map(Secret::new))
}
