//! One server for one file. The lock is held by an open file beside the database, so it dies with its process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::OpenError;

/// A file that belongs to the database: `chat.db` and `lock` give `chat.db-lock`, as SQLite names its `-wal`.
pub fn companion(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-");
    name.push(suffix);
    name.into()
}

/// Held as long as this process serves the file.
#[derive(Debug)]
pub struct FileLock {
    /// The database itself, by the one name that every symbolic link to it leads to.
    pub database: PathBuf,
    _file: File,
}

impl FileLock {
    /// Locks the database at `path`, which need not exist yet.
    ///
    /// The lock lies on a file of its own: a lock on the database itself would be one of the POSIX locks by which SQLite
    /// talks to other processes on some systems.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let database = real_name(path)?;
        refuse_second_name(&database)?;
        let lock_path = companion(&database, "lock");
        let denied = |source| OpenError::NotWritable {
            path: lock_path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&lock_path).map_err(denied)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(OpenError::Locked {
                    path: database,
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(denied(source)),
        }
        // The process id is for the person who finds the file locked; a disk that is full does not stop the server.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self {
            database,
            _file: file,
        })
    }
}

/// The file's one name, through all symbolic links.
pub(super) fn real_name(path: &Path) -> Result<PathBuf, OpenError> {
    if let Ok(existing) = path.canonicalize() {
        return if existing.is_dir() {
            Err(OpenError::IsFolder(existing))
        } else {
            Ok(existing)
        };
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| OpenError::IsFolder(path.to_owned()))?;
    let folder = folder
        .canonicalize()
        .map_err(|source| OpenError::NoFolder {
            path: folder.to_owned(),
            source,
        })?;
    Ok(folder.join(name))
}

/// SQLite finds a file's WAL by name, so under a second hard link acknowledged messages would be missing
/// (<https://sqlite.org/howtocorrupt.html>, section 2.5).
fn refuse_second_name(database: &Path) -> Result<(), OpenError> {
    #[cfg(unix)]
    if let Ok(metadata) = database.metadata()
        && std::os::unix::fs::MetadataExt::nlink(&metadata) > 1
    {
        return Err(OpenError::HardLinked(database.to_owned()));
    }
    Ok(())
}
