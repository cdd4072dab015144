//! The log of a server that runs in a folder, wherever it lies: in the file there, or in the database that stands for it.

use std::path::{Path, PathBuf};

use chat_server::store::Location;

#[cfg(feature = "postgres")]
use super::tables::LogTables;
use super::{file::LogFile, link::Change};
use crate::oracle::trace::Row;

/// What an operator can do to a log, past the server.
#[derive(Debug)]
pub enum Kept {
    File(LogFile),
    #[cfg(feature = "postgres")]
    Tables(LogTables),
}

impl Kept {
    /// Where logs lie in this run of the tests.
    pub fn new() -> Self {
        #[cfg(feature = "postgres")]
        if crate::common::on_postgres() {
            return Self::Tables(LogTables::new());
        }
        Self::file()
    }

    pub fn file() -> Self {
        Self::File(LogFile::new())
    }

    #[cfg(feature = "postgres")]
    pub fn tables() -> Self {
        Self::Tables(LogTables::new())
    }

    /// The one of a folder that is somebody else's.
    pub fn in_folder(folder: &Path) -> Self {
        #[cfg(feature = "postgres")]
        if crate::common::on_postgres() {
            return Self::Tables(LogTables::in_folder(folder));
        }
        Self::File(LogFile::in_folder(folder))
    }

    /// What is in the one of `folder`.
    pub fn read_in(folder: &Path) -> (String, Vec<Row>) {
        Self::in_folder(folder).read()
    }

    pub fn folder(&self) -> PathBuf {
        match self {
            Self::File(file) => file.folder().to_owned(),
            #[cfg(feature = "postgres")]
            Self::Tables(tables) => tables.folder().to_owned(),
        }
    }

    pub fn location(&self) -> Location {
        match self {
            Self::File(file) => Location::File(file.path()),
            #[cfg(feature = "postgres")]
            Self::Tables(tables) => {
                let url = chat_server::store::postgres::Url::parse(&tables.url());
                Location::Postgres(url.unwrap())
            }
        }
    }

    /// Its name, and all that is in it.
    pub fn read(&self) -> (String, Vec<Row>) {
        match self {
            Self::File(file) => file.read(),
            #[cfg(feature = "postgres")]
            Self::Tables(tables) => tables.read(),
        }
    }

    /// Copies what is stored now, whether a server has it open or not.
    pub fn back_up(&self) {
        match self {
            Self::File(file) => file.back_up(),
            #[cfg(feature = "postgres")]
            Self::Tables(tables) => tables.back_up(),
        }
    }

    /// Changes it while no server has it open. Without a backup, a restore is a wipe.
    pub fn change(&self, change: Change) {
        match self {
            Self::File(file) => file.change(change),
            #[cfg(feature = "postgres")]
            Self::Tables(tables) => tables.change(change),
        }
    }
}
