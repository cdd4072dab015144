//! Opening a log, wherever it lies: what is above this module does not know which it is.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::{CommitFeed, Secrets, Size, Store, sqlite};
use crate::{clock::Clock, metrics::Commits};

#[cfg(feature = "postgres")]
use super::postgres;

/// Where a log lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a file.
    File(PathBuf),
    /// In a PostgreSQL database.
    #[cfg(feature = "postgres")]
    Postgres(postgres::Url),
}

impl Location {
    /// A file by its one full name, if it has one yet.
    pub fn canonical(&self) -> Self {
        match self {
            Self::File(path) => Self::File(path.canonicalize().unwrap_or_else(|_| path.clone())),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => Self::Postgres(url.clone()),
        }
    }
}

impl fmt::Display for Location {
    /// For the operator; never a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Who hands out user ids, and so whose history a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A backend, by the tokens it signs.
    Integrated,
    /// The built-in accounts.
    Standalone,
}

impl Mode {
    /// The word that a log remembers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integrated => "integrated",
            Self::Standalone => "standalone",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        if text == "integrated" {
            Self::Integrated
        } else {
            Self::Standalone
        }
    }
}

/// How hard a log may work, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who hands out user ids; must be what the log remembers.
    pub mode: Mode,
    /// Overwrites what the log remembers.
    pub switch_mode: bool,
    /// Jobs in line for the writer.
    pub write_queue: usize,
    /// Most jobs in one transaction.
    pub batch_max: usize,
    /// Commits that the relay may be behind.
    pub feed_batches: usize,
    /// Reads at the same time.
    pub readers: u32,
    /// How long a job waits for room in the line, or a read for a free connection.
    pub patience: Duration,
    /// How long a database server that does not answer yet is waited for when it is opened.
    pub wait: Duration,
    /// Stamps what is stored.
    pub clock: Clock,
}

/// What a writer counts.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Messages stored.
    pub messages: prometheus_client::metrics::counter::Counter,
    /// Transactions committed.
    pub commits: Arc<Commits>,
}

/// An open log.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub store: Arc<dyn Store>,
    /// What is stored from now on.
    pub feed: CommitFeed,
    /// What is kept secret with it.
    pub secrets: Secrets,
    /// How large it is.
    pub size: Size,
    /// To be kept by whoever stops the program.
    pub ending: Ending,
    /// Where it lies, by its full name: for the operator.
    pub place: String,
    /// What keeps it, with its version.
    pub engine: String,
}

/// Ends the writer of an open log.
#[derive(Debug)]
pub struct Ending(Writer);

#[derive(Debug)]
enum Writer {
    Sqlite(sqlite::WriterHandle),
    #[cfg(feature = "postgres")]
    Postgres(postgres::WriterHandle),
}

impl Ending {
    /// Resolves when the writer, or what tells of its commits, has died. A file's writer is seen by the end of its feed.
    pub async fn failed(&self) {
        match &self.0 {
            Writer::Sqlite(_) => std::future::pending().await,
            #[cfg(feature = "postgres")]
            Writer::Postgres(writer) => writer.failed().await,
        }
    }

    /// Commits what is in line and closes everything; whether that went in order.
    pub async fn stop(self) -> bool {
        match self.0 {
            Writer::Sqlite(writer) => {
                let stopped = tokio::task::spawn_blocking(move || writer.stop());
                stopped.await.is_ok()
            }
            #[cfg(feature = "postgres")]
            Writer::Postgres(writer) => {
                writer.stop().await;
                true
            }
        }
    }
}

/// Why a log cannot be served, for the operator: each says what is wrong and what to change.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error(transparent)]
    File(#[from] sqlite::OpenError),
    /// The PostgreSQL database.
    #[cfg(feature = "postgres")]
    #[error("{place}: {error}; {fix}", fix = .error.fix())]
    Postgres {
        /// Which, without what opens it.
        place: String,
        /// What is wrong with it.
        error: postgres::OpenError,
    },
}

#[cfg(feature = "postgres")]
impl OpenError {
    /// What is wrong with the database at `place`.
    pub(super) fn at(place: impl fmt::Display) -> impl FnOnce(postgres::OpenError) -> Self {
        let place = place.to_string();
        |error| Self::Postgres { place, error }
    }
}

/// Opens the log at `location`, making or migrating it if need be, and starts its writer.
///
/// It is left as it was when it belongs to something else, to a newer version or to the other mode.
pub async fn open(
    location: &Location,
    options: &Options,
    counters: Counters,
) -> Result<Opened, OpenError> {
    match location {
        Location::File(path) => {
            let (path, options) = (path.clone(), options.clone());
            let opening = move || {
                sqlite::SqliteStore::open(&path, &options, counters).map_err(OpenError::from)
            };
            let opened = tokio::task::spawn_blocking(opening).await;
            let (store, feed, writer) = opened
                .map_err(|error| sqlite::OpenError::Thread(std::io::Error::other(error)))??;
            let path = writer.database().to_owned();
            Ok(Opened {
                store: Arc::new(store),
                feed,
                secrets: Secrets::of(&Location::File(path.clone())),
                size: Size::of_file(&path),
                place: path.display().to_string(),
                engine: format!("SQLite {}", sqlite::version()),
                ending: Ending(Writer::Sqlite(writer)),
            })
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => {
            let (store, feed, writer) = postgres::PgStore::open(url, options, counters)
                .await
                .map_err(OpenError::at(url))?;
            let store = Arc::new(store);
            Ok(Opened {
                secrets: Secrets::of(location),
                engine: store.engine().await.map_err(OpenError::at(url))?,
                size: Size::of_postgres(store.clone()),
                store,
                feed,
                place: url.to_string(),
                ending: Ending(Writer::Postgres(writer)),
            })
        }
    }
}
