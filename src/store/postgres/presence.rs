//! Who is at work on the database: nodes together, or one copy alone.
//!
//! A node holds an advisory lock, shared, on the connections that write messages and hear of them. It dies with its
//! session, so that a node that is killed is no longer there. Neither is one whose connections were cut, until it is back.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::{Client, Error};

use super::{error::OpenError, schema::has_log};

/// `chatnode` in ASCII, in the two halves in which `pg_locks` shows it.
const NODE_KEY: i64 = (HIGH << 32) | LOW;
const HIGH: i64 = 0x6368_6174;
const LOW: i64 = 0x6e6f_6465;

/// What is said where a copy is at work.
pub(super) const COPYING: &str = "a chat-server copy is at work on the database";

/// Takes a node's part, until the session ends; false while a copy is at work.
pub(super) async fn join(client: &Client) -> Result<bool, Error> {
    ask(client, "SELECT pg_try_advisory_lock_shared($1)").await
}

/// Takes it all for a copy, until the session ends; false while anybody else is there, or is about to come back.
pub(super) async fn claim(client: &Client) -> Result<bool, OpenError> {
    let is_alone = ask(client, "SELECT pg_try_advisory_lock($1)").await?;
    Ok(is_alone && nobody_returns(client).await?)
}

/// When a node last said that it is there, and the time, in seconds. A node takes its row back when it stops. While the
/// database was away nobody could say anything.
const LAST_SEEN: &str = "
    SELECT extract(epoch FROM max(seen))::float8, extract(epoch FROM clock_timestamp())::float8
    FROM chat_nodes WHERE seen > clock_timestamp() - interval '1 minute'
        OR pg_postmaster_start_time() > clock_timestamp() - interval '1 minute'";

/// A node that lives says so every two seconds, with or without the lock. One that was silent for this long, in seconds, and
/// said nothing while it was listened for, was killed.
const SILENT_FOR: f64 = 8.0;
const LISTENED_FOR: f64 = 3.0;

/// After a restart of the database, or a cut, no node has its connections back yet, and each goes on in a moment.
async fn nobody_returns(client: &Client) -> Result<bool, OpenError> {
    if !has_log(client).await? {
        return Ok(true);
    }
    let mut begun = None;
    loop {
        let row = client.query_one(LAST_SEEN, &[]).await?;
        let (seen, now): (Option<f64>, f64) = (row.try_get(0)?, row.try_get(1)?);
        let begun = *begun.get_or_insert(now);
        match seen {
            None => return Ok(true),
            Some(seen) if seen > begun => return Ok(false),
            Some(seen) if now - seen > SILENT_FOR && now - begun > LISTENED_FOR => return Ok(true),
            Some(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn ask(client: &Client, sql: &str) -> Result<bool, Error> {
    client.query_one(sql, &[&NODE_KEY]).await?.try_get(0)
}

const HOLDERS: &str = "
    SELECT DISTINCT l.mode = 'ExclusiveLock', host(a.client_addr)
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = $1 AND l.objid::bigint = $2
        AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Who is there, for a person.
pub(super) async fn holders(client: &Client) -> Result<String, Error> {
    let rows = client.query(HOLDERS, &[&HIGH, &LOW]).await?;
    let mut who = Vec::new();
    for row in rows {
        let (is_copy, host): (bool, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let what = match is_copy {
            true => "a chat-server copy",
            false => "a chat-server",
        };
        // Not said of those on the same machine, nor to a role that may not know.
        let host = host.map_or(String::new(), |host| format!(" from {host}"));
        who.push(format!("{what}{host}"));
    }
    Ok(match who.is_empty() {
        // It went while it was looked for, or has no connection at this moment.
        true => "another chat-server".into(),
        false => who.join(" and "),
    })
}
