//! What is stored, read past the server: from a copy that a death left, or from the file while it is served.

use std::path::{Path, PathBuf};

use chat_server::{protocol::Timestamp, store::sqlite::companion};
use rusqlite::{Connection, OpenFlags, Row as SqlRow};
use tempfile::TempDir;

use crate::oracle::{
    Era,
    trace::{Row, Where},
};

/// A copy of the file and its log, as a server finds them that starts now.
pub struct Image {
    _folder: TempDir,
    database: PathBuf,
}

impl Image {
    /// Nobody may have the file open.
    pub fn of(database: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("chat.db");
        std::fs::copy(database, &copy).unwrap();
        let log = companion(database, "wal");
        if log.exists() {
            std::fs::copy(log, companion(&copy, "wal")).unwrap();
        }
        Self {
            _folder: folder,
            database: copy,
        }
    }

    /// All that is stored, in a file that is whole.
    pub fn log(&self) -> Era {
        let connection = Connection::open(&self.database).unwrap();
        let fault: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(fault, "ok", "the file is damaged");
        connection.close().unwrap();
        read(&self.database)
    }
}

/// All that is stored, by id.
pub fn read(database: &Path) -> Era {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).unwrap();
    let epoch = connection
        .query_row("SELECT epoch FROM log", [], |row| row.get(0))
        .unwrap();
    let mut statement = connection
        .prepare(
            "SELECT m.id, m.seq, m.from_user, u.username, m.room, m.to_user, m.content, m.timestamp, m.nonce
             FROM messages m JOIN users u ON u.id = m.from_user ORDER BY m.id",
        )
        .unwrap();
    let rows = statement.query_map([], row).unwrap();
    Era {
        epoch,
        rows: rows.map(Result::unwrap).collect(),
        inherited: 0,
    }
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let place = match row.get::<_, Option<String>>(4)? {
        Some(room) => Where::Room(room),
        None => Where::Dm(row.get(5)?),
    };
    Ok(Row {
        id: row.get(0)?,
        seq: row.get(1)?,
        from: row.get(2)?,
        username: row.get(3)?,
        place,
        content: row.get(6)?,
        timestamp: Timestamp::from_unix_ms(row.get(7)?).to_string(),
        nonce: row.get(8)?,
    })
}
