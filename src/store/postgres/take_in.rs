//! What other programs inserted becomes a part of the log: position and seq, after their commit, under the log's lock alone.
//!
//! A row that somebody still holds is passed by, and so is one whose room somebody is making. What is no message gets position
//! 0: no reader sees it, and nobody looks at it again. A row that cannot be changed (a trigger, a rule, a constraint of its
//! owner's) is passed by for a while, and said once: batches that fail become smaller until it is alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures_util::future::join;
use tokio_postgres::{Client, Error, Row, Statement, error::SqlState};

use super::{
    append::AppendSql,
    connect::Session,
    error::{Fault, of_commit, text},
    foreign::{CLOSED, Foreign},
    heads::{DRAW, HeadSql, Heads},
    passed::Passed,
    schema::Shape,
};

/// A batch that takes longer is followed by a smaller one: others wait for the log meanwhile.
const LONG: Duration = Duration::from_millis(200);

/// The statements, parsed once for each connection, and what is known of the rows that they cannot change.
#[derive(Debug)]
pub(super) struct TakeInSql {
    add_rooms: Statement,
    missing_rooms: Statement,
    add_room: Statement,
    has_untaken: Statement,
    untaken: Statement,
    last_id: Statement,
    take: Statement,
    taken: Statement,
    draw: Statement,
    heads: HeadSql,
    passed: Arc<Mutex<Passed>>,
}

impl TakeInSql {
    /// After [`AppendSql::prepare`] on the same connection.
    ///
    /// `passed` outlives the connection.
    pub(super) async fn prepare(
        client: &Client,
        shape: Shape,
        passed: &Arc<Mutex<Passed>>,
    ) -> Result<Self, Error> {
        let open = match shape.has_private_rooms {
            true => "AND r.is_private IS NOT TRUE",
            false => "",
        };
        // A moment beyond what a number of milliseconds can say, or none at all, becomes the present one.
        let untaken = format!(
            "SELECT m.id::bigint, m.from_user::bigint, m.to_user::bigint, m.room::text, {BEGINNING},
                CASE WHEN isfinite(m.\"timestamp\") THEN floor(extract(epoch FROM m.\"timestamp\"::timestamptz) * 1000)
                    ELSE floor(extract(epoch FROM now()) * 1000) END::bigint,
                EXISTS (SELECT 1 FROM users u WHERE u.id = m.from_user),
                EXISTS (SELECT 1 FROM users u WHERE u.id = m.to_user),
                EXISTS (SELECT 1 FROM rooms r WHERE r.name = m.room {open})
             FROM messages m WHERE {READY} ORDER BY m.id LIMIT $3 FOR NO KEY UPDATE OF m SKIP LOCKED"
        );
        let has_untaken = format!("SELECT EXISTS (SELECT 1 FROM messages m WHERE {READY})");
        let add_rooms = format!("INSERT INTO rooms (name) {MISSING} ON CONFLICT DO NOTHING");
        let missing_rooms = format!("SELECT room::text FROM ({MISSING}) AS missing");
        let add_room = "INSERT INTO rooms (name) VALUES ($1) ON CONFLICT DO NOTHING";
        Ok(Self {
            add_rooms: client.prepare(&add_rooms).await?,
            missing_rooms: client.prepare(&missing_rooms).await?,
            add_room: client.prepare(add_room).await?,
            has_untaken: client.prepare(&has_untaken).await?,
            untaken: client.prepare(&untaken).await?,
            last_id: client.prepare(LAST_ID).await?,
            take: client.prepare(TAKE).await?,
            taken: client.prepare(TAKEN).await?,
            draw: client.prepare(DRAW).await?,
            heads: HeadSql::prepare(client).await?,
            passed: passed.clone(),
        })
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        Passed::of(&self.passed)
    }
}

/// As much of a text as it takes to know that something is said in it: all of them come while the log is locked.
const BEGINNING: &str = "CASE WHEN left(m.content::text, 100) ~ '[[:alnum:]]' THEN left(m.content::text, 100) ELSE m.content::text END";

/// What is not passed by: $1 are rows that cannot be changed, $2 rooms that cannot be made. One that may still be made, or is
/// being made, is waited for.
const READY: &str = "m.chat_position IS NULL AND m.id <> ALL ($1::bigint[])
    AND (m.room IS NULL OR m.room = '' OR m.to_user IS NOT NULL OR m.room::text = ANY ($2::text[])
        OR EXISTS (SELECT 1 FROM rooms r WHERE r.name = m.room))";

/// Rooms that only messages know.
const MISSING: &str = "SELECT DISTINCT m.room FROM messages m
    WHERE m.chat_position IS NULL AND m.to_user IS NULL AND m.room <> ''
    AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.name = m.room)";

/// Nobody who stores waits for longer than this because somebody holds a room that is to be made.
const ROOM_WAITS: &str = "BEGIN; SET LOCAL lock_timeout = 20";

/// So many rooms are waited for in one round.
const HELD_AT_MOST: usize = 3;

/// The newest number that the table's sequence gave to anybody.
const LAST_ID: &str = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('messages', 'id')::regclass), 0)";

const TAKE: &str = "
    UPDATE messages m SET chat_position = n.position, chat_seq = n.seq, chat_ms = n.ms
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n (id, position, seq, ms) WHERE m.id = n.id";

/// How many are as [`TAKE`] was to make them: whoever is not there may have been kept from it without a word.
const TAKEN: &str = "
    SELECT count(*) FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n (id, position, seq, ms)
    JOIN messages m ON m.id = n.id AND m.chat_position = n.position AND m.chat_seq IS NOT DISTINCT FROM n.seq AND m.chat_ms = n.ms";

/// Takes in some of what is there; how many rows were dealt with. None is left, for now, after 0.
pub(super) async fn take_in(
    session: &Session,
    append: &AppendSql,
    sql: &TakeInSql,
) -> Result<usize, Fault> {
    let client = &session.client;
    let mut has_looked = sql.passed().is_time_for_rooms();
    if has_looked {
        add_rooms(client, sql).await?;
    }
    loop {
        let Some((rows, rooms, limit)) = sql.passed().next() else {
            return Ok(0);
        };
        let row = client.query_one(&sql.has_untaken, &[&rows, &rooms]).await?;
        if !row.try_get::<_, bool>(0)? {
            if has_looked {
                return Ok(0);
            }
            has_looked = true;
            add_rooms(client, sql).await?;
            continue;
        }
        let begun = Instant::now();
        client.batch_execute("BEGIN").await?;
        let lock = client.query_one(&append.lock, &[]);
        let params: super::connect::Params<'_> = &[&rows, &rooms, &limit];
        let (before, found) = join(lock, client.query(&sql.untaken, params)).await;
        let (before, found): (i64, Vec<Row>) = (before?.try_get(0)?, found?);
        let foreign = found.iter().map(Foreign::of);
        let foreign = foreign.collect::<Result<Vec<_>, Error>>()?;
        let why = match take(client, sql, foreign, before).await {
            Ok(()) => {
                sql.passed().succeeded(begun.elapsed() > LONG);
                return Ok(found.len());
            }
            Err(Stuck::Fault(fault)) => return Err(fault),
            Err(Stuck::Row(why)) => why,
        };
        client.batch_execute("ROLLBACK").await?;
        if let [row] = &found[..] {
            let id = row.try_get(0)?;
            if sql.passed().failed(id) {
                tracing::warn!(id, %why, "a row of messages cannot be changed: it is not taken in, and tried again later");
            }
            return Ok(1);
        }
        sql.passed().shrink(found.len());
    }
}

/// Makes the rooms that only messages know, as far as a row there needs no more than a name and nobody holds it.
async fn add_rooms(client: &Client, sql: &TakeInSql) -> Result<(), Fault> {
    let begun = Instant::now();
    let all = client.query(&sql.missing_rooms, &[]).await?;
    sql.passed().rooms_looked_for(begun.elapsed());
    if all.is_empty()
        || add(client, client.execute(&sql.add_rooms, &[]))
            .await?
            .is_ok()
    {
        return Ok(());
    }
    let mut held = 0;
    for row in all {
        let name: &str = row.try_get(0)?;
        match add(client, client.execute(&sql.add_room, &[&name])).await? {
            Ok(_) => {}
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                held += 1;
                if held >= HELD_AT_MOST {
                    return Ok(());
                }
            }
            // Their rooms need more than a name: messages in a room that has no row are nobody's then.
            Err(error) => {
                tracing::warn!(error = %text(&error), "a room that messages name has no row in rooms, and none can be made");
                sql.passed().no_rooms.push(name.to_owned());
            }
        }
    }
    Ok(())
}

/// A transaction of its own, which waits for nobody for long. What the server refuses for good is the inner error.
async fn add(
    client: &Client,
    insert: impl Future<Output = Result<u64, Error>>,
) -> Result<Result<u64, Error>, Fault> {
    client.batch_execute(ROOM_WAITS).await?;
    match insert.await {
        Ok(added) => {
            client.batch_execute("COMMIT").await.map_err(of_commit)?;
            Ok(Ok(added))
        }
        Err(error) if is_of_a_row(&error) => {
            client.batch_execute("ROLLBACK").await?;
            Ok(Err(error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether it is about what was to be changed, and not about the server.
fn is_of_a_row(error: &Error) -> bool {
    let class = error.code().map(|code| &code.code()[..2]);
    class.is_some_and(|class| !["08", "25", "40", "53", "57"].contains(&class))
}

/// Why rows were not taken in.
enum Stuck {
    /// One of them cannot be changed.
    Row(String),
    /// Something else.
    Fault(Fault),
}

impl From<Error> for Stuck {
    fn from(error: Error) -> Self {
        match is_of_a_row(&error) {
            true => Self::Row(text(&error)),
            false => Self::Fault(error.into()),
        }
    }
}

/// Assigns, writes and commits.
async fn take(
    client: &Client,
    sql: &TakeInSql,
    rows: Vec<Foreign>,
    before: i64,
) -> Result<(), Stuck> {
    if !rows.is_empty() {
        write(client, sql, rows, before).await?;
    }
    let committed = client.batch_execute("COMMIT").await;
    committed.map_err(|error| match is_of_a_row(&error) {
        true => Stuck::Row(text(&error)),
        false => Stuck::Fault(of_commit(error)),
    })
}

async fn write(
    client: &Client,
    sql: &TakeInSql,
    rows: Vec<Foreign>,
    before: i64,
) -> Result<(), Stuck> {
    let talks = rows.iter().filter_map(|row| row.talk.clone());
    let mut heads = Heads::load(client, &sql.heads, talks).await?;
    let new = positions(client, sql, &rows, before).await?;
    let last = new.last().copied().unwrap_or(before);
    let (count, mut new) = (rows.len(), new.into_iter());
    let (mut ids, mut positions, mut seqs, mut ms) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut left_out: BTreeMap<&str, (i64, usize)> = BTreeMap::new();
    for row in rows {
        ids.push(row.id);
        ms.push(row.ms);
        match row.talk.and_then(|talk| Some((talk, new.next()?))) {
            Some((talk, position)) => {
                positions.push(position);
                seqs.push(Some(heads.next(talk, position)));
            }
            None => {
                left_out.entry(row.fault).or_insert((row.id, 0)).1 += 1;
                positions.push(0);
                seqs.push(None);
            }
        }
    }
    let params: super::connect::Params<'_> = &[&ids, &positions, &seqs, &ms];
    let (written, taken) = join(
        client.execute(&sql.take, params),
        client.query_one(&sql.taken, params),
    )
    .await;
    written?;
    if taken?.try_get::<_, i64>(0)? != i64::try_from(count).unwrap_or_default() {
        let why = "a trigger or a rule of another program undoes the change";
        return Err(Stuck::Row(why.into()));
    }
    heads.store(client, &sql.heads, last).await?;
    for (why, (first, rows)) in left_out {
        match why {
            // What a backend with private rooms stores all day long.
            CLOSED => tracing::debug!(rows, first, why, "rows of messages are left out"),
            _ => tracing::warn!(
                rows,
                first,
                why,
                "rows of messages are no messages and are left out"
            ),
        }
    }
    tracing::debug!(rows = count, last, "other programs' messages are taken in");
    Ok(())
}

/// A position for each of those that are messages: their own ids, as long as each is next and nobody else can get it, and
/// then numbers that no row has.
async fn positions(
    client: &Client,
    sql: &TakeInSql,
    rows: &[Foreign],
    before: i64,
) -> Result<Vec<i64>, Error> {
    let last_id: i64 = client.query_one(&sql.last_id, &[]).await?.try_get(0)?;
    let messages: Vec<i64> = rows
        .iter()
        .filter(|row| row.talk.is_some())
        .map(|row| row.id)
        .collect();
    let mut last = before;
    let own = messages.iter().copied().take_while(|&id| {
        let is_next = id > last && id <= last_id;
        last = last.max(id);
        is_next
    });
    let mut positions: Vec<i64> = own.collect();
    let needed = messages.len() - positions.len();
    if needed > 0 {
        let last = positions.last().copied().unwrap_or(before);
        let needed = i64::try_from(needed).unwrap_or(i64::MAX);
        let drawn = client.query_one(&sql.draw, &[&last, &needed]).await?;
        positions.extend(drawn.try_get::<_, Vec<i64>>(0)?);
    }
    Ok(positions)
}
