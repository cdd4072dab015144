//! What became of a transaction whose answer was lost: asked of the server, and believed only when the rows say so.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::{
    append::{self, Numbers, Planned},
    connect::Database,
    error::is_lost,
    heads::STATUS,
};
use crate::{protocol::Timestamp, store::NewMessage};

/// Between two questions.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Once it has ended: what it stored, or `Some(None)` when it was undone; `None` when the server cannot tell any more. What it
/// stored lies after `after`.
pub(super) async fn ended_as(
    database: &Database,
    planned: &Planned,
    batch: &[&NewMessage],
    now: Timestamp,
    after: i64,
) -> Option<Option<Numbers>> {
    loop {
        if let Ok(session) = database.connect().await {
            let client = &session.client;
            let status = client.query_one(STATUS, &[&planned.xid]).await;
            let status = status.and_then(|row| row.try_get::<_, Option<String>>(0));
            let lost = match status.map(|status| status.unwrap_or_default()).as_deref() {
                Ok("in progress") => None,
                Ok("aborted") => return Some(None),
                Ok("committed") => {
                    match append::stored_by(client, planned, batch, now, after).await {
                        Ok(numbers) => return numbers.map(Some),
                        Err(error) => Some(error),
                    }
                }
                Ok(_) => return None,
                // A number that was given to nobody: the server crashed before it wrote anything of the transaction.
                Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
                    return Some(None);
                }
                Err(_) => None,
            };
            // Its words are final; without any, it is asked again.
            if lost.is_some_and(|error| !is_lost(&error)) {
                return None;
            }
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}
