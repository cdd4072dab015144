//! A look at a database file that changes nothing and leaves nothing behind, also beside a server that has it open.
//!
//! SQLite makes files beside a database that it only reads, unless it is told which it may rely on: with no log there is
//! nothing to share (`immutable`), with one the shared memory that lies there is read and not written (`readonly_shm`).

use std::{
    fmt::Write as _,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, access};

use super::{FileLock, OpenError, companion, lock, open};
use crate::store::Mode;

/// What was seen of the file.
#[derive(Debug)]
pub struct Inspection {
    /// Its one full name, also when it does not exist yet.
    pub database: PathBuf,
    /// The server that has it open.
    pub holder: Option<String>,
    /// `None`: there is nothing in it, or not all of it can be read without changing something.
    connection: Option<Connection>,
}

/// What a check of the whole file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Soundness {
    /// Nothing is wrong with it.
    Sound,
    /// SQLite's words for what is.
    Damaged(String),
    /// It took too long; nothing was found until then.
    Unfinished,
    /// There is nothing to check, or it cannot be read without changing something.
    Unknown,
}

impl Inspection {
    /// Looks at the file at `path`; an error is why no server could serve it, but for one that has it open already.
    pub fn of(path: &Path) -> Result<Self, OpenError> {
        let database = lock::real_name(path)?;
        lock::refuse_second_name(&database)?;
        judge_writable(&database)?;
        open::judge_header(&database)?;
        let holder = FileLock::holder(&database);
        let connection = read_only(&database, holder.is_some())
            .map_err(|source| open::refine(&database, source))?;
        let connection = match connection {
            Some(connection) if open::identify(&connection, &database)?.is_some() => {
                Some(connection)
            }
            _ => None,
        };
        Ok(Self {
            database,
            holder,
            connection,
        })
    }

    /// Whether it may be served in this mode.
    pub fn judge_mode(&self, asked: Mode, switch_mode: bool) -> Result<(), OpenError> {
        match self.connection.as_ref().map(open::mode) {
            Some(Ok(found)) => open::judge_mode(&self.database, found, asked, switch_mode),
            _ => Ok(()),
        }
    }

    /// When the newest message was stored, in Unix milliseconds.
    pub fn newest_ms(&self) -> Option<i64> {
        const NEWEST: &str = "SELECT timestamp FROM messages ORDER BY id DESC LIMIT 1";
        let connection = self.connection.as_ref()?;
        connection.query_row(NEWEST, [], |row| row.get(0)).ok()
    }

    /// Reads all of it, for as long as `patience` at most.
    pub fn soundness(&self, patience: Duration) -> Soundness {
        let Some(connection) = &self.connection else {
            return Soundness::Unknown;
        };
        let interrupt = connection.get_interrupt_handle();
        let (done, ended) = mpsc::channel::<()>();
        let told = thread::scope(|scope| {
            scope.spawn(move || {
                if ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            });
            let told =
                connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
            drop(done);
            told
        });
        match told {
            Ok(word) if word == "ok" => Soundness::Sound,
            Ok(fault) => Soundness::Damaged(fault),
            Err(error) => match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => Soundness::Unfinished,
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Soundness::Unknown,
                _ => Soundness::Damaged(error.to_string()),
            },
        }
    }
}

/// Whether this user may write everything that belongs to the database, asked of the system and not tried.
fn judge_writable(database: &Path) -> Result<(), OpenError> {
    let judge = |path: &Path, wanted| match access(path, wanted) {
        Err(error) if error != rustix::io::Errno::NOENT => Err(OpenError::NotWritable {
            path: path.to_owned(),
            source: io::Error::from(error),
        }),
        _ => Ok(()),
    };
    judge(
        lock::folder_of(database),
        Access::WRITE_OK | Access::EXEC_OK,
    )?;
    judge(database, Access::READ_OK | Access::WRITE_OK)?;
    ["wal", "shm", "lock"].into_iter().try_for_each(|suffix| {
        let path = companion(database, suffix);
        judge(&path, Access::READ_OK | Access::WRITE_OK)
    })
}

fn read_only(database: &Path, is_served: bool) -> rusqlite::Result<Option<Connection>> {
    if database.metadata().map_or(0, |file| file.len()) == 0 {
        return Ok(None);
    }
    let log = companion(database, "wal").metadata();
    let has_log = is_served || log.is_ok_and(|log| log.len() > 0);
    if !has_log {
        return connect(database, "?immutable=1").map(Some);
    }
    // Without its shared memory a log cannot be read, and the file without its log is not whole.
    if !companion(database, "shm").exists() {
        return Ok(None);
    }
    match connect(database, "?readonly_shm=1") {
        // A server may have left no mark in the shared memory that somebody who cannot set one could use. It holds all
        // files open, so that reading as others do makes none.
        Err(_) if is_served => connect(database, "").map(Some),
        connected => connected.map(Some),
    }
}

fn connect(database: &Path, options: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(database) + options, flags)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// As <https://sqlite.org/uri.html> wants it.
fn uri(database: &Path) -> String {
    let mut uri = String::from("file://");
    for &byte in database.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02x}");
        }
    }
    uri
}
