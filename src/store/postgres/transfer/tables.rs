//! What the tables of a database are, before a copy reads or fills them; and what is put off until they are full.

use std::cmp::Ordering;

use tokio_postgres::{Client, Error};

use super::super::{
    error::OpenError,
    schema::{SCHEMA, SCHEMA_VERSION},
};
use crate::store::{Mode, transfer::Fault};

pub(super) async fn judge_version(client: &Client) -> Result<(), Fault> {
    let row = client
        .query_one("SELECT version FROM chat_log", &[])
        .await?;
    let found: i32 = row.try_get(0)?;
    let known = SCHEMA_VERSION;
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(OpenError::Newer { found, known }.into()),
        Ordering::Less => Err(Fault::new(format!(
            "the database has schema version {found}, and this command needs {known}: start this chat-server on it once, which \
             brings it up to date"
        ))),
    }
}

/// The tables, in the transaction that fills them.
pub(super) async fn make(client: &Client, mode: Mode) -> Result<(), Fault> {
    client
        .batch_execute("SET LOCAL lock_timeout = 3000")
        .await?;
    client.batch_execute(SCHEMA).await?;
    client
        .execute(
            "INSERT INTO chat_log (one, version, epoch, mode) VALUES (1, $1, '', $2)",
            &[&SCHEMA_VERSION, &mode.as_str()],
        )
        .await?;
    Ok(())
}

/// What keeps every row of `messages` right and found at once, as it is undone and done again: its references to other
/// tables, and its indexes but for the primary key's.
const PUT_OFF: &str = "
    SELECT format('ALTER TABLE messages DROP CONSTRAINT %I', conname),
        format('ALTER TABLE messages ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid = 'messages'::regclass AND contype = 'f'
    UNION ALL SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid = 'messages'::regclass AND NOT indisprimary
        AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = indexrelid)";

/// Undoes it, for as long as the table is filled: for all rows together it costs a fifth of what it costs for each alone.
/// What is to be done when the table is full.
pub(super) async fn put_off(client: &Client) -> Result<Vec<String>, Error> {
    let mut later = Vec::new();
    for row in client.query(PUT_OFF, &[]).await? {
        client.batch_execute(row.try_get(0)?).await?;
        later.push(row.try_get(1)?);
    }
    Ok(later)
}
