//! `chat-server new-epoch`: for a file that was copied back by hand, or a database that was restored.

use super::print;
use crate::{
    config::{StartupError, StorageArgs},
    store::new_epoch,
};

pub(super) async fn run(storage: &StorageArgs) -> Result<u8, StartupError> {
    let done = new_epoch(&storage.database()?).await?;
    print(&format!(
        "{}: epoch {} is now {}; clients that come with an old cursor are told to load their histories anew\n",
        done.place, done.before, done.after
    ))?;
    Ok(0)
}
