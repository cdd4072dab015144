//! The log in a PostgreSQL database (15 or newer), which several nodes and other programs may share.
//!
//! # What is assigned under which lock, and why
//! A message's **position** is its id on the wire and every reader's cursor; its **seq** counts it within its room or pair.
//! Both are assigned while the one row of `chat_log` is locked (`FOR UPDATE`), by a transaction that holds the lock until
//! it is committed. PostgreSQL makes a transaction visible before it lets its locks go, so whoever gets the lock sees all
//! that was stored before: **positions appear in the order of their commits, on every node**, and `position > n ORDER BY
//! position` never passes anything over. A sequence alone would not do: its numbers are drawn long before the commit.
//! The price is that commits stand in line, over all nodes. Each node makes one transaction of what arrived while its last
//! one was under way (`writer.rs`), so it is commits that are bounded by that line, and messages are not.
//!
//! Lock, assignment and insertion are one statement, a function of the session's own (`append.sql`; the role may make
//! temporary objects, as all may by default), and the commit is sent with it: the log is locked when all that is stored has
//! arrived, so nobody waits for a node, however slow its network is, and one that freezes holds up nobody. Nothing that somebody else may hold is waited for
//! either. The rows of senders, recipients and rooms are locked before and only where nobody is in the way (`SKIP LOCKED`):
//! who cannot be locked gets `Unavailable`, alone. Taking foreign rows in needs more trips; a node that freezes in one of
//! those loses the lock with its session (`idle_in_transaction_session_timeout`).
//!
//! # Foreign rows
//! A row that another program inserts into `messages` has no position. A node that sees one (each looks every
//! [`LOOK_EVERY`]) takes it into the log: position and seq are assigned like its own messages', after the foreigner's
//! commit, under the log's lock and no other; rows that are locked are passed by until the next look. So a foreign
//! transaction that stays open stalls nobody, and its rows come when it ends, after what was stored in between. What is
//! no message (blank, nobody's, in no room) gets position 0, which no reader sees, and a line in the log. A row that cannot be
//! changed (a trigger, a rule, a constraint that it breaks) is passed by, named in the log once and tried again each minute;
//! after a hundred of them in a row the rest waits as well. One whose room a foreign transaction is making waits for that.
//! The messages that were there before this program are taken in the same way, before the first client is served. Of a bulk
//! one batch is taken in between any two of a node's own.
//!
//! What is acknowledged is what the database says it stored. A message that a trigger of theirs throws away, or moves to
//! somebody else, is refused, alone; one whose text it changes is told with that text. Repeated under its nonce, the latter is
//! refused as another message, since what was sent first is not known any more.
//!
//! A row keeps its own `id`. Own messages draw theirs from the table's sequence under the lock and take it for their
//! position too; so does a foreign row that is taken in before a later id. One that comes late, or with an id that the
//! sequence has not given yet, gets a number that no row has. A sequence that was set back is moved on. So the id on the wire is nearly always the one in the table, and never that of another row.
//!
//! # What others change later
//! Rows that are in the log stay theirs to change. What says nothing any more (`content` emptied or blank), or is nobody's, is
//! left out of pages, counts, copies and the feed, as if it were deleted: its position and seq stay empty, and what comes
//! after it is read as ever. A conversation whose newest message is such a one is not listed until the next. Whoever has no
//! name, or no row in `users` any more, is called `user-N`. A room that is renamed, in `rooms` and `messages`, counts on
//! where it was. Messages that are moved into a room which has its own keep their seq, which then is there twice: client
//! libraries drop the second of two live messages with one seq, and histories show both. Readers of a renamed room go on
//! hearing the old name; they join the new one like any other.
//!
//! `users` with other columns than ours is somebody else's: names there are never overwritten by a token's, and a row for a
//! token without a name is not made. What a table of theirs does not take (a room or an account that needs more than a name)
//! is refused with the database's reason.
//!
//! # Several nodes
//! `announce.rs` moves through the log with a cursor and feeds what lies after it to this node's readers: the other nodes'
//! messages and the foreigners' by one statement, in order, and its own from memory when what lies before them is fed. That is
//! done beside the writer (`landing.rs`), which is in its next transaction meanwhile. `NOTIFY` only wakes: it
//! carries nothing, and without it [`LOOK_EVERY`] does the same, later. It is sent by a transaction of its own, with
//! `synchronous_commit=off`, after the commit and at most one at a time. Inside the commit it would hold a lock of the whole
//! server's (PostgreSQL's `async.c`, `PreCommit_Notify`) while the disk is written. Among ourselves that costs nothing, since
//! our commits stand in line anyway: 304 and 225 commits/s without, 289 and 318 with it, two runs of three nodes. But other
//! databases' programs that notify then stand in line with ours, and ours with theirs: beside four of them three nodes made
//! 178 and 335 commits/s without, 134 and 180 with it, and the strangers lost a fifth as well (PostgreSQL 15, two cores).
//!
//! # What bounds it
//! Commits stand in line over all nodes, so it is their number that is bounded, and each costs a write of the disk; messages
//! are bounded by how many share a commit, which is a batch of one node. 768 messages under way at all nodes together were
//! 18,237, 20,423 and 14,779 messages/s on one, two and three nodes, in 71, 106 and 115 commits/s, beside 59,214 in 234 over a
//! file (release build, one run, nodes, senders and PostgreSQL 15 on two cores). Lock and commit go in one trip, and the feed
//! is told beside the writer: before, three nodes stored two thirds of that.
//!
//! # What a failure means
//! | what happened | what is said | what is true |
//! | --- | --- | --- |
//! | no connection, or it broke before `COMMIT` was sent | `Unavailable` | nothing is stored: the server undoes what lost its client |
//! | the server refused a statement | `Unavailable`, `Full` or `Internal`, for that job alone | nothing is stored |
//! | the server refused the commit | the same | nothing is stored |
//! | the connection broke, or patience ended, after `COMMIT` was sent; the server was shut down in it | what a new connection learns from `pg_xact_status` until patience ends, else `Uncertain` | it may be stored; if it is, the cursor finds it and the feed tells it |
//!
//! A server that crashed may give the name of a transaction of which it had written nothing to another one. So rows are
//! believed to be ours only if sender, place, moment, and nonce or text are.
//!
//! A standby that takes over without the last commits of the server it replaces may give their names to others; who fails
//! over like that has lost acknowledged messages already. A node that finds the log to end before what it has told, or its
//! own commit to follow on something that lies before it, or another epoch than it serves, within [`LOOK_EVERY`] gives the log a new epoch, says so in the log and ends, as if its
//! writer had died: started again, it serves what is there, and clients learn from the epoch to ask for histories. Until
//! then it may acknowledge what lies before the end of what it told: stored, in histories, and not told live. A node that
//! had not told more than what is left, and whose database is back behind that before it looks, cannot know of it.
//!
//! After a failed statement, `COMMIT` succeeds and stores nothing; so nothing here commits after an error.
//!
//! # What is known to be weak
//! `chat_log` and the rows of busy rooms are written by every commit. While a foreign transaction that has written stays
//! open, PostgreSQL keeps all their versions, and each commit walks over them. Statements like ours, one connection, beside
//! such a transaction, on a busy machine: 9.1, 11.5 and 12.9 ms for the first, second and third 5,000 commits. With an
//! advisory lock and the newest position of the index in place of the row of `chat_log`: 5.8, 7.1 and 7.5 ms. About half of
//! it is the rooms', which would stay. It ends with that transaction and the next vacuum; hours of it would be felt.
//!
//! The certificate of a server that lies itself in `sslrootcert` is not asked whether it has expired.
//!
//! # What is added to the tables that are there
//! To `messages` four columns that may be empty, with three indexes that hold only rows with a position and one of those
//! without. To `users` and `rooms` nothing: what this program must know of them lies in tables of its own, which begin with
//! `chat_` (`schema.sql`). Of times without a zone the session's zone is taken, once: what is sent is kept in milliseconds.

mod address;
mod announce;
mod append;
mod beside;
mod binding;
mod connect;
mod directory;
mod error;
mod followers;
mod foreign;
mod heads;
mod inbox;
mod inspect;
mod known;
mod landing;
mod lead;
mod listen;
mod neighbours;
mod outcome;
mod passed;
mod presence;
mod reader;
mod ready;
mod rights;
mod rows;
mod schema;
mod secrets;
mod take_in;
mod tls;
mod transfer;
mod unjudged;
mod url;
mod users;
mod visit;
mod wait;
mod writer;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use beside::Beside;
pub use error::OpenError;
pub use inspect::{Counts, Inspection, inspect};
pub(super) use secrets::{keep_secret, look_for_secret};
pub(super) use transfer::{open_source, open_target};
pub use url::Url;

use super::{
    Answer, AppendError, CommitFeed, Counters, Messages, NewMessage, Options, Page, Receipt, Scope,
    StoreError, feed,
};
use crate::{
    clock::Clock,
    protocol::{Ack, Cursor, Window},
};
use announce::Announcer;
use connect::{Database, Pool};
use neighbours::Node;
use writer::{Job, Writer};

/// How often a node looks for what nobody told it of. A foreign row is with its readers well within a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The open database. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct PgStore {
    database: Database,
    jobs: mpsc::Sender<Job>,
    pool: Pool,
    epoch: String,
    patience: Duration,
    clock: Clock,
    node: Node,
    told: users::Told,
}

/// Ends the writer: returned beside the store, and kept by whoever stops the program.
#[derive(Debug)]
pub struct WriterHandle {
    jobs: mpsc::Sender<Job>,
    announcer: Arc<Announcer>,
    stop: CancellationToken,
    tasks: TaskTracker,
    ended: CancellationToken,
}

/// A task without which nothing can be served: however it ends, `ended` hears of it.
fn watched<F: Future<Output = ()>>(
    ended: &CancellationToken,
    task: F,
) -> impl Future<Output = ()> + use<F> {
    let ended = ended.clone().drop_guard();
    async move {
        task.await;
        drop(ended);
    }
}

impl PgStore {
    /// Connects, makes what is missing in the database, takes in what is there, and starts this node's writer and listener.
    pub async fn open(
        url: &Url,
        options: &Options,
        counters: Counters,
    ) -> Result<(Self, CommitFeed, WriterHandle), OpenError> {
        let database = Database::parse(url.as_str(), options.patience)?;
        let at = database.clone();
        let open = || schema::open(&database, options);
        let opened = wait::until_it_opens(options.wait, open).await?;
        let pool = Pool::new(&database, options, opened.shape)?;
        let (feed_sender, feed) = feed(options.feed_batches);
        let announcer = Arc::new(Announcer::new(pool.clone(), feed_sender, opened.position));
        let (jobs, line) = mpsc::channel(options.write_queue);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let bell = listen::Bell::default();
        let (landed, commits) = mpsc::channel(landing::AT_MOST);
        let ended = CancellationToken::new();
        tasks.spawn(watched(&ended, landing::run(announcer.clone(), commits)));
        let told = writer::Told {
            announcer: announcer.clone(),
            landed,
            bell: bell.clone(),
        };
        let writer = Writer::new(
            database.clone(),
            line,
            told,
            options,
            counters,
            opened.shape,
        );
        tasks.spawn(watched(&ended, writer.run()));
        let listener = listen::Listener {
            epoch: opened.epoch.clone(),
            database,
            pool: pool.clone(),
            announcer: announcer.clone(),
            jobs: jobs.clone(),
            bell,
        };
        tasks.spawn(watched(&ended, listener.run(stop.clone())));
        tasks.close();
        let handle = WriterHandle {
            jobs: jobs.clone(),
            announcer,
            stop,
            tasks,
            ended,
        };
        let store = Self {
            database: at,
            jobs,
            pool,
            epoch: opened.epoch,
            patience: options.patience,
            clock: options.clock.clone(),
            node: Node::default(),
            told: users::Told::default(),
        };
        Ok((store, feed, handle))
    }

    /// The server's name and version, for an operator.
    pub(super) async fn engine(&self) -> Result<String, OpenError> {
        let unreadable = |error: StoreError| OpenError::NotReady(error.to_string());
        let sql = "SELECT split_part(current_setting('server_version'), ' ', 1)";
        let found = self.pool.read(sql, &[]).await.map_err(unreadable)?;
        let version = found.first().map(|row| rows::get::<String>(row, 0));
        let version = version.transpose().map_err(unreadable)?;
        Ok(format!("PostgreSQL {}", version.unwrap_or_default()))
    }

    /// How large the database is, with whatever else lies in it.
    pub(super) async fn bytes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT pg_database_size(current_database())";
        let found = self.pool.read(sql, &[]).await?;
        let bytes = found.first().map(|row| rows::get::<i64>(row, 0));
        Ok(u64::try_from(bytes.transpose()?.unwrap_or_default()).unwrap_or_default())
    }
}

impl WriterHandle {
    /// Resolves when a task has ended that must not, but by [`stop`](Self::stop).
    pub async fn failed(&self) {
        self.ended.cancelled().await;
    }

    /// Commits what is in line, ends the feed and closes the connections.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.jobs.send(Job::Stop).await;
        self.tasks.wait().await;
        self.announcer.end().await;
    }
}

impl Messages for PgStore {
    fn append(&self, message: NewMessage) -> Answer<'_, Result<Receipt, StoreError>> {
        use mpsc::error::SendTimeoutError::{Closed, Timeout};
        Box::pin(async move {
            let (reply, receipt) = oneshot::channel::<Result<Ack, AppendError>>();
            let job = Job::Append { message, reply };
            let in_line = self.jobs.send_timeout(job, self.patience).await;
            in_line.map_err(|error| match error {
                Timeout(_) => StoreError::Unavailable("the write queue is full"),
                Closed(_) => StoreError::Unavailable("the writer has stopped"),
            })?;
            Ok(Receipt::new(receipt))
        })
    }

    fn read(
        &self,
        scope: Scope,
        window: Window,
        max_bytes: usize,
    ) -> Answer<'_, Result<Page, StoreError>> {
        Box::pin(reader::page(&self.pool, scope, window, max_bytes))
    }

    fn count(
        &self,
        scope: Scope,
        after: Cursor,
        until: Cursor,
        enough: u32,
    ) -> Answer<'_, Result<u32, StoreError>> {
        Box::pin(reader::count(&self.pool, scope, after, until, enough))
    }

    fn latest_id(&self) -> Answer<'_, Result<Cursor, StoreError>> {
        Box::pin(reader::latest_id(&self.pool))
    }

    fn epoch(&self) -> &str {
        &self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_heard_of() {
        let (panicked, ended) = (CancellationToken::new(), CancellationToken::new());
        let _ = tokio::spawn(watched(&panicked, async { panic!("on purpose") })).await;
        assert!(panicked.is_cancelled());
        let at_work = tokio::spawn(watched(&ended, std::future::pending()));
        assert!(!ended.is_cancelled());
        at_work.abort();
        let _ = at_work.await;
        assert!(ended.is_cancelled());
    }
}
