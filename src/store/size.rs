//! How large a log is: a look at the file, or a question to the database, which is not asked more often than it changes.

use std::path::{Path, PathBuf};

use super::sqlite::companion;

/// How large a log is, whenever somebody asks.
#[derive(Debug)]
pub struct Size(Of);

#[derive(Debug)]
enum Of {
    File {
        database: PathBuf,
        wal: PathBuf,
    },
    #[cfg(feature = "postgres")]
    Postgres(database::Database),
}

/// How large it is now, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The file, or the database with all its tables.
    pub bytes: u64,
    /// The write-ahead log beside a file.
    pub wal_bytes: Option<u64>,
}

impl Size {
    pub(super) fn of_file(database: &Path) -> Self {
        Self(Of::File {
            database: database.to_owned(),
            wal: companion(database, "wal"),
        })
    }

    /// How large it is now. Blocks: only for threads that may.
    pub fn now(&self) -> Extent {
        // A file that cannot be asked has no size that could be told.
        let bytes = |path: &Path| path.metadata().map_or(0, |file| file.len());
        match &self.0 {
            Of::File { database, wal } => Extent {
                bytes: bytes(database),
                wal_bytes: Some(bytes(wal)),
            },
            #[cfg(feature = "postgres")]
            Of::Postgres(database) => Extent {
                bytes: database.bytes(),
                wal_bytes: None,
            },
        }
    }
}

#[cfg(feature = "postgres")]
mod database {
    use std::{
        sync::{Arc, Mutex, PoisonError},
        time::{Duration, Instant},
    };

    use tokio::{runtime::Handle, time::timeout};

    use super::{super::postgres::PgStore, Of, Size};

    /// The server looks at every file of the database for this.
    const ASK_EVERY: Duration = Duration::from_secs(10);
    /// Who looks at a page waits no longer.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// What was last heard, and when.
    #[derive(Debug)]
    pub(super) struct Database {
        store: Arc<PgStore>,
        known: Mutex<Option<(Instant, u64)>>,
    }

    impl Database {
        pub(super) fn bytes(&self) -> u64 {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((when, bytes)) = *known
                && when.elapsed() < ASK_EVERY
            {
                return bytes;
            }
            let asked = Handle::current().block_on(timeout(PATIENCE, self.store.bytes()));
            // One that does not answer is as large as it was.
            let bytes = match asked {
                Ok(Ok(bytes)) => bytes,
                _ => known.map_or(0, |(_, bytes)| bytes),
            };
            *known = Some((Instant::now(), bytes));
            bytes
        }
    }

    impl Size {
        pub(in crate::store) fn of_postgres(store: Arc<PgStore>) -> Self {
            Self(Of::Postgres(Database {
                store,
                known: Mutex::new(None),
            }))
        }
    }
}
