//! The one thread that writes. It takes a job, drains what else is in line, and makes one transaction of it all.
//!
//! No timer: a batch is what arrived while the last commit was on the disk, so one sender waits for one sync and a
//! thousand senders share one. After the commit, first the feed hears of the messages, in id order, then the senders.
//! What the statements say is in [`super::statements`]; this file decides when they run and what a failure means.

use std::{path::PathBuf, sync::Arc, time::Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::{
    job::{Job, Outcome},
    open, reader, statements,
};
use crate::{
    clock::Clock,
    protocol::{Ack, Cursor, Message},
    seeded::{self, Bug, Step},
    store::{AppendError, Committed, Counters, FeedSender, Options, StoreError},
};

/// Who waits for an acknowledgement, and what it says.
type Receipts = Vec<(
    oneshot::Sender<Result<Ack, AppendError>>,
    Result<Ack, AppendError>,
)>;

/// Why a transaction came to nothing.
enum Fault {
    /// Rolled back for certain.
    Undone(StoreError),
    /// The commit itself failed: its frames may or may not be on the disk.
    Unknown(String),
}

pub(super) struct Writer {
    /// `None` after an I/O error in a commit: the next batch begins with a new connection, since after a failed sync
    /// nothing that the old one says about the file can be trusted.
    connection: Option<Connection>,
    database: PathBuf,
    line: mpsc::Receiver<Job>,
    feed: FeedSender,
    /// Everything up to here has gone into the feed, or was there before this process.
    announced: Cursor,
    batch_max: usize,
    clock: Clock,
    counters: Counters,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        database: PathBuf,
        line: mpsc::Receiver<Job>,
        feed: FeedSender,
        announced: Cursor,
        options: &Options,
        counters: Counters,
    ) -> Self {
        Self {
            announced,
            connection: Some(connection),
            database,
            line,
            feed,
            batch_max: options.batch_max,
            clock: options.clock.clone(),
            counters,
        }
    }

    /// Works until [`Job::Stop`], then moves the WAL into the file.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(self.batch_max);
        loop {
            let taken = self.line.blocking_recv_many(&mut batch, self.batch_max);
            let stop = taken == 0 || batch.iter().any(|job| matches!(job, Job::Stop));
            batch.retain(|job| !matches!(job, Job::Stop));
            if !batch.is_empty() {
                seeded::step(Step::Dequeued);
                self.commit(std::mem::take(&mut batch));
            }
            if stop {
                break;
            }
        }
        self.checkpoint();
    }

    /// One transaction for the whole batch; when that fails for certain, one for each job, so that a bad one sinks alone.
    fn commit(&mut self, batch: Vec<Job>) {
        let begun = Instant::now();
        match self.transact(&batch) {
            Ok(outcomes) => {
                let writes = batch.len();
                self.counters.commits.observe(begun.elapsed(), writes);
                self.announce(batch, outcomes);
            }
            // Busy is no row's fault: one by one they would only wait once each.
            Err(Fault::Undone(error))
                if batch.len() > 1 && !matches!(error, StoreError::Unavailable(_)) =>
            {
                for job in batch {
                    self.commit(vec![job]);
                }
            }
            Err(Fault::Undone(error)) => {
                for job in batch {
                    job.fail(&error);
                }
            }
            Err(Fault::Unknown(error)) => {
                tracing::error!(%error, jobs = batch.len(), "a commit failed, its outcome is not known: reopening the file");
                self.connection = None;
                for job in batch {
                    job.fail(&StoreError::Uncertain(error.clone()));
                }
            }
        }
    }

    fn transact(&mut self, batch: &[Job]) -> Result<Vec<Outcome>, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .reopen()
                .map_err(|error| Fault::Undone(translate(error)))?,
        };
        let connection = self.connection.insert(connection);
        let undone = |connection: &Connection, error| {
            // After some errors SQLite has rolled back by itself (<https://sqlite.org/lang_transaction.html>, section 3.1).
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "rolling back failed");
            }
            Fault::Undone(translate(error))
        };
        let now = self.clock.now();
        run(connection, "BEGIN IMMEDIATE").map_err(|error| undone(connection, error))?;
        let outcomes = batch
            .iter()
            .map(|job| statements::apply(connection, job, now))
            .collect::<Result<Vec<_>, _>>();
        let outcomes = outcomes.map_err(|error| undone(connection, error))?;
        if seeded::has(Bug::AckBeforeCommit) || seeded::has(Bug::BroadcastBeforeCommit) {
            return Ok(outcomes);
        }
        match commit(connection) {
            Ok(()) => Ok(outcomes),
            // A frame was not written whole, and the one that completes the transaction is the last: it is not there.
            Err(error) if found_no_room(&error) => Err(undone(connection, error)),
            Err(error) => {
                let text = error.to_string();
                let _ = undone(connection, error);
                Err(Fault::Unknown(text))
            }
        }
    }

    /// A new connection, after the outcome of a commit was not known. What of it turns out to be stored was told to nobody
    /// yet, and goes into the feed before anything that comes after it.
    fn reopen(&mut self) -> rusqlite::Result<Connection> {
        let connection = open::writer_connection(&self.database)?;
        // What a failed sync did not write may look clean in the kernel's cache and never be written any more. Copied into
        // the database it is written, and synced, anew.
        empty_wal(&connection)?;
        let found = reader::after(&connection, self.announced)?;
        seeded::step(Step::Reopened);
        if !found.is_empty() {
            tracing::warn!(
                messages = found.len(),
                "the commit whose outcome was not known is stored"
            );
        }
        self.tell(
            found
                .into_iter()
                .map(|message| Committed {
                    message: Arc::new(message),
                    origin: None,
                })
                .collect(),
        );
        Ok(connection)
    }

    fn tell(&mut self, committed: Vec<Committed>) {
        if let Some(last) = committed.last() {
            self.announced = last.message.id.into();
            self.feed.send(committed);
        }
    }

    /// The commit is durable: tells the feed, then whoever waits.
    fn announce(&mut self, batch: Vec<Job>, outcomes: Vec<Outcome>) {
        let mut committed = Vec::with_capacity(outcomes.len());
        let mut answers = Receipts::with_capacity(outcomes.len());
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            match (job, outcome) {
                (Job::Append { message, reply }, Outcome::Stored(stored)) => {
                    answers.push((reply, Ok(ack_of(&stored))));
                    committed.push(Committed {
                        message: Arc::new(stored),
                        origin: message.origin,
                    });
                }
                (Job::Append { reply, .. }, Outcome::Duplicate(ack)) => {
                    answers.push((reply, Ok(ack)))
                }
                (Job::Append { reply, .. }, Outcome::Refused(error)) => {
                    answers.push((reply, Err(error)))
                }
                (Job::SeeUser { reply, .. }, Outcome::User(user)) => drop(reply.send(Ok(user))),
                (Job::CreateRoom { reply, .. }, Outcome::Room(made)) => drop(reply.send(Ok(made))),
                (Job::CreateAccount { reply, .. }, Outcome::Account(user)) => {
                    drop(reply.send(Ok(user)))
                }
                (Job::Follow { reply, .. }, Outcome::Standing(standing)) => {
                    drop(reply.send(Ok(standing)))
                }
                (Job::Follower { reply, .. } | Job::Probe { reply }, Outcome::Done) => {
                    drop(reply.send(Ok(())))
                }
                // `apply` answers a job with its own kind of outcome; a job left unanswered closes its reply channel.
                _ => debug_assert!(false, "an outcome of another job"),
            }
        }
        self.counters.messages.inc_by(committed.len() as u64);
        if seeded::has(Bug::AckBeforeCommit) {
            acknowledge(std::mem::take(&mut answers));
            self.commit_late();
        }
        if seeded::has(Bug::NonceAfterCommit) {
            self.store_nonces(&committed);
        }
        self.tell(committed);
        if seeded::has(Bug::BroadcastBeforeCommit) {
            self.commit_late();
        }
        acknowledge(answers);
    }

    /// For the mistakes of telling before the commit.
    fn commit_late(&self) {
        if let Some(connection) = &self.connection {
            let _ = commit(connection);
        }
    }

    /// For the mistake of a nonce that is stored after its message.
    fn store_nonces(&self, committed: &[Committed]) {
        for Committed { message, .. } in committed {
            if let Some(connection) = &self.connection {
                let _ = statements::store_nonce(connection, message);
            }
        }
    }

    fn checkpoint(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        if let Err(error) = empty_wal(connection) {
            tracing::warn!(%error, "the last checkpoint failed; nothing is lost: the next start goes on from the write-ahead log");
        }
    }
}

/// Moves all of the WAL into the database, durably (<https://sqlite.org/pragma.html#pragma_wal_checkpoint>).
fn empty_wal(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    match connection.query_row(sql, [], |row| row.get::<_, bool>(0))? {
        false => Ok(()),
        true => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("a reader keeps the write-ahead log in use".into()),
        )),
    }
}

/// The one moment at which a batch becomes durable.
fn commit(connection: &Connection) -> rusqlite::Result<()> {
    seeded::step(Step::BeforeCommit);
    run(connection, "COMMIT")?;
    seeded::step(Step::AfterCommit);
    Ok(())
}

fn acknowledge(receipts: Receipts) {
    for (reply, answer) in receipts {
        // Nobody waits any more when the connection has gone; the message is stored all the same.
        let _ = reply.send(answer);
    }
}

/// Runs a statement of transaction control, parsed only once.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

fn ack_of(message: &Message) -> Ack {
    Ack {
        id: message.id,
        seq: message.seq,
        timestamp: message.timestamp,
        duplicate: false,
    }
}

/// No space left, or a write that failed: in practice a quota or a limit on file sizes, which SQLite does not tell apart
/// from other failures of a write. A failed sync is not among them.
fn found_no_room(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || extended == Some(rusqlite::ffi::SQLITE_IOERR_WRITE)
}

/// What SQLite said, as far as anybody above must tell it apart.
pub(super) fn translate(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        _ if found_no_room(&error) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unavailable("another program holds the database")
        }
        _ => StoreError::Internal(error.into()),
    }
}
