//! A look at a database that changes nothing: whether it could be served, and what is in it.

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    Url,
    error::OpenError,
    schema::{OLDEST_SERVER, SCHEMA_VERSION, has_log, has_sequence, judge_tables},
    visit,
};
use crate::store::Mode;

/// What was seen.
#[derive(Debug)]
pub struct Inspection {
    /// The server's version.
    pub version: String,
    /// The server waits for the disk.
    pub is_durable: bool,
    /// What is in it; `None`: the first start makes the log.
    pub counts: Option<Counts>,
    /// Tables of another program's are there, to which the log is added.
    pub has_tables: bool,
    /// The role may make tables where they would be made.
    pub may_create: bool,
    /// Connections of nodes that serve it now.
    pub nodes: i64,
    /// Connections that the server has left for this role.
    pub free_connections: i64,
}

/// What is in a log.
#[derive(Debug)]
pub struct Counts {
    /// Its schema's version.
    pub schema: i32,
    /// Whose users these are.
    pub mode: Mode,
    /// So many.
    pub users: i64,
    /// So many.
    pub rooms: i64,
    /// So many were ever sent.
    pub messages: i64,
    /// When the newest was stored, in Unix milliseconds.
    pub newest_ms: Option<i64>,
}

/// Looks at it; an error is why no server could serve it in this mode.
pub async fn inspect(
    url: &Url,
    mode: Mode,
    switch_mode: bool,
    patience: Duration,
) -> Result<Inspection, OpenError> {
    let session = visit::connect(url, patience).await?;
    let client = &session.client;
    let read_only = "SET default_transaction_read_only = on";
    client.batch_execute(read_only).await?;
    let server = client.query_one(SERVER, &[]).await?;
    let version: String = server.try_get(0)?;
    if server.try_get::<_, i32>(1)? < OLDEST_SERVER {
        return Err(OpenError::OldServer(version));
    }
    let has_log = has_log(client).await?;
    if !has_log {
        judge_tables(client).await?;
        judge_messages(client).await?;
    }
    let counts = match has_log {
        true => Some(counts(client).await?),
        false => None,
    };
    if let Some(counts) = &counts
        && counts.mode != mode
        && !switch_mode
    {
        return Err(OpenError::OtherMode {
            found: counts.mode,
            asked: mode,
        });
    }
    Ok(Inspection {
        version,
        counts,
        is_durable: server.try_get(2)?,
        has_tables: server.try_get(3)?,
        may_create: server.try_get(4)?,
        nodes: server.try_get(5)?,
        free_connections: server.try_get(6)?,
    })
}

/// Whether the first start could add to a table of messages that is there.
async fn judge_messages(client: &Client) -> Result<(), OpenError> {
    let owner =
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('messages')";
    let Some(row) = client.query_opt(owner, &[]).await? else {
        return Ok(());
    };
    if !row.try_get::<_, bool>(0)? {
        let why = "it must be owner of table messages, or of its owner's role";
        return Err(OpenError::NotAllowed(why.into()));
    }
    match has_sequence(client).await? {
        true => Ok(()),
        false => Err(OpenError::NoSequence),
    }
}

const SERVER: &str = "
    SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('server_version_num')::int,
        current_setting('fsync') = 'on', to_regclass('messages') IS NOT NULL,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
        (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chat-server'),
        current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
            - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";

/// The sequence numbers have no hole: where the rooms and pairs end is how many there are, and needs no look at them all.
const COUNTS: &str = "
    SELECT version, mode, (SELECT count(*) FROM users), (SELECT count(*) FROM rooms),
        (coalesce((SELECT sum(last_seq) FROM chat_rooms), 0) + coalesce((SELECT sum(last_seq) FROM chat_dms), 0))::bigint,
        (SELECT chat_ms FROM messages WHERE chat_position > 0 ORDER BY chat_position DESC LIMIT 1)
    FROM chat_log";

async fn counts(client: &Client) -> Result<Counts, OpenError> {
    let row = client.query_one(COUNTS, &[]).await?;
    let schema = row.try_get(0)?;
    if schema > SCHEMA_VERSION {
        return Err(OpenError::Newer {
            found: schema,
            known: SCHEMA_VERSION,
        });
    }
    Ok(Counts {
        schema,
        mode: Mode::parse(row.try_get(1)?),
        users: row.try_get(2)?,
        rooms: row.try_get(3)?,
        messages: row.try_get(4)?,
        newest_ms: row.try_get(5)?,
    })
}
