//! Why a copy was not made, in words for the operator: which end, what is wrong with it, what to do.

use std::{fmt, path::PathBuf};

#[cfg(feature = "postgres")]
use crate::store::postgres;
use crate::store::sqlite;

/// One end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What is read.
    From,
    /// What is written.
    To,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "FROM",
            Self::To => "TO",
        })
    }
}

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Something is wrong with one of the ends.
    #[error("{end}: {what}")]
    At {
        /// Which.
        end: End,
        /// What, and what to do.
        what: String,
    },
    /// The target held this log, and one of the two was changed since.
    #[error(
        "TO holds this log from an earlier copy, and is not the same any more: {difference}. Nothing was changed: whichever was \
         served last is the newer one; to copy FROM once more, give an empty database or the path of a new file for TO"
    )]
    Changed {
        /// In what.
        difference: String,
    },
    /// What was written is not what was read.
    #[error(
        "what was written is not what was read: {difference}. TO cannot be served as it is; run the same command again, and if \
         this comes again, look at the disk and the memory of both machines"
    )]
    NotTheSame {
        /// In what.
        difference: String,
    },
}

/// The same, before it is known which end it was.
#[derive(Debug)]
pub(in crate::store) struct Fault(String);

impl Fault {
    pub(in crate::store) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The same, of the database at this place.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn of(place: impl fmt::Display, error: postgres::OpenError) -> Self {
        Self(format!("{place}: {}", Self::from(error).0))
    }

    /// A secret that lies beside a file.
    pub(in crate::store) fn secret(path: &PathBuf, source: &std::io::Error) -> Self {
        Self(format!(
            "the secret beside it, {path:?}: {source}; give this user permission on it"
        ))
    }

    pub(super) fn at(self, end: End) -> TransferError {
        // Elsewhere a database is given by this flag.
        let name = end.to_string();
        let what = self.0.replace("--db (DATABASE_URL)", &name);
        let what = what.replace("--db", &name);
        TransferError::At { end, what }
    }
}

impl From<sqlite::OpenError> for Fault {
    fn from(error: sqlite::OpenError) -> Self {
        Self(error.to_string())
    }
}

#[cfg(feature = "postgres")]
impl From<postgres::OpenError> for Fault {
    fn from(error: postgres::OpenError) -> Self {
        // A copy waits for nobody, and has no such flag.
        let fix = error.fix();
        let fix = fix.split("; --db-wait").next().unwrap_or(fix);
        Self(format!("{error}; {fix}"))
    }
}
