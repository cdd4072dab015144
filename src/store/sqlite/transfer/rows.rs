//! The rows of a copy in SQLite: what is read and what is written, one statement for each kind.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{
    followers, open,
    reader::{columns, message_row},
    statements::{damaged, message_id, room_name, user_id, username},
};
use crate::{
    protocol::{Place, Timestamp},
    store::{
        Follower, Parked,
        transfer::{AccountRow, Facts, Kind, PairRow, RoomRow, Row, UserRow, plain},
    },
};

pub(super) type Sql<T> = rusqlite::Result<T>;

const LAST: &str = "
    SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0), coalesce(max(id), 0)), count(*)
    FROM messages";

pub(super) fn facts(connection: &Connection) -> Sql<Facts> {
    let (last, messages): (i64, i64) =
        connection.query_row(LAST, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut followers = followers::standings(connection)?;
    for standing in &mut followers {
        let failing = standing.failing.take();
        standing.failing = failing.map(|(since, reason)| (since, plain(reason)));
    }
    Ok(Facts {
        epoch: open::epoch(connection)?,
        mode: open::mode(connection)?,
        last,
        messages: u64::try_from(messages).unwrap_or_default(),
        followers,
        secrets: Vec::new(),
    })
}

/// Words that are not copied as they are: see [`plain`].
const NOT_PLAIN: &str = "
    SELECT (SELECT count(*) FROM users WHERE instr(CAST(email AS BLOB), x'00') > 0 OR instr(CAST(role AS BLOB), x'00') > 0)
        + (SELECT count(*) FROM rooms WHERE instr(CAST(description AS BLOB), x'00') > 0)";

/// What is not copied as it is, in words.
pub(super) fn notes(connection: &Connection) -> Sql<Vec<String>> {
    let count: i64 = connection.query_row(NOT_PLAIN, [], |row| row.get(0))?;
    let note = format!(
        "{count} users and rooms have a NUL in an e-mail address, a role or a description, in whose place U+FFFD is put"
    );
    Ok(Vec::from_iter((count > 0).then_some(note)))
}

const USERS: &str = "
    SELECT id, username, email, created_at, account_name, password_hash, role FROM users WHERE id > ?1 ORDER BY id LIMIT ?2";
const ROOMS: &str = "
    SELECT name, description, created_at, last_id, last_seq FROM rooms WHERE name > ?1 ORDER BY name LIMIT ?2";
const PAIRS: &str = "
    SELECT low, high, last_id, last_seq FROM dms WHERE (low, high) > (?1, ?2) ORDER BY low, high LIMIT ?3";
const MESSAGES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM messages m JOIN users u ON u.id = m.from_user WHERE m.id > ?1 ORDER BY m.id LIMIT ?2"
);
const PARKED: &str = "
    SELECT follower, message, reason, since, due_again FROM parked WHERE (follower, message) > (?1, ?2)
    ORDER BY follower, message LIMIT ?3";

pub(super) fn page(
    connection: &Connection,
    kind: Kind,
    after: Option<&Row>,
    limit: usize,
) -> Sql<Vec<Row>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read =
        |sql: &str, params: &[&dyn rusqlite::ToSql], row: fn(&rusqlite::Row<'_>) -> Sql<Row>| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(params, row)?.collect()
        };
    match (kind, after) {
        (Kind::Users, Some(Row::User(last))) => read(USERS, &[&last.id.get(), &limit], user),
        (Kind::Users, _) => read(USERS, &[&0, &limit], user),
        (Kind::Rooms, Some(Row::Room(last))) => read(ROOMS, &[&last.name.as_str(), &limit], room),
        (Kind::Rooms, _) => read(ROOMS, &[&"", &limit], room),
        (Kind::Pairs, Some(Row::Pair(last))) => {
            read(PAIRS, &[&last.low.get(), &last.high.get(), &limit], pair)
        }
        (Kind::Pairs, _) => read(PAIRS, &[&0, &0, &limit], pair),
        (Kind::Messages, Some(Row::Message(last))) => {
            read(MESSAGES, &[&last.id.get(), &limit], message)
        }
        (Kind::Messages, _) => read(MESSAGES, &[&0, &limit], message),
        (Kind::Parked, Some(Row::Parked(follower, last))) => read(
            PARKED,
            &[&follower.as_str(), &last.id.get(), &limit],
            parked,
        ),
        (Kind::Parked, _) => read(PARKED, &[&"", &0, &limit], parked),
    }
}

fn user(row: &rusqlite::Row<'_>) -> Sql<Row> {
    let name: Option<String> = row.get(4)?;
    let account = name.map(|name| {
        Ok::<_, rusqlite::Error>(AccountRow {
            name,
            password_hash: row.get(5)?,
            role: row.get(6).map(plain)?,
        })
    });
    Ok(Row::User(UserRow {
        id: user_id(row.get(0)?)?,
        username: username(row.get_ref(1)?.as_str()?)?,
        email: row.get::<_, Option<String>>(2)?.map(plain),
        created_ms: row.get(3)?,
        account: account.transpose()?,
    }))
}

fn room(row: &rusqlite::Row<'_>) -> Sql<Row> {
    Ok(Row::Room(RoomRow {
        name: room_name(row.get_ref(0)?.as_str()?)?,
        description: row.get::<_, Option<String>>(1)?.map(plain),
        created_ms: row.get(2)?,
        last_position: row.get(3)?,
        last_seq: row.get(4)?,
    }))
}

fn pair(row: &rusqlite::Row<'_>) -> Sql<Row> {
    Ok(Row::Pair(PairRow {
        low: user_id(row.get(0)?)?,
        high: user_id(row.get(1)?)?,
        last_position: row.get(2)?,
        last_seq: row.get(3)?,
    }))
}

fn message(row: &rusqlite::Row<'_>) -> Sql<Row> {
    message_row(row).map(Row::Message)
}

fn parked(row: &rusqlite::Row<'_>) -> Sql<Row> {
    let name = row.get_ref(0)?.as_str()?;
    let follower = Follower::ALL.into_iter().find(|it| it.as_str() == name);
    let follower = follower.ok_or_else(|| damaged("an unknown follower in the database".into()))?;
    let parked = Parked {
        id: message_id(row.get(1)?)?,
        reason: plain(row.get(2)?),
        since: Timestamp::from_unix_ms(row.get(3)?),
        due_again: row.get(4)?,
    };
    Ok(Row::Parked(follower, parked))
}

const INSERT_USER: &str = "
    INSERT INTO users (id, username, email, created_at, account_name, password_hash, role)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, 'user'))";
const INSERT_ROOM: &str = "
    INSERT INTO rooms (name, description, created_at, last_id, last_seq) VALUES (?1, ?2, ?3, ?4, ?5)";
const INSERT_PAIR: &str = "INSERT INTO dms (low, high, last_id, last_seq) VALUES (?1, ?2, ?3, ?4)";
const INSERT_MESSAGE: &str = "
    INSERT INTO messages (id, from_user, to_user, room, content, timestamp, seq, nonce) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const INSERT_PARKED: &str =
    "INSERT INTO parked (follower, message, reason, since, due_again) VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) fn insert(connection: &Connection, row: &Row) -> Sql<()> {
    let written = match row {
        Row::User(user) => {
            let account = user.account.as_ref();
            connection.prepare_cached(INSERT_USER)?.execute(params![
                user.id.get(),
                user.username.as_str(),
                user.email,
                user.created_ms,
                account.map(|account| &account.name),
                account.and_then(|account| account.password_hash.as_ref()),
                account.map(|account| &account.role),
            ])
        }
        Row::Room(room) => connection.prepare_cached(INSERT_ROOM)?.execute(params![
            room.name.as_str(),
            room.description,
            room.created_ms,
            room.last_position,
            room.last_seq,
        ]),
        Row::Pair(pair) => connection.prepare_cached(INSERT_PAIR)?.execute(params![
            pair.low.get(),
            pair.high.get(),
            pair.last_position,
            pair.last_seq,
        ]),
        Row::Message(message) => {
            let (to, room) = match &message.place {
                Place::Room(room) => (None, Some(room.as_str())),
                Place::Dm(to) => (Some(to.get()), None),
            };
            connection.prepare_cached(INSERT_MESSAGE)?.execute(params![
                message.id.get(),
                message.from.get(),
                to,
                room,
                message.content.as_str(),
                message.timestamp.unix_ms(),
                message.seq,
                message.nonce.as_ref().map(|nonce| nonce.as_str()),
            ])
        }
        Row::Parked(follower, parked) => {
            connection.prepare_cached(INSERT_PARKED)?.execute(params![
                follower.as_str(),
                parked.id.get(),
                parked.reason,
                parked.since.unix_ms(),
                parked.due_again,
            ])
        }
    };
    written.map(drop)
}

/// Before the parked messages, which name them.
pub(super) fn insert_followers(connection: &Connection, facts: &Facts) -> Sql<()> {
    const INSERT: &str = "INSERT INTO followers (name, position, failing_since, failing_reason) VALUES (?1, ?2, ?3, ?4)";
    for standing in &facts.followers {
        let failing = standing.failing.as_ref();
        connection.execute(
            INSERT,
            params![
                standing.follower.as_str(),
                standing.position.get(),
                failing.map(|(since, _)| since.unix_ms()),
                failing.map(|(_, reason)| reason),
            ],
        )?;
    }
    Ok(())
}

/// The log's name, and the number after which its ids go on.
pub(super) fn insert_log(connection: &Connection, facts: &Facts) -> Sql<()> {
    connection.execute(
        "INSERT INTO log (one, epoch, mode) VALUES (1, ?1, ?2)",
        params![facts.epoch, facts.mode.as_str()],
    )?;
    let went_on = connection
        .query_row(
            "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'messages' RETURNING seq",
            [facts.last],
            |_| Ok(()),
        )
        .optional()?;
    if went_on.is_none() && facts.last > 0 {
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?1)",
            [facts.last],
        )?;
    }
    Ok(())
}
