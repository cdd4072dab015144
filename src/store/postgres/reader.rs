//! Pages of a conversation: one statement each, which is one moment's view, bounded in rows and bytes.

use super::{
    connect::Pool,
    inbox,
    rows::{self, columns, cursor, get, is_message},
};
use crate::{
    protocol::{Cursor, UserId, Window},
    store::{Page, Scope, StoreError},
};

macro_rules! in_range {
    ($scope:literal, $order:literal) => {
        concat!(
            " WHERE m.chat_position > 0 AND ",
            $scope,
            " AND ",
            is_message!(),
            " ORDER BY m.chat_position ",
            $order,
            " LIMIT $3"
        )
    };
}
macro_rules! page_sql {
    ($scope:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM messages m LEFT JOIN users u ON u.id = m.from_user",
            in_range!($scope, $order)
        )
    };
}
macro_rules! count_sql {
    ($scope:literal) => {
        concat!(
            "SELECT count(*) FROM (SELECT 1 FROM messages m",
            in_range!($scope, "ASC"),
            ") AS counted"
        )
    };
}
/// The range is said of room and position together: of positions alone, a plan that is made for any values takes it for a
/// small part of the log, and walks over all of it to find the few messages of a quiet room.
macro_rules! room {
    ($what:ident $(, $order:literal)?) => {
        $what!(
            "m.room = $4 AND (m.room, m.chat_position) > ($4, $1) AND (m.room, m.chat_position) < ($4, $2)"
            $(, $order)?
        )
    };
}
macro_rules! dm {
    ($what:ident $(, $order:literal)?) => {
        $what!(
            "m.room IS NULL AND least(m.from_user, m.to_user) = $4::bigint AND greatest(m.from_user, m.to_user) = $5::bigint
             AND m.chat_position > $1 AND m.chat_position < $2"
            $(, $order)?
        )
    };
}

/// Oldest first, newest first.
const ROOM_PAGE: [&str; 2] = [room!(page_sql, "ASC"), room!(page_sql, "DESC")];
const DM_PAGE: [&str; 2] = [dm!(page_sql, "ASC"), dm!(page_sql, "DESC")];
const ROOM_COUNT: &str = room!(count_sql);
const DM_COUNT: &str = dm!(count_sql);

/// A run of positions, both ends exclusive.
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

    /// What lies after `after` and not after `until`, counted up to `enough`.
    fn counted(after: Cursor, until: Cursor, enough: u32) -> Self {
        Self {
            after: after.get(),
            before: until.get().saturating_add(1),
            newest_first: false,
            limit: enough as usize,
        }
    }

    pub(super) fn limit_and(self, more: usize) -> i64 {
        i64::try_from(self.limit.saturating_add(more)).unwrap_or(i64::MAX)
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

/// The one spelling of a pair: the smaller id first.
pub(super) fn pair(a: UserId, b: UserId) -> [i64; 2] {
    [a.get().min(b.get()), a.get().max(b.get())]
}

pub(super) async fn page(
    pool: &Pool,
    scope: Scope,
    window: Window,
    max_bytes: usize,
) -> Result<Page, StoreError> {
    let range = Range::of(window);
    let order = usize::from(range.newest_first);
    let (after, before, limit) = (range.after, range.before, range.limit_and(1));
    let rows = match &scope {
        Scope::Room(room) => {
            let sql = ROOM_PAGE[order];
            pool.read(sql, &[&after, &before, &limit, &room.as_str()])
                .await?
        }
        Scope::Dm(a, b) => {
            let [low, high] = pair(*a, *b);
            pool.read(DM_PAGE[order], &[&after, &before, &limit, &low, &high])
                .await?
        }
        Scope::Inbox(inbox) => inbox::page(pool, inbox, range).await?,
    };
    rows::page(&rows, range.limit, range.newest_first, max_bytes)
}

pub(super) async fn count(
    pool: &Pool,
    scope: Scope,
    after: Cursor,
    until: Cursor,
    enough: u32,
) -> Result<u32, StoreError> {
    let range = Range::counted(after, until, enough);
    let (after, before, limit) = (range.after, range.before, range.limit_and(0));
    let rows = match &scope {
        Scope::Room(room) => {
            pool.read(ROOM_COUNT, &[&after, &before, &limit, &room.as_str()])
                .await?
        }
        Scope::Dm(a, b) => {
            let [low, high] = pair(*a, *b);
            pool.read(DM_COUNT, &[&after, &before, &limit, &low, &high])
                .await?
        }
        Scope::Inbox(inbox) => inbox::count(pool, inbox, range).await?,
    };
    let counted = match rows.first() {
        Some(row) => get::<i64>(row, 0)?,
        None => 0,
    };
    Ok(u32::try_from(counted).unwrap_or(u32::MAX))
}

pub(super) async fn latest_id(pool: &Pool) -> Result<Cursor, StoreError> {
    let rows = pool.read("SELECT position FROM chat_log", &[]).await?;
    match rows.first() {
        Some(row) => cursor(get(row, 0)?),
        None => Ok(Cursor::START),
    }
}
