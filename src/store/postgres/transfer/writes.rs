//! What a copy writes into PostgreSQL: a page of rows by one statement, and in the end where the numbers go on.
//!
//! By `INSERT … SELECT FROM unnest`, as the writer of a node does, and not by `COPY`: the columns of other programs' tables
//! have other types, which a statement casts to.

use tokio_postgres::{Client, Error, Statement};

use super::tables::put_off;
use crate::{
    protocol::Place,
    store::transfer::{Facts, Kind, Row},
};

/// The statements that write.
pub(super) struct Writes {
    users: Statement,
    accounts: Statement,
    rooms: Statement,
    room_ends: Statement,
    pairs: Statement,
    messages: Statement,
    parked: Statement,
    /// What is done when all messages are there.
    later: Vec<String>,
}

const USERS: &str = "
    INSERT INTO users (id, username, email, created_at)
    SELECT id, username, email, to_timestamp(ms / 1000.0)
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS n (id, username, email, ms)";
/// Of those who are there nothing is changed.
const SHARED_USERS: &str = "
    INSERT INTO users (id, username) SELECT id, username
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS n (id, username, email, ms)
    WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = n.id)";
const ACCOUNTS: &str = "
    INSERT INTO chat_accounts (user_id, name, password_hash, role)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])";
const ROOMS: &str = "
    INSERT INTO rooms (name, description, created_at) SELECT name, description, to_timestamp(ms / 1000.0)
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (name, description, ms)";
const SHARED_ROOMS: &str = "
    INSERT INTO rooms (name) SELECT name FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (name, description, ms)
    WHERE NOT EXISTS (SELECT 1 FROM rooms r WHERE r.name = n.name)";
/// A room without a message has no end.
const ROOM_ENDS: &str = "
    INSERT INTO chat_rooms (name, last_position, last_seq)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (name, position, seq) WHERE position > 0 OR seq > 0";
const PAIRS: &str = "
    INSERT INTO chat_dms (low, high, last_position, last_seq)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])";
const MESSAGES: &str = r#"
    INSERT INTO messages
        (id, chat_position, from_user, to_user, room, content, "timestamp", chat_ms, chat_seq, chat_nonce)
    SELECT id, id, from_user, to_user, room, content, to_timestamp(ms / 1000.0), ms, seq, nonce
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bytea[])
        AS n (id, from_user, to_user, room, content, ms, seq, nonce)"#;
const PARKED: &str = "
    INSERT INTO chat_parked (follower, message, reason, since, due_again)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::boolean[])";

impl Writes {
    pub(super) async fn prepare(client: &Client, is_shared: bool) -> Result<Self, Error> {
        // Another program's table is left as it is made.
        let later = match is_shared {
            true => Vec::new(),
            false => put_off(client).await?,
        };
        let (users, rooms) = match is_shared {
            true => (SHARED_USERS, SHARED_ROOMS),
            false => (USERS, ROOMS),
        };
        Ok(Self {
            users: client.prepare(users).await?,
            accounts: client.prepare(ACCOUNTS).await?,
            rooms: client.prepare(rooms).await?,
            room_ends: client.prepare(ROOM_ENDS).await?,
            pairs: client.prepare(PAIRS).await?,
            messages: client.prepare(MESSAGES).await?,
            parked: client.prepare(PARKED).await?,
            later,
        })
    }

    pub(super) async fn put(&self, client: &Client, kind: Kind, rows: &[Row]) -> Result<(), Error> {
        match kind {
            Kind::Users => self.put_users(client, rows).await,
            Kind::Rooms => self.put_rooms(client, rows).await,
            Kind::Pairs => self.put_pairs(client, rows).await,
            Kind::Messages => self.put_messages(client, rows).await,
            Kind::Parked => self.put_parked(client, rows).await,
        }
    }

    async fn put_users(&self, client: &Client, rows: &[Row]) -> Result<(), Error> {
        let (mut ids, mut names, mut emails, mut ms) = (vec![], vec![], vec![], vec![]);
        let (mut owners, mut accounts, mut hashes, mut roles) = (vec![], vec![], vec![], vec![]);
        for row in rows {
            let Row::User(user) = row else { continue };
            ids.push(user.id.get());
            names.push(user.username.as_str());
            emails.push(user.email.as_deref());
            ms.push(user.created_ms);
            if let Some(account) = &user.account {
                owners.push(user.id.get());
                accounts.push(account.name.as_str());
                hashes.push(account.password_hash.as_deref());
                roles.push(account.role.as_str());
            }
        }
        client
            .execute(&self.users, &[&ids, &names, &emails, &ms])
            .await?;
        client
            .execute(&self.accounts, &[&owners, &accounts, &hashes, &roles])
            .await
            .map(drop)
    }

    async fn put_rooms(&self, client: &Client, rows: &[Row]) -> Result<(), Error> {
        let (mut names, mut descriptions, mut ms) = (vec![], vec![], vec![]);
        let (mut positions, mut seqs) = (vec![], vec![]);
        for row in rows {
            let Row::Room(room) = row else { continue };
            names.push(room.name.as_str());
            descriptions.push(room.description.as_deref());
            ms.push(room.created_ms);
            positions.push(room.last_position);
            seqs.push(room.last_seq);
        }
        client
            .execute(&self.rooms, &[&names, &descriptions, &ms])
            .await?;
        client
            .execute(&self.room_ends, &[&names, &positions, &seqs])
            .await
            .map(drop)
    }

    async fn put_pairs(&self, client: &Client, rows: &[Row]) -> Result<(), Error> {
        let (mut lows, mut highs, mut positions, mut seqs) = (vec![], vec![], vec![], vec![]);
        for row in rows {
            let Row::Pair(pair) = row else { continue };
            lows.push(pair.low.get());
            highs.push(pair.high.get());
            positions.push(pair.last_position);
            seqs.push(pair.last_seq);
        }
        client
            .execute(&self.pairs, &[&lows, &highs, &positions, &seqs])
            .await
            .map(drop)
    }

    async fn put_messages(&self, client: &Client, rows: &[Row]) -> Result<(), Error> {
        let (mut ids, mut from, mut to, mut rooms) = (vec![], vec![], vec![], vec![]);
        let (mut contents, mut ms, mut seqs, mut nonces) = (vec![], vec![], vec![], vec![]);
        for row in rows {
            let Row::Message(message) = row else { continue };
            ids.push(message.id.get());
            from.push(message.from.get());
            let (recipient, room) = match &message.place {
                Place::Room(room) => (None, Some(room.as_str())),
                Place::Dm(recipient) => (Some(recipient.get()), None),
            };
            to.push(recipient);
            rooms.push(room);
            contents.push(message.content.as_str());
            ms.push(message.timestamp.unix_ms());
            seqs.push(message.seq);
            let nonce = message.nonce.as_ref();
            nonces.push(nonce.map(|nonce| nonce.as_str().as_bytes()));
        }
        client
            .execute(
                &self.messages,
                &[&ids, &from, &to, &rooms, &contents, &ms, &seqs, &nonces],
            )
            .await
            .map(drop)
    }

    async fn put_parked(&self, client: &Client, rows: &[Row]) -> Result<(), Error> {
        let (mut whose, mut ids, mut reasons) = (vec![], vec![], vec![]);
        let (mut since, mut due) = (vec![], vec![]);
        for row in rows {
            let Row::Parked(follower, parked) = row else {
                continue;
            };
            whose.push(follower.as_str());
            ids.push(parked.id.get());
            reasons.push(parked.reason.as_str());
            since.push(parked.since.unix_ms());
            due.push(parked.due_again);
        }
        client
            .execute(&self.parked, &[&whose, &ids, &reasons, &since, &due])
            .await
            .map(drop)
    }

    /// Before the parked messages, which name them.
    pub(super) async fn followers(client: &Client, facts: &Facts) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO chat_followers (name, position, failing_since, failing_reason) VALUES ($1, $2, $3, $4)";
        for standing in &facts.followers {
            let failing = standing.failing.as_ref();
            let (since, reason) = (
                failing.map(|(since, _)| since.unix_ms()),
                failing.map(|(_, reason)| reason.as_str()),
            );
            let (name, position) = (standing.follower.as_str(), standing.position.get());
            client
                .execute(INSERT, &[&name, &position, &since, &reason])
                .await?;
        }
        Ok(())
    }

    /// The log's name, where it ends, and what is secret; and the numbers after which ids go on.
    pub(super) async fn log(&self, client: &Client, facts: &Facts) -> Result<(), Error> {
        for sql in &self.later {
            client.batch_execute(sql).await?;
        }
        const LOG: &str = "UPDATE chat_log SET epoch = $1, mode = $2, position = $3";
        const SECRET: &str = "INSERT INTO chat_secrets (name, value) VALUES ($1, $2)";
        client
            .execute(LOG, &[&facts.epoch, &facts.mode.as_str(), &facts.last])
            .await?;
        for kept in &facts.secrets {
            // Where one is no text, `judge` has refused it.
            let value = String::from_utf8_lossy(&kept.value);
            client
                .execute(SECRET, &[&kept.name, &value.as_ref()])
                .await?;
        }
        client
            .query_one(GO_ON_AFTER, &[&"messages", &facts.last])
            .await?;
        let last: i64 = client.query_one(LAST_USER, &[]).await?.try_get(0)?;
        client.query_one(GO_ON_AFTER, &[&"users", &last]).await?;
        client.batch_execute(ANALYZE).await
    }
}

/// Never back: a number that somebody drew stays drawn. A table of another program may have no sequence.
const GO_ON_AFTER: &str = "
    SELECT setval(s::regclass, greatest($2::bigint, coalesce(pg_sequence_last_value(s::regclass), 0), 1),
        greatest($2::bigint, coalesce(pg_sequence_last_value(s::regclass), 0)) > 0)
    FROM pg_get_serial_sequence($1::text, 'id') AS s";

/// The newest account, and whoever else has such an id as a sequence gives. A token may have brought any id with it: one
/// beyond four bytes is no sequence's.
const LAST_USER: &str = "
    SELECT greatest((SELECT coalesce(max(id), 0) FROM users WHERE id < 2147483647),
        (SELECT coalesce(max(user_id), 0) FROM chat_accounts))::bigint";

/// What was written at once was seen by nobody who plans.
const ANALYZE: &str =
    "ANALYZE users, rooms, messages, chat_rooms, chat_dms, chat_accounts, chat_parked";
