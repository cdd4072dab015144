//! A short visit to a database beside the nodes that serve it: for commands, and for what is asked once at the start.

use std::time::Duration;

use super::{
    Url,
    connect::{Database, Session},
    error::OpenError,
    schema::{SCHEMA_VERSION, has_log},
};
use crate::store::Mode;

/// Somebody sits there and waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// By which visitors are told from nodes.
pub(super) const NAME: &str = "chat-server command";

/// A connection that is no node's; nothing was looked at yet.
pub(super) async fn connect(url: &Url, patience: Duration) -> Result<Session, OpenError> {
    let session = Database::parse(url.as_str(), patience)?.connect().await?;
    let name = format!("SET application_name = '{NAME}'");
    session.client.batch_execute(&name).await?;
    Ok(session)
}

/// The same, where there is a log of this version, and the log's mode.
pub(super) async fn visit(url: &Url) -> Result<(Session, Mode), OpenError> {
    let session = connect(url, PATIENCE).await?;
    if !has_log(&session.client).await? {
        return Err(OpenError::NoLog);
    }
    let log = "SELECT version, mode FROM chat_log";
    let row = session.client.query_one(log, &[]).await?;
    let found = row.try_get(0)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer {
            found,
            known: SCHEMA_VERSION,
        });
    }
    let mode = Mode::parse(row.try_get(1)?);
    Ok((session, mode))
}
