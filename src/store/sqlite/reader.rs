//! Reading: a pool of connections that cannot write, used from threads that may block.
//!
//! A page is one statement over one index, bounded in rows and bytes; no read transaction outlives it, since an open one
//! keeps the WAL from being emptied.

use std::{path::Path, sync::Arc, time::Duration};

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, ToSql};
use tokio::sync::Semaphore;

use super::{
    OpenError, inbox,
    statements::{account_key, content, message_id, room_name, user_id, user_row, username},
    writer::translate,
};
use crate::{
    protocol::{Cursor, Message, Nonce, Place, RoomName, Timestamp, UserId, Username, Window},
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

/// The columns of a message, as [`message_row`] takes them; `m` is `messages`, `u` is `users`.
macro_rules! columns {
    () => {
        "m.id, m.seq, m.from_user, u.username, m.room, m.to_user, m.content, m.timestamp, m.nonce"
    };
}
pub(super) use columns;

macro_rules! in_range {
    ($scope:literal, $order:literal) => {
        concat!(
            " WHERE ",
            $scope,
            " AND m.id > ?3 AND m.id < ?4 ORDER BY m.id ",
            $order,
            " LIMIT ?5"
        )
    };
}
macro_rules! both_orders {
    ($what:ident, $scope:literal) => {
        [$what!($scope, "ASC"), $what!($scope, "DESC")]
    };
}
macro_rules! page_sql {
    ($scope:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM messages m JOIN users u ON u.id = m.from_user",
            in_range!($scope, $order)
        )
    };
}
macro_rules! ids_sql {
    ($scope:literal, $order:literal) => {
        concat!("SELECT m.id FROM messages m", in_range!($scope, $order))
    };
}

/// Oldest first, newest first.
const ROOM_PAGE: [&str; 2] = both_orders!(page_sql, "m.room = ?1 AND ?2 IS NULL");
const DM_PAGE: [&str; 2] = both_orders!(page_sql, "m.dm_low = ?1 AND m.dm_high = ?2");
const ROOM_IDS: [&str; 2] = both_orders!(ids_sql, "m.room = ?1 AND ?2 IS NULL");
const DM_IDS: [&str; 2] = both_orders!(ids_sql, "m.dm_low = ?1 AND m.dm_high = ?2");

/// A run of ids, both ends exclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) after: i64,
    pub(super) before: i64,
    pub(super) newest_first: bool,
    pub(super) limit: usize,
}

impl Range {
    pub(super) fn of(window: Window) -> Self {
        match window {
            Window::Before { before, limit } => Self {
                after: 0,
                before: before_of(before),
                newest_first: true,
                limit: limit as usize,
            },
            Window::After { after, limit } => Self {
                after: after.get(),
                before: i64::MAX,
                newest_first: false,
                limit: limit as usize,
            },
        }
    }

    /// One more than asked for tells whether there is more.
    pub(super) fn with_one_more(self) -> Self {
        Self {
            limit: self.limit + 1,
            ..self
        }
    }

    /// The same, but for what is not after `from`.
    pub(super) fn not_before(self, from: Cursor) -> Self {
        Self {
            after: self.after.max(from.get()),
            ..self
        }
    }

    fn params<T: ToSql>(self, key: [T; 2]) -> (T, T, i64, i64, i64) {
        let [first, second] = key;
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        (first, second, self.after, self.before, limit)
    }
}

/// [`Cursor::END`] stands for no bound at all, so that the last possible id is not left out.
pub(super) fn before_of(before: Cursor) -> i64 {
    if before == Cursor::END {
        i64::MAX
    } else {
        before.get()
    }
}

pub(super) fn page(
    connection: &Connection,
    scope: &Scope,
    window: Window,
    max_bytes: usize,
) -> rusqlite::Result<Page> {
    let range = Range::of(window);
    let order = usize::from(range.newest_first);
    match scope {
        Scope::Room(room) => {
            let mut statement = connection.prepare_cached(ROOM_PAGE[order])?;
            let key = [Some(room.as_str()), None];
            let rows = statement.query_map(range.with_one_more().params(key), message_row)?;
            collect(rows, range, max_bytes)
        }
        Scope::Dm(a, b) => {
            let mut statement = connection.prepare_cached(DM_PAGE[order])?;
            let rows =
                statement.query_map(range.with_one_more().params(pair(*a, *b)), message_row)?;
            collect(rows, range, max_bytes)
        }
        Scope::Inbox(inbox) => inbox::page(connection, inbox, range, max_bytes),
    }
}

/// How many messages lie after `after` and not after `until`, counted up to `enough`.
pub(super) fn count(
    connection: &Connection,
    scope: &Scope,
    after: Cursor,
    until: Cursor,
    enough: u32,
) -> rusqlite::Result<u32> {
    let range = Range {
        after: after.get(),
        before: until.get().saturating_add(1),
        newest_first: false,
        limit: enough as usize,
    };
    let count = match scope {
        Scope::Room(room) => room_ids(connection, room, range)?.len(),
        Scope::Dm(a, b) => {
            let [low, high] = pair(*a, *b);
            dm_ids(connection, low, high, range)?.len()
        }
        Scope::Inbox(inbox) => inbox::count(connection, inbox, range)?,
    };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The one spelling of a pair: the smaller id first.
fn pair(a: UserId, b: UserId) -> [i64; 2] {
    [a.get().min(b.get()), a.get().max(b.get())]
}

pub(super) fn room_ids(
    connection: &Connection,
    room: &RoomName,
    range: Range,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(ROOM_IDS[usize::from(range.newest_first)])?;
    let rows = statement.query_map(range.params([Some(room.as_str()), None]), |row| row.get(0))?;
    rows.collect()
}

pub(super) fn dm_ids(
    connection: &Connection,
    low: i64,
    high: i64,
    range: Range,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(DM_IDS[usize::from(range.newest_first)])?;
    let rows = statement.query_map(range.params([low, high]), |row| row.get(0))?;
    rows.collect()
}

/// Everything that is stored after `cursor`, of all conversations.
pub(super) fn after(connection: &Connection, cursor: Cursor) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare(concat!(
        "SELECT ",
        columns!(),
        " FROM messages m JOIN users u ON u.id = m.from_user WHERE m.id > ?1 ORDER BY m.id"
    ))?;
    statement.query_map([cursor.get()], message_row)?.collect()
}

/// A page of `rows`, which come in the direction of `range`, one more than its limit if there are as many.
pub(super) fn collect(
    rows: impl Iterator<Item = rusqlite::Result<Message>>,
    range: Range,
    max_bytes: usize,
) -> rusqlite::Result<Page> {
    let (mut messages, mut bytes, mut has_more) = (Vec::new(), 0, false);
    for message in rows {
        let message = message?;
        bytes += message.encoded_len_at_most();
        if messages.len() == range.limit || (bytes > max_bytes && !messages.is_empty()) {
            has_more = true;
            break;
        }
        messages.push(message);
    }
    if range.newest_first {
        messages.reverse();
    }
    Ok(Page { messages, has_more })
}

pub(super) fn message_row(row: &Row<'_>) -> rusqlite::Result<Message> {
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
        const ROOM: &str = "messages_room (room=? AND rowid>? AND rowid<?)";
        const DM: &str = "messages_dm (dm_low=? AND dm_high=? AND rowid>? AND rowid<?)";
        let statements = [
            (ROOM_PAGE, ROOM),
            (ROOM_IDS, ROOM),
            (DM_PAGE, DM),
            (DM_IDS, DM),
        ];
        for (sql, index) in statements
            .map(|(sqls, index)| sqls.map(|sql| (sql, index)))
            .concat()
        {
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
