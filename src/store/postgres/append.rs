//! One batch of messages as one transaction, in two trips to the server; `mod.rs` says what is locked and why.
//!
//! 1. Begin; lock the senders, recipients and rooms that nobody else holds; look for the nonces.
//! 2. Lock the log, draw ids, insert, and move the ends of the conversations, by one statement (`append.sql`); commit.
//!
//! The statements of a trip are sent at once, and each starts when all of it is there and the one before it has ended. So
//! from the moment in which the log is locked nothing waits for this node, not even when it freezes or its line is slow. The
//! price: what the first trip could not see, since another node stored it meanwhile (the same nonce), is found by the database
//! in the second, which then stores nothing and is begun again.

use std::collections::{HashMap, HashSet};

use futures_util::future::{join, join4};
use tokio_postgres::{Client, Error, Row, Statement, error::SqlState};

use super::{
    connect::Session,
    error::{Fault, of_commit},
    heads::LOCK,
    known::{Known, NonceKey, Outcome, Stored, nonce_key, stored},
    schema::Shape,
};
use crate::{
    protocol::{Content, Message, MessageId, Place, Timestamp},
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
        client.batch_execute(FUNCTIONS).await?;
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

/// The functions that a session needs, made in it.
const FUNCTIONS: &str = include_str!("append.sql");

const INSERT: &str =
    "SELECT o_before, o_ids, o_seqs, o_contents FROM pg_temp.chat_append($1, $2, $3, $4, $5, $6)";

/// A batch of which is known what is to be stored. Its transaction is open.
#[derive(Debug)]
pub(super) struct Planned {
    known: Known,
    /// Those that are to be inserted, as places in the batch, in order.
    wanted: Vec<usize>,
    /// The transaction's name, by which the server tells what became of it.
    pub(super) xid: String,
}

/// What the database says of the messages that it stored.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Where the log ended before.
    before: i64,
    /// The id and the seq of each, in order.
    of: Vec<(i64, i64)>,
    /// What they say, where that is not what was sent.
    contents: Option<Vec<String>>,
}

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
) -> Result<Numbers, Fault> {
    let client = &session.client;
    if planned.wanted.is_empty() {
        client.batch_execute("COMMIT").await.map_err(of_commit)?;
        return Ok(Numbers::default());
    }
    let rows = Rows::of(planned.wanted.iter().map(|&at| batch[at]));
    let ms = now.unix_ms();
    let params: super::connect::Params<'_> = &[
        &rows.from,
        &rows.to,
        &rows.rooms,
        &rows.contents,
        &rows.nonces,
        &ms,
    ];
    let insert = client.query_one(&sql.insert, params);
    let (inserted, committed) = join(insert, client.batch_execute("COMMIT")).await;
    // After the first error the commit stores nothing, whatever it says.
    let inserted = inserted.map_err(|error| match is_a_race(&error) {
        true => Fault::Raced(error),
        false => of_commit(error),
    })?;
    committed.map_err(of_commit)?;
    numbers(&inserted).map_err(|error| Fault::Unknown(error.to_string()))
}

fn numbers(row: &Row) -> Result<Numbers, Error> {
    let (ids, seqs): (Vec<i64>, Vec<i64>) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Numbers {
        before: row.try_get(0)?,
        of: ids.into_iter().zip(seqs).collect(),
        contents: row.try_get(3)?,
    })
}

/// What another node stored between the trips.
fn is_a_race(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// What was committed in a transaction whose answer was lost, as [`store`] would have told it; `None` when what bears its
/// name is not what it stored. A server that crashed gives a name to another transaction when it had not yet written
/// anything of the first; so rows are believed only if they say what was sent, by whom, where, and when.
pub(super) async fn stored_by(
    client: &Client,
    planned: &Planned,
    batch: &[&NewMessage],
    now: Timestamp,
    after: i64,
) -> Result<Option<Numbers>, Error> {
    let xid = row_xid(&planned.xid);
    let found = client.query(STORED_BY, &[&after, &xid]).await?;
    let wanted = planned.wanted.iter().map(|&at| batch[at]);
    if found.len() != planned.wanted.len() {
        return Ok(None);
    }
    let (mut of, mut contents) = (Vec::with_capacity(found.len()), Vec::new());
    for (row, new) in found.iter().zip(wanted) {
        if !is_of(row, new, now)? {
            return Ok(None);
        }
        of.push((row.try_get(0)?, row.try_get(1)?));
        contents.push(row.try_get(7)?);
    }
    Ok(Some(Numbers {
        before: of.first().map_or(after, |first: &(i64, i64)| first.0 - 1),
        of,
        contents: Some(contents),
    }))
}

const STORED_BY: &str = "
    SELECT chat_position, chat_seq, from_user::bigint, to_user::bigint, room::text, chat_ms, chat_nonce, content::text
    FROM messages WHERE chat_position > 0 AND chat_position > $1 AND xmin::text::bigint = $2 ORDER BY chat_position";

/// Whether it was stored for this message. What it says may have been changed by a trigger; then its nonce names it.
fn is_of(row: &Row, new: &NewMessage, now: Timestamp) -> Result<bool, Error> {
    let rows = Rows::of(std::iter::once(new));
    let (from, to, room): (i64, Option<i64>, Option<&str>) =
        (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    let (ms, nonce, content): (Option<i64>, Option<&[u8]>, &str) =
        (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
    let is_named = nonce.is_some() || content == new.content.as_str();
    let is_here = rows.to == [to] && rows.rooms == [room];
    let is_own = rows.from == [from] && rows.nonces == [nonce] && ms == Some(now.unix_ms());
    Ok(is_named && is_here && is_own)
}

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
        numbers: Numbers,
        now: Timestamp,
    ) -> Result<Done, Fault> {
        if numbers.of.len() != self.wanted.len() {
            let why = "not as many rows were stored as were sent";
            return Err(Fault::Unknown(why.into()));
        }
        let before = numbers.before;
        let mut contents = numbers.contents.map(Vec::into_iter);
        let mut numbers = self.wanted.iter().zip(numbers.of).peekable();
        let mut outcomes = Vec::with_capacity(batch.len());
        for (at, new) in batch.iter().enumerate() {
            let own = numbers.next_if(|(wanted, _)| **wanted == at);
            let stored = own.and_then(|(_, (id, seq))| {
                let said = match &mut contents {
                    Some(contents) => Content::new(&contents.next()?).ok()?,
                    None => new.content.clone(),
                };
                Some(message(new, MessageId::new(id)?, seq, now, said))
            });
            outcomes.push(match stored {
                Some(message) => self.known.add(message),
                None => self.known.judge_again(new),
            });
        }
        Ok(Done { outcomes, before })
    }
}

fn message(new: &NewMessage, id: MessageId, seq: i64, now: Timestamp, content: Content) -> Message {
    Message {
        id,
        seq,
        from: new.from,
        username: new.username.clone(),
        place: new.place.clone(),
        content,
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
