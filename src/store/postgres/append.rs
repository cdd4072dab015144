//! One batch of messages as one transaction, in three trips to the server; `mod.rs` says what is locked and why.
//!
//! 1. Begin; lock the senders, recipients and rooms that nobody else holds; look for the nonces.
//! 2. Lock the log; look for the nonces again, now for good; where do the conversations end; draw the ids.
//! 3. Insert, move the ends, commit.
//!
//! The statements of a trip are sent at once, and each starts when the one before it has ended. What becomes of each
//! message is decided here, between the trips; the unique indexes are the second pair of eyes.

use std::collections::{HashMap, HashSet};

use futures_util::future::{join, join4};
use tokio_postgres::{Client, Error, Row, Statement};

use super::{
    connect::Session,
    error::{Fault, of_commit},
    heads::{DRAW, HeadSql, Heads, LOCK, as_count, draw},
    known::{Known, NonceKey, Outcome, Stored, nonce_key, stored, talk_of},
    schema::Shape,
};
use crate::{
    protocol::{Message, Place, Timestamp},
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
    insert: Statement,
    pub(super) lock: Statement,
    pub(super) draw: Statement,
    pub(super) heads: HeadSql,
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
            insert: client.prepare(INSERT).await?,
            lock: client.prepare(LOCK).await?,
            draw: client.prepare(DRAW).await?,
            heads: HeadSql::prepare(client).await?,
        })
    }
}

const NONCES: &str = "
    SELECT m.from_user::bigint, m.chat_nonce, m.chat_position, m.chat_seq, m.chat_ms, m.room::text, m.to_user::bigint, m.content::text
    FROM unnest($1::bigint[], $2::bytea[]) AS n (from_user, nonce)
    JOIN messages m ON m.from_user = n.from_user AND m.chat_nonce = n.nonce";

const INSERT: &str = r#"
    INSERT INTO messages
        (id, chat_position, from_user, to_user, room, content, "timestamp", chat_ms, chat_seq, chat_nonce)
    SELECT id, id, from_user, to_user, room, content, to_timestamp(ms / 1000.0), ms, seq, nonce
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bytea[])
        AS n (id, from_user, to_user, room, content, ms, seq, nonce)"#;

/// A batch that is decided and not stored.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) outcomes: Vec<Outcome>,
    /// Where the log ended.
    pub(super) before: i64,
    /// The transaction's name, by which the server tells what became of it; empty when there is nothing to store.
    pub(super) xid: String,
    heads: Heads,
}

impl Planned {
    /// The messages that will be stored, in order.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Message> {
        self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Stored(message) => Some(message),
            Outcome::Duplicate(_) | Outcome::Refused(_) => None,
        })
    }
}

/// Decides what becomes of `batch`, under the lock of the log if there is something to store.
pub(super) async fn plan(
    session: &Session,
    sql: &AppendSql,
    batch: &[&NewMessage],
    now: Timestamp,
) -> Result<Planned, Fault> {
    let client = &session.client;
    let mut known = look(client, sql, batch).await?;
    let wanted = batch.iter().filter(|new| known.judge(new).is_none());
    // Of those with one nonce only the first is inserted.
    let mut seen = HashSet::new();
    let wanted = wanted.filter(|new| nonce_key(new).is_none_or(|key| seen.insert(key)));
    let wanted = wanted.count();
    let (mut before, mut xid) = (0, String::new());
    let (mut heads, mut ids) = (Heads::default(), Vec::new());
    if wanted > 0 {
        let talks = batch.iter().map(|new| talk_of(new));
        let count = as_count(wanted);
        let (locked, nonces, found, drawn) = join4(
            client.query_one(&sql.lock, &[]),
            nonces(client, sql, batch),
            Heads::load(client, &sql.heads, talks),
            client.query(&sql.draw, &[&count]),
        )
        .await;
        let locked = locked?;
        (before, xid) = (locked.try_get(0)?, locked.try_get(1)?);
        known.nonces = nonces?;
        heads = found?;
        ids = draw(client, &sql.draw, before, wanted, drawn?).await?;
    }
    let mut ids = ids.into_iter();
    let decide = |new: &&NewMessage| known.decide(new, &mut ids, &mut heads, now);
    let outcomes = batch.iter().map(decide).collect();
    Ok(Planned {
        outcomes,
        before,
        xid,
        heads,
    })
}

/// Stores what was decided, and commits. Every fault from here on may be of a commit that was made.
pub(super) async fn store(
    session: &Session,
    sql: &AppendSql,
    planned: &Planned,
) -> Result<(), Fault> {
    let client = &session.client;
    let Some(last) = planned.stored().last() else {
        return client.batch_execute("COMMIT").await.map_err(of_commit);
    };
    let (limited, inserted, moved, committed) = join4(
        // Of what is waited for from here on, nothing is worth that all the others wait as well.
        client.batch_execute("SET LOCAL lock_timeout = 200"),
        insert(client, sql, planned),
        planned.heads.store(client, &sql.heads, last.id.get()),
        client.batch_execute("COMMIT"),
    )
    .await;
    // After the first error the commit stores nothing, whatever it says.
    limited
        .and(inserted)
        .and(moved)
        .and(committed)
        .map_err(of_commit)
}

async fn insert(client: &Client, sql: &AppendSql, planned: &Planned) -> Result<(), Error> {
    let mut rows = Rows::default();
    for message in planned.stored() {
        rows.ids.push(message.id.get());
        rows.from.push(message.from.get());
        let (to, room) = match &message.place {
            Place::Room(room) => (None, Some(room.as_str())),
            Place::Dm(to) => (Some(to.get()), None),
        };
        rows.to.push(to);
        rows.rooms.push(room);
        rows.contents.push(message.content.as_str());
        rows.ms.push(message.timestamp.unix_ms());
        rows.seqs.push(message.seq);
        let nonce = message.nonce.as_ref();
        rows.nonces
            .push(nonce.map(|nonce| nonce.as_str().as_bytes()));
    }
    client
        .execute(
            &sql.insert,
            &[
                &rows.ids,
                &rows.from,
                &rows.to,
                &rows.rooms,
                &rows.contents,
                &rows.ms,
                &rows.seqs,
                &rows.nonces,
            ],
        )
        .await
        .map(drop)
}

/// The columns of what is inserted.
#[derive(Default)]
struct Rows<'a> {
    ids: Vec<i64>,
    from: Vec<i64>,
    to: Vec<Option<i64>>,
    rooms: Vec<Option<&'a str>>,
    contents: Vec<&'a str>,
    ms: Vec<i64>,
    seqs: Vec<i64>,
    nonces: Vec<Option<&'a [u8]>>,
}

/// The first trip.
async fn look(client: &Client, sql: &AppendSql, batch: &[&NewMessage]) -> Result<Known, Error> {
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
    let (begun, free, all, nonces) = join4(
        client.batch_execute("BEGIN"),
        join(
            client.query(&sql.free_users, &[&users]),
            client.query(&sql.free_rooms, &[&rooms]),
        ),
        join(
            client.query(&sql.users, &[&users]),
            client.query(&sql.rooms, &[&rooms]),
        ),
        nonces(client, sql, batch),
    )
    .await;
    begun?;
    let ids = |rows: Vec<Row>| {
        rows.iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()
    };
    let names = |rows: Vec<Row>| {
        rows.iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()
    };
    Ok(Known {
        free_users: ids(free.0?)?,
        free_rooms: names(free.1?)?,
        users: ids(all.0?)?,
        rooms: names(all.1?)?,
        nonces: nonces?,
    })
}

async fn nonces(
    client: &Client,
    sql: &AppendSql,
    batch: &[&NewMessage],
) -> Result<HashMap<NonceKey, Stored>, Error> {
    let (users, nonces): (Vec<i64>, Vec<Vec<u8>>) =
        batch.iter().filter_map(|new| nonce_key(new)).unzip();
    let mut known = HashMap::new();
    for row in client.query(&sql.nonces, &[&users, &nonces]).await? {
        if let Some((key, stored)) = stored(&row)? {
            known.insert(key, stored);
        }
    }
    Ok(known)
}
