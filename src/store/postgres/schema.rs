//! Making a database ready: an empty one gets the schema; one that another program uses is added to, once, and no more.
//!
//! Under an advisory lock, so that of several nodes that start at once one does it. Adding a column waits for everybody
//! who uses the table, and everybody after that waits for it: so it is tried only where the column is missing, and given up
//! after a short while.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::{
    append::AppendSql,
    connect::Database,
    error::{OpenError, is_their_rule, text},
    presence, rights,
    take_in::{self, TakeInSql},
};
use crate::store::{Mode, Options};

/// What the schema below writes into `chat_log.version`.
pub(super) const SCHEMA_VERSION: i32 = 1;

pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// `chat` in ASCII: the key of the advisory lock.
const LOCK_KEY: i64 = 0x6368_6174;

/// Of many messages that were there before, somebody who waits hears how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The oldest server, as `server_version_num` says it.
pub(super) const OLDEST_SERVER: i32 = 150_000;

/// In what the tables of this database differ from those of any other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// `rooms` has a column `is_private`.
    pub(super) has_private_rooms: bool,
    /// `users` is somebody else's: it has other columns than this program puts there.
    pub(super) has_their_users: bool,
}

impl Shape {
    pub(super) async fn of(client: &Client) -> Result<Self, OpenError> {
        let rooms = columns_of(client, "rooms").await?;
        let users = columns_of(client, "users").await?;
        let ours = ["id", "username", "email", "created_at"];
        let is_ours = |column: &String| ours.contains(&column.as_str());
        Ok(Self {
            has_private_rooms: rooms.iter().any(|column| column == "is_private"),
            has_their_users: users.len() != ours.len() || !users.iter().all(is_ours),
        })
    }
}

/// What is known of a database that is ready.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) epoch: String,
    /// Where the log ends.
    pub(super) position: i64,
    pub(super) shape: Shape,
}

/// What this program reads of tables that another program may have made.
const NEEDED: [(&str, &[&str]); 3] = [
    ("users", &["id", "username"]),
    ("rooms", &["name"]),
    (
        "messages",
        &["id", "from_user", "to_user", "room", "content", "timestamp"],
    ),
];

pub(super) async fn open(database: &Database, options: &Options) -> Result<Opened, OpenError> {
    let session = database.connect().await?;
    let client = &session.client;
    judge_server(client).await?;
    if !presence::join(client).await? {
        return Err(OpenError::Copying);
    }
    if !has_log(client).await? {
        install(client, options).await?;
    }
    rights::judge(client).await?;
    let (epoch, mode) = judge_log(client, options).await?;
    if mode != options.mode {
        client
            .execute("UPDATE chat_log SET mode = $1", &[&options.mode.as_str()])
            .await?;
    }
    if columns_of(client, "messages").await?.is_empty() || !has_sequence(client).await? {
        return Err(OpenError::NoSequence);
    }
    let shape = Shape::of(client).await?;
    make_general(client).await?;
    if options.mode == Mode::Standalone {
        warn_of_accounts(client).await?;
    }
    let append = AppendSql::prepare(client, shape).await?;
    let sql = TakeInSql::prepare(client, shape, &Arc::default()).await?;
    let (mut rows, mut told) = (0, Instant::now());
    loop {
        // By batches, each a transaction: what was done stays done if this is broken off.
        match take_in::take_in(&session, &append, &sql).await {
            Ok(0) => break,
            Ok(taken) => rows += taken,
            Err(fault) => return Err(fault.into()),
        }
        if told.elapsed() > TELL_EVERY {
            tracing::info!(
                rows,
                "taking messages that were in the database into the log"
            );
            told = Instant::now();
        }
    }
    if rows > 0 {
        tracing::info!(rows, "messages that were in the database are in the log");
    }
    let row = client
        .query_one("SELECT position FROM chat_log", &[])
        .await?;
    Ok(Opened {
        epoch,
        position: row.try_get(0)?,
        shape,
    })
}

/// Everybody's room. Where a room needs more than a name, only the program that keeps the rooms can make it.
async fn make_general(client: &Client) -> Result<(), OpenError> {
    let sql = "INSERT INTO rooms (name) SELECT 'general' WHERE NOT EXISTS (SELECT 1 FROM rooms WHERE name = 'general')
               ON CONFLICT DO NOTHING";
    match client.execute(sql, &[]).await {
        Err(error) if is_their_rule(&error) => {
            let why = text(&error);
            tracing::warn!(%why, "there is no room general in the table rooms, and none can be made: the program that keeps the rooms must add it");
            Ok(())
        }
        made => Ok(made.map(drop)?),
    }
}

/// What every row of a table must have and gets from nobody but its own program, besides these columns.
const UNFILLED: &str = "
    SELECT string_agg(a.attname::text, ', ') FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0
    AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attname <> ALL ($2::text[])";

async fn unfilled(
    client: &Client,
    table: &str,
    filled: &[&str],
) -> Result<Option<String>, OpenError> {
    let row = client.query_one(UNFILLED, &[&table, &filled]).await?;
    Ok(row.try_get(0)?)
}

async fn warn_of_accounts(client: &Client) -> Result<(), OpenError> {
    if let Some(columns) = unfilled(client, "users", &["id", "username"]).await? {
        tracing::warn!(
            columns,
            "nobody can register or come in as a guest: the table users needs more of a user than a name. It is another program's: set JWT_SECRET to the key of its tokens, or give a database of its own"
        );
    }
    Ok(())
}

pub(super) async fn judge_server(client: &Client) -> Result<(), OpenError> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('fsync'),
                current_setting('server_encoding')",
            &[],
        )
        .await?;
    if row.try_get::<_, i32>(0)? < OLDEST_SERVER {
        return Err(OpenError::OldServer(row.try_get(1)?));
    }
    if row.try_get::<_, &str>(3)? != "UTF8" {
        return Err(OpenError::Encoding(row.try_get(3)?));
    }
    if row.try_get::<_, &str>(2)? != "on" {
        tracing::warn!(
            "the database server runs with fsync=off: what is acknowledged may be lost in a power cut"
        );
    }
    Ok(())
}

pub(super) async fn has_log(client: &Client) -> Result<bool, OpenError> {
    let row = client
        .query_one("SELECT to_regclass('chat_log') IS NOT NULL", &[])
        .await?;
    Ok(row.try_get(0)?)
}

/// The schema, in one transaction; whoever comes second finds it there.
///
/// The lock is taken before the transaction begins: one that waited inside would still remember that there was no table,
/// since a session hears of other sessions' tables when a transaction begins.
async fn install(client: &Client, options: &Options) -> Result<(), OpenError> {
    lock(client, options.wait.max(options.patience)).await?;
    let installed = async {
        client.batch_execute("BEGIN").await?;
        if !has_log(client).await? {
            judge_tables(client).await?;
            rights::judge_before(client).await?;
            tracing::info!("making the tables of the log in the database");
            // An index over millions of messages takes its time; a lock that somebody holds is not waited for as long: while
            // it is, everybody else who uses the table stands behind this.
            client
                .batch_execute("SET LOCAL lock_timeout = 200; SET LOCAL statement_timeout = 0")
                .await?;
            client.batch_execute(SCHEMA).await?;
            client
                .execute(
                    "INSERT INTO chat_log (one, version, epoch, mode)
                     VALUES (1, $1, right(replace(gen_random_uuid()::text, '-', ''), 16), $2)",
                    &[&SCHEMA_VERSION, &options.mode.as_str()],
                )
                .await?;
        }
        client.batch_execute("COMMIT").await?;
        Ok(())
    };
    let installed = installed.await;
    let end = match &installed {
        Ok(()) => "SELECT pg_advisory_unlock_all()",
        Err(_) => "ROLLBACK; SELECT pg_advisory_unlock_all()",
    };
    // A session that does not answer takes its locks with it when it ends.
    let _ = timeout(Duration::from_secs(1), client.batch_execute(end)).await;
    installed
}

/// Asked for again and again, since a statement that waits is ended by the session's own time-outs.
async fn lock(client: &Client, at_most: Duration) -> Result<(), OpenError> {
    let begun = Instant::now();
    loop {
        let sql = "SELECT pg_try_advisory_lock($1)";
        if client.query_one(sql, &[&LOCK_KEY]).await?.try_get(0)? {
            return Ok(());
        }
        if begun.elapsed() > at_most {
            let why = "another node is still making its tables";
            return Err(OpenError::NotReady(why.into()));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Tables that are there must have what is read of them.
pub(super) async fn judge_tables(client: &Client) -> Result<(), OpenError> {
    for (table, needed) in NEEDED {
        let found = columns_of(client, table).await?;
        let missing = needed
            .iter()
            .find(|column| !found.iter().any(|found| found == *column));
        if let (false, Some(column)) = (found.is_empty(), missing) {
            return Err(OpenError::MissingColumn { table, column });
        }
    }
    let (table, filled) = NEEDED[2];
    if columns_of(client, table).await?.is_empty() {
        return Ok(());
    }
    if !has_sequence(client).await? {
        return Err(OpenError::NoSequence);
    }
    match unfilled(client, table, filled).await? {
        Some(columns) => Err(OpenError::Unfilled(columns)),
        None => Ok(()),
    }
}

/// The columns of the table of this name that an unqualified statement means; none, if there is no such table.
pub(super) async fn columns_of(client: &Client, table: &str) -> Result<Vec<String>, OpenError> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let rows = client.query(sql, &[&table]).await?;
    let names = rows.iter().map(|row| row.try_get(0));
    Ok(names.collect::<Result<_, _>>()?)
}

pub(super) async fn has_sequence(client: &Client) -> Result<bool, OpenError> {
    let sql = "SELECT pg_get_serial_sequence('messages', 'id') IS NOT NULL";
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}

/// The log's name and mode, if this version may go on with it.
async fn judge_log(client: &Client, options: &Options) -> Result<(String, Mode), OpenError> {
    let row = client
        .query_one("SELECT version, epoch, mode FROM chat_log", &[])
        .await?;
    let found = row.try_get(0)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer {
            found,
            known: SCHEMA_VERSION,
        });
    }
    let mode = Mode::parse(row.try_get(2)?);
    if mode != options.mode && !options.switch_mode {
        return Err(OpenError::OtherMode {
            found: mode,
            asked: options.mode,
        });
    }
    Ok((row.try_get(1)?, mode))
}
