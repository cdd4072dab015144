//! What other programs inserted becomes a part of the log: position and seq, after their commit, under the log's lock alone.
//!
//! A row that somebody still holds is passed by. A room that only messages know is added to `rooms`, as far as a row there
//! needs no more than a name. What is no message gets position 0: no reader sees it, and nobody looks at it again.

use futures_util::future::join;
use tokio_postgres::{Client, Error, Row, Statement, error::SqlState};

use super::{
    append::AppendSql,
    connect::Session,
    error::{Fault, of_commit, text},
    heads::{DRAW, HeadSql, Heads, Talk, draw},
    schema::Shape,
};
use crate::{
    protocol::{Content, RoomName, UserId},
    store::StoreError,
};

/// Rows in one transaction: others wait for the log meanwhile.
const ROWS: i64 = 500;

/// The statements, parsed once for each connection.
#[derive(Debug)]
pub(super) struct TakeInSql {
    add_rooms: Statement,
    untaken: Statement,
    last_id: Statement,
    take: Statement,
    draw: Statement,
    heads: HeadSql,
}

impl TakeInSql {
    pub(super) async fn prepare(client: &Client, shape: Shape) -> Result<Self, Error> {
        let open = match shape.has_private_rooms {
            true => "AND r.is_private IS NOT TRUE",
            false => "",
        };
        // A moment beyond what a number of milliseconds can say, or none at all, becomes the present one.
        let untaken = format!(
            "SELECT m.id::bigint, m.from_user::bigint, m.to_user::bigint, m.room::text, m.content::text,
                CASE WHEN isfinite(m.\"timestamp\") THEN floor(extract(epoch FROM m.\"timestamp\"::timestamptz) * 1000)
                    ELSE floor(extract(epoch FROM now()) * 1000) END::bigint,
                EXISTS (SELECT 1 FROM users u WHERE u.id = m.from_user),
                EXISTS (SELECT 1 FROM users u WHERE u.id = m.to_user),
                EXISTS (SELECT 1 FROM rooms r WHERE r.name = m.room {open})
             FROM messages m WHERE m.chat_position IS NULL ORDER BY m.id LIMIT {ROWS} FOR NO KEY UPDATE OF m SKIP LOCKED"
        );
        Ok(Self {
            add_rooms: client.prepare(ADD_ROOMS).await?,
            untaken: client.prepare(&untaken).await?,
            last_id: client.prepare(LAST_ID).await?,
            take: client.prepare(TAKE).await?,
            draw: client.prepare(DRAW).await?,
            heads: HeadSql::prepare(client).await?,
        })
    }
}

const ADD_ROOMS: &str = "
    INSERT INTO rooms (name) SELECT DISTINCT m.room FROM messages m
    WHERE m.chat_position IS NULL AND m.to_user IS NULL AND m.room <> ''
    AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.name = m.room) ON CONFLICT DO NOTHING";

/// The newest number that the table's sequence gave to anybody.
const LAST_ID: &str = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('messages', 'id')::regclass), 0)";

const TAKE: &str = "
    UPDATE messages m SET chat_position = n.position, chat_seq = n.seq, chat_ms = n.ms
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n (id, position, seq, ms) WHERE m.id = n.id";

/// Takes in some of what is there; how many rows were dealt with.
pub(super) async fn take_in(
    session: &Session,
    append: &AppendSql,
    sql: &TakeInSql,
) -> Result<usize, Fault> {
    let client = &session.client;
    match client.execute(&sql.add_rooms, &[]).await {
        Ok(_) => {}
        // Their rooms need more than a name: messages in a room that has no row are nobody's then.
        Err(error) if error.code() == Some(&SqlState::NOT_NULL_VIOLATION) => {
            tracing::warn!(error = %text(&error), "a room that messages name has no row in rooms, and none can be made");
        }
        Err(error) => return Err(error.into()),
    }
    client.batch_execute("BEGIN").await?;
    let lock = client.query_one(&append.lock, &[]);
    let (before, found) = join(lock, client.query(&sql.untaken, &[])).await;
    let (before, found): (i64, Vec<Row>) = (before?.try_get(0)?, found?);
    let rows = found
        .iter()
        .map(Foreign::of)
        .collect::<Result<Vec<_>, Error>>()?;
    if !rows.is_empty() {
        let last = take(client, sql, rows, before).await?;
        tracing::debug!(
            rows = found.len(),
            last,
            "other programs' messages are taken in"
        );
    }
    client.batch_execute("COMMIT").await.map_err(of_commit)?;
    Ok(found.len())
}

/// Assigns and writes; where the log ends now.
async fn take(
    client: &Client,
    sql: &TakeInSql,
    rows: Vec<Foreign>,
    before: i64,
) -> Result<i64, Fault> {
    let talks = rows.iter().filter_map(|row| row.talk.clone());
    let mut heads = Heads::load(client, &sql.heads, talks).await?;
    let last_id: i64 = client.query_one(&sql.last_id, &[]).await?.try_get(0)?;
    let mut last = before;
    let (mut ids, mut positions, mut seqs, mut ms) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.id);
        ms.push(row.ms);
        let Some(talk) = row.talk else {
            tracing::warn!(
                id = row.id,
                why = row.fault,
                "a row of messages is no message and is left out"
            );
            positions.push(0);
            seqs.push(None);
            continue;
        };
        // Its own id, if that is next and nobody else can get it; otherwise a number that no row has.
        last = match row.id > last && row.id <= last_id {
            true => row.id,
            false => {
                let drawn = draw(client, &sql.draw, last, 1, Vec::new()).await?;
                let none =
                    || Fault::Undone(StoreError::Internal("there is no position left".into()));
                *drawn.first().ok_or_else(none)?
            }
        };
        positions.push(last);
        seqs.push(Some(heads.next(talk, last)));
    }
    client
        .execute(&sql.take, &[&ids, &positions, &seqs, &ms])
        .await?;
    heads.store(client, &sql.heads, last).await?;
    Ok(last)
}

/// A row that has no position.
struct Foreign {
    id: i64,
    ms: i64,
    /// Where it belongs; `None` when it is no message.
    talk: Option<Talk>,
    fault: &'static str,
}

impl Foreign {
    fn of(row: &Row) -> Result<Self, Error> {
        let judged = Self::judge(row)?;
        Ok(Self {
            id: row.try_get(0)?,
            ms: row.try_get::<_, Option<i64>>(5)?.unwrap_or_default(),
            fault: judged.as_ref().err().copied().unwrap_or_default(),
            talk: judged.ok(),
        })
    }

    fn judge(row: &Row) -> Result<Result<Talk, &'static str>, Error> {
        let (from, to): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        let (room, content): (Option<&str>, Option<&str>) = (row.try_get(3)?, row.try_get(4)?);
        let (sender, recipient, open): (bool, bool, bool) =
            (row.try_get(6)?, row.try_get(7)?, row.try_get(8)?);
        let from = match from.filter(|&from| sender && UserId::new(from).is_some()) {
            Some(from) => from,
            None => return Ok(Err("its sender is not in users")),
        };
        if content.is_none_or(|text| Content::new(text).is_err()) {
            return Ok(Err("nothing is said in it"));
        }
        Ok(match (room, to) {
            (Some(room), None) if RoomName::new(room).is_err() => {
                Err("its room has no possible name")
            }
            (Some(room), None) if open => Ok(Talk::Room(room.to_owned())),
            (Some(_), None) => Err("its room is private, or not in rooms"),
            (None, Some(to)) if recipient && UserId::new(to).is_some() => Ok(Talk::pair(from, to)),
            (None, Some(_)) => Err("its recipient is not in users"),
            (None, None) => Err("it has neither a room nor a recipient"),
            (Some(_), Some(_)) => Err("it has both a room and a recipient"),
        })
    }
}
