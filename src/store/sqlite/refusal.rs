//! What a file can be refused for, in words for the operator: each says which flag to change, or what else to do.

use std::{io, path::PathBuf};

use crate::store::Mode;

/// Why the file cannot be served, for the operator: each says which flag to change, or what else to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file.
    #[error(
        "the folder {path:?} of --db cannot be opened: {source}; make it, or give another path to --db"
    )]
    NoFolder {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Nothing there, where something must be.
    #[error("there is no chat-server database at {0:?}; give the path of one to --db")]
    Missing(PathBuf),
    /// Something else where a file is meant.
    #[error("--db {0:?} is a device or a pipe; give the path of a file, such as chat.db")]
    NoFile(PathBuf),
    /// A folder where a file is meant.
    #[error("--db {0:?} is a folder; give the path of a file in it, such as chat.db")]
    IsFolder(PathBuf),
    /// No permission.
    #[error(
        "{path:?} cannot be written: {source}; give this user write permission on it and its folder, or another path to --db"
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Another process serves it.
    #[error(
        "{path:?} is in use by another chat-server ({holder}); stop that one, or give another path to --db"
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Which one.
        holder: String,
    },
    /// Two names for one file.
    #[error(
        "{0:?} has a second name (a hard link), under which SQLite would not find its write-ahead log; remove one of the names, or give a copy to --db"
    )]
    HardLinked(PathBuf),
    /// Something else's file.
    #[error(
        "{path:?} is not a chat-server database ({what}); it was not touched: give another path to --db"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A copy that was broken off, or is under way.
    #[error(
        "{path} is half a copy, which cannot be served: run the same command again (chat-server copy FROM {path}), which begins it anew, or give another path to --db", path = .0.display()
    )]
    HalfCopy(PathBuf),
    /// Written by a later version.
    #[error(
        "{path:?} has schema version {found}, and this chat-server knows up to {known}; it was not touched: use a newer chat-server, or give another path to --db"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Written by an earlier version, and nobody has served it with this one yet.
    #[error(
        "{path:?} has schema version {found}, and this command needs {known}; it was not touched: start this chat-server on it once, which brings it up to date, or give another path to --db"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// The other mode's history.
    #[error("{path:?} holds the history of {found} mode, and this start is in {asked} mode ({why}); {fix}. To go on all the same, add --switch-mode", found = .found.as_str(), asked = .asked.as_str())]
    OtherMode {
        /// The file.
        path: PathBuf,
        /// What it remembers.
        found: Mode,
        /// What was asked for.
        asked: Mode,
        /// What could go wrong.
        why: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// Another program has it open and locked.
    #[error("another program holds a lock on {0:?}; close it there, then start again")]
    Busy(PathBuf),
    /// Damage, or a disk that fails.
    #[error(
        "{path:?} cannot be opened: {source}; if it is damaged, restore a backup: nothing was deleted"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// A migration that failed.
    #[error(
        "{path:?} could not be migrated: {source}; it is as it was, and a copy may lie in {copy:?}"
    )]
    Migration {
        /// The file.
        path: PathBuf,
        /// Its copy.
        copy: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// A SQLite with a known way to lose data.
    #[error(
        "SQLite {0} can corrupt a database in WAL mode; build chat-server with its bundled SQLite, 3.51.3 or newer"
    )]
    OldSqlite(&'static str),
    /// The operating system gave no thread.
    #[error(
        "the writer thread could not be started: {0}; raise the limit on processes (ulimit -u)"
    )]
    Thread(io::Error),
    /// The read connections.
    #[error("the database could not be opened for reading: {0}")]
    Readers(String),
}
