//! `chat-server new-epoch`: for a file that was copied back by hand.

use super::{file, print};
use crate::{
    config::{StartupError, StorageArgs},
    store::sqlite::new_epoch,
};

pub(super) fn run(storage: &StorageArgs) -> Result<u8, StartupError> {
    let done = new_epoch(&file(storage.database()?)?)?;
    print(&format!(
        "{}: epoch {} is now {}; clients that come with an old cursor are told to load their histories anew\n",
        done.database.display(),
        done.before,
        done.after
    ))?;
    Ok(0)
}
