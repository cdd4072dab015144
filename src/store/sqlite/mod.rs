//! The log in one SQLite file: WAL, `synchronous=FULL`, one writer thread, a pool of readers.
//!
//! `FULL` is what makes "acknowledged" mean "survives a power cut": WAL syncs after every commit only then
//! (<https://sqlite.org/pragma.html#pragma_synchronous>). Group commit pays for it: see `writer.rs`.

mod beside;
mod epoch;
mod followers;
mod inbox;
mod inspect;
mod job;
mod listing;
mod lock;
mod migrate;
mod open;
mod reader;
mod refusal;
mod statements;
mod writer;

use std::path::Path;

use tokio::sync::{mpsc, oneshot};

pub use beside::Beside;
pub use epoch::{NewEpoch, new_epoch};
pub use inspect::{Inspection, Soundness};
pub use lock::{FileLock, companion};
pub use migrate::SCHEMA_VERSION;
pub use open::remembered_mode;
pub use refusal::OpenError;

use super::{
    Account, Answer, AppendError, CommitFeed, Counters, Directory, Messages, NewAccount,
    NewMessage, Options, Page, Receipt, RoomOutcome, Scope, StoreError, StoredRoom, User, feed,
};
use crate::protocol::{Ack, Cursor, Listing, Message, RoomName, UserId, Username, Window};
use job::Job;
use reader::Readers;
use writer::Writer;

/// Oldest SQLite without the WAL-reset bug (<https://sqlite.org/wal.html#walresetbug>): 3.51.3.
pub const OLDEST_SQLITE: i32 = 3_051_003;

/// The SQLite that is built in.
pub fn version() -> &'static str {
    rusqlite::version()
}

/// The open file. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    readers: Readers,
    epoch: String,
    patience: std::time::Duration,
}

/// Ends the writer: returned beside the store, and kept by whoever stops the program.
#[derive(Debug)]
pub struct WriterHandle {
    jobs: mpsc::Sender<Job>,
    thread: std::thread::JoinHandle<()>,
    lock: FileLock,
}

impl SqliteStore {
    /// Opens the file, making or migrating it if need be, and starts its writer. Blocks: not for an async thread.
    ///
    /// The file is left as it was when it belongs to something else, to a newer version or to the other mode.
    pub fn open(
        path: &Path,
        options: &Options,
        counters: Counters,
    ) -> Result<(Self, CommitFeed, WriterHandle), OpenError> {
        let (connection, lock, epoch) = open::open(path, options)?;
        let (feed_sender, feed) = feed(options.feed_batches);
        let (jobs, line) = mpsc::channel(options.write_queue);
        let readers = Readers::open(&lock.database, options.readers, options.patience)?;
        let announced = reader::latest_id(&connection).map_err(|source| OpenError::Broken {
            path: lock.database.clone(),
            source,
        })?;
        let writer = Writer::new(
            connection,
            lock.database.clone(),
            line,
            feed_sender,
            announced,
            options,
            counters,
        );
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        let handle = WriterHandle {
            jobs: jobs.clone(),
            thread,
            lock,
        };
        Ok((
            Self {
                jobs,
                readers,
                epoch,
                patience: options.patience,
            },
            feed,
            handle,
        ))
    }

    /// Puts a job in line and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(job(reply)).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Uncertain("the writer ended".into())))
    }

    async fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        use mpsc::error::SendTimeoutError::{Closed, Timeout};
        self.jobs
            .send_timeout(job, self.patience)
            .await
            .map_err(|error| match error {
                Timeout(_) => StoreError::Unavailable("the write queue is full"),
                Closed(_) => StoreError::Unavailable("the writer has stopped"),
            })
    }
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

impl WriterHandle {
    /// The file, by its one full name.
    pub fn database(&self) -> &Path {
        &self.lock.database
    }

    /// Commits what is in line, moves the WAL into the file and closes it. Blocks until that is done.
    pub fn stop(self) {
        let _ = self.jobs.blocking_send(Job::Stop);
        let _ = self.thread.join();
    }
}

impl Messages for SqliteStore {
    fn append(&self, message: NewMessage) -> Answer<'_, Result<Receipt, StoreError>> {
        Box::pin(async move {
            let (reply, receipt) = oneshot::channel::<Result<Ack, AppendError>>();
            self.enqueue(Job::Append { message, reply }).await?;
            Ok(Receipt::new(receipt))
        })
    }

    fn read(
        &self,
        scope: Scope,
        window: Window,
        max_bytes: usize,
    ) -> Answer<'_, Result<Page, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| reader::page(connection, &scope, window, max_bytes)),
        )
    }

    fn count(
        &self,
        scope: Scope,
        after: Cursor,
        until: Cursor,
        enough: u32,
    ) -> Answer<'_, Result<u32, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| reader::count(connection, &scope, after, until, enough)),
        )
    }

    fn latest_id(&self) -> Answer<'_, Result<Cursor, StoreError>> {
        Box::pin(self.readers.run(reader::latest_id))
    }

    fn epoch(&self) -> &str {
        &self.epoch
    }
}

impl Directory for SqliteStore {
    fn user(&self, id: UserId) -> Answer<'_, Result<Option<User>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| reader::user(connection, id)),
        )
    }

    fn see_user(&self, id: UserId, username: Username) -> Answer<'_, Result<User, StoreError>> {
        Box::pin(self.ask(move |reply| Job::SeeUser {
            id,
            username,
            reply,
        }))
    }

    fn room_exists(&self, room: RoomName) -> Answer<'_, Result<bool, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| reader::room_exists(connection, &room)),
        )
    }

    fn create_room(
        &self,
        room: RoomName,
        max_rooms: u64,
    ) -> Answer<'_, Result<RoomOutcome, StoreError>> {
        Box::pin(self.ask(move |reply| Job::CreateRoom {
            room,
            max_rooms,
            reply,
        }))
    }

    fn rooms(
        &self,
        after: Option<RoomName>,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<StoredRoom>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| listing::rooms(connection, after, limit, max_bytes)),
        )
    }

    fn users(&self, after: i64, limit: u32) -> Answer<'_, Result<Listing<User>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| listing::users(connection, after, limit)),
        )
    }

    fn conversations(
        &self,
        user: UserId,
        before: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Listing<(User, Message)>, StoreError>> {
        Box::pin(self.readers.run(move |connection| {
            listing::conversations(connection, user, before, limit, max_bytes)
        }))
    }

    fn account(&self, name: Username) -> Answer<'_, Result<Option<Account>, StoreError>> {
        Box::pin(
            self.readers
                .run(move |connection| reader::account(connection, &name)),
        )
    }

    fn create_account(&self, account: NewAccount) -> Answer<'_, Result<Option<User>, StoreError>> {
        Box::pin(self.ask(move |reply| Job::CreateAccount { account, reply }))
    }

    fn probe(&self) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(self.ask(|reply| Job::Probe { reply }))
    }
}

#[cfg(test)]
mod tests {
    use super::migrate;

    /// How SQLite would run `sql`, which takes so many parameters, on a new file.
    pub(super) fn plan(sql: &str, params: usize) -> String {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(migrate::SCHEMA).unwrap();
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = connection.prepare(&explain).unwrap();
        let none = rusqlite::params_from_iter(vec![None::<i64>; params]);
        let rows = statement.query_map(none, |row| row.get("detail")).unwrap();
        let plan: Vec<String> = rows.map(Result::unwrap).collect();
        plan.join("\n")
    }
}
