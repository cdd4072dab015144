//! Reading: a pool of connections that cannot write, used from threads that may block.
//!
//! A page is one statement over one index, bounded in rows and bytes; no read transaction outlives it, since an open one
//! keeps the WAL from being emptied.

use std::{path::Path, sync::Arc, time::Duration};

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, ToSql, params};
use tokio::sync::Semaphore;

use super::{
    OpenError,
    statements::{account_key, content, message_id, room_name, user_id, user_row, username},
    writer::translate,
};
use crate::{
    protocol::{
        Cursor, MAX_ID, Message, Nonce, Place, RoomName, Timestamp, UserId, Username, Window,
    },
    store::{Account, Page, Scope, StoreError, User},
};

/// The pool and the door to it.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    pool: r2d2::Pool<SqliteConnectionManager>,
    /// As many permits as connections, so that nobody blocks a thread while waiting for one.
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl Readers {
    pub(super) fn open(
        database: &Path,
        connections: u32,
        patience: Duration,
    ) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let manager = SqliteConnectionManager::file(database)
            .with_flags(flags)
            .with_init(|connection| {
                connection.set_prepared_statement_cache_capacity(64);
                connection.pragma_update(None, "query_only", true)
            });
        let pool = r2d2::Pool::builder()
            .max_size(connections)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connection_timeout(patience)
            .build(manager)
            .map_err(|error| OpenError::Readers(error.to_string()))?;
        Ok(Self {
            pool,
            permits: Arc::new(Semaphore::new(connections as usize)),
            patience,
        })
    }

    /// Runs `read` on a connection of the pool.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let busy = |_| StoreError::Unavailable("too many reads are waiting");
        let permit = tokio::time::timeout(self.patience, self.permits.clone().acquire_owned())
            .await
            .map_err(busy)?;
        let pool = self.pool.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = pool
                .get()
                .map_err(|error| StoreError::Internal(error.into()))?;
            read(&connection).map_err(translate)
        });
        task.await
            .unwrap_or_else(|error| Err(StoreError::Internal(error.into())))
    }
}

macro_rules! page_sql {
    ($scope:literal, $order:literal) => {
        concat!(
            "SELECT m.id, m.seq, m.from_user, u.username, m.room, m.to_user, m.content, m.timestamp, m.nonce ",
            "FROM messages m JOIN users u ON u.id = m.from_user WHERE ",
            $scope,
            " AND m.id > ?3 AND m.id < ?4 ORDER BY m.id ",
            $order,
            " LIMIT ?5"
        )
    };
}

const ROOM_BEFORE: &str = page_sql!("m.room = ?1 AND ?2 IS NULL", "DESC");
const ROOM_AFTER: &str = page_sql!("m.room = ?1 AND ?2 IS NULL", "ASC");
const DM_BEFORE: &str = page_sql!("m.dm_low = ?1 AND m.dm_high = ?2", "DESC");
const DM_AFTER: &str = page_sql!("m.dm_low = ?1 AND m.dm_high = ?2", "ASC");

pub(super) fn page(
    connection: &Connection,
    scope: &Scope,
    window: Window,
    max_bytes: usize,
) -> rusqlite::Result<Page> {
    let (newest_first, after, before, limit) = match window {
        Window::Before { before, limit } => (true, 0, before.get(), limit),
        Window::After { after, limit } => (false, after.get(), MAX_ID, limit),
    };
    // `before` is exclusive and END stands for no bound at all, so that the last possible id is not left out.
    let before = if before == MAX_ID { i64::MAX } else { before };
    let sql = match (scope, newest_first) {
        (Scope::Room(_), true) => ROOM_BEFORE,
        (Scope::Room(_), false) => ROOM_AFTER,
        (Scope::Dm(..), true) => DM_BEFORE,
        (Scope::Dm(..), false) => DM_AFTER,
    };
    let keys: [Box<dyn ToSql>; 2] = match scope {
        Scope::Room(room) => [Box::new(room.as_str().to_owned()), Box::new(None::<i64>)],
        Scope::Dm(a, b) => [
            Box::new(a.get().min(b.get())),
            Box::new(a.get().max(b.get())),
        ],
    };
    let mut statement = connection.prepare_cached(sql)?;
    // One more than asked for tells whether there is more.
    let rows = statement.query(params![
        keys[0],
        keys[1],
        after,
        before,
        i64::from(limit) + 1
    ])?;
    collect(rows, limit, max_bytes, newest_first)
}

/// Everything that is stored after `cursor`, of all conversations.
pub(super) fn after(connection: &Connection, cursor: Cursor) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare(
        "SELECT m.id, m.seq, m.from_user, u.username, m.room, m.to_user, m.content, m.timestamp, m.nonce
         FROM messages m JOIN users u ON u.id = m.from_user WHERE m.id > ?1 ORDER BY m.id",
    )?;
    statement.query_map([cursor.get()], message_row)?.collect()
}

fn collect(
    mut rows: rusqlite::Rows<'_>,
    limit: u32,
    max_bytes: usize,
    newest_first: bool,
) -> rusqlite::Result<Page> {
    let (mut messages, mut bytes, mut has_more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let message = message_row(row)?;
        bytes += message.encoded_len_at_most();
        if messages.len() == limit as usize || (bytes > max_bytes && !messages.is_empty()) {
            has_more = true;
            break;
        }
        messages.push(message);
    }
    if newest_first {
        messages.reverse();
    }
    Ok(Page { messages, has_more })
}

fn message_row(row: &Row<'_>) -> rusqlite::Result<Message> {
    let place = match row.get_ref(4)?.as_str_or_null()? {
        Some(room) => Place::Room(room_name(room)?),
        None => Place::Dm(user_id(row.get(5)?)?),
    };
    Ok(Message {
        id: message_id(row.get(0)?)?,
        seq: row.get(1)?,
        from: user_id(row.get(2)?)?,
        username: username(row.get_ref(3)?.as_str()?)?,
        place,
        content: content(row.get_ref(6)?.as_str()?)?,
        timestamp: Timestamp::from_unix_ms(row.get(7)?),
        nonce: row
            .get_ref(8)?
            .as_str_or_null()?
            .and_then(|nonce| Nonce::new(nonce).ok()),
    })
}

pub(super) fn latest_id(connection: &Connection) -> rusqlite::Result<Cursor> {
    let id: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| {
        row.get(0)
    })?;
    Cursor::new(id).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))
}

pub(super) fn user(connection: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    let mut statement =
        connection.prepare_cached("SELECT id, username, role FROM users WHERE id = ?1")?;
    statement.query_row([id.get()], user_row).optional()
}

pub(super) fn room_exists(connection: &Connection, room: &RoomName) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM rooms WHERE name = ?1")?
        .exists([room.as_str()])
}

pub(super) fn account(
    connection: &Connection,
    name: &Username,
) -> rusqlite::Result<Option<Account>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, username, role, password_hash FROM users WHERE account_name = ?1",
    )?;
    let account = |row: &Row<'_>| {
        Ok(Account {
            user: user_row(row)?,
            password_hash: row.get(3)?,
        })
    };
    statement.query_row([account_key(name)], account).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_a_search_over_an_index_and_sorts_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(super::super::migrate::SCHEMA)
            .unwrap();
        for (sql, index) in [
            (
                ROOM_BEFORE,
                "messages_room (room=? AND rowid>? AND rowid<?)",
            ),
            (ROOM_AFTER, "messages_room (room=? AND rowid>? AND rowid<?)"),
            (
                DM_BEFORE,
                "messages_dm (dm_low=? AND dm_high=? AND rowid>? AND rowid<?)",
            ),
            (
                DM_AFTER,
                "messages_dm (dm_low=? AND dm_high=? AND rowid>? AND rowid<?)",
            ),
        ] {
            let mut statement = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let none: [Option<i64>; 5] = [None; 5];
            let plan: Vec<String> = statement
                .query_map(rusqlite::params_from_iter(none), |row| row.get("detail"))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let plan = plan.join("\n");
            assert!(plan.contains(index), "{sql}\n{plan}");
            assert!(
                !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"),
                "{sql}\n{plan}"
            );
        }
    }
}
