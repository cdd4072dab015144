//! What each job writes. Every function runs inside the writer's transaction and may be undone by it.
//!
//! Uniqueness is decided by the writing statement itself, never by a look beforehand.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    followers,
    job::{Job, Outcome},
};
use crate::{
    protocol::{Ack, Content, Message, MessageId, Place, RoomName, Timestamp, UserId, Username},
    seeded::{self, Bug, Step},
    store::{AppendError, NewAccount, NewMessage, RoomOutcome, User},
};

type Sql<T> = rusqlite::Result<T>;

pub(super) fn apply(connection: &Connection, job: &Job, now: Timestamp) -> Sql<Outcome> {
    match job {
        Job::Append { message, .. } => append(connection, message, now),
        Job::SeeUser { id, username, .. } => {
            see_user(connection, *id, username, now).map(Outcome::User)
        }
        Job::CreateRoom {
            room, max_rooms, ..
        } => create_room(connection, room, *max_rooms, now).map(Outcome::Room),
        Job::CreateAccount { account, .. } => {
            create_account(connection, account, now).map(Outcome::Account)
        }
        Job::Follow {
            follower, begin, ..
        } => followers::follow(connection, *follower, *begin).map(Outcome::Standing),
        Job::Follower { change, .. } => {
            followers::change(connection, change, now).map(|()| Outcome::Done)
        }
        Job::Probe { .. } => probe(connection).map(|()| Outcome::Done),
        Job::Stop => Ok(Outcome::Done),
    }
}

const INSERT_INTO_ROOM: &str = "
    INSERT INTO messages (from_user, room, content, timestamp, nonce, seq)
    SELECT ?1, name, ?3, ?4, ?5, last_seq + 1 FROM rooms WHERE name = ?2
    ON CONFLICT (from_user, nonce) WHERE nonce IS NOT NULL DO NOTHING RETURNING id, seq";
const ADVANCE_ROOM: &str = "UPDATE rooms SET last_id = ?2, last_seq = ?3 WHERE name = ?1";

const INSERT_DM: &str = "
    INSERT INTO messages (from_user, to_user, content, timestamp, nonce, seq)
    SELECT ?1, id, ?3, ?4, ?5,
        1 + coalesce((SELECT last_seq FROM dms WHERE low = min(?1, ?2) AND high = max(?1, ?2)), 0)
    FROM users WHERE id = ?2
    ON CONFLICT (from_user, nonce) WHERE nonce IS NOT NULL DO NOTHING RETURNING id, seq";
const ADVANCE_DM: &str = "
    INSERT INTO dms (low, high, last_id, last_seq) VALUES (min(?1, ?2), max(?1, ?2), ?3, ?4)
    ON CONFLICT (low, high) DO UPDATE SET last_id = excluded.last_id, last_seq = excluded.last_seq";

fn append(connection: &Connection, new: &NewMessage, now: Timestamp) -> Sql<Outcome> {
    let (from, content) = (new.from.get(), new.content.as_str());
    let mut nonce = new.nonce.as_ref().map(|nonce| nonce.as_str());
    if nonce.is_some() && seeded::has(Bug::NonceAfterCommit) {
        if let known @ (Outcome::Duplicate(_) | Outcome::Refused(AppendError::NonceReused)) =
            not_inserted(connection, new)?
        {
            return Ok(known);
        }
        nonce = None;
    }
    seeded::step(Step::BeforeInsert);
    let position = |row: &Row<'_>| Ok((message_id(row.get(0)?)?, row.get::<_, i64>(1)?));
    let inserted = match &new.place {
        Place::Room(room) => connection.prepare_cached(INSERT_INTO_ROOM)?.query_row(
            params![from, room.as_str(), content, now.unix_ms(), nonce],
            position,
        ),
        Place::Dm(to) => connection.prepare_cached(INSERT_DM)?.query_row(
            params![from, to.get(), content, now.unix_ms(), nonce],
            position,
        ),
    };
    let Some((id, seq)) = inserted.optional()? else {
        return not_inserted(connection, new);
    };
    seeded::step(Step::AfterInsert);
    if seeded::has(Bug::OnlyTheLastNonce) {
        connection.execute(FORGET_OLDER_NONCES, params![from, id.get()])?;
    }
    match &new.place {
        Place::Room(room) => connection.prepare_cached(ADVANCE_ROOM)?.execute(params![
            room.as_str(),
            id.get(),
            seq
        ])?,
        Place::Dm(to) => connection.prepare_cached(ADVANCE_DM)?.execute(params![
            from,
            to.get(),
            id.get(),
            seq
        ])?,
    };
    Ok(Outcome::Stored(Message {
        id,
        seq,
        from: new.from,
        username: new.username.clone(),
        place: new.place.clone(),
        content: new.content.clone(),
        timestamp: now,
        nonce: new.nonce.clone(),
    }))
}

const BY_NONCE: &str = "SELECT id, seq, timestamp, room, to_user, content FROM messages WHERE from_user = ?1 AND nonce = ?2";

/// Nothing was inserted: the nonce is known, or the place does not exist.
fn not_inserted(connection: &Connection, new: &NewMessage) -> Sql<Outcome> {
    let Some(nonce) = &new.nonce else {
        return Ok(Outcome::Refused(AppendError::UnknownPlace));
    };
    let known = connection.prepare_cached(BY_NONCE)?.query_row(
        params![new.from.get(), nonce.as_str()],
        |row| {
            let ack = Ack {
                id: message_id(row.get(0)?)?,
                seq: row.get(1)?,
                timestamp: Timestamp::from_unix_ms(row.get(2)?),
                duplicate: true,
            };
            let same_place = match &new.place {
                Place::Room(room) => row.get_ref(3)?.as_str_or_null()? == Some(room.as_str()),
                Place::Dm(to) => row.get::<_, Option<i64>>(4)? == Some(to.get()),
            };
            Ok((
                ack,
                same_place && row.get_ref(5)?.as_str()? == new.content.as_str(),
            ))
        },
    );
    let known = known.optional()?;
    if known.is_some() {
        seeded::step(Step::NonceKnown);
    }
    Ok(match known {
        Some((ack, is_same)) if is_same || seeded::has(Bug::ChangedBodyAcked) => {
            Outcome::Duplicate(ack)
        }
        Some(_) => Outcome::Refused(AppendError::NonceReused),
        None => Outcome::Refused(AppendError::UnknownPlace),
    })
}

/// For the mistake of which this is the statement.
const FORGET_OLDER_NONCES: &str =
    "UPDATE messages SET nonce = NULL WHERE from_user = ?1 AND nonce IS NOT NULL AND id < ?2";

/// For the mistake of a nonce that is stored after its message.
pub(super) fn store_nonce(connection: &Connection, message: &Message) -> Sql<()> {
    let nonce = message.nonce.as_ref().map(|nonce| nonce.as_str());
    let row = params![message.id.get(), nonce];
    connection
        .execute("UPDATE messages SET nonce = ?2 WHERE id = ?1", row)
        .map(|_| ())
}

/// An account's name is its own, but not in a file that has gone over to a backend's users.
const SEE_USER: &str = "
    INSERT INTO users (id, username, created_at) VALUES (?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET username = excluded.username
    WHERE account_name IS NULL OR (SELECT mode FROM log) = 'integrated'";

fn see_user(connection: &Connection, id: UserId, username: &Username, now: Timestamp) -> Sql<User> {
    connection.prepare_cached(SEE_USER)?.execute(params![
        id.get(),
        username.as_str(),
        now.unix_ms()
    ])?;
    connection.query_row(
        "SELECT id, username, role FROM users WHERE id = ?1",
        [id.get()],
        user_row,
    )
}

const CREATE_ROOM: &str = "
    INSERT INTO rooms (name, created_at) SELECT ?1, ?2 WHERE (SELECT count(*) FROM rooms) < ?3
    ON CONFLICT (name) DO NOTHING";

fn create_room(
    connection: &Connection,
    room: &RoomName,
    max_rooms: u64,
    now: Timestamp,
) -> Sql<RoomOutcome> {
    let max_rooms = i64::try_from(max_rooms).unwrap_or(i64::MAX);
    let made = connection.execute(
        CREATE_ROOM,
        params![room.as_str(), now.unix_ms(), max_rooms],
    )?;
    if made > 0 {
        return Ok(RoomOutcome::Made);
    }
    let is_known = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM rooms WHERE name = ?1)",
        [room.as_str()],
        |row| row.get(0),
    )?;
    Ok(if is_known {
        RoomOutcome::Known
    } else {
        RoomOutcome::Full
    })
}

const CREATE_ACCOUNT: &str = "
    INSERT INTO users (username, account_name, password_hash, role, created_at, id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (account_name) DO NOTHING RETURNING id, username, role";

/// The first free id after the newest account's. Not the largest of all: a token may have brought any id with it. Users
/// are not deleted, so no id comes twice.
const FREE_ID: &str = "
    WITH newest (id) AS (SELECT coalesce(max(id), 0) FROM users WHERE account_name IS NOT NULL)
    SELECT id + 1 FROM (SELECT id FROM newest UNION ALL SELECT users.id FROM users, newest WHERE users.id > newest.id)
    AS taken WHERE NOT EXISTS (SELECT 1 FROM users WHERE users.id = taken.id + 1) ORDER BY id LIMIT 1";

fn create_account(
    connection: &Connection,
    account: &NewAccount,
    now: Timestamp,
) -> Sql<Option<User>> {
    let key = account_key(&account.username);
    let id: i64 = connection.query_row(FREE_ID, [], |row| row.get(0))?;
    let row = params![
        account.username.as_str(),
        key,
        account.password_hash,
        account.role,
        now.unix_ms(),
        id
    ];
    connection
        .query_row(CREATE_ACCOUNT, row, user_row)
        .optional()
}

/// What two account names have in common when they differ only in the case of letters.
pub(super) fn account_key(name: &Username) -> String {
    name.as_str().to_lowercase()
}

/// Bytes that a probe writes: the largest message and its share of the indexes need no more.
const PROBE_BYTES: i64 = 32 * 1024;

fn probe(connection: &Connection) -> Sql<()> {
    connection
        .execute("UPDATE log SET probe = zeroblob(?1)", [PROBE_BYTES])
        .map(|_| ())
}

/// `id, username, role`.
pub(super) fn user_row(row: &Row<'_>) -> Sql<User> {
    user_from(row, 0)
}

/// `id, username, role`, the first of them at `column`.
pub(super) fn user_from(row: &Row<'_>, column: usize) -> Sql<User> {
    Ok(User {
        id: user_id(row.get(column)?)?,
        username: username(row.get_ref(column + 1)?.as_str()?)?,
        role: row.get(column + 2)?,
    })
}

/// Rows are checked as strictly as requests: what another program wrote into the file must not pass as valid.
pub(super) fn user_id(value: i64) -> Sql<UserId> {
    UserId::new(value).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, value))
}

pub(super) fn message_id(value: i64) -> Sql<MessageId> {
    MessageId::new(value).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, value))
}

pub(super) fn username(text: &str) -> Sql<Username> {
    Username::new(text).map_err(|fault| damaged(format!("a username in the database {fault}")))
}

pub(super) fn room_name(text: &str) -> Sql<RoomName> {
    RoomName::new(text).map_err(|fault| damaged(format!("a room name in the database {fault}")))
}

pub(super) fn content(text: &str) -> Sql<Content> {
    Content::new(text).map_err(|fault| damaged(format!("a content in the database {fault}")))
}

pub(super) fn damaged(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, what.into())
}
