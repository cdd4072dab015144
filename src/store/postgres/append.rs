//! One batch of messages as one transaction, in two trips to the server; `mod.rs` says what is locked and why.
//!
//! 1. Begin; lock the senders, recipients and rooms that nobody else holds; look for the nonces.
//! 2. Lock the log; insert with ids and seqs, and move the ends of the conversations, by one statement; commit.
//!
//! The statements of a trip are sent at once, and each starts when the one before it has ended. So from the moment in which
//! the log is locked nothing waits for this node, not even when it freezes. The price: what the first trip could not see,
//! since another node stored it meanwhile (the same nonce) or drew it (numbers ahead), is found by the database in the
//! second, which then stores nothing and is begun again.

use std::collections::{HashMap, HashSet};

use futures_util::future::{join, join3, join4};
use tokio_postgres::{Client, Error, Row, Statement, error::SqlState};

use super::{
    connect::Session,
    error::{Fault, of_commit},
    heads::LOCK,
    known::{Known, NonceKey, Outcome, Stored, nonce_key, stored},
    schema::Shape,
};
use crate::{
    protocol::{Message, MessageId, Place, Timestamp},
    store::NewMessage,
};

/// The statements, parsed once for each connection.
#[derive(Debug)]
pub(super) struct AppendSql {
    users: Statement,
    free_users: Statement,
    rooms: Statement,
    free_rooms: Statement,
    nonces: Statement,
    xid: Statement,
    insert: Statement,
    pub(super) lock: Statement,
}

impl AppendSql {
    pub(super) async fn prepare(client: &Client, shape: Shape) -> Result<Self, Error> {
        let open = match shape.has_private_rooms {
            true => "AND is_private IS NOT TRUE",
            false => "",
        };
        let rooms = format!("SELECT name::text FROM rooms WHERE name = ANY ($1) {open}");
        // Enough to keep the row from being deleted; what another program holds is not waited for.
        let free = "FOR KEY SHARE SKIP LOCKED";
        let users = "SELECT id::bigint FROM users WHERE id = ANY ($1::bigint[])";
        Ok(Self {
            users: client.prepare(users).await?,
            free_users: client.prepare(&format!("{users} {free}")).await?,
            rooms: client.prepare(&rooms).await?,
            free_rooms: client.prepare(&format!("{rooms} {free}")).await?,
            nonces: client.prepare(NONCES).await?,
            xid: client.prepare("SELECT pg_current_xact_id()::text").await?,
            insert: client.prepare(INSERT).await?,
            lock: client.prepare(LOCK).await?,
        })
    }
}

/// A search in the index for each, whatever is known of the table's size: it grows while the plan is kept.
const NONCES: &str = "
    SELECT m.from_user::bigint, m.chat_nonce, m.chat_position, m.chat_seq, m.chat_ms, m.room::text, m.to_user::bigint, m.content::text
    FROM unnest($1::bigint[], $2::bytea[]) AS n (from_user, nonce)
    CROSS JOIN LATERAL (SELECT * FROM messages WHERE from_user = n.from_user AND chat_nonce = n.nonce LIMIT 1) m";

/// $1 … $5 are the columns, $6 is when, $7 how many numbers to draw. Numbers that a connection drew ahead may lie before the
/// end of the log: those are passed by. When fewer are left than there are messages, a division by nothing undoes it all.
const INSERT: &str = r#"
    WITH new AS (
        SELECT *, CASE WHEN room IS NULL THEN least(from_user, to_user) END AS low,
            CASE WHEN room IS NULL THEN greatest(from_user, to_user) END AS high
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bytea[])
            WITH ORDINALITY AS n (from_user, to_user, room, content, nonce, ord)),
    drawn AS (
        SELECT id, row_number() OVER (ORDER BY id) AS ord
        FROM (SELECT nextval(pg_get_serial_sequence('messages', 'id'))::bigint AS id FROM generate_series(1, $7::bigint)) AS d
        WHERE id > (SELECT position FROM chat_log)),
    placed AS (
        SELECT new.*, id, row_number() OVER (PARTITION BY room, low, high ORDER BY ord) AS nth,
            count(*) OVER (PARTITION BY room, low, high) AS all_of_it
        FROM new JOIN drawn USING (ord)),
    moved AS (
        UPDATE chat_log SET position = (SELECT max(id) / (count(*) = cardinality($1))::int FROM placed)),
    rooms_moved AS (
        INSERT INTO chat_rooms AS old (name, last_position, last_seq)
        SELECT room, max(id), count(*) + CASE WHEN EXISTS (SELECT 1 FROM chat_rooms c WHERE c.name = room) THEN 0
            ELSE coalesce((SELECT m.chat_seq FROM messages m WHERE m.room = placed.room AND m.chat_position > 0
                ORDER BY m.chat_position DESC LIMIT 1), 0) END
        FROM placed WHERE room IS NOT NULL GROUP BY room
        ON CONFLICT (name) DO UPDATE
            SET last_position = excluded.last_position, last_seq = old.last_seq + excluded.last_seq
        RETURNING name, last_seq),
    pairs_moved AS (
        INSERT INTO chat_dms AS old (low, high, last_position, last_seq)
        SELECT low, high, max(id), count(*) FROM placed WHERE room IS NULL GROUP BY low, high
        ON CONFLICT (low, high) DO UPDATE
            SET last_position = excluded.last_position, last_seq = old.last_seq + excluded.last_seq
        RETURNING low, high, last_seq),
    counted AS (
        SELECT placed.*, coalesce(r.last_seq, p.last_seq) - all_of_it + nth AS seq
        FROM placed LEFT JOIN rooms_moved r ON r.name = placed.room
        LEFT JOIN pairs_moved p ON p.low = placed.low AND p.high = placed.high),
    stored AS (
        INSERT INTO messages
            (id, chat_position, from_user, to_user, room, content, "timestamp", chat_ms, chat_seq, chat_nonce)
        SELECT id, id, from_user, to_user, room, content, to_timestamp($6::bigint / 1000.0), $6, seq, nonce
        FROM counted ORDER BY ord)
    SELECT id, seq FROM counted ORDER BY ord"#;

/// A batch of which is known what is to be stored. Its transaction is open.
#[derive(Debug)]
pub(super) struct Planned {
    known: Known,
    /// Those that are to be inserted, as places in the batch, in order.
    wanted: Vec<usize>,
    /// The transaction's name, by which the server tells what became of it.
    pub(super) xid: String,
}

/// Where the log ended, and the id and seq of each message that was stored after that.
pub(super) type Numbers = (i64, Vec<(i64, i64)>);

/// A batch that is committed.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outcomes: Vec<Outcome>,
    /// Where the log ended before.
    pub(super) before: i64,
}

impl Done {
    /// The messages that are stored, in order, each with its place in the batch.
    pub(super) fn stored(&self) -> impl Iterator<Item = (usize, &Message)> {
        let all = self.outcomes.iter().enumerate();
        all.filter_map(|(at, outcome)| match outcome {
            Outcome::Stored(message) => Some((at, message)),
            Outcome::Duplicate(_) | Outcome::Refused(_) => None,
        })
    }
}

/// The first trip.
pub(super) async fn plan(
    session: &Session,
    sql: &AppendSql,
    batch: &[&NewMessage],
) -> Result<Planned, Fault> {
    let (known, xid) = look(&session.client, sql, batch).await?;
    // Of those with one nonce only the first is inserted.
    let mut seen = HashSet::new();
    let is_wanted = |new: &NewMessage| {
        known.judge(new).is_none() && nonce_key(new).is_none_or(|key| seen.insert(key))
    };
    let wanted: Vec<bool> = batch.iter().copied().map(is_wanted).collect();
    let wanted = (0..batch.len()).filter(|&at| wanted[at]).collect();
    Ok(Planned { known, wanted, xid })
}

/// The second trip: what was planned is stored, or nothing. Every fault may be of a commit that was made, unless it says no.
pub(super) async fn store(
    session: &Session,
    sql: &AppendSql,
    planned: &Planned,
    batch: &[&NewMessage],
    now: Timestamp,
    numbers_too_many: usize,
) -> Result<Numbers, Fault> {
    let client = &session.client;
    if planned.wanted.is_empty() {
        client.batch_execute("COMMIT").await.map_err(of_commit)?;
        return Ok((0, Vec::new()));
    }
    let rows = Rows::of(planned.wanted.iter().map(|&at| batch[at]));
    let numbers = planned.wanted.len() + numbers_too_many;
    let (ms, numbers) = (now.unix_ms(), i64::try_from(numbers).unwrap_or(i64::MAX));
    let (locked, inserted, committed) = join3(
        client.query_one(&sql.lock, &[]),
        client.query(
            &sql.insert,
            &[
                &rows.from,
                &rows.to,
                &rows.rooms,
                &rows.contents,
                &rows.nonces,
                &ms,
                &numbers,
            ],
        ),
        client.batch_execute("COMMIT"),
    )
    .await;
    // After the first error the commit stores nothing, whatever it says.
    let locked = locked.map_err(of_commit)?;
    let inserted = inserted.map_err(|error| match is_a_race(&error) {
        true => Fault::Raced(error),
        false => of_commit(error),
    })?;
    committed.map_err(of_commit)?;
    let read = || -> Result<_, Error> {
        let numbers = inserted
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok((locked.try_get(0)?, numbers.collect::<Result<_, Error>>()?))
    };
    read().map_err(|error| Fault::Unknown(error.to_string()))
}

/// What was taken between the trips, or was drawn ahead.
fn is_a_race(error: &Error) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DIVISION_BY_ZERO,
        SqlState::NOT_NULL_VIOLATION,
    ]
    .iter()
    .any(|code| error.code() == Some(code))
}

/// What was committed in a transaction whose answer was lost: ids and seqs, as [`store`] would have told them.
pub(super) async fn stored_by(
    client: &Client,
    planned: &Planned,
    after: i64,
) -> Result<Numbers, Error> {
    let xid = row_xid(&planned.xid);
    let mut numbers = Vec::with_capacity(planned.wanted.len());
    for row in client.query(STORED_BY, &[&after, &xid]).await? {
        numbers.push((row.try_get(0)?, row.try_get(1)?));
    }
    let first: Option<&(i64, i64)> = numbers.first();
    Ok((first.map_or(after, |first| first.0 - 1), numbers))
}

const STORED_BY: &str = "
    SELECT chat_position, chat_seq FROM messages
    WHERE chat_position > 0 AND chat_position > $1 AND xmin::text::bigint = $2 ORDER BY chat_position";

/// A transaction's name as its rows bear it in `xmin`: the lower half.
pub(super) fn row_xid(xid: &str) -> i64 {
    i64::from(xid.parse::<u64>().unwrap_or_default() as u32)
}

impl Planned {
    /// Whether there is anything to store.
    pub(super) fn stores(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// What became of each message, when those that were wanted got these ids and seqs.
    pub(super) fn outcomes(
        mut self,
        batch: &[&NewMessage],
        (before, numbers): Numbers,
        now: Timestamp,
    ) -> Result<Done, Fault> {
        if numbers.len() != self.wanted.len() {
            let why = "not as many rows were stored as were sent";
            return Err(Fault::Unknown(why.into()));
        }
        let mut numbers = self.wanted.iter().zip(numbers).peekable();
        let mut outcomes = Vec::with_capacity(batch.len());
        for (at, new) in batch.iter().enumerate() {
            let own = numbers.next_if(|(wanted, _)| **wanted == at);
            let stored =
                own.and_then(|(_, (id, seq))| Some(message(new, MessageId::new(id)?, seq, now)));
            outcomes.push(match stored {
                Some(message) => self.known.add(message),
                None => self.known.judge_again(new),
            });
        }
        Ok(Done { outcomes, before })
    }
}

fn message(new: &NewMessage, id: MessageId, seq: i64, now: Timestamp) -> Message {
    Message {
        id,
        seq,
        from: new.from,
        username: new.username.clone(),
        place: new.place.clone(),
        content: new.content.clone(),
        timestamp: now,
        nonce: new.nonce.clone(),
    }
}

/// The columns of what is inserted.
#[derive(Default)]
struct Rows<'a> {
    from: Vec<i64>,
    to: Vec<Option<i64>>,
    rooms: Vec<Option<&'a str>>,
    contents: Vec<&'a str>,
    nonces: Vec<Option<&'a [u8]>>,
}

impl<'a> Rows<'a> {
    fn of(messages: impl Iterator<Item = &'a NewMessage>) -> Self {
        let mut rows = Self::default();
        for message in messages {
            rows.from.push(message.from.get());
            let (to, room) = match &message.place {
                Place::Room(room) => (None, Some(room.as_str())),
                Place::Dm(to) => (Some(to.get()), None),
            };
            rows.to.push(to);
            rows.rooms.push(room);
            rows.contents.push(message.content.as_str());
            let nonce = message.nonce.as_ref();
            rows.nonces
                .push(nonce.map(|nonce| nonce.as_str().as_bytes()));
        }
        rows
    }
}

async fn look(
    client: &Client,
    sql: &AppendSql,
    batch: &[&NewMessage],
) -> Result<(Known, String), Error> {
    let (mut users, mut rooms) = (Vec::new(), Vec::new());
    for new in batch {
        users.push(new.from.get());
        match &new.place {
            Place::Room(room) => rooms.push(room.as_str()),
            Place::Dm(to) => users.push(to.get()),
        }
    }
    users.sort_unstable();
    users.dedup();
    rooms.sort_unstable();
    rooms.dedup();
    let (begun, free, nonces, xid) = join4(
        client.batch_execute("BEGIN"),
        join(
            client.query(&sql.free_users, &[&users]),
            client.query(&sql.free_rooms, &[&rooms]),
        ),
        nonces(client, sql, batch),
        client.query_one(&sql.xid, &[]),
    )
    .await;
    begun?;
    let mut known = Known {
        free_users: firsts(&free.0?)?,
        free_rooms: firsts(&free.1?)?,
        nonces: nonces?,
        ..Known::default()
    };
    // Nearly always all are there and free.
    if known.free_users.len() < users.len() || known.free_rooms.len() < rooms.len() {
        let (all_users, all_rooms) = join(
            client.query(&sql.users, &[&users]),
            client.query(&sql.rooms, &[&rooms]),
        )
        .await;
        (known.users, known.rooms) = (firsts(&all_users?)?, firsts(&all_rooms?)?);
    } else {
        (known.users, known.rooms) = (known.free_users.clone(), known.free_rooms.clone());
    }
    Ok((known, xid?.try_get(0)?))
}

/// The first column of each row.
fn firsts<T>(rows: &[Row]) -> Result<HashSet<T>, Error>
where
    T: Eq + std::hash::Hash + for<'a> tokio_postgres::types::FromSql<'a>,
{
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn nonces(
    client: &Client,
    sql: &AppendSql,
    batch: &[&NewMessage],
) -> Result<HashMap<NonceKey, Stored>, Error> {
    let (users, nonces): (Vec<i64>, Vec<Vec<u8>>) =
        batch.iter().filter_map(|new| nonce_key(new)).unzip();
    let mut known = HashMap::new();
    if users.is_empty() {
        return Ok(known);
    }
    for row in client.query(&sql.nonces, &[&users, &nonces]).await? {
        if let Some((key, stored)) = stored(&row)? {
            known.insert(key, stored);
        }
    }
    Ok(known)
}
