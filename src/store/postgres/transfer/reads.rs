//! The rows of a copy in PostgreSQL: what is read and what is written, one statement for each kind.

use tokio_postgres::{Client, Error, Row as PgRow, Statement, types::ToSql};

use super::super::{
    followers,
    rows::{self, columns, is_message},
    schema::{self, Shape},
};
use crate::{
    protocol::{MessageId, RoomName, Timestamp, UserId, Username},
    store::{
        Follower, Mode, Parked, StoreError,
        transfer::{
            AccountRow, Facts, Fault, KEPT, Kept, Kind, PairRow, RoomRow, Row, UserRow, plain,
        },
    },
};

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}

/// The largest that a client can say, 2^53 - 1.
const MAX_ID: i64 = (1 << 53) - 1;

/// The statements that read. Rows that nobody is served are not part of the log: what is said in private rooms, or by and
/// to users whose rows are gone.
pub(super) struct Reads {
    users: Statement,
    rooms: Statement,
    pairs: Statement,
    messages: Statement,
    parked: Statement,
    has_private_rooms: bool,
}

/// Milliseconds of a moment, whatever type the column has; 0 where there is none.
fn ms_of(table: &[String], column: &str) -> String {
    match table.iter().any(|found| found == column) {
        true => format!(
            "CASE WHEN isfinite({column}) THEN floor(extract(epoch FROM {column}::timestamptz) * 1000) ELSE 0 END::bigint"
        ),
        false => "0::bigint".into(),
    }
}

fn text_of(table: &[String], column: &str) -> String {
    match table.iter().any(|found| found == column) {
        true => format!("{column}::text"),
        false => "NULL::text".into(),
    }
}

/// What makes a message a part of the log.
fn is_read(open: &str) -> String {
    format!(
        "m.chat_position > 0 AND {}
         AND (m.room IS NULL OR EXISTS (SELECT 1 FROM rooms r WHERE r.name = m.room {open}))
         AND (m.to_user IS NULL OR EXISTS (SELECT 1 FROM users t WHERE t.id = m.to_user))",
        is_message!()
    )
}

impl Reads {
    pub(super) async fn new(client: &Client, shape: Shape) -> Result<Self, Fault> {
        let users = schema::columns_of(client, "users").await?;
        let rooms = schema::columns_of(client, "rooms").await?;
        let open = match shape.has_private_rooms {
            true => "AND r.is_private IS NOT TRUE",
            false => "",
        };
        let read = is_read(open);
        let users = format!(
            "SELECT u.id::bigint, u.username::text, {}, {}, a.name, a.password_hash, a.role
             FROM users u LEFT JOIN chat_accounts a ON a.user_id = u.id
             WHERE u.id > $1::bigint AND u.id <= {MAX_ID} ORDER BY u.id LIMIT $2",
            text_of(&users, "email"),
            ms_of(&users, "created_at"),
        );
        let rooms = format!(
            "SELECT r.name::text, {}, {}, coalesce(c.last_position, 0), coalesce(c.last_seq, 0)
             FROM rooms r LEFT JOIN chat_rooms c ON c.name = r.name
             WHERE r.name COLLATE \"C\" > $1::text {open} ORDER BY r.name COLLATE \"C\" LIMIT $2",
            text_of(&rooms, "description"),
            ms_of(&rooms, "created_at"),
        );
        let messages = format!(
            "SELECT {} FROM messages m JOIN users u ON u.id = m.from_user
             WHERE m.chat_position > $1 AND {read} ORDER BY m.chat_position LIMIT $2",
            columns!()
        );
        let parked = format!(
            "SELECT p.follower, p.message, p.reason, p.since, p.due_again FROM chat_parked p
             JOIN messages m ON m.chat_position = p.message JOIN users u ON u.id = m.from_user
             WHERE (p.follower COLLATE \"C\", p.message) > ($1::text, $2) AND {read}
             ORDER BY p.follower COLLATE \"C\", p.message LIMIT $3"
        );
        Ok(Self {
            users: client.prepare(&users).await?,
            rooms: client.prepare(&rooms).await?,
            pairs: client.prepare(PAIRS).await?,
            messages: client.prepare(&messages).await?,
            parked: client.prepare(&parked).await?,
            has_private_rooms: shape.has_private_rooms,
        })
    }

    pub(super) async fn facts(&self, client: &Client) -> Result<Facts, Fault> {
        let row = client
            .query_one(
                "SELECT epoch, mode, position, (SELECT count(*) FROM messages WHERE chat_position > 0) FROM chat_log",
                &[],
            )
            .await?;
        let mode = Mode::parse(row.try_get(1)?);
        let mut standings = Vec::new();
        for found in client.query(followers::STANDINGS, &[&None::<&str>]).await? {
            standings.push(followers::standing(&found)?);
        }
        let mut secrets = Vec::new();
        for name in KEPT {
            let found = client.query_opt(SECRET, &[&name]).await?;
            if let Some(found) = found {
                let value = found.try_get::<_, String>(0)?.into_bytes();
                secrets.push(Kept { name, value });
            }
        }
        Ok(Facts {
            epoch: row.try_get(0)?,
            mode,
            last: row.try_get(2)?,
            messages: u64::try_from(row.try_get::<_, i64>(3)?).unwrap_or_default(),
            followers: standings,
            secrets,
        })
    }

    pub(super) async fn page(
        &self,
        client: &Client,
        kind: Kind,
        after: Option<&Row>,
        limit: usize,
    ) -> Result<Vec<Row>, Fault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let name = match after {
            Some(Row::Room(last)) => last.name.as_str(),
            Some(Row::Parked(follower, _)) => follower.as_str(),
            _ => "",
        };
        let (low, high) = match after {
            Some(Row::User(last)) => (last.id.get(), 0),
            Some(Row::Pair(last)) => (last.low.get(), last.high.get()),
            Some(Row::Message(last)) => (last.id.get(), 0),
            Some(Row::Parked(_, last)) => (0, last.id.get()),
            _ => (0, 0),
        };
        let params: &[&(dyn ToSql + Sync)] = match kind {
            Kind::Users => &[&low, &limit],
            Kind::Rooms => &[],
            Kind::Pairs => &[&low, &high, &limit],
            Kind::Messages => return self.messages(client, low, limit).await,
            Kind::Parked => &[&name, &high, &limit],
        };
        let (statement, row): (_, Read) = match kind {
            Kind::Users | Kind::Messages => (&self.users, user),
            Kind::Rooms => return self.rooms(client, name, limit).await,
            Kind::Pairs => (&self.pairs, pair),
            Kind::Parked => (&self.parked, parked),
        };
        let found = client.query(statement, params).await?;
        found.iter().map(row).collect()
    }

    /// A page with at least one room, as long as there are any: those whose names cannot be said here are passed by.
    async fn rooms(&self, client: &Client, after: &str, limit: i64) -> Result<Vec<Row>, Fault> {
        let mut after = after.to_owned();
        loop {
            let found = client.query(&self.rooms, &[&after, &limit]).await?;
            let Some(last) = found.last() else {
                return Ok(Vec::new());
            };
            after = last.try_get(0)?;
            let mut page = Vec::with_capacity(found.len());
            for row in &found {
                page.extend(room(row)?);
            }
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    /// A page with at least one message, as long as there are any: rows that are no messages any more are passed by.
    async fn messages(
        &self,
        client: &Client,
        mut after: i64,
        limit: i64,
    ) -> Result<Vec<Row>, Fault> {
        loop {
            let found = client.query(&self.messages, &[&after, &limit]).await?;
            let Some(last) = found.last() else {
                return Ok(Vec::new());
            };
            after = last.try_get(0)?;
            let mut page = Vec::with_capacity(found.len());
            for row in &found {
                let message = rows::message(row)
                    .map_err(|error| Fault::new(format!("after message {after}: {error}")))?;
                page.extend(message.map(Row::Message));
            }
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    /// What lies in the tables and is not served, in words.
    pub(super) async fn left_out(&self, client: &Client) -> Result<Vec<String>, Fault> {
        let mut notes = Vec::new();
        let none = "SELECT count(*) FROM messages WHERE chat_position = 0";
        let count: i64 = client.query_one(none, &[]).await?.try_get(0)?;
        if count > 0 {
            notes.push(format!(
                "{count} rows of the table messages are no messages of the log (private, blank, nobody's), and stay behind"
            ));
        }
        let strangers = format!("SELECT count(*) FROM users WHERE id NOT BETWEEN 1 AND {MAX_ID}");
        let count: i64 = client.query_one(&strangers, &[]).await?.try_get(0)?;
        if count > 0 {
            notes.push(format!(
                "{count} users have ids that chat-server cannot say, and stay behind"
            ));
        }
        let names = client.query("SELECT name::text FROM rooms", &[]).await?;
        for row in names {
            let name: &str = row.try_get(0)?;
            if let Err(fault) = RoomName::new(name) {
                notes.push(format!("the room {name:?} {fault}, and stays behind"));
            }
        }
        if self.has_private_rooms {
            let private = "SELECT count(*) FROM rooms WHERE is_private IS TRUE";
            let count: i64 = client.query_one(private, &[]).await?.try_get(0)?;
            if count > 0 {
                notes.push(format!(
                    "{count} private rooms are not served by chat-server, and stay behind"
                ));
            }
        }
        Ok(notes)
    }
}

/// From a row of the database to one that moves.
type Read = fn(&PgRow) -> Result<Row, Fault>;

const PAIRS: &str = "
    SELECT d.low, d.high, d.last_position, d.last_seq FROM chat_dms d
    WHERE (d.low, d.high) > ($1, $2) AND EXISTS (SELECT 1 FROM users u WHERE u.id = d.low)
        AND EXISTS (SELECT 1 FROM users u WHERE u.id = d.high)
    ORDER BY d.low, d.high LIMIT $3";
const SECRET: &str = "SELECT value FROM chat_secrets WHERE name = $1";

fn user_id(row: &PgRow, column: usize) -> Result<UserId, Fault> {
    let id = row.try_get(column)?;
    UserId::new(id).ok_or_else(|| Fault::new(format!("a user has the id {id}, which cannot be")))
}

fn message_id(row: &PgRow, column: usize) -> Result<MessageId, Fault> {
    let id = row.try_get(column)?;
    MessageId::new(id)
        .ok_or_else(|| Fault::new(format!("a message has the id {id}, which cannot be")))
}

fn user(row: &PgRow) -> Result<Row, Fault> {
    let id = user_id(row, 0)?;
    let account = row.try_get::<_, Option<String>>(4)?.map(|name| {
        Ok::<_, Error>(AccountRow {
            name,
            password_hash: row.try_get(5)?,
            role: row.try_get(6)?,
        })
    });
    Ok(Row::User(UserRow {
        id,
        username: Username::cleaned(row.try_get(1)?, id),
        email: row.try_get(2)?,
        created_ms: row.try_get(3)?,
        account: account.transpose()?,
    }))
}

/// `None`: nobody could say its name here.
fn room(row: &PgRow) -> Result<Option<Row>, Fault> {
    let Ok(name) = RoomName::new(row.try_get::<_, &str>(0)?) else {
        return Ok(None);
    };
    Ok(Some(Row::Room(RoomRow {
        name,
        description: row.try_get(1)?,
        created_ms: row.try_get(2)?,
        last_position: row.try_get(3)?,
        last_seq: row.try_get(4)?,
    })))
}

fn pair(row: &PgRow) -> Result<Row, Fault> {
    Ok(Row::Pair(PairRow {
        low: user_id(row, 0)?,
        high: user_id(row, 1)?,
        last_position: row.try_get(2)?,
        last_seq: row.try_get(3)?,
    }))
}

fn parked(row: &PgRow) -> Result<Row, Fault> {
    let name: &str = row.try_get(0)?;
    let follower = Follower::ALL.into_iter().find(|it| it.as_str() == name);
    let follower = follower.ok_or_else(|| Fault::new(format!("{name:?} is no follower")))?;
    let parked = Parked {
        id: message_id(row, 1)?,
        reason: plain(row.try_get(2)?),
        since: Timestamp::from_unix_ms(row.try_get(3)?),
        due_again: row.try_get(4)?,
    };
    Ok(Row::Parked(follower, parked))
}
