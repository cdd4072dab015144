//! Reading many conversations as one, in id order: what a reader has missed, of all rooms and DMs together.
//!
//! First the ids, from the same indexes that a page of one conversation uses, each conversation up to the limit; then the
//! rows of those that come first. All of it in one read transaction: with two, a message stored in between could be
//! passed over by a reader who goes on after a later one.

use rusqlite::{Connection, params};

use super::reader::{self, Range};
use crate::{
    protocol::UserId,
    store::{Inbox, Page},
};

pub(super) fn page(
    connection: &Connection,
    inbox: &Inbox,
    range: Range,
    max_bytes: usize,
) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let ids = ids(&snapshot, inbox, range.with_one_more())?;
    let mut statement = snapshot.prepare_cached(BY_ID)?;
    let rows = ids
        .iter()
        .map(|id| statement.query_row([id], reader::message_row));
    reader::collect(rows, range, max_bytes)
}

/// How many messages there are in `range`, counted up to its limit.
pub(super) fn count(
    connection: &Connection,
    inbox: &Inbox,
    range: Range,
) -> rusqlite::Result<usize> {
    let snapshot = connection.unchecked_transaction()?;
    Ok(ids(&snapshot, inbox, range)?.len())
}

const BY_ID: &str = concat!(
    "SELECT ",
    reader::columns!(),
    " FROM messages m JOIN users u ON u.id = m.from_user WHERE m.id = ?1"
);

/// Everybody the user has exchanged DMs with after a position, as the pairs' two ids.
const PAIRS: &str = "
    SELECT low, high FROM dms WHERE low = ?1 AND last_id > ?2
    UNION SELECT low, high FROM dms WHERE high = ?1 AND last_id > ?2";

/// The ids in `range`, in its direction, at most its limit.
fn ids(connection: &Connection, inbox: &Inbox, range: Range) -> rusqlite::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for (room, from) in &inbox.rooms {
        let range = range.not_before(*from);
        ids.extend(reader::room_ids(connection, room, range)?);
    }
    let range_of_dms = range.not_before(inbox.dms_after);
    for (low, high) in pairs(connection, inbox.user, range_of_dms.after)? {
        ids.extend(reader::dm_ids(connection, low, high, range_of_dms)?);
    }
    if range.newest_first {
        ids.sort_unstable_by_key(|&id| std::cmp::Reverse(id));
    } else {
        ids.sort_unstable();
    }
    ids.truncate(range.limit);
    Ok(ids)
}

fn pairs(connection: &Connection, user: UserId, after: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = connection.prepare_cached(PAIRS)?;
    statement
        .query_map(params![user.get(), after], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}
