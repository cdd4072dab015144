//! The log as a file: read past the server, copied, deleted and put back, as an operator would.

use std::path::{Path, PathBuf};

use chat_server::{protocol::Timestamp, store::sqlite::new_epoch};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::link::Change;
use crate::oracle::trace::{Row, Where};

/// A database in a folder of its own, and perhaps a backup beside it.
#[derive(Debug)]
pub struct LogFile {
    folder: PathBuf,
    /// Gone with its contents once nobody holds it.
    _own: Option<TempDir>,
}

const ROWS: &str = "
    SELECT m.id, m.seq, m.from_user, u.username, m.room, m.to_user, m.content, m.timestamp, m.nonce
    FROM messages m JOIN users u ON u.id = m.from_user ORDER BY m.id";

impl LogFile {
    pub fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        Self {
            folder: own.path().to_owned(),
            _own: Some(own),
        }
    }

    /// The one in a folder that is somebody else's.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            _own: None,
        }
    }

    /// What is in the one in `folder`.
    pub fn read_in(folder: &Path) -> (String, Vec<Row>) {
        Self::in_folder(folder).read()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self) -> PathBuf {
        self.folder().join("chat.db")
    }

    fn backup(&self) -> PathBuf {
        self.folder().join("backup")
    }

    /// Its name, and all that is in it.
    pub fn read(&self) -> (String, Vec<Row>) {
        if !self.path().exists() {
            return Default::default();
        }
        let file = self.open();
        let epoch = file.query_row("SELECT epoch FROM log", [], |row| row.get(0));
        let mut rows = file.prepare(ROWS).unwrap();
        let rows = rows.query_map([], row).unwrap().collect::<Result<_, _>>();
        (epoch.unwrap(), rows.unwrap())
    }

    fn open(&self) -> Connection {
        // What is in the write-ahead log is found only by one who may write its index.
        Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
    }

    /// Copies what is stored now, whether a server has it open or not.
    pub fn back_up(&self) {
        let _ = std::fs::remove_file(self.backup());
        let name = self.backup().to_str().unwrap().to_owned();
        self.open().execute("VACUUM INTO ?1", [name]).unwrap();
    }

    /// Changes it while no server has it open. Without a backup, a restore is a wipe.
    pub fn change(&self, change: Change) {
        if change == Change::Keep {
            return;
        }
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.folder().join(format!("chat.db{ending}")));
        }
        if change == Change::Restore && self.backup().exists() {
            std::fs::copy(self.backup(), self.path()).unwrap();
            new_epoch(&self.path()).unwrap();
        }
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let room: Option<String> = row.get(4)?;
    Ok(Row {
        id: row.get(0)?,
        seq: row.get(1)?,
        from: row.get(2)?,
        username: row.get(3)?,
        place: match room {
            Some(room) => Where::Room(room),
            None => Where::Dm(row.get(5)?),
        },
        content: row.get(6)?,
        timestamp: Timestamp::from_unix_ms(row.get(7)?).to_string(),
        nonce: row.get(8)?,
    })
}
