//! What is stored, read past the server: from a copy that a death left, or from the file while it is served.

use std::path::Path;

use chat_server::store::sqlite::companion;
use rusqlite::Connection;

use crate::{
    oracle::Era,
    play::{file::LogFile, kept::Kept},
};

/// What a server finds that starts now.
pub enum Image {
    /// A copy of the file and its log.
    Copy(Kept),
    /// What was read of it then.
    Read(Era),
}

impl Image {
    /// Nobody may have the file open.
    pub fn of(database: &Path) -> Self {
        let file = LogFile::new();
        std::fs::copy(database, file.path()).unwrap();
        let log = companion(database, "wal");
        if log.exists() {
            std::fs::copy(log, companion(&file.path(), "wal")).unwrap();
        }
        Self::Copy(Kept::File(file))
    }

    /// Of what a copy cannot be made.
    pub fn of_read(log: Era) -> Self {
        Self::Read(log)
    }

    /// All that is stored, in a file that is whole.
    pub fn log(&self) -> Era {
        let file = match self {
            Self::Copy(file) => file,
            Self::Read(log) => return log.clone(),
        };
        let connection = Connection::open(file.folder().join("chat.db")).unwrap();
        let fault: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(fault, "ok", "the file is damaged");
        connection.close().unwrap();
        read(file)
    }
}

/// All that is stored, by id.
pub fn read(kept: &Kept) -> Era {
    let (epoch, rows) = kept.read();
    assert_ne!(epoch, "", "there is no log");
    Era {
        epoch,
        rows,
        inherited: 0,
    }
}
