//! The log as tables of a PostgreSQL database: read past the server, copied, emptied and put back, as an operator would.

use std::path::{Path, PathBuf};

use chat_server::protocol::Timestamp;
use tempfile::TempDir;

use super::link::Change;
use crate::{
    common::databases,
    oracle::trace::{Row, Where},
};

/// The database of a folder, and perhaps a copy of it.
#[derive(Debug)]
pub struct LogTables {
    folder: PathBuf,
    /// Gone with its database once nobody holds it.
    _own: Option<TempDir>,
}

/// With the name of the log, which is alone in a row where nothing was said.
const ROWS: &str = "
    SELECT l.epoch, m.chat_position, m.chat_seq, m.from_user::bigint, u.username::text, m.room::text, m.to_user::bigint,
        m.content::text, m.chat_ms, m.chat_nonce
    FROM chat_log l LEFT JOIN messages m ON m.chat_position > 0 LEFT JOIN users u ON u.id = m.from_user
    ORDER BY m.chat_position";

/// Every table, those that others refer to first.
const TABLES: &str = "
    SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    ORDER BY relname NOT IN ('users', 'rooms', 'chat_followers'), relname";

impl LogTables {
    pub fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        Self {
            folder: own.path().to_owned(),
            _own: Some(own),
        }
    }

    /// The one of a folder that is somebody else's.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            _own: None,
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn url(&self) -> String {
        databases::of(&self.folder)
    }

    fn tables(&self) -> Vec<String> {
        let tables = databases::rows(&self.url(), TABLES);
        tables.iter().map(|row| row.get(0)).collect()
    }

    /// Its name, and all that is in it.
    pub fn read(&self) -> (String, Vec<Row>) {
        let rows = databases::rows(&self.url(), ROWS);
        let epoch = rows.first().map(|row| row.get(0)).unwrap_or_default();
        (epoch, rows.iter().filter_map(row).collect())
    }

    /// Copies what is stored now, whether a server has it open or not.
    pub fn back_up(&self) {
        let tables = self.tables();
        let mut sql = String::from(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup;",
        );
        for table in tables {
            sql += &format!("CREATE TABLE backup.{table} AS TABLE public.{table};");
        }
        sql += "COMMIT";
        databases::run(&self.url(), &sql);
    }

    /// Changes it while no server has it open. Without a backup, a restore is a wipe.
    pub fn change(&self, change: Change) {
        match change {
            Change::Keep => {}
            Change::Restore if self.has_backup() => self.restore(),
            Change::Wipe | Change::Restore => {
                let sql = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
                databases::run(&self.url(), sql);
            }
        }
    }

    fn has_backup(&self) -> bool {
        !databases::rows(&self.url(), "SELECT 1 FROM backup.chat_log").is_empty()
    }

    /// What a restored dump is: the rows and the sequences as they were, under another name.
    fn restore(&self) {
        let tables = self.tables();
        let mut sql = String::from("BEGIN;");
        for table in tables.iter().rev() {
            sql += &format!("DELETE FROM public.{table};");
        }
        for table in &tables {
            sql += &format!("INSERT INTO public.{table} SELECT * FROM backup.{table};");
        }
        sql += "UPDATE chat_log SET epoch = right(replace(gen_random_uuid()::text, '-', ''), 16);
            SELECT setval(pg_get_serial_sequence('messages', 'id'), greatest(position, 1), position > 0) FROM chat_log;
            COMMIT";
        databases::run(&self.url(), &sql);
    }
}

fn row(row: &tokio_postgres::Row) -> Option<Row> {
    let nonce: Option<Vec<u8>> = row.get(9);
    Some(Row {
        id: row.get::<_, Option<i64>>(1)?,
        seq: row.get(2),
        from: row.get(3),
        username: row.get(4),
        place: match row.get(5) {
            Some(room) => Where::Room(room),
            None => Where::Dm(row.get(6)),
        },
        content: row.get(7),
        timestamp: Timestamp::from_unix_ms(row.get(8)).to_string(),
        nonce: nonce.map(|nonce| String::from_utf8(nonce).unwrap()),
    })
}
