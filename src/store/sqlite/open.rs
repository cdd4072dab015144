//! Opening the file: what is not ours, newer, or of the other mode is refused before a byte of it changes.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{FileLock, OLDEST_SQLITE, OpenError, companion, migrate};
use crate::{
    seeded::{self, Bug},
    store::{Mode, Options},
};

/// The connection for the writer, the lock, and the epoch.
pub(super) fn open(
    path: &Path,
    options: &Options,
) -> Result<(Connection, FileLock, String), OpenError> {
    let (mut connection, lock, version) = take_over(path)?;
    let path = lock.database.clone();
    let broken = |source| refine(&path, source);
    match version {
        None => create(&mut connection, options).map_err(broken)?,
        Some(version) => {
            let found = mode(&connection).map_err(broken)?;
            judge_mode(&path, found, options.mode, options.switch_mode)?;
            enter_wal(&connection).map_err(broken)?;
            migrate::migrate(&mut connection, &path, version)?;
            connection
                .execute(
                    "UPDATE log SET mode = ?1 WHERE mode <> ?1",
                    [options.mode.as_str()],
                )
                .map_err(broken)?;
        }
    }
    enter_wal(&connection).map_err(broken)?;
    let epoch = epoch(&connection).map_err(broken)?;
    empty_wal_on_close(&connection).map_err(broken)?;
    Ok((connection, lock, epoch))
}

/// Locks the file, making an empty one if there is none, and opens it if it is ours: a connection that has changed nothing
/// yet, and the schema version, `None` for an empty file.
pub(super) fn take_over(path: &Path) -> Result<(Connection, FileLock, Option<i32>), OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite(rusqlite::version()));
    }
    let mut lock = FileLock::take(path)?;
    let path = lock.database.clone();
    judge_header(&path)?;
    lock.hold_file_itself()?;
    let connection = raw_connection(&path).map_err(|source| refine(&path, source))?;
    let version = identify(&connection, &path)?;
    Ok((connection, lock, version))
}

/// A connection to the file at `path` beside whoever serves it, and its schema version, `None` for an empty file. What it
/// commits is as durable as the writer's; moving it into the file is left to the writer, or to the close when there is none.
pub(super) fn visit(path: &Path) -> Result<(Connection, Option<i32>), OpenError> {
    judge_header(path)?;
    let prepare = || {
        let connection = raw_connection(path)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        durable(&connection)?;
        Ok(connection)
    };
    let connection = prepare().map_err(|source| refine(path, source))?;
    let version = identify(&connection, path)?;
    // SQLite lets only the last connection of all processes do so.
    empty_wal_on_close(&connection).map_err(|source| refine(path, source))?;
    Ok((connection, version))
}

pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT epoch FROM log", [], |row| row.get(0))
}

/// A name that no other log has.
pub(super) fn random_epoch() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Undoes what [`raw_connection`] does for a file that may not be ours.
pub(super) fn empty_wal_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(|_| ())
}

/// The connection that writes, as at start: for a writer that must begin anew after an I/O error.
pub(super) fn writer_connection(path: &Path) -> rusqlite::Result<Connection> {
    let connection = raw_connection(path)?;
    enter_wal(&connection)?;
    empty_wal_on_close(&connection)?;
    Ok(connection)
}

/// The mode that the file at `path` remembers; `None` when there is none to read. Changes nothing.
pub fn remembered_mode(path: &Path) -> Option<Mode> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = path.canonicalize().ok()?;
    judge_header(&path).ok()?;
    mode(&Connection::open_with_flags(path, flags).ok()?).ok()
}

/// Reads no more than the 100 bytes of the file format's header (<https://sqlite.org/fileformat2.html#the_database_header>)
/// and refuses what they already show to be foreign or newer, before SQLite opens, and perhaps changes, anything.
pub(super) fn judge_header(path: &Path) -> Result<(), OpenError> {
    let mut header = [0; 100];
    let foreign = |what| {
        Err(OpenError::Foreign {
            path: path.to_owned(),
            what,
        })
    };
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    if length == 0 {
        // Before SQLite sees it: beside a new file it would delete what it takes for a stranger's log.
        let wal = companion(path, "wal").metadata();
        return match wal.is_ok_and(|wal| wal.len() > 0) {
            true => foreign(
                "there is nothing in it, and yet a write-ahead log lies beside it: put the file back that belongs to that log",
            ),
            false => Ok(()),
        };
    }
    let mut file = File::open(path).map_err(|source| OpenError::NotWritable {
        path: path.to_owned(),
        source,
    })?;
    if file.read_exact(&mut header).is_err() || header[..16] != *b"SQLite format 3\0" {
        return foreign("it does not begin like a SQLite file");
    }
    let field = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    judge_tags(path, field(68), field(60))
}

/// Judges `application_id` and `user_version`. A file of ours bears both from its first commit.
fn judge_tags(path: &Path, application_id: i32, version: i32) -> Result<(), OpenError> {
    match application_id {
        APPLICATION_ID if version < 1 => Err(OpenError::Foreign {
            path: path.to_owned(),
            what: "it is tagged as ours, with a schema version that never was",
        }),
        APPLICATION_ID if version > migrate::SCHEMA_VERSION => Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known: migrate::SCHEMA_VERSION,
        }),
        APPLICATION_ID => Ok(()),
        _ => Err(OpenError::Foreign {
            path: path.to_owned(),
            what: "it is another program's SQLite database",
        }),
    }
}

/// `chat` in ASCII; the same number stands in `schema.sql`.
const APPLICATION_ID: i32 = 0x6368_6174;

/// A connection that has changed nothing yet, and that leaves the WAL alone if it is closed now.
fn raw_connection(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// The schema version, read through SQLite, since a commit may lie in the log still; `None` for an empty database.
pub(super) fn identify(connection: &Connection, path: &Path) -> Result<Option<i32>, OpenError> {
    let broken = |source| refine(path, source);
    let tag = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(broken)
    };
    let (application_id, version) = (tag("application_id")?, tag("user_version")?);
    if (application_id, version) == (0, 0) {
        return Ok(None);
    }
    judge_tags(path, application_id, version)?;
    Ok(Some(version))
}

pub(super) fn refine(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign {
            path,
            what: "SQLite cannot read it",
        },
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen) => {
            OpenError::NotWritable {
                path,
                source: io::Error::other(source),
            }
        }
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OpenError::Busy(path)
        }
        _ => OpenError::Broken { path, source },
    }
}

/// Writes the schema. Still with a rollback journal, so that the first bytes of the file itself say whose it is.
fn create(connection: &mut Connection, options: &Options) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(migrate::SCHEMA)?;
    let epoch = random_epoch();
    transaction.execute(
        "INSERT INTO log (one, epoch, mode) VALUES (1, ?1, ?2)",
        [&epoch, options.mode.as_str()],
    )?;
    let now = options.clock.now().unix_ms();
    transaction.execute(
        "INSERT INTO rooms (name, created_at) VALUES ('general', ?1)",
        [now],
    )?;
    transaction.commit()
}

pub(super) fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    durable(connection)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

/// A commit survives a power cut.
fn durable(connection: &Connection) -> rusqlite::Result<()> {
    let synchronous = match seeded::has(Bug::SyncNormal) {
        true => "NORMAL",
        false => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // macOS keeps written data in the drive's cache unless asked twice; elsewhere this has no effect.
    connection.pragma_update(None, "fullfsync", true)
}

/// A WAL that grew beyond this is cut back to it: 64 MiB, sixteen times what a checkpoint waits for.
const WAL_KEPT_BYTES: i64 = 64 << 20;

pub(super) fn mode(connection: &Connection) -> rusqlite::Result<Mode> {
    connection.query_row("SELECT mode FROM log", [], |row| {
        Ok(Mode::parse(&row.get::<_, String>(0)?))
    })
}

pub(super) fn judge_mode(
    path: &Path,
    found: Mode,
    asked: Mode,
    switch_mode: bool,
) -> Result<(), OpenError> {
    if found == asked || switch_mode {
        return Ok(());
    }
    let (why, fix) = match found {
        Mode::Integrated => (
            "no JWT_SECRET is set, so anybody could sign up and read that team's history",
            "set JWT_SECRET (or --jwt-secret-file) to the backend's secret, or give another file to --db",
        ),
        Mode::Standalone => (
            "JWT_SECRET is set, and user 1 of a backend is not account 1 of this file",
            "unset JWT_SECRET to go on with the built-in accounts, or give another file to --db",
        ),
    };
    Err(OpenError::OtherMode {
        path: path.to_owned(),
        found,
        asked,
        why,
        fix,
    })
}
