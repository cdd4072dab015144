//! Who is at work on the database: nodes together, or one copy alone.
//!
//! A node holds an advisory lock, shared, on the connections that write messages and hear of them. It dies with its
//! session, so that a node that is killed is no longer there.

use tokio_postgres::{Client, Error};

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

/// Takes it all for a copy, until the session ends; false while anybody else is there.
pub(super) async fn claim(client: &Client) -> Result<bool, Error> {
    ask(client, "SELECT pg_try_advisory_lock($1)").await
}

async fn ask(client: &Client, sql: &str) -> Result<bool, Error> {
    client.query_one(sql, &[&NODE_KEY]).await?.try_get(0)
}

const HOLDERS: &str = "
    SELECT DISTINCT l.mode = 'ExclusiveLock', coalesce(host(a.client_addr), 'the same machine')
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = $1 AND l.objid::bigint = $2
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Who is there, for a person.
pub(super) async fn holders(client: &Client) -> Result<String, Error> {
    let rows = client.query(HOLDERS, &[&HIGH, &LOW]).await?;
    let mut who = Vec::new();
    for row in rows {
        let (is_copy, host): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
        let what = match is_copy {
            true => "a chat-server copy",
            false => "a chat-server",
        };
        who.push(format!("{what} from {host}"));
    }
    Ok(match who.is_empty() {
        // It went while it was looked for.
        true => "another chat-server".into(),
        false => who.join(" and "),
    })
}
