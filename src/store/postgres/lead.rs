//! Being the one node that tells a follower: a lock that a session of its own holds, and that ends with the session.
//!
//! Two nodes never both believe that it is theirs for longer than it takes to notice: whoever holds it asks every
//! [`ASK_EVERY`] whether the session is there and gives up after [`ANSWER_IN`]; the server ends a session that is silent for
//! [`SILENCE`], which is longer, be the node cut off, frozen or gone. A node that was killed is heard of at once.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    connect::{Database, Session},
    error::text,
};
use crate::store::{Follower, Lead, StoreError};

/// The first part of the lock's key, `chat` in ASCII; the second says who is followed.
const LOCK: i32 = 0x6368_6174;

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// For an answer.
const ANSWER_IN: Duration = Duration::from_secs(3);
/// After which the server ends the session.
const SILENCE: Duration = Duration::from_secs(10);

/// Resolves when this node holds the lock of `follower`.
pub(super) async fn take(database: &Database, follower: Follower) -> Result<Lead, StoreError> {
    let session = database.connect().await;
    let session = session.map_err(|error| lost(&error.to_string()))?;
    let (ms, seconds) = (SILENCE.as_millis(), SILENCE.as_secs());
    let settings = format!(
        "SET idle_session_timeout = {ms}; SET tcp_user_timeout = {ms};
         SET tcp_keepalives_idle = {seconds}; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 2"
    );
    ask(session.client.batch_execute(&settings)).await?;
    let key = match follower {
        Follower::Backend => 1_i32,
        Follower::Webhook => 2,
    };
    let try_lock = "SELECT pg_try_advisory_lock($1, $2)";
    let try_lock = ask(session.client.prepare(try_lock)).await?;
    loop {
        let row = ask(session.client.query_one(&try_lock, &[&LOCK, &key])).await?;
        let is_ours = row.try_get(0);
        if is_ours.map_err(|error| lost(&text(&error)))? {
            return Ok(Lead::until(hold(session)));
        }
        sleep(ASK_EVERY).await;
    }
}

/// Ends with the session.
async fn hold(session: Session) {
    loop {
        sleep(ASK_EVERY).await;
        if let Err(error) = ask(session.client.batch_execute("")).await {
            tracing::debug!(%error, "the session that held a lead is gone");
            return;
        }
    }
}

async fn ask<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match timeout(ANSWER_IN, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(lost(&text(&error))),
        Err(_) => Err(lost("it did not answer in time")),
    }
}

fn lost(why: &str) -> StoreError {
    tracing::debug!(%why, "the database does not say who copies");
    StoreError::Unavailable("the database does not say who copies")
}
