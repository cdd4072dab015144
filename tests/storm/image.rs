//! What is stored, read past the server: from a copy that a death left, or from the file while it is served.

use std::path::Path;

use chat_server::store::sqlite::companion;
use rusqlite::Connection;

use crate::{oracle::Era, play::file::LogFile};

/// A copy of the file and its log, as a server finds them that starts now.
pub struct Image(LogFile);

impl Image {
    /// Nobody may have the file open.
    pub fn of(database: &Path) -> Self {
        let file = LogFile::new();
        std::fs::copy(database, file.path()).unwrap();
        let log = companion(database, "wal");
        if log.exists() {
            std::fs::copy(log, companion(&file.path(), "wal")).unwrap();
        }
        Self(file)
    }

    /// All that is stored, in a file that is whole.
    pub fn log(&self) -> Era {
        let connection = Connection::open(self.0.path()).unwrap();
        let fault: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(fault, "ok", "the file is damaged");
        connection.close().unwrap();
        read(&self.0)
    }
}

/// All that is stored, by id.
pub fn read(file: &LogFile) -> Era {
    assert!(file.path().exists(), "there is no file");
    let (epoch, rows) = file.read();
    Era {
        epoch,
        rows,
        inherited: 0,
    }
}
