//! Users, rooms and accounts: one statement each, beside the writer, so that nothing here keeps a message waiting.
//!
//! What is written into `users` for those whom tokens bring is in `users.rs`. Accounts lie beside.

use tokio_postgres::{Row, error::SqlState};

use super::{
    PgStore,
    connect::{Miss, Params, Pool},
    error::{is_their_rule, text},
    reader::before_of,
    rows::{self, AFTER_MESSAGE, columns, damaged, get},
    users::{ACCOUNT, USERS, see_user, user},
};
use crate::{
    protocol::{Cursor, Listing, Message, RoomName, UserId, Username},
    store::{Account, Answer, Directory, NewAccount, RoomOutcome, StoreError, StoredRoom, User},
};

/// The private rooms are not served, since who belongs to them is not known here.
fn open_rooms(pool: &Pool) -> &'static str {
    match pool.shape.has_private_rooms {
        true => " AND r.is_private IS NOT TRUE",
        false => "",
    }
}

async fn room_exists(pool: &Pool, room: &str) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT 1 FROM rooms r WHERE r.name = $1{}",
        open_rooms(pool)
    );
    Ok(!pool.read(&sql, &[&room]).await?.is_empty())
}

/// Two nodes that make the last two rooms at the same moment may make one too many: the limit is there against floods.
const CREATE_ROOM: &str = "
    INSERT INTO rooms (name) SELECT $1::text WHERE (SELECT count(*) FROM rooms) < $2
    AND NOT EXISTS (SELECT 1 FROM rooms WHERE name = $1::text) ON CONFLICT DO NOTHING RETURNING 1";

async fn create_room(
    pool: &Pool,
    room: RoomName,
    max_rooms: u64,
) -> Result<RoomOutcome, StoreError> {
    let max_rooms = i64::try_from(max_rooms).unwrap_or(i64::MAX);
    let params: Params<'_> = &[&room.as_str(), &max_rooms];
    let made = match pool.try_change(CREATE_ROOM, params).await {
        // It may be there all the same: what a row lacks is found out before whether it is one too many.
        Err(Miss::Failed(error)) if is_their_rule(&error) => {
            if room_exists(pool, room.as_str()).await? {
                return Ok(RoomOutcome::Known);
            }
            return Err(StoreError::Refused(format!(
                "the room cannot be made, since the table rooms does not take it ({}): the program that keeps the rooms must add it",
                text(&error)
            )));
        }
        made => made.map_err(Miss::of_repeatable)?,
    };
    if !made.is_empty() {
        return Ok(RoomOutcome::Made);
    }
    if room_exists(pool, room.as_str()).await? {
        return Ok(RoomOutcome::Known);
    }
    let is_there = "SELECT 1 FROM rooms WHERE name = $1";
    if !pool.read(is_there, &[&room.as_str()]).await?.is_empty() {
        let why = "this room is private, and chat-server serves no private rooms";
        return Err(StoreError::Refused(why.into()));
    }
    Ok(RoomOutcome::Full)
}

async fn rooms_after(
    pool: &Pool,
    after: Option<RoomName>,
    limit: u32,
    max_bytes: usize,
) -> Result<Listing<StoredRoom>, StoreError> {
    let sql = format!(
        "SELECT {}, r.name::text FROM rooms r LEFT JOIN chat_rooms c ON c.name = r.name
         LEFT JOIN messages m ON m.chat_position = c.last_position AND m.chat_position > 0
         LEFT JOIN users u ON u.id = m.from_user
         WHERE r.name COLLATE \"C\" > $1{} ORDER BY r.name COLLATE \"C\" LIMIT $2",
        columns!(),
        open_rooms(pool)
    );
    // No name is empty, so every name comes after the empty one.
    let mut after = after.map_or(String::new(), |name| name.as_str().to_owned());
    let wanted = one_more(limit);
    let (mut entries, mut listed) = (Vec::new(), Bounded::new(limit, max_bytes));
    loop {
        let found = pool.read(&sql, &[&after, &wanted]).await?;
        for row in &found {
            after = get(row, AFTER_MESSAGE)?;
            // Another program's, whose name cannot be said here.
            let Ok(name) = RoomName::new(&after) else {
                continue;
            };
            let last = match get::<Option<i64>>(row, 0)? {
                Some(_) => rows::message(row)?,
                None => None,
            };
            if !listed.takes(last.as_ref().map_or(0, Message::encoded_len_at_most)) {
                return Ok(listed.of(entries));
            }
            entries.push(StoredRoom { name, last });
        }
        if i64::try_from(found.len()).is_ok_and(|found| found < wanted) {
            return Ok(listed.of(entries));
        }
    }
}

async fn users_after(pool: &Pool, after: i64, limit: u32) -> Result<Listing<User>, StoreError> {
    let found = pool.read(USERS, &[&after, &one_more(limit)]).await?;
    let has_more = found.len() > limit as usize;
    let entries = found
        .iter()
        .take(limit as usize)
        .map(|row| rows::user(row, 0));
    Ok(Listing {
        entries: entries.collect::<Result<_, _>>()?,
        has_more,
    })
}

/// One of the two columns for each half, so that each is a search over an index; sorted and cut before any text is read.
const CONVERSATIONS: &str = concat!(
    "SELECT ",
    columns!(),
    ", p.id::bigint, p.username::text, coalesce(a.role, 'user'), mine.last_position FROM (
        SELECT high AS peer, last_position FROM chat_dms WHERE low = $1 AND last_position < $2
        UNION ALL SELECT low, last_position FROM chat_dms WHERE high = $1 AND low < high AND last_position < $2
        ORDER BY last_position DESC LIMIT $3) mine
     LEFT JOIN users p ON p.id = mine.peer LEFT JOIN chat_accounts a ON a.user_id = p.id
     LEFT JOIN messages m ON m.chat_position = mine.last_position AND m.chat_position > 0
     LEFT JOIN users u ON u.id = m.from_user
     ORDER BY mine.last_position DESC"
);

async fn conversations_of(
    pool: &Pool,
    user: UserId,
    before: Cursor,
    limit: u32,
    max_bytes: usize,
) -> Result<Listing<(User, Message)>, StoreError> {
    let (mut before, wanted) = (before_of(before), one_more(limit));
    let (mut entries, mut listed) = (Vec::new(), Bounded::new(limit, max_bytes));
    loop {
        let params: Params<'_> = &[&user.get(), &before, &wanted];
        let found = pool.read(CONVERSATIONS, params).await?;
        for row in &found {
            before = get(row, AFTER_MESSAGE + 3)?;
            let Some((peer, last)) = conversation(row)? else {
                continue;
            };
            if !listed.takes(last.encoded_len_at_most()) {
                return Ok(listed.of(entries));
            }
            entries.push((peer, last));
        }
        if i64::try_from(found.len()).is_ok_and(|found| found < wanted) {
            return Ok(listed.of(entries));
        }
    }
}

/// `None` when its newest message, or the other one, is gone or is none any more: it comes back with the next one.
fn conversation(row: &Row) -> Result<Option<(User, Message)>, StoreError> {
    let is_there: (Option<i64>, Option<i64>) = (get(row, 0)?, get(row, AFTER_MESSAGE)?);
    if is_there.0.is_none() || is_there.1.is_none() {
        return Ok(None);
    }
    let last = rows::message(row)?;
    let Some(last) = last else {
        return Ok(None);
    };
    Ok(Some((rows::user(row, AFTER_MESSAGE)?, last)))
}

/// One more than asked for tells whether there is more.
fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// A list that is bounded in entries and bytes, but holds one entry at least.
struct Bounded {
    entries_left: usize,
    bytes_left: usize,
    is_first: bool,
    has_more: bool,
}

impl Bounded {
    fn new(limit: u32, max_bytes: usize) -> Self {
        Self {
            entries_left: limit as usize,
            bytes_left: max_bytes,
            is_first: true,
            has_more: false,
        }
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.bytes_left || self.is_first;
        if self.entries_left == 0 || !fits {
            self.has_more = true;
            return false;
        }
        self.entries_left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.is_first = false;
        true
    }

    fn of<T>(self, entries: Vec<T>) -> Listing<T> {
        Listing {
            entries,
            has_more: self.has_more,
        }
    }
}

const NAME_ACCOUNT: &str = "
    WITH made AS (
        INSERT INTO users (id, username)
        SELECT nextval(pg_get_serial_sequence('users', 'id')), $1::text
        WHERE NOT EXISTS (SELECT 1 FROM chat_accounts WHERE name = $2::text)
        ON CONFLICT (id) DO NOTHING RETURNING id::bigint AS id)
    INSERT INTO chat_accounts (user_id, name, password_hash, role) SELECT id, $2::text, $3::text, $4::text FROM made RETURNING user_id";

/// A token may have brought users with the ids that the sequence draws next: so many of them are stepped over.
const TAKEN_IDS_AT_MOST: usize = 10_000;

async fn create_account(pool: &Pool, account: NewAccount) -> Result<Option<User>, StoreError> {
    let key = account_key(&account.username);
    for _ in 0..TAKEN_IDS_AT_MOST {
        let params: Params<'_> = &[
            &account.username.as_str(),
            &key,
            &account.password_hash,
            &account.role,
        ];
        let made = match pool.try_change(NAME_ACCOUNT, params).await {
            // Made by somebody else at this moment.
            Err(Miss::Failed(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                return Ok(None);
            }
            Err(Miss::Failed(error)) if is_their_rule(&error) => {
                return Err(StoreError::Refused(format!(
                    "no account can be made, since the table users does not take it ({}): it is kept by another program, where you can register",
                    text(&error)
                )));
            }
            Ok(made) => made,
            Err(miss) => return Err(miss.of_change()),
        };
        if let Some(row) = made.first() {
            let id = UserId::new(get(row, 0)?);
            let id = id.ok_or_else(|| damaged("a user got an id that cannot be".into()))?;
            return user(pool, id).await;
        }
        if !pool.read(ACCOUNT, &[&key]).await?.is_empty() {
            return Ok(None);
        }
    }
    Err(damaged("no free id for an account was found".into()))
}

/// What two account names have in common when they differ only in the case of letters.
fn account_key(name: &Username) -> String {
    name.as_str().to_lowercase()
}

/// Bytes that a probe writes: the largest message and its share of the indexes need no more. Not such as compress.
const PROBE: &str = "
    UPDATE chat_probe SET data = (SELECT string_agg(decode(md5(random()::text), 'hex'), '') FROM generate_series(1, 2048))";

impl Directory for PgStore {
    fn user(&self, id: UserId) -> Answer<'_, Result<Option<User>, StoreError>> {
        Box::pin(user(&self.pool, id))
    }

    fn see_user(&self, id: UserId, username: Username) -> Answer<'_, Result<User, StoreError>> {
        Box::pin(see_user(&self.pool, &self.told, id, username))
    }

    fn room_exists(&self, room: RoomName) -> Answer<'_, Result<bool, StoreError>> {
        Box::pin(async move { room_exists(&self.pool, room.as_str()).await })
    }

    fn create_room(
        &self,
        room: RoomName,
        max_rooms: u64,
    ) -> Answer<'_, Result<RoomOutcome, StoreError>> {
        Box::pin(create_room(&self.pool, room, max_rooms))
    }

    fn rooms(
        &self,
        after: Option<RoomName>,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<StoredRoom>, StoreError>> {
        Box::pin(rooms_after(&self.pool, after, limit, max_bytes))
    }

    fn users(&self, after: i64, limit: u32) -> Answer<'_, Result<Listing<User>, StoreError>> {
        Box::pin(users_after(&self.pool, after, limit))
    }

    fn conversations(
        &self,
        user: UserId,
        before: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<(User, Message)>, StoreError>> {
        Box::pin(conversations_of(&self.pool, user, before, limit, max_bytes))
    }

    fn account(&self, name: Username) -> Answer<'_, Result<Option<Account>, StoreError>> {
        Box::pin(async move {
            let found = self.pool.read(ACCOUNT, &[&account_key(&name)]).await?;
            let account = found.first().map(|row| {
                Ok(Account {
                    user: rows::user(row, 0)?,
                    password_hash: get(row, 3)?,
                })
            });
            account.transpose()
        })
    }

    fn create_account(&self, account: NewAccount) -> Answer<'_, Result<Option<User>, StoreError>> {
        Box::pin(create_account(&self.pool, account))
    }

    fn probe(&self) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let proved = self.pool.try_change(PROBE, &[]).await;
            proved.map(drop).map_err(Miss::of_repeatable)
        })
    }
}
