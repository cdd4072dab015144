//! What a node made up and all must know, in a table: made once, by whichever is first.

use std::time::Duration;

use tokio::time::timeout;

use super::{Url, connect::Database, error::text};
use crate::auth::Secret;

/// Asked at the start and by commands: somebody waits.
const PATIENCE: Duration = Duration::from_secs(5);

const LOOK: &str = "SELECT value FROM chat_secrets WHERE name = $1";
const KEEP: &str =
    "INSERT INTO chat_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

/// The secret of this name, if there is one.
pub(in crate::store) async fn look_for_secret(
    url: &Url,
    name: &str,
) -> Result<Option<Secret>, String> {
    ask(url, name, None).await
}

/// The secret of this name, which is `made` unless there was one.
pub(in crate::store) async fn keep_secret(
    url: &Url,
    name: &str,
    made: String,
) -> Result<Secret, String> {
    let kept = ask(url, name, Some(made)).await?;
    kept.ok_or_else(|| "it was deleted at that moment; try again".to_owned())
}

async fn ask(url: &Url, name: &str, made: Option<String>) -> Result<Option<Secret>, String> {
    let database = Database::of(url, PATIENCE).map_err(|error| error.to_string())?;
    let asked = async {
        let session = database
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        if let Some(made) = &made {
            let kept = session.client.execute(KEEP, &[&name, made]).await;
            kept.map_err(|error| text(&error))?;
        }
        let found = session.client.query_opt(LOOK, &[&name]).await;
        let Some(row) = found.map_err(|error| text(&error))? else {
            return Ok(None);
        };
        let value: String = row.try_get(0).map_err(|error| text(&error))?;
        Ok(Some(Secret::new(value)))
    };
    let late = |_| "the database does not answer".to_owned();
    timeout(PATIENCE, asked).await.map_err(late)?
}
