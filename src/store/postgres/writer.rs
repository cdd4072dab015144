//! The one task of a node that stores messages. It takes a job, drains what else is in line, and makes one transaction of it.
//!
//! No timer: a batch is what arrived while the last commit was on its way, so one sender waits for one commit and a thousand
//! senders share one. After the commit, first the feed hears of the messages, then the senders. What the statements say is in
//! `append.rs` and `take_in.rs`; this file decides when they run and what a failure means.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    Options,
    announce::Announcer,
    append::{self, AppendSql, Planned},
    connect::{Database, Session},
    error::{Fault, OpenError, is_lost},
    heads::STATUS,
    known::{Outcome, ack_of},
    listen::Bell,
    schema::Shape,
    take_in::{self, TakeInSql},
};
use crate::{
    clock::Clock,
    protocol::Ack,
    store::{AppendError, NewMessage, StoreError, sqlite::Counters},
};

/// What the writer can be asked.
#[derive(Debug)]
pub(super) enum Job {
    Append {
        message: NewMessage,
        reply: oneshot::Sender<Result<Ack, AppendError>>,
    },
    /// Other programs' rows are there.
    TakeIn,
    Stop,
}

type Reply = oneshot::Sender<Result<Ack, AppendError>>;

pub(super) struct Writer {
    database: Database,
    /// `None` until something is to be stored, and after every failure of which the connection may be the reason.
    ready: Option<Ready>,
    line: mpsc::Receiver<Job>,
    announcer: Arc<Announcer>,
    bell: Bell,
    batch_max: usize,
    clock: Clock,
    counters: Counters,
    shape: Shape,
}

/// A connection and its statements.
struct Ready {
    session: Session,
    append: AppendSql,
    take_in: TakeInSql,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        line: mpsc::Receiver<Job>,
        announcer: Arc<Announcer>,
        bell: Bell,
        options: &Options,
        counters: Counters,
        shape: Shape,
    ) -> Self {
        Self {
            database,
            ready: None,
            line,
            announcer,
            bell,
            batch_max: options.batch_max,
            clock: options.clock.clone(),
            counters,
            shape,
        }
    }

    /// Works until [`Job::Stop`].
    pub(super) async fn run(mut self) {
        let mut jobs = Vec::with_capacity(self.batch_max);
        loop {
            let taken = self.line.recv_many(&mut jobs, self.batch_max).await;
            let mut stop = taken == 0;
            let (mut batch, mut replies, mut foreign) = (Vec::new(), Vec::new(), false);
            for job in jobs.drain(..) {
                match job {
                    Job::Append { message, reply } => {
                        batch.push(message);
                        replies.push(reply);
                    }
                    Job::TakeIn => foreign = true,
                    Job::Stop => stop = true,
                }
            }
            if !batch.is_empty() {
                self.commit(batch, replies).await;
            }
            if foreign && !stop {
                self.take_in().await;
            }
            if stop {
                return;
            }
        }
    }

    /// One transaction for the whole batch; when that fails for certain, one for each, so that a bad one sinks alone.
    async fn commit(&mut self, batch: Vec<NewMessage>, replies: Vec<Reply>) {
        let all: Vec<&NewMessage> = batch.iter().collect();
        match self.transact(&all).await {
            Ok(outcomes) => answer(replies, outcomes),
            // Not available is no row's fault: one by one they would only wait once each.
            Err(Fault::Undone(error))
                if batch.len() > 1 && !matches!(error, StoreError::Unavailable(_)) =>
            {
                for (message, reply) in batch.iter().zip(replies) {
                    match self.transact(&[message]).await {
                        Ok(outcomes) => answer(vec![reply], outcomes),
                        Err(fault) => fail(vec![reply], fault),
                    }
                }
            }
            Err(fault) => fail(replies, fault),
        }
    }

    /// A transaction, told to the feed when it is committed.
    async fn transact(&mut self, batch: &[&NewMessage]) -> Result<Vec<Outcome>, Fault> {
        let begun = Instant::now();
        let now = self.clock.now();
        let patience = self.database.patience;
        let late = |_| {
            Fault::Undone(StoreError::Unavailable(
                "the database did not answer in time",
            ))
        };
        let ready = self.ready().await?;
        let planned = timeout(
            patience,
            append::plan(&ready.session, &ready.append, batch, now),
        );
        let planned = match planned.await.map_err(late).and_then(|planned| planned) {
            Ok(planned) => planned,
            Err(fault) => return Err(self.undo(fault).await),
        };
        self.remember(batch, &planned);
        let Some(ready) = &self.ready else {
            return Err(Fault::Undone(StoreError::Unavailable(
                "the connection is gone",
            )));
        };
        let stored = timeout(
            patience,
            append::store(&ready.session, &ready.append, &planned),
        );
        let late = || Fault::Unknown("the commit was not answered in time".into());
        match stored.await.unwrap_or_else(|_| Err(late())) {
            Ok(()) => {}
            Err(fault @ Fault::Undone(_)) => return Err(self.undo(fault).await),
            Err(Fault::Unknown(why)) => self.find_out(&planned, why).await?,
        }
        self.counters.commits.observe(begun.elapsed(), batch.len());
        Ok(self.announce(planned).await)
    }

    /// From the commit on anybody may read these: the connections they came from are known by then.
    fn remember(&self, batch: &[&NewMessage], planned: &Planned) {
        let both = batch.iter().zip(&planned.outcomes);
        self.announcer
            .remember(both.filter_map(|(new, outcome)| match outcome {
                Outcome::Stored(message) => Some((message.id.get(), new.origin?)),
                Outcome::Duplicate(_) | Outcome::Refused(_) => None,
            }));
    }

    async fn announce(&mut self, planned: Planned) -> Vec<Outcome> {
        let messages: Vec<_> = planned.stored().cloned().collect();
        if messages.is_empty() {
            return planned.outcomes;
        }
        self.counters.messages.inc_by(messages.len() as u64);
        self.bell.ring();
        if let Err(error) = self.announcer.committed(planned.before, messages).await {
            // Stored is stored: the listener goes on from the cursor as soon as it can.
            tracing::warn!(%error, "what was stored could not be read yet: its readers wait");
        }
        planned.outcomes
    }

    /// The connection with its statements: a new one after a failure.
    async fn ready(&mut self) -> Result<&Ready, Fault> {
        if self
            .ready
            .as_ref()
            .is_none_or(|ready| ready.session.client.is_closed())
        {
            let unavailable = |why: OpenError| {
                tracing::warn!(%why, "the database cannot be reached for writing");
                Fault::Undone(StoreError::Unavailable(
                    "there is no connection to the database",
                ))
            };
            let session = self.database.connect().await.map_err(unavailable)?;
            session.client.batch_execute(DURABLE).await?;
            let append = AppendSql::prepare(&session.client, self.shape).await?;
            let take_in = TakeInSql::prepare(&session.client, self.shape).await?;
            self.ready = Some(Ready {
                session,
                append,
                take_in,
            });
        }
        let gone = Fault::Undone(StoreError::Unavailable(
            "there is no connection to the database",
        ));
        self.ready.as_ref().ok_or(gone)
    }

    /// Nothing is stored. The connection is kept if the transaction can be ended on it.
    async fn undo(&mut self, fault: Fault) -> Fault {
        if let Some(ready) = &self.ready {
            let rollback = ready.session.client.batch_execute("ROLLBACK");
            if !matches!(
                timeout(self.database.patience / 4, rollback).await,
                Ok(Ok(()))
            ) {
                self.ready = None;
            }
        }
        fault
    }

    /// The connection broke in a commit. The server knows whether it was made, and is asked until patience ends.
    async fn find_out(&mut self, planned: &Planned, why: String) -> Result<(), Fault> {
        self.ready = None;
        let status = timeout(self.database.patience, self.ended_as(&planned.xid)).await;
        match status.ok().flatten().as_deref() {
            Some("committed") => {
                tracing::warn!(%why, "the connection broke in a commit, which was made all the same");
                Ok(())
            }
            Some("aborted") => {
                tracing::warn!(%why, "the connection broke in a commit, which was not made");
                let why = "the connection to the database was lost";
                Err(Fault::Undone(StoreError::Unavailable(why)))
            }
            _ => {
                tracing::error!(%why, "a commit failed, and its outcome is not known");
                Err(Fault::Unknown(why))
            }
        }
    }

    /// What became of a transaction, once it has ended; `None` when the server cannot tell any more.
    async fn ended_as(&self, xid: &str) -> Option<String> {
        loop {
            if let Ok(session) = self.database.connect().await {
                match session.client.query_one(STATUS, &[&xid]).await {
                    Ok(row) => match row.try_get::<_, Option<String>>(0).ok()? {
                        Some(status) if status == "in progress" => {}
                        status => return status,
                    },
                    // Its words are final; without any, it is asked again.
                    Err(error) if !is_lost(&error) => return None,
                    Err(_) => {}
                }
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Takes other programs' rows into the log, until there are none that can be had now.
    async fn take_in(&mut self) {
        loop {
            let patience = self.database.patience;
            let taken = match self.ready().await {
                Ok(ready) => {
                    let now = timeout(
                        patience,
                        take_in::take_in(&ready.session, &ready.append, &ready.take_in),
                    );
                    now.await.unwrap_or_else(|_| {
                        Err(Fault::Unknown("the database did not answer in time".into()))
                    })
                }
                Err(fault) => Err(fault),
            };
            match taken {
                Ok(0) => break,
                Ok(_) => {}
                Err(fault) => {
                    // What was taken in after all is found by the cursor, and what was not by the next look.
                    tracing::warn!(?fault, "other programs' messages could not be taken in");
                    self.ready = None;
                    break;
                }
            }
            self.bell.ring();
            if let Err(error) = self.announcer.catch_up().await {
                tracing::warn!(%error, "what was taken in could not be read yet: its readers wait");
                break;
            }
        }
    }
}

/// Between two looks at what became of a commit.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What is acknowledged survives a power cut, whatever the database's default is; a stricter one stays.
const DURABLE: &str = "
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

fn answer(replies: Vec<Reply>, outcomes: Vec<Outcome>) {
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // Nobody waits any more when the connection has gone; the message is stored all the same.
        let _ = reply.send(match outcome {
            Outcome::Stored(message) => Ok(ack_of(&message)),
            Outcome::Duplicate(ack) => Ok(ack),
            Outcome::Refused(error) => Err(error),
        });
    }
}

fn fail(replies: Vec<Reply>, fault: Fault) {
    let error = StoreError::from(fault);
    for reply in replies {
        let _ = reply.send(Err(match &error {
            StoreError::Uncertain(_) => AppendError::Uncertain,
            error => AppendError::Store(error.again()),
        }));
    }
}
