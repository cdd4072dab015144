//! Users, as tokens bring them.
//!
//! In somebody else's `users` no more is written than must be: a row for whom a token brings, if it brings a name and the
//! other columns can be left empty. Nothing of what they keep about a user is overwritten, not the name either: a token may
//! be older than theirs, bear none, or one that is only shown. What their table does not take is not tried in another way:
//! who has no row is refused.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use super::{
    connect::{Miss, Params, Pool},
    error::{is_their_rule, text},
    rows,
};
use crate::{
    protocol::{UserId, Username},
    store::{StoreError, User},
};

macro_rules! users {
    () => {
        "SELECT u.id::bigint, u.username::text, coalesce(a.role, 'user'), a.password_hash
         FROM users u LEFT JOIN chat_accounts a ON a.user_id = u.id"
    };
}
const USER: &str = concat!(users!(), " WHERE u.id = $1::bigint");
/// Whoever has an id that JavaScript cannot hold can be nobody here.
pub(super) const USERS: &str = concat!(
    users!(),
    " WHERE u.id > $1::bigint AND u.id <= 9007199254740991 ORDER BY u.id LIMIT $2"
);
pub(super) const ACCOUNT: &str = concat!(users!(), " WHERE a.name = $1");

pub(super) async fn user(pool: &Pool, id: UserId) -> Result<Option<User>, StoreError> {
    let found = pool.read(USER, &[&id.get()]).await?;
    found.first().map(|row| rows::user(row, 0)).transpose()
}

const ADD_USER: &str =
    "INSERT INTO users (id, username) VALUES ($1::bigint, $2) ON CONFLICT DO NOTHING";
const RENAME: &str = "UPDATE users SET username = $2 WHERE id = $1::bigint";
/// An account's name is its own, but not in a log that has gone over to a backend's users.
const MAY_BE_RENAMED: &str = "
    SELECT 1 FROM chat_log WHERE mode = 'integrated'
    OR NOT EXISTS (SELECT 1 FROM chat_accounts WHERE user_id = $1)";

/// The users whose name was not taken over, and of whom the log has heard.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<UserId>>);

/// So many are remembered. Then the log hears of them again.
const TOLD_AT_MOST: usize = 10_000;

impl Told {
    fn is_new(&self, user: UserId) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_AT_MOST {
            told.clear();
        }
        told.insert(user)
    }
}

/// Nearly always nothing is written: whoever logs in was there before, under the same name.
pub(super) async fn see_user(
    pool: &Pool,
    told: &Told,
    id: UserId,
    username: Username,
) -> Result<User, StoreError> {
    match user(pool, id).await? {
        Some(known) if known.username == username => return Ok(known),
        Some(known) => rename(pool, told, known, &username).await?,
        None => add(pool, id, &username).await?,
    }
    let seen = user(pool, id).await?;
    seen.ok_or_else(|| no_row(id, "the token's name belongs to another user there"))
}

/// What is said to somebody who cannot come in, and to whoever let them try.
fn no_row(id: UserId, why: &str) -> StoreError {
    StoreError::Refused(format!(
        "user {id} has no row in the table users, and chat-server cannot make one without inventing data ({why}): the program that keeps the users must add it"
    ))
}

async fn rename(
    pool: &Pool,
    told: &Told,
    known: User,
    username: &Username,
) -> Result<(), StoreError> {
    if pool.shape.has_their_users {
        if told.is_new(known.id) {
            let user = known.id;
            tracing::info!(%user, "a token brings another name than the table users has, which is another program's: the stored name stays");
        }
        return Ok(());
    }
    if pool
        .read(MAY_BE_RENAMED, &[&known.id.get()])
        .await?
        .is_empty()
    {
        return Ok(());
    }
    let params: Params<'_> = &[&known.id.get(), &username.as_str()];
    match pool.try_change(RENAME, params).await {
        Err(Miss::Failed(error)) if is_their_rule(&error) => {
            if told.is_new(known.id) {
                let (user, why) = (known.id, text(&error));
                tracing::warn!(%user, %why, "a token brings a name that the table users does not take: the stored name stays");
            }
            Ok(())
        }
        changed => settled(changed),
    }
}

async fn add(pool: &Pool, id: UserId, username: &Username) -> Result<(), StoreError> {
    // What stands in for a name would be invented in a table of names that are somebody else's.
    if pool.shape.has_their_users && *username == Username::cleaned("", id) {
        return Err(no_row(id, "the token brings no name"));
    }
    let params: Params<'_> = &[&id.get(), &username.as_str()];
    match pool.try_change(ADD_USER, params).await {
        Err(Miss::Failed(error)) if is_their_rule(&error) => Err(no_row(id, &text(&error))),
        changed => settled(changed),
    }
}

fn settled<T>(changed: Result<T, Miss>) -> Result<(), StoreError> {
    match changed {
        Ok(_) => Ok(()),
        Err(miss) => Err(miss.of_repeatable()),
    }
}
