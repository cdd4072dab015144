//! Another name for a log that is no longer what its readers knew: a file that was copied back by hand.

use std::path::{Path, PathBuf};

use super::{OpenError, open};

/// What `new_epoch` did.
#[derive(Debug)]
pub struct NewEpoch {
    /// The file, by its full name.
    pub database: PathBuf,
    /// The name that clients with an old cursor still give.
    pub before: String,
    /// The name from now on.
    pub after: String,
}

/// Gives the log at `path` a new epoch, durably. Messages and ids stay; cursors taken before are refused from now on.
///
/// Fails when there is no such file, when it is not ours, and when a server has it open.
pub fn new_epoch(path: &Path) -> Result<NewEpoch, OpenError> {
    if !path.is_file() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let (connection, lock, version) = open::take_over(path)?;
    let database = lock.database.clone();
    if version.is_none() {
        return Err(OpenError::Missing(database));
    }
    let after = open::random_epoch();
    let change = || {
        open::enter_wal(&connection)?;
        let before = open::epoch(&connection)?;
        connection.execute("UPDATE log SET epoch = ?1", [&after])?;
        open::empty_wal_on_close(&connection)?;
        Ok(before)
    };
    let before = change().map_err(|source| open::refine(&database, source))?;
    Ok(NewEpoch {
        database,
        before,
        after,
    })
}
