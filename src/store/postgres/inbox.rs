//! Reading many conversations as one, in order: what a reader has missed, of all rooms and DMs together.
//!
//! One statement, and so one moment's view: with two, a message stored in between could be passed over by a reader who goes
//! on after a later one. First the positions, from the same indexes that a page of one conversation uses, each conversation
//! up to the limit; then the rows of those that come first.

use tokio_postgres::Row;

use super::{
    connect::Pool,
    reader::Range,
    rows::{columns, is_message},
};
use crate::{
    protocol::RoomName,
    store::{Inbox, StoreError},
};

/// $1 … $2 is the range, $3 the limit, $4 and $5 the rooms and where their reader stands, $6 the user and $7 the same of DMs.
macro_rules! positions {
    ($order:literal) => {
        concat!(
            "SELECT f.position FROM unnest($4::text[], $5::bigint[]) AS r (name, after)
             CROSS JOIN LATERAL (
                SELECT m.chat_position AS position FROM messages m
                WHERE m.chat_position > 0 AND m.room = r.name
                AND (m.room, m.chat_position) > (r.name, greatest(r.after, $1))
                AND (m.room, m.chat_position) < (r.name, $2) AND ", is_message!(), "
                ORDER BY m.chat_position ", $order, " LIMIT $3) f
             UNION ALL SELECT f.position FROM (
                SELECT low, high FROM chat_dms WHERE low = $6 AND last_position > greatest($7::bigint, $1)
                UNION SELECT low, high FROM chat_dms WHERE high = $6 AND last_position > greatest($7::bigint, $1)) d
             CROSS JOIN LATERAL (
                SELECT m.chat_position AS position FROM messages m
                WHERE m.chat_position > 0 AND m.room IS NULL
                AND least(m.from_user, m.to_user) = d.low AND greatest(m.from_user, m.to_user) = d.high
                AND m.chat_position > greatest($7::bigint, $1) AND m.chat_position < $2 AND ", is_message!(), "
                ORDER BY m.chat_position ", $order, " LIMIT $3) f
             ORDER BY position ", $order, " LIMIT $3"
        )
    };
}
macro_rules! page_sql {
    ($order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM (",
            positions!($order),
            ") AS first JOIN messages m ON m.chat_position = first.position AND m.chat_position > 0
              LEFT JOIN users u ON u.id = m.from_user ORDER BY first.position ",
            $order
        )
    };
}

const PAGE: [&str; 2] = [page_sql!("ASC"), page_sql!("DESC")];
const COUNT: &str = concat!("SELECT count(*) FROM (", positions!("ASC"), ") AS counted");

pub(super) async fn page(pool: &Pool, inbox: &Inbox, range: Range) -> Result<Vec<Row>, StoreError> {
    let sql = PAGE[usize::from(range.newest_first)];
    ask(pool, sql, inbox, range, range.limit_and(1)).await
}

pub(super) async fn count(
    pool: &Pool,
    inbox: &Inbox,
    range: Range,
) -> Result<Vec<Row>, StoreError> {
    ask(pool, COUNT, inbox, range, range.limit_and(0)).await
}

async fn ask(
    pool: &Pool,
    sql: &str,
    inbox: &Inbox,
    range: Range,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    let names: Vec<&str> = inbox
        .rooms
        .iter()
        .map(|(name, _)| name)
        .map(RoomName::as_str)
        .collect();
    let after: Vec<i64> = inbox.rooms.iter().map(|(_, after)| after.get()).collect();
    let (user, dms_after) = (inbox.user.get(), inbox.dms_after.get());
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &range.after,
        &range.before,
        &limit,
        &names,
        &after,
        &user,
        &dms_after,
    ];
    pool.read(sql, &params).await
}
