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
    file: File,
    /// Closed only with the process: closing any handle of the database would drop SQLite's own locks on it.
    inode: Option<File>,
}

impl FileLock {
    /// Locks the database at `path`, which need not exist yet.
    ///
    /// The lock lies on a file of its own: on some systems a lock on the database itself would be one of those by which
    /// SQLite talks to other processes.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let database = the_one_name(path)?;
        let lock_path = companion(&database, "lock");
        let mut file = open_private(&lock_path)?;
        if !locked(&file, &lock_path)? {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = format!("process {}", holder.trim());
            return Err(OpenError::Locked {
                path: database,
                holder,
            });
        }
        // The process id is for the person who finds the file locked; a disk that is full does not stop the server.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self {
            database,
            file,
            inode: None,
        })
    }

    /// Who serves the database, for a person; `None`: nobody. Makes nothing, and is held by a look for no longer than
    /// that takes.
    pub(super) fn holder(database: &Path) -> Option<String> {
        let is_held = |file: &File| match file.try_lock_shared() {
            Ok(()) => file.unlock().is_err(),
            Err(error) => matches!(error, TryLockError::WouldBlock),
        };
        if let Ok(mut file) = File::open(companion(database, "lock"))
            && is_held(&file)
        {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Some(format!("process {}", holder.trim()));
        }
        let file = File::open(database).ok()?;
        (cfg!(target_os = "linux") && is_held(&file)).then(|| UNDER_ANOTHER_NAME.to_owned())
    }

    /// Makes the file if there is none, and locks it itself, too, where that is a lock of another kind than SQLite's: so
    /// that it is found under any name that a mount gives it. To be called once the file is known to be ours, and before
    /// SQLite opens it.
    pub(super) fn hold_file_itself(&mut self) -> Result<(), OpenError> {
        let file = open_private(&self.database)?;
        if !cfg!(target_os = "linux") {
            return Ok(());
        }
        if !locked(&file, &self.database)? {
            let holder = UNDER_ANOTHER_NAME.to_owned();
            return Err(OpenError::Locked {
                path: self.database.clone(),
                holder,
            });
        }
        self.inode = Some(file);
        Ok(())
    }
}

const UNDER_ANOTHER_NAME: &str = "under another name of the same file";

impl Drop for FileLock {
    /// Closing the file would not do: a child process that is being made shares the lock until it runs a program of its
    /// own, and a server that starts again at that moment would find its own file locked.
    fn drop(&mut self) {
        for file in self.inode.iter().chain([&self.file]) {
            let _ = file.unlock();
        }
    }
}

/// The database at `path` by the name under which SQLite finds what belongs to it; refused when it has two.
pub(super) fn the_one_name(path: &Path) -> Result<PathBuf, OpenError> {
    let database = real_name(path)?;
    refuse_second_name(&database)?;
    Ok(database)
}

/// Opens for writing; makes the file, for its owner alone, if there is none.
fn open_private(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| OpenError::NotWritable {
        path: path.to_owned(),
        source,
    })
}

/// Whether the lock could be taken; it dies with this process at the latest.
fn locked(file: &File, path: &Path) -> Result<bool, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(OpenError::NotWritable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Links that are followed before they count as a circle; as many as Linux follows.
const LINKS_MAX: usize = 40;

/// The file's one name, through all symbolic links, also through one whose target does not exist yet.
pub(super) fn real_name(path: &Path) -> Result<PathBuf, OpenError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = path.read_link() else { break };
        path = folder_of(&path).join(target);
    }
    if path.is_dir() {
        return Err(OpenError::IsFolder(path));
    }
    if path.exists() && !path.is_file() {
        return Err(OpenError::NoFile(path));
    }
    let name = path
        .file_name()
        .ok_or_else(|| OpenError::IsFolder(path.clone()))?;
    let folder = folder_of(&path);
    let folder = folder
        .canonicalize()
        .map_err(|source| OpenError::NoFolder {
            path: folder.to_owned(),
            source,
        })?;
    Ok(folder.join(name))
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// SQLite finds a file's WAL by name, so under a second hard link acknowledged messages would be missing
/// (<https://sqlite.org/howtocorrupt.html>, section 2.5).
pub(super) fn refuse_second_name(database: &Path) -> Result<(), OpenError> {
    #[cfg(unix)]
    if let Ok(metadata) = database.metadata()
        && std::os::unix::fs::MetadataExt::nlink(&metadata) > 1
    {
        return Err(OpenError::HardLinked(database.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_let_go_is_free_while_a_child_still_shares_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("chat.db");
        let mut lock = FileLock::take(&database).unwrap();
        lock.hold_file_itself().unwrap();
        let _shared = (
            lock.file.try_clone().unwrap(),
            lock.inode.as_ref().unwrap().try_clone().unwrap(),
        );
        assert!(matches!(
            FileLock::take(&database),
            Err(OpenError::Locked { .. })
        ));
        drop(lock);
        let mut again = FileLock::take(&database).unwrap();
        again.hold_file_itself().unwrap();
    }
}
