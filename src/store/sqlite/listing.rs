//! Lists of what there is: rooms, users, and one user's conversations.
//!
//! Each is one statement, bounded in rows and bytes. Rooms and users are walked in the order of an index; the conversations
//! of one user are sorted, as many as the user has.

use rusqlite::{Connection, Row, params, types::ValueRef};

use super::{
    reader::{before_of, columns, message_row},
    statements::{room_name, user_from, user_row},
};
use crate::{
    protocol::{Cursor, Listing, Message, RoomName, UserId},
    store::{StoredRoom, User},
};

/// The columns of a message come first, so that one reader of rows serves all; what else is asked for follows them.
const AFTER_MESSAGE: usize = 9;

const ROOMS: &str = concat!(
    "SELECT ",
    columns!(),
    ", r.name FROM rooms r
     LEFT JOIN messages m ON m.id = r.last_id LEFT JOIN users u ON u.id = m.from_user
     WHERE r.name > ?1 ORDER BY r.name LIMIT ?2"
);

/// One of the two columns for each half, so that each is a search over an index; sorted and cut before any text is read.
const CONVERSATIONS: &str = concat!(
    "SELECT ",
    columns!(),
    ", p.id, p.username, p.role FROM (
        SELECT high AS peer, last_id FROM dms WHERE low = ?1 AND last_id < ?2
        UNION ALL SELECT low, last_id FROM dms WHERE high = ?1 AND low < high AND last_id < ?2
        ORDER BY last_id DESC LIMIT ?3) mine
     JOIN users p ON p.id = mine.peer
     JOIN messages m ON m.id = mine.last_id JOIN users u ON u.id = m.from_user
     ORDER BY mine.last_id DESC"
);

pub(super) fn rooms(
    connection: &Connection,
    after: Option<RoomName>,
    limit: u32,
    max_bytes: usize,
) -> rusqlite::Result<Listing<StoredRoom>> {
    let mut statement = connection.prepare_cached(ROOMS)?;
    // No name is empty, so every name comes after the empty one.
    let after = after.as_ref().map_or("", RoomName::as_str);
    let rows = statement.query_map(params![after, one_more(limit)], |row| {
        let last = match row.get_ref(0)? {
            ValueRef::Null => None,
            _ => Some(message_row(row)?),
        };
        let name = room_name(row.get_ref(AFTER_MESSAGE)?.as_str()?)?;
        Ok(StoredRoom { name, last })
    })?;
    let bytes = |room: &StoredRoom| room.last.as_ref().map_or(0, Message::encoded_len_at_most);
    collect(rows, limit, max_bytes, bytes)
}

pub(super) fn users(
    connection: &Connection,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Listing<User>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, username, role FROM users WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after, one_more(limit)], user_row)?;
    collect(rows, limit, usize::MAX, |_| 0)
}

pub(super) fn conversations(
    connection: &Connection,
    user: UserId,
    before: Cursor,
    limit: u32,
    max_bytes: usize,
) -> rusqlite::Result<Listing<(User, Message)>> {
    let mut statement = connection.prepare_cached(CONVERSATIONS)?;
    let key = params![user.get(), before_of(before), one_more(limit)];
    let rows = statement.query_map(key, |row: &Row<'_>| {
        Ok((user_from(row, AFTER_MESSAGE)?, message_row(row)?))
    })?;
    collect(rows, limit, max_bytes, |(_, last)| {
        last.encoded_len_at_most()
    })
}

/// One more than asked for tells whether there is more.
fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

fn collect<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
    limit: u32,
    max_bytes: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> rusqlite::Result<Listing<T>> {
    let (mut entries, mut bytes, mut has_more) = (Vec::new(), 0, false);
    for entry in rows {
        let entry = entry?;
        bytes += bytes_of(&entry);
        if entries.len() == limit as usize || (bytes > max_bytes && !entries.is_empty()) {
            has_more = true;
            break;
        }
        entries.push(entry);
    }
    Ok(Listing { entries, has_more })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::plan, *};

    #[test]
    fn every_list_is_a_search_over_an_index() {
        for (sql, params, sorts) in [(ROOMS, 2, false), (CONVERSATIONS, 3, true)] {
            let plan = plan(sql, params);
            // What was sorted and cut is walked once.
            let scans = plan.matches("SCAN").count() - plan.matches("SCAN mine").count();
            assert_eq!(
                (scans, plan.contains("TEMP B-TREE")),
                (0, sorts),
                "{sql}\n{plan}"
            );
        }
    }
}
