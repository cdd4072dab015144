//! Looking for what other nodes and other programs stored: every [`LOOK_EVERY`], and at once when another node rings.
//!
//! Notifications carry nothing and may be lost, all of them, with no other effect than that a message comes later. One
//! connection hears and rings; when it is gone another takes its place, and looks first, since nobody tells what was missed.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::{
    LOOK_EVERY,
    announce::Announcer,
    connect::{Database, Pool, Session},
    presence, rows,
    writer::Job,
};
use crate::store::StoreError;

/// How long the connection may be silent before it is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Between two attempts to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Rung by this node's writer for the others and for itself, and by the others for this node.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell {
    ours: Arc<Notify>,
    theirs: Arc<Notify>,
}

impl Bell {
    /// Something is stored: the other nodes shall look.
    pub(super) fn ring(&self) {
        self.ours.notify_one();
    }

    /// Something is stored that this node has to read like the others.
    pub(super) fn look(&self) {
        self.theirs.notify_one();
    }
}

/// A node's ear.
pub(super) struct Listener {
    /// The log that this node serves, and no other.
    pub(super) epoch: String,
    pub(super) database: Database,
    pub(super) pool: Pool,
    pub(super) announcer: Arc<Announcer>,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) bell: Bell,
}

/// Where the log ends, and whether there is anything to be taken in: two looks at indexes, the second of them empty. A
/// standby may be behind, and is asked nothing else.
const LOOK: &str = "
    SELECT position, EXISTS (SELECT 1 FROM messages WHERE chat_position IS NULL), epoch, pg_is_in_recovery() FROM chat_log";

/// What lies after the end of a log that went back is another log: cursors from before mean nothing in it.
const NEW_EPOCH: &str = "
    UPDATE chat_log SET epoch = right(replace(gen_random_uuid()::text, '-', ''), 16) WHERE epoch = $1";

impl Listener {
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look_forever() => {}
            () = self.listen_forever() => {}
        }
    }

    async fn look_forever(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            // Another node's bell says what there is: messages with a position. The rest comes with the next tick.
            let looked = tokio::select! {
                _ = ticks.tick() => self.look().await,
                () = self.bell.theirs.notified() => self.announcer.catch_up().await,
            };
            match looked {
                Ok(()) if failing => tracing::info!("the database can be read again"),
                Err(error) if !failing => {
                    tracing::warn!(%error, "the database cannot be read: readers wait");
                }
                Ok(()) | Err(_) => {
                    continue;
                }
            }
            failing = !failing;
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        // Asked for first: what was told by then is stored by then.
        let announced = self.announcer.announced().await;
        let found = self.pool.read(LOOK, &[]).await?;
        let Some(row) = found.first() else {
            return Ok(());
        };
        let (position, has_untaken): (i64, bool) = (rows::get(row, 0)?, rows::get(row, 1)?);
        let (epoch, is_standby): (&str, bool) = (rows::get(row, 2)?, rows::get(row, 3)?);
        let is_behind = position < announced && !is_standby;
        if epoch != self.epoch || is_behind || self.announcer.went_back().await {
            return self.end_with(position, announced).await;
        }
        if has_untaken {
            // A full line has more urgent work; the next look asks again.
            let _ = self.jobs.try_send(Job::TakeIn);
        }
        if position > self.announcer.announced().await {
            self.announcer.catch_up().await?;
        }
        Ok(())
    }

    /// The database is not the one that this node served: it is an older state of it, since a standby that was behind took
    /// over, or a backup was restored. Positions that were told are given to other messages there, so nobody may go on from
    /// a cursor; and a message that lies before what this node has told would be acknowledged and reach nobody. So the log
    /// gets a new name, and this node ends: the feed's end ends the server, and its next start serves what is there.
    async fn end_with(&self, position: i64, announced: i64) -> Result<(), StoreError> {
        self.pool.change(NEW_EPOCH, &[&self.epoch]).await?;
        tracing::error!(
            position,
            announced,
            "the log in the database is another one than this node served, or ends before what was told to readers (a standby \
             that was behind took over, or a backup was restored): it has a new epoch, and this node ends; start it again"
        );
        self.announcer.end().await;
        let _ = self.jobs.send(Job::Stop).await;
        Ok(())
    }

    async fn listen_forever(&self) {
        let mut failing = false;
        loop {
            let why = match self.listen().await {
                Ok(session) => {
                    if failing {
                        tracing::info!("other nodes are heard again");
                    }
                    failing = false;
                    self.ring_forever(session).await
                }
                Err(why) => why,
            };
            if !failing {
                tracing::warn!(%why, "other nodes are not heard: their messages come by looking for them");
            }
            failing = true;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// A connection that hears.
    async fn listen(&self) -> Result<Session, String> {
        let dialled = self.database.dial().await;
        let (client, mut connection) = dialled.map_err(|error| error.to_string())?;
        let (theirs, own) = (self.bell.theirs.clone(), Arc::new(AtomicI32::new(0)));
        let own_id = own.clone();
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message
                    && notification.process_id() != own_id.load(Relaxed)
                {
                    theirs.notify_one();
                }
            }
        });
        let session = Session { client, driver };
        let listening = async {
            let row = session
                .client
                .query_one("SELECT pg_backend_pid()", &[])
                .await?;
            own.store(row.try_get(0)?, Relaxed);
            // What is rung is not worth a wait for the disk.
            let listen = "SET synchronous_commit = off; LISTEN chat_log";
            session.client.batch_execute(listen).await?;
            presence::join(&session.client).await
        };
        match timeout(self.database.patience, listening).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(presence::COPYING.into()),
            Ok(Err(error)) => return Err(super::error::text(&error)),
            Err(_) => return Err("it did not answer in time".into()),
        }
        // Whatever was stored before this connection listened.
        self.bell.theirs.notify_one();
        Ok(session)
    }

    /// Rings for what this node stores, at most one ring at a time; ends, with the reason, when the connection does.
    async fn ring_forever(&self, session: Session) -> String {
        loop {
            let sql = tokio::select! {
                () = self.bell.ours.notified() => "NOTIFY chat_log",
                () = sleep(HEARTBEAT) => "SELECT 1",
            };
            match timeout(HEARTBEAT, session.client.batch_execute(sql)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return super::error::text(&error),
                Err(_) => return "it did not answer in time".into(),
            }
        }
    }
}
