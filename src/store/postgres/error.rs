//! What the database said, as far as anybody above must tell it apart, and why a database cannot be served.

use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use super::tls::Refused;
use crate::store::{Mode, StoreError};

/// Why the database cannot be served, for the operator: what is wrong, and by [`fix`](OpenError::fix) what to change.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL of a database, or one that asks for what is not known.
    #[error("the URL of the database cannot be used: {0}")]
    Url(String),
    /// Somebody moves it.
    #[error("a chat-server copy is at work on the database")]
    Copying,
    /// No certificates to judge the server's by.
    #[error("{place}: {why}")]
    Roots {
        /// Where they were looked for.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody there, now.
    #[error("nobody answers as the database: {0}")]
    Silent(String),
    /// Somebody there who does not serve, now.
    #[error("the database does not serve yet: {0}")]
    NotReady(String),
    /// The connection is not as safe as the URL wants it.
    #[error("no safe connection to the database: {0}")]
    Tls(String),
    /// No entrance: the role, its password, or the server's own rules.
    #[error("the database server refuses the login: {0}")]
    Denied(String),
    /// No such database.
    #[error("the database server has no such database: {0}")]
    NoDatabase(String),
    /// The role lacks a right.
    #[error("the role may not do what a chat-server must: {0}; nothing of that step was changed")]
    NotAllowed(String),
    /// Before version 15.
    #[error("the database server is PostgreSQL {0}, and chat-server needs 15 or newer")]
    OldServer(String),
    /// An encoding that cannot hold what people say.
    #[error(
        "the database is encoded as {0}, which cannot hold every message; chat-server needs UTF8"
    )]
    Encoding(String),
    /// The role may not what must be done.
    #[error("the role {role} of the database's URL may not do what chat-server must: {missing}")]
    Rights {
        /// Which.
        role: String,
        /// Each thing, in words.
        missing: String,
    },
    /// Tables that cannot be a chat's.
    #[error(
        "the table {table} has no column {column}, which chat-server reads; nothing was changed"
    )]
    MissingColumn {
        /// Whose.
        table: &'static str,
        /// Which.
        column: &'static str,
    },
    /// Messages that need what no message brings.
    #[error(
        "every row of the table messages must have what chat-server cannot know ({0}); nothing was changed"
    )]
    Unfilled(String),
    /// Ids that nobody draws.
    #[error("the ids of the table messages come from no sequence")]
    NoSequence,
    /// Written by a later version.
    #[error(
        "the database has schema version {found}, and this chat-server knows up to {known}; it was not touched"
    )]
    Newer {
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Nothing of ours, where something must be.
    #[error("there is no chat-server log in the database yet")]
    NoLog,
    /// Nodes serve it.
    #[error("the database is in use by {0}")]
    InUse(String),
    /// The other mode's history.
    #[error("the database holds the history of {found} mode, and this start is in {asked} mode", found = .found.as_str(), asked = .asked.as_str())]
    OtherMode {
        /// What it remembers.
        found: Mode,
        /// What was asked for.
        asked: Mode,
    },
    /// A statement failed.
    #[error("the database could not be made ready: {0}; nothing of that step was changed")]
    Broken(String),
}

impl OpenError {
    /// What to change.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Url(_) => {
                "write --db (DATABASE_URL) as postgres://user:password@host/database, special characters of the password as %40 for @ and the like"
            }
            Self::Copying => "start again when it has ended",
            Self::Roots { .. } => {
                "give a file of PEM certificates that can be read as sslrootcert= in --db (DATABASE_URL)"
            }
            Self::Silent(_) => {
                "check that it runs, and the host and port in --db (DATABASE_URL); --db-wait says how long it is waited for"
            }
            Self::NotReady(_) => {
                "see the database server's log; --db-wait says how long it is waited for"
            }
            Self::Tls(_) => {
                "see sslmode=, sslrootcert= and the host in --db (DATABASE_URL), and the server's settings ssl and ssl_cert_file"
            }
            Self::Denied(_) => {
                "check user and password in --db (DATABASE_URL), and the server's pg_hba.conf; where that lets nobody in by TLS, sslmode=disable tries none"
            }
            Self::NoDatabase(_) => {
                "check the name at the end of --db (DATABASE_URL), or make the database with createdb"
            }
            Self::NotAllowed(_) => {
                "give the role that owns the tables in --db (DATABASE_URL), or GRANT that role to this one; in an empty database GRANT CREATE ON SCHEMA public is enough"
            }
            Self::OldServer(_) => {
                "upgrade the database server, or give another one to --db (DATABASE_URL)"
            }
            Self::Encoding(_) => {
                "make another one with createdb -E UTF8 -T template0, and give it to --db (DATABASE_URL)"
            }
            Self::Rights { .. } => {
                "let the owner of the tables GRANT what is named to the role, or give the owner itself in --db (DATABASE_URL); \
                 only an owner can add columns"
            }
            Self::MissingColumn { .. } => "add it, or give another database to --db (DATABASE_URL)",
            Self::Unfilled(_) => {
                "give those columns of messages a DEFAULT, or let them be NULL; or give another database to --db (DATABASE_URL)"
            }
            Self::NoSequence => {
                "make the column id SERIAL or an IDENTITY, or give another database to --db (DATABASE_URL)"
            }
            Self::Newer { .. } => "use a newer chat-server",
            Self::NoLog => {
                "start the server on it once, or give another database to --db (DATABASE_URL)"
            }
            Self::InUse(_) => "stop every chat-server on it, then run this again",
            Self::OtherMode { .. } => {
                "set or unset JWT_SECRET to match, or add --switch-mode to go on all the same"
            }
            Self::Broken(_) => {
                "see what the server says, and whether the role of --db (DATABASE_URL) may create tables in the database"
            }
        }
    }

    /// Whether the same attempt may come to something a little later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::NotReady(_))
    }

    /// What it means that there is no connection.
    pub(super) fn of_connect(error: Error) -> Self {
        let said = text(&error);
        let Some(code) = error.code() else {
            let source = std::error::Error::source(&error);
            let is_tls = source.is_some_and(|source| source.is::<Refused>());
            // The driver's own word, which has no name.
            let has_no_tls = source.is_some_and(|source| source.to_string() == NO_TLS);
            return match (is_tls, has_no_tls) {
                (true, _) => Self::Tls(source.map(ToString::to_string).unwrap_or(said)),
                (_, true) => {
                    Self::Tls("the server does not offer TLS, which sslmode= demands".into())
                }
                _ if is_lost(&error) => Self::Silent(said),
                // A login that the driver cannot make: no password, or no binding to the certificate.
                _ => Self::Denied(said),
            };
        };
        match &code.code()[..2] {
            "57" | "53" | "08" => Self::NotReady(said),
            "3D" => Self::NoDatabase(said),
            _ => Self::Denied(said),
        }
    }
}

/// How the driver says that a server does not speak TLS.
const NO_TLS: &str = "server does not support TLS";

impl From<Error> for OpenError {
    /// For what failed after the login.
    fn from(error: Error) -> Self {
        match error.code().map(|code| &code.code()[..2]) {
            None if is_lost(&error) => Self::Silent(text(&error)),
            Some("57" | "53" | "08" | "40" | "55") => Self::NotReady(text(&error)),
            _ if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                Self::NotAllowed(text(&error))
            }
            _ => Self::Broken(text(&error)),
        }
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Undone(StoreError::Internal(why)) => Self::Broken(why.to_string()),
            fault => Self::NotReady(StoreError::from(fault).to_string()),
        }
    }
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing is stored.
    Undone(StoreError),
    /// It may be stored.
    Unknown(String),
    /// Nothing is stored, because of what others stored or drew meanwhile: begun again it may succeed.
    Raced(Error),
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
            Fault::Raced(error) => translate(error),
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

/// A constraint, a length or a right that another program gave its table: asking again changes nothing.
pub(super) fn is_their_rule(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        code.code().starts_with("23")
            || [
                SqlState::STRING_DATA_RIGHT_TRUNCATION,
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                SqlState::INSUFFICIENT_PRIVILEGE,
            ]
            .contains(code)
    })
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
