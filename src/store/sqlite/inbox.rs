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
    let ids = First::of(&snapshot, inbox, range.with_one_more(), false)?;
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
    Ok(First::of(&snapshot, inbox, range, true)?.len())
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

/// The ids that come first, of several conversations. What has been found narrows where there is still to look, so that
/// hundreds of busy rooms do not each give a whole page of ids.
struct First {
    ids: Vec<i64>,
    range: Range,
}

impl First {
    /// The ids in `range`, in its direction, at most its limit; with `any`, whichever are found first.
    fn of(
        connection: &Connection,
        inbox: &Inbox,
        range: Range,
        any: bool,
    ) -> rusqlite::Result<Vec<i64>> {
        let ids = Vec::new();
        let mut first = Self { ids, range };
        let enough = |first: &Self| any && first.ids.len() >= range.limit;
        for (room, from) in &inbox.rooms {
            if enough(&first) {
                break;
            }
            let range = first.range.not_before(*from);
            first.add(reader::room_ids(connection, room, range)?);
        }
        let dms_after = first.range.not_before(inbox.dms_after).after;
        for (low, high) in pairs(connection, inbox.user, dms_after)? {
            if enough(&first) {
                break;
            }
            let range = first.range.not_before(inbox.dms_after);
            first.add(reader::dm_ids(connection, low, high, range)?);
        }
        first.cut();
        Ok(first.ids)
    }

    fn add(&mut self, ids: Vec<i64>) {
        self.ids.extend(ids);
        if self.ids.len() > 2 * self.range.limit {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.range.newest_first {
            self.ids.sort_unstable_by_key(|&id| std::cmp::Reverse(id));
        } else {
            self.ids.sort_unstable();
        }
        self.ids.truncate(self.range.limit);
        match self.ids.last() {
            Some(&last) if self.ids.len() == self.range.limit && self.range.newest_first => {
                self.range.after = last;
            }
            Some(&last) if self.ids.len() == self.range.limit => self.range.before = last,
            _ => {}
        }
    }
}

fn pairs(connection: &Connection, user: UserId, after: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = connection.prepare_cached(PAIRS)?;
    statement
        .query_map(params![user.get(), after], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}
