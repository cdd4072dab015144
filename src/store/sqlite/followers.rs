//! The cursors of those outside, and what they refused for good: every statement about the two tables that hold it.
//!
//! What a writer's job changes is written so that doing it twice is doing it once: after a commit whose outcome is not
//! known, the one who asked asks again. What an operator changes beside a running server is in [`super::beside`].

use rusqlite::{Connection, Row, params};

use super::{
    SqliteStore,
    job::{Change, Job},
    reader::{self, Range, columns, message_row},
    statements::{damaged, message_id},
};
use crate::{
    protocol::{Cursor, Message, MessageId, Timestamp, Window},
    store::{Answer, Begin, Follower, Followers, Lead, Parked, Standing, StoreError},
};

type Sql<T> = rusqlite::Result<T>;

macro_rules! standings {
    () => {
        "SELECT name, position, failing_since, failing_reason,
            (SELECT count(*) FROM parked WHERE follower = name) FROM followers"
    };
}

const FOLLOW: &str = "
    INSERT INTO followers (name, position)
    SELECT ?1, CASE ?2 WHEN 1 THEN (SELECT coalesce(max(id), 0) FROM messages) ELSE 0 END
    WHERE true ON CONFLICT (name) DO NOTHING";

pub(super) fn follow(connection: &Connection, follower: Follower, begin: Begin) -> Sql<Standing> {
    let name = follower.as_str();
    connection
        .prepare_cached(FOLLOW)?
        .execute(params![name, begin == Begin::Newest])?;
    let mut statement = connection.prepare_cached(concat!(standings!(), " WHERE name = ?1"))?;
    statement.query_row([name], standing)
}

const ADVANCE: &str = "
    UPDATE followers SET position = max(position, ?2), failing_since = NULL, failing_reason = NULL WHERE name = ?1";

/// Nothing, for who never followed and for what was never stored.
const PARK: &str = "
    INSERT INTO parked (follower, message, reason, since)
    SELECT f.name, m.id, ?3, ?4 FROM followers f, messages m WHERE f.name = ?1 AND m.id = ?2
    ON CONFLICT (follower, message) DO UPDATE SET reason = excluded.reason";

const FORGET: &str = "DELETE FROM parked WHERE follower = ?1 AND message = ?2";

const NOTE_FAILURE: &str = "
    UPDATE followers SET failing_since = coalesce(failing_since, ?3), failing_reason = ?2 WHERE name = ?1";

const KEEP_PARKED: &str =
    "UPDATE parked SET reason = ?3, due_again = 0 WHERE follower = ?1 AND message = ?2";

pub(super) fn change(connection: &Connection, change: &Change, now: Timestamp) -> Sql<()> {
    match change {
        Change::Advance {
            follower,
            to,
            parked,
        } => advance(connection, *follower, *to, parked.as_deref(), now),
        Change::NoteFailure { follower, reason } => connection
            .prepare_cached(NOTE_FAILURE)?
            .execute(params![follower.as_str(), reason, now.unix_ms()])
            .map(|_| ()),
        Change::ConcludeAgain {
            follower,
            id,
            parked: Some(reason),
        } => connection
            .prepare_cached(KEEP_PARKED)?
            .execute(params![follower.as_str(), id.get(), reason])
            .map(|_| ()),
        Change::ConcludeAgain {
            follower,
            id,
            parked: None,
        } => forget(connection, *follower, *id).map(|_| ()),
    }
}

pub(super) fn advance(
    connection: &Connection,
    follower: Follower,
    to: MessageId,
    parked: Option<&str>,
    now: Timestamp,
) -> Sql<()> {
    let (name, id) = (follower.as_str(), to.get());
    connection
        .prepare_cached(ADVANCE)?
        .execute(params![name, id])?;
    match parked {
        Some(reason) => connection
            .prepare_cached(PARK)?
            .execute(params![name, id, reason, now.unix_ms()])
            .map(|_| ()),
        // An operator may have skipped what was on its way, and was taken after all.
        None => forget(connection, follower, to).map(|_| ()),
    }
}

/// The message is no longer parked; whether it was.
pub(super) fn forget(connection: &Connection, follower: Follower, id: MessageId) -> Sql<bool> {
    let mut statement = connection.prepare_cached(FORGET)?;
    let forgotten = statement.execute(params![follower.as_str(), id.get()])?;
    Ok(forgotten > 0)
}

const LOG: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM messages m JOIN users u ON u.id = m.from_user WHERE m.id > ?1 ORDER BY m.id LIMIT ?2"
);

fn log(connection: &Connection, after: Cursor, limit: u32, max_bytes: usize) -> Sql<Vec<Message>> {
    let range = Range::of(Window::After { after, limit });
    let mut statement = connection.prepare_cached(LOG)?;
    let rows = statement.query_map([after.get(), i64::from(limit)], message_row)?;
    Ok(reader::collect(rows, range, max_bytes)?.messages)
}

pub(super) fn standings(connection: &Connection) -> Sql<Vec<Standing>> {
    let mut statement = connection.prepare_cached(concat!(standings!(), " ORDER BY name"))?;
    statement.query_map([], standing)?.collect()
}

fn standing(row: &Row<'_>) -> Sql<Standing> {
    let (name, position) = (row.get_ref(0)?.as_str()?, row.get(1)?);
    let follower = Follower::ALL.into_iter().find(|it| it.as_str() == name);
    let failing: (Option<i64>, Option<String>) = (row.get(2)?, row.get(3)?);
    Ok(Standing {
        follower: follower.ok_or_else(|| damaged("an unknown follower in the database".into()))?,
        position: Cursor::new(position)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, position))?,
        parked: u64::try_from(row.get::<_, i64>(4)?).unwrap_or_default(),
        failing: failing.0.map(Timestamp::from_unix_ms).zip(failing.1),
    })
}

const PARKED: &str = "
    SELECT message, reason, since, due_again FROM parked WHERE follower = ?1 AND message > ?2
    ORDER BY message LIMIT ?3";

pub(super) fn parked(
    connection: &Connection,
    follower: Follower,
    after: Cursor,
    limit: u32,
) -> Sql<Vec<Parked>> {
    let mut statement = connection.prepare_cached(PARKED)?;
    let rows = statement.query_map(params![follower.as_str(), after.get(), limit], |row| {
        Ok(Parked {
            id: message_id(row.get(0)?)?,
            reason: row.get(1)?,
            since: Timestamp::from_unix_ms(row.get(2)?),
            due_again: row.get(3)?,
        })
    })?;
    rows.collect()
}

const DUE_AGAIN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM parked p JOIN messages m ON m.id = p.message JOIN users u ON u.id = m.from_user
      WHERE p.follower = ?1 AND p.due_again = 1 ORDER BY p.message LIMIT ?2"
);

fn due_again(connection: &Connection, follower: Follower, limit: u32) -> Sql<Vec<Message>> {
    let mut statement = connection.prepare_cached(DUE_AGAIN)?;
    statement
        .query_map(params![follower.as_str(), limit], message_row)?
        .collect()
}

impl Followers for SqliteStore {
    fn lead(&self, _follower: Follower) -> Answer<'_, Result<Lead, StoreError>> {
        // One server holds the file.
        Box::pin(async { Ok(Lead::undisputed()) })
    }

    fn follow(&self, follower: Follower, begin: Begin) -> Answer<'_, Result<Standing, StoreError>> {
        Box::pin(self.ask(move |reply| Job::Follow {
            follower,
            begin,
            reply,
        }))
    }

    fn log(
        &self,
        after: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| log(connection, after, limit, max_bytes)),
        )
    }

    fn advance(
        &self,
        follower: Follower,
        to: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        self.change(Change::Advance {
            follower,
            to,
            parked,
        })
    }

    fn note_failure(
        &self,
        follower: Follower,
        reason: String,
    ) -> Answer<'_, Result<(), StoreError>> {
        self.change(Change::NoteFailure { follower, reason })
    }

    fn standings(&self) -> Answer<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(self.readers.run(standings))
    }

    fn parked(
        &self,
        follower: Follower,
        after: Cursor,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Parked>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| parked(connection, follower, after, limit)),
        )
    }

    fn due_again(
        &self,
        follower: Follower,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| due_again(connection, follower, limit)),
        )
    }

    fn conclude_again(
        &self,
        follower: Follower,
        id: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        self.change(Change::ConcludeAgain {
            follower,
            id,
            parked,
        })
    }
}

impl SqliteStore {
    fn change(&self, change: Change) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |reply| Job::Follower { change, reply }))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::plan, *};

    #[test]
    fn every_look_is_a_search_over_an_index_and_sorts_nothing() {
        for (sql, params) in [(LOG, 2), (PARKED, 3), (DUE_AGAIN, 2)] {
            let plan = plan(sql, params);
            let is_search = !plan.contains("SCAN") && !plan.contains("TEMP B-TREE");
            assert!(is_search, "{sql}\n{plan}");
            assert_eq!(plan.contains("parked_due"), sql == DUE_AGAIN, "{plan}");
        }
    }
}
