//! What the database said, as far as anybody above must tell it apart, and why a database cannot be served.

use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use crate::store::{Mode, StoreError};

/// Why the database cannot be served, for the operator: each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL of a database.
    #[error(
        "--db (DATABASE_URL) is no PostgreSQL URL ({0}); write it as postgres://user:password@host/database"
    )]
    Url(String),
    /// No TLS in this build, and the URL demands it.
    #[error(
        "--db (DATABASE_URL) demands TLS (sslmode=require), which this chat-server does not speak to a database yet; leave sslmode out"
    )]
    Tls,
    /// Nobody there, or no entrance.
    #[error(
        "the database of --db (DATABASE_URL) cannot be opened: {0}; check that it runs, and its host, name, user and password"
    )]
    Unreachable(String),
    /// Before version 15.
    #[error("the database server is PostgreSQL {0}, and chat-server needs 15 or newer")]
    OldServer(String),
    /// Tables that cannot be a chat's.
    #[error(
        "the table {table} has no column {column}, which chat-server reads; nothing was changed: add it, or give another database to --db"
    )]
    MissingColumn {
        /// Whose.
        table: &'static str,
        /// Which.
        column: &'static str,
    },
    /// Ids that nobody draws.
    #[error(
        "the ids of the table messages come from no sequence; make the column id SERIAL or an IDENTITY, or give another database to --db"
    )]
    NoSequence,
    /// Written by a later version.
    #[error(
        "the database has schema version {found}, and this chat-server knows up to {known}; it was not touched: use a newer chat-server"
    )]
    Newer {
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// The other mode's history.
    #[error("the database holds the history of {found} mode, and this start is in {asked} mode; set or unset JWT_SECRET to match, or add --switch-mode to go on all the same", found = .found.as_str(), asked = .asked.as_str())]
    OtherMode {
        /// What it remembers.
        found: Mode,
        /// What was asked for.
        asked: Mode,
    },
    /// A statement failed.
    #[error("the database could not be made ready: {0}; nothing of that step was changed")]
    Broken(#[from] Error),
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing is stored.
    Undone(StoreError),
    /// It may be stored.
    Unknown(String),
}

impl From<Error> for Fault {
    /// For what failed before `COMMIT` was sent.
    fn from(error: Error) -> Self {
        Self::Undone(translate(error))
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Undone(error) => error,
            Fault::Unknown(why) => Self::Uncertain(why),
        }
    }
}

/// The meaning of an error of something that may have been committed. What the server refused, it undid; what it was
/// interrupted in, nobody knows.
pub(super) fn of_commit(error: Error) -> Fault {
    match error.as_db_error().and_then(DbError::parsed_severity) {
        Some(Severity::Error) => Fault::Undone(translate(error)),
        _ => Fault::Unknown(text(&error)),
    }
}

/// The meaning of an error when nothing was changed.
pub(super) fn translate(error: Error) -> StoreError {
    let Some(code) = error.code() else {
        return match is_lost(&error) {
            true => StoreError::Unavailable("the connection to the database was lost"),
            false => StoreError::Internal(error.into()),
        };
    };
    if *code == SqlState::DISK_FULL {
        return StoreError::Full;
    }
    // Classes of Appendix A of PostgreSQL's manual. 57: shut down, starting, or cancelled by a time-out; 53: too many
    // connections, no memory; 40: a deadlock; 08: the connection.
    match &code.code()[..2] {
        "57" | "53" | "40" | "08" => StoreError::Unavailable("the database is not available"),
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => {
            StoreError::Unavailable("another program holds a lock in the database")
        }
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            StoreError::Unavailable("the database is a standby, or closed for writing")
        }
        _ if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
            StoreError::Unavailable("this node stood still in a transaction")
        }
        _ => StoreError::Internal(text(&error).into()),
    }
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_some_and(|source| source.is::<std::io::Error>())
}

/// The error and what lies behind it, without the values of a row: those are what people said.
pub(super) fn text(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
