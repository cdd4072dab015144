//! From rows to messages and users: every statement that reads them names its columns here.
//!
//! What other programs wrote must neither pass as valid nor keep everybody from reading on. A name is made safe to show; who
//! has none, or no row in `users` any more, is called `user-N`. A row that is no message any more (emptied, or nobody's) is
//! left out: by [`is_message`], before rows are counted, so that no page, count or cursor is wrong for it.

use tokio_postgres::{Row, types::FromSql};

use crate::{
    protocol::{
        Content, Cursor, Message, MessageId, Nonce, Place, RoomName, Timestamp, UserId, Username,
    },
    store::{Page, StoreError, User},
};

/// The columns that [`message`] reads, of `messages m LEFT JOIN users u`.
macro_rules! columns {
    () => {
        "m.chat_position, m.chat_seq, m.from_user::bigint, u.username::text, m.room::text, m.to_user::bigint,
         m.content::text, m.chat_ms, m.chat_nonce"
    };
}
pub(super) use columns;

/// Whether a row of `messages m` still says something, and somebody says it: what [`Content::new`] calls blank is blank.
macro_rules! is_message {
    () => {
        "m.from_user BETWEEN 1 AND 9007199254740991 AND m.content ~
         '[^\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}]'"
    };
}
pub(super) use is_message;

/// How many they are: what else a statement selects comes after them.
pub(super) const AFTER_MESSAGE: usize = 9;

/// A value of a row, of the type that the statement makes it.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column)
        .map_err(|error| StoreError::Internal(error.into()))
}

/// The message in the first columns; `None` for what is none.
pub(super) fn message(row: &Row) -> Result<Option<Message>, StoreError> {
    let position: i64 = get(row, 0)?;
    let Some(message) = whole(row, position)? else {
        tracing::warn!(
            position,
            "a row of messages was changed by another program and is no message any more: it is left out"
        );
        return Ok(None);
    };
    Ok(Some(message))
}

fn whole(row: &Row, position: i64) -> Result<Option<Message>, StoreError> {
    let place = match get::<Option<&str>>(row, 4)? {
        Some(room) => RoomName::new(room).ok().map(Place::Room),
        None => get::<Option<i64>>(row, 5)?
            .and_then(UserId::new)
            .map(Place::Dm),
    };
    let from = get::<Option<i64>>(row, 2)?.and_then(UserId::new);
    let id = MessageId::new(position);
    let (seq, ms) = (get::<Option<i64>>(row, 1)?, get::<Option<i64>>(row, 7)?);
    let content = get::<Option<&str>>(row, 6)?.and_then(|text| Content::new(text).ok());
    let (Some(id), Some(from), Some(place), Some(content)) = (id, from, place, content) else {
        return Ok(None);
    };
    let nonce = get::<Option<&[u8]>>(row, 8)?;
    let nonce = nonce.and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(Some(Message {
        id,
        seq: seq.unwrap_or_default(),
        from,
        username: named(row, 3, from)?,
        place,
        content,
        timestamp: Timestamp::from_unix_ms(ms.unwrap_or_default()),
        nonce: nonce.and_then(|nonce| Nonce::new(nonce).ok()),
    }))
}

/// The name in a column, which may be empty there.
fn named(row: &Row, column: usize, user: UserId) -> Result<Username, StoreError> {
    let name: Option<&str> = get(row, column)?;
    Ok(Username::cleaned(name.unwrap_or_default(), user))
}

/// `id, username, role`, the first of them at `column`.
pub(super) fn user(row: &Row, column: usize) -> Result<User, StoreError> {
    let id = get(row, column)?;
    let id = UserId::new(id).ok_or_else(|| damaged(format!("a user has the id {id}")))?;
    Ok(User {
        id,
        username: named(row, column + 1, id)?,
        role: get(row, column + 2)?,
    })
}

pub(super) fn cursor(value: i64) -> Result<Cursor, StoreError> {
    Cursor::new(value).ok_or_else(|| damaged(format!("a position in the database is {value}")))
}

pub(super) fn damaged(what: String) -> StoreError {
    StoreError::Internal(what.into())
}

/// A page of `rows`, which come in the direction that was asked for, one more than `limit` if there are as many.
pub(super) fn page(
    rows: &[Row],
    limit: usize,
    newest_first: bool,
    max_bytes: usize,
) -> Result<Page, StoreError> {
    let (mut messages, mut bytes, mut has_more) = (Vec::new(), 0, false);
    for (taken, row) in rows.iter().enumerate() {
        let message = message(row)?;
        bytes += message.as_ref().map_or(0, Message::encoded_len_at_most);
        // There is more also when it begins with what is left out.
        if taken == limit || (bytes > max_bytes && !messages.is_empty()) {
            has_more = true;
            break;
        }
        messages.extend(message);
    }
    if newest_first {
        messages.reverse();
    }
    Ok(Page { messages, has_more })
}
