//! Why the server does not start, in words for the operator.

use std::net::SocketAddr;

use crate::store::{OpenError, SecretError, StoreError, sqlite};

/// Why the server does not start, for the operator: each names the flag or variable, and the fix.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// A value that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The port.
    #[error("--bind {address}: {source}; {fix}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
        /// What to do.
        fix: &'static str,
    },
    /// A secret that is kept with the database.
    #[error("--db: {0}")]
    Secret(#[from] SecretError),
    /// Something that the system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// The log could be opened and not be read.
    #[error("the database cannot be read: {0}")]
    Unreadable(#[from] StoreError),
}

impl From<sqlite::OpenError> for StartupError {
    fn from(error: sqlite::OpenError) -> Self {
        Self::Database(error.into())
    }
}

impl StartupError {
    /// 2 for what a change of the command line mends, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }
}

pub(super) fn usage<T>(text: impl Into<String>) -> Result<T, StartupError> {
    Err(StartupError::Usage(text.into()))
}
