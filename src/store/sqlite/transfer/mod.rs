//! A file as one end of a copy.
//!
//! A file that is being filled bears a tag of its own, from its first commit until everything in it was compared: so
//! nobody serves it, and whoever tries is told what it is. One that was left behind is deleted and begun anew.

mod rows;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior};

use super::{FileLock, OpenError, SCHEMA_VERSION, companion, migrate, open};
use crate::store::{
    Answer,
    transfer::{Facts, Fault, Found, KEPT, Kept, Kind, Row, Source, Target},
};
use rows::Sql;

/// For the indexes of a file that grows: 64 MiB, in SQLite's unit.
const CACHE: i64 = -(64 << 10);

/// A file that nobody else has open.
struct End {
    connection: Connection,
    lock: FileLock,
}

/// Opens the log at `path` for reading. It is not changed.
pub(in crate::store) fn open_source(path: &Path) -> Result<Box<dyn Source>, Fault> {
    if !path.is_file() {
        return Err(OpenError::Missing(path.to_owned()).into());
    }
    let (connection, lock, version) = open::take_over(path)?;
    let database = lock.database.clone();
    Ok(Box::new(End::holding(connection, lock, version).map_err(
        |fault| match fault {
            Holding::Nothing => OpenError::Missing(database).into(),
            Holding::Fault(fault) => fault,
        },
    )?))
}

/// Opens `path` for writing: a new file, or one that an earlier copy left.
pub(in crate::store) fn open_target(path: &Path, facts: &Facts) -> Result<Found, Fault> {
    let mut lock = FileLock::take(path)?;
    let database = lock.database.clone();
    let mut is_half = match open::judge_header(&database) {
        Err(OpenError::HalfCopy(_)) => true,
        judged => judged.map(|()| false)?,
    };
    let is_empty = database.metadata().map_or(0, |file| file.len()) == 0;
    if !is_half && !is_empty {
        lock.hold_file_itself()?;
        let connection =
            open::raw_connection(&database).map_err(|source| open::refine(&database, source))?;
        match open::identify(&connection, &database) {
            Ok(Some(version)) => return filled(connection, lock, version, facts),
            // The last step of the copy was undone just now.
            Err(OpenError::HalfCopy(_)) => is_half = true,
            other => other.map(drop)?,
        }
    }
    if is_half {
        remove(&database).map_err(|source| OpenError::NotWritable {
            path: database.clone(),
            source,
        })?;
    }
    judge_secrets(&database, facts)?;
    lock.hold_file_itself()?;
    let broken = |source| Fault::from(open::refine(&database, source));
    let mut connection = open::raw_connection(&database).map_err(broken)?;
    begin(&mut connection, facts).map_err(broken)?;
    Ok(Found::Empty(Box::new(End { connection, lock })))
}

/// Why a file that is ours is not read from.
enum Holding {
    Nothing,
    Fault(Fault),
}

impl From<rusqlite::Error> for Holding {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(Fault::new(format!("the file cannot be read: {error}")))
    }
}

impl End {
    /// One moment's view of a file that holds a log.
    fn holding(
        connection: Connection,
        lock: FileLock,
        version: Option<i32>,
    ) -> Result<Self, Holding> {
        match version {
            None => return Err(Holding::Nothing),
            Some(found) if found < SCHEMA_VERSION => {
                let error = OpenError::Older {
                    path: lock.database.clone(),
                    found,
                    known: SCHEMA_VERSION,
                };
                return Err(Holding::Fault(error.into()));
            }
            Some(_) => {}
        }
        connection.pragma_update(None, "query_only", true)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection, lock })
    }

    fn database(&self) -> &Path {
        &self.lock.database
    }

    fn refused(&self, what: &str, error: rusqlite::Error) -> Fault {
        let database = self.database().display();
        Fault::new(format!("{database} cannot be {what}: {error}"))
    }

    fn commit(&mut self, facts: &Facts) -> Sql<()> {
        rows::insert_log(&self.connection, facts)?;
        self.connection.execute_batch("COMMIT")?;
        // What is compared is read from the file, and not from what this connection remembers.
        self.connection = open::raw_connection(self.database())?;
        Ok(())
    }
}

/// A file with a log in it: this one, or another, which is not touched.
fn filled(
    connection: Connection,
    lock: FileLock,
    version: i32,
    facts: &Facts,
) -> Result<Found, Fault> {
    let database = lock.database.clone();
    let epoch = open::epoch(&connection).map_err(|source| open::refine(&database, source))?;
    if epoch != facts.epoch {
        return Err(Fault::new(format!(
            "{} holds another log (epoch {epoch}, and FROM is {}), and was not touched; give the path of a new file",
            database.display(),
            facts.epoch,
        )));
    }
    match End::holding(connection, lock, Some(version)) {
        Ok(end) => Ok(Found::Filled(Box::new(end))),
        Err(Holding::Fault(fault)) => Err(fault),
        Err(Holding::Nothing) => Err(OpenError::Missing(database).into()),
    }
}

/// Deletes what a copy left; what belongs to the file before the file itself, or it could be taken for another's.
fn remove(database: &Path) -> io::Result<()> {
    let beside = ["journal", "wal", "shm"].map(|suffix| companion(database, suffix));
    for path in beside.iter().map(PathBuf::as_path).chain([database]) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The schema, with the tag of a copy, and the transaction for all that is to be written. Still with a rollback journal, so
/// that the first bytes of the file tell what it is.
fn begin(connection: &mut Connection, facts: &Facts) -> Sql<()> {
    connection.pragma_update(None, "cache_size", CACHE)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(migrate::SCHEMA)?;
    transaction.pragma_update(None, "application_id", open::COPY_ID)?;
    transaction.commit()?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    rows::insert_followers(connection, facts)
}

fn secret_at(database: &Path, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let path = companion(database, name);
    match fs::read(&path) {
        Ok(mut value) => {
            for end in [b'\n', b'\r'] {
                if value.last() == Some(&end) {
                    value.pop();
                }
            }
            Ok(Some(value))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::secret(&path, &error)),
    }
}

/// A secret that lies there already is not overwritten: it may be all that is left of something.
fn judge_secrets(database: &Path, facts: &Facts) -> Result<(), Fault> {
    for name in KEPT {
        let wanted = facts.secrets.iter().find(|kept| kept.name == name);
        let found = secret_at(database, name)?;
        if found.is_some() && found.as_ref() != wanted.map(|kept| &kept.value) {
            return Err(Fault::new(format!(
                "{} is there already and holds another secret than FROM has; move it away, or give another path",
                companion(database, name).display()
            )));
        }
    }
    Ok(())
}

/// Readable by its owner alone, and whole or not at all.
fn keep_secret(database: &Path, kept: &Kept) -> Result<(), Fault> {
    if secret_at(database, kept.name)?.is_some() {
        return Ok(());
    }
    let path = companion(database, kept.name);
    let draft = path.with_added_extension("draft");
    let write = || {
        let _ = fs::remove_file(&draft);
        let mut options = fs::File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        io::Write::write_all(&mut file, &kept.value)?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    write().map_err(|error| Fault::secret(&path, &error))
}

fn ready<'a, T: Send + 'a>(result: Result<T, Fault>) -> Answer<'a, Result<T, Fault>> {
    Box::pin(std::future::ready(result))
}

impl Source for End {
    fn facts(&mut self) -> Answer<'_, Result<Facts, Fault>> {
        let read = rows::facts(&self.connection);
        let mut facts = match read.map_err(|error| self.refused("read", error)) {
            Ok(facts) => facts,
            Err(fault) => return ready(Err(fault)),
        };
        for name in KEPT {
            match secret_at(self.database(), name) {
                Ok(value) => facts
                    .secrets
                    .extend(value.map(|value| Kept { name, value })),
                Err(fault) => return ready(Err(fault)),
            }
        }
        ready(Ok(facts))
    }

    fn page<'a>(
        &'a mut self,
        kind: Kind,
        after: Option<&'a Row>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<Row>, Fault>> {
        let read = rows::page(&self.connection, kind, after, limit);
        ready(read.map_err(|error| self.refused("read", error)))
    }

    fn left_out(&mut self) -> Answer<'_, Result<Vec<String>, Fault>> {
        let read = rows::notes(&self.connection);
        ready(read.map_err(|error| self.refused("read", error)))
    }
}

impl Target for End {
    fn put<'a>(&'a mut self, _: Kind, rows: &'a [Row]) -> Answer<'a, Result<(), Fault>> {
        let mut rows = rows.iter();
        let written = rows.try_for_each(|row| rows::insert(&self.connection, row));
        ready(written.map_err(|error| self.refused("written", error)))
    }

    fn settle<'a>(&'a mut self, facts: &'a Facts) -> Answer<'a, Result<(), Fault>> {
        let mut secrets = facts.secrets.iter();
        let kept = secrets.try_for_each(|kept| keep_secret(self.database(), kept));
        let written = kept.and_then(|()| {
            let committed = self.commit(facts);
            committed.map_err(|error| self.refused("written", error))
        });
        ready(written)
    }

    fn finish(self: Box<Self>) -> Answer<'static, Result<(), Fault>> {
        let tag = ("application_id", open::APPLICATION_ID);
        let finished = self.connection.pragma_update(None, tag.0, tag.1);
        ready(finished.map_err(|error| self.refused("written", error)))
    }
}
