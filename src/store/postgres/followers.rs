//! The cursors of those outside, and what they refused for good: one statement each, written so that doing it twice is doing
//! it once, since whoever hears `Uncertain` asks again.

use tokio_postgres::Row;

use super::{
    PgStore,
    connect::{Params, Pool},
    lead,
    reader::Range,
    rows::{self, columns, cursor, damaged, get, is_message},
};
use crate::{
    protocol::{Cursor, Message, MessageId, Timestamp, Window},
    store::{Answer, Begin, Follower, Followers, Lead, Parked, Standing, StoreError},
};

pub(super) const STANDINGS: &str = "
    SELECT f.name, f.position, f.failing_since, f.failing_reason,
        (SELECT count(*) FROM chat_parked p WHERE p.follower = f.name)
    FROM chat_followers f WHERE $1::text IS NULL OR f.name = $1 ORDER BY f.name";

const FOLLOW: &str = "
    INSERT INTO chat_followers (name, position)
    SELECT $1::text, CASE WHEN $2::boolean THEN position ELSE 0 END FROM chat_log ON CONFLICT (name) DO NOTHING";

async fn follow(pool: &Pool, follower: Follower, begin: Begin) -> Result<Standing, StoreError> {
    let (name, at_newest) = (follower.as_str(), begin == Begin::Newest);
    pool.change(FOLLOW, &[&name, &at_newest]).await?;
    let mut found = standings(pool, Some(follower)).await?;
    found
        .pop()
        .ok_or_else(|| damaged("a follower that was there is gone".into()))
}

async fn standings(pool: &Pool, only: Option<Follower>) -> Result<Vec<Standing>, StoreError> {
    let found = pool.read(STANDINGS, &[&only.map(Follower::as_str)]).await?;
    found.iter().map(standing).collect()
}

pub(super) fn standing(row: &Row) -> Result<Standing, StoreError> {
    let name: &str = get(row, 0)?;
    let follower = Follower::ALL.into_iter().find(|it| it.as_str() == name);
    let failing: (Option<i64>, Option<String>) = (get(row, 2)?, get(row, 3)?);
    Ok(Standing {
        follower: follower.ok_or_else(|| damaged("an unknown follower in the database".into()))?,
        position: cursor(get(row, 1)?)?,
        parked: u64::try_from(get::<i64>(row, 4)?).unwrap_or_default(),
        failing: failing.0.map(Timestamp::from_unix_ms).zip(failing.1),
    })
}

/// Moves the cursor; with a reason ($3), parks the message unless it was never stored; without one, forgets that it was.
pub(super) const ADVANCE: &str = "
    WITH moved AS (
        UPDATE chat_followers SET position = greatest(position, $2), failing_since = NULL, failing_reason = NULL
        WHERE name = $1 RETURNING name),
    parked AS (
        INSERT INTO chat_parked (follower, message, reason, since)
        SELECT f.name, m.chat_position, $3::text, $4 FROM moved f, messages m
        WHERE m.chat_position = $2 AND m.chat_position > 0 AND $3::text IS NOT NULL
        ON CONFLICT (follower, message) DO UPDATE SET reason = excluded.reason)
    DELETE FROM chat_parked WHERE follower = $1 AND message = $2 AND $3::text IS NULL";

const NOTE_FAILURE: &str = "
    UPDATE chat_followers SET failing_since = coalesce(failing_since, $3), failing_reason = $2 WHERE name = $1";

const KEEP_PARKED: &str =
    "UPDATE chat_parked SET reason = $3, due_again = false WHERE follower = $1 AND message = $2";

pub(super) const FORGET: &str = "DELETE FROM chat_parked WHERE follower = $1 AND message = $2";

const LOG: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM messages m LEFT JOIN users u ON u.id = m.from_user
      WHERE m.chat_position > 0 AND m.chat_position > $1 AND ",
    is_message!(),
    " ORDER BY m.chat_position LIMIT $2"
);

/// What lies after a position, of all conversations; nothing only where nothing lies. A row that is no message any more is
/// left out.
pub(super) async fn log(
    pool: &Pool,
    after: Cursor,
    limit: u32,
    max_bytes: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut range = Range::of(Window::After { after, limit });
    loop {
        let found = pool.read(LOG, &[&range.after, &i64::from(limit)]).await?;
        let page = rows::page(&found, range.limit, false, max_bytes)?;
        match found.last() {
            // All of them were made something that SQL takes for a message, such as one in a room of no possible name.
            Some(last) if page.messages.is_empty() => range.after = get(last, 0)?,
            _ => return Ok(page.messages),
        }
    }
}

pub(super) const PARKED: &str = "
    SELECT message, reason, since, due_again FROM chat_parked WHERE follower = $1 AND message > $2
    ORDER BY message LIMIT $3";

async fn parked(
    pool: &Pool,
    follower: Follower,
    after: Cursor,
    limit: u32,
) -> Result<Vec<Parked>, StoreError> {
    let params: Params<'_> = &[&follower.as_str(), &after.get(), &i64::from(limit)];
    let found = pool.read(PARKED, params).await?;
    found.iter().map(parked_row).collect()
}

pub(super) fn parked_row(row: &Row) -> Result<Parked, StoreError> {
    let id: i64 = get(row, 0)?;
    Ok(Parked {
        id: MessageId::new(id).ok_or_else(|| damaged(format!("message {id} is parked")))?,
        reason: get(row, 1)?,
        since: Timestamp::from_unix_ms(get(row, 2)?),
        due_again: get(row, 3)?,
    })
}

const DUE_AGAIN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM chat_parked p JOIN messages m ON m.chat_position = p.message AND m.chat_position > 0
      LEFT JOIN users u ON u.id = m.from_user
      WHERE p.follower = $1 AND p.due_again AND ",
    is_message!(),
    " ORDER BY p.message LIMIT $2"
);

async fn due_again(
    pool: &Pool,
    follower: Follower,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let params: Params<'_> = &[&follower.as_str(), &i64::from(limit)];
    let found = pool.read(DUE_AGAIN, params).await?;
    let page = rows::page(&found, limit as usize, false, usize::MAX)?;
    Ok(page.messages)
}

impl Followers for PgStore {
    fn lead(&self, follower: Follower) -> Answer<'_, Result<Lead, StoreError>> {
        Box::pin(lead::take(&self.database, follower))
    }

    fn follow(&self, follower: Follower, begin: Begin) -> Answer<'_, Result<Standing, StoreError>> {
        Box::pin(follow(&self.pool, follower, begin))
    }

    fn log(
        &self,
        after: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        Box::pin(log(&self.pool, after, limit, max_bytes))
    }

    fn advance(
        &self,
        follower: Follower,
        to: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let now = self.clock.now().unix_ms();
            let params: Params<'_> = &[&follower.as_str(), &to.get(), &parked, &now];
            self.pool.change(ADVANCE, params).await.map(drop)
        })
    }

    fn note_failure(
        &self,
        follower: Follower,
        reason: String,
    ) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let now = self.clock.now().unix_ms();
            let params: Params<'_> = &[&follower.as_str(), &reason, &now];
            self.pool.change(NOTE_FAILURE, params).await.map(drop)
        })
    }

    fn standings(&self) -> Answer<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(standings(&self.pool, None))
    }

    fn parked(
        &self,
        follower: Follower,
        after: Cursor,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Parked>, StoreError>> {
        Box::pin(parked(&self.pool, follower, after, limit))
    }

    fn due_again(
        &self,
        follower: Follower,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>> {
        Box::pin(due_again(&self.pool, follower, limit))
    }

    fn conclude_again(
        &self,
        follower: Follower,
        id: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (name, id) = (follower.as_str(), id.get());
            let changed = match parked {
                Some(reason) => self.pool.change(KEEP_PARKED, &[&name, &id, &reason]).await,
                None => self.pool.change(FORGET, &[&name, &id]).await,
            };
            changed.map(drop)
        })
    }
}
