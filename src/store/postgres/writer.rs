//! The one task of a node that stores messages. It takes a job, drains what else is in line, and makes one transaction of it.
//!
//! No timer: a batch is what arrived while the last commit was on its way, so one sender waits for one commit and a thousand
//! senders share one. Who hears of a commit, and when, is in `landing.rs`; what the statements say in `append.rs` and
//! `take_in.rs`; this file decides when they run and what a failure means.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    announce::Announcer,
    append::{self, AppendSql, row_xid},
    connect::{Database, Session},
    error::{Fault, OpenError, is_lost, text, translate},
    heads::STATUS,
    landing::{Landed, Reply},
    listen::Bell,
    presence,
    schema::Shape,
    take_in::{self, TakeInSql},
};
use crate::{
    clock::Clock,
    protocol::Timestamp,
    store::{AppendError, Counters, NewMessage, Options, StoreError},
};

/// What the writer can be asked.
#[derive(Debug)]
pub(super) enum Job {
    Append {
        message: NewMessage,
        reply: Reply,
    },
    /// Other programs' rows are there.
    TakeIn,
    Stop,
}

pub(super) struct Writer {
    database: Database,
    /// `None` until something is to be stored, and after every failure of which the connection may be the reason.
    ready: Option<Ready>,
    line: mpsc::Receiver<Job>,
    told: Told,
    batch_max: usize,
    clock: Clock,
    counters: Counters,
    shape: Shape,
}

/// Who is told of what is stored.
pub(super) struct Told {
    pub(super) announcer: Arc<Announcer>,
    pub(super) landed: mpsc::Sender<Landed>,
    pub(super) bell: Bell,
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
        told: Told,
        options: &Options,
        counters: Counters,
        shape: Shape,
    ) -> Self {
        Self {
            database,
            ready: None,
            line,
            told,
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
            Ok((xid, done)) => self.land(xid, batch, replies, done).await,
            // Not available is no row's fault: one by one they would only wait once each.
            Err(Fault::Undone(error))
                if batch.len() > 1 && !matches!(error, StoreError::Unavailable(_)) =>
            {
                for (message, reply) in batch.into_iter().zip(replies) {
                    match self.transact(&[&message]).await {
                        Ok((xid, done)) => self.land(xid, vec![message], vec![reply], done).await,
                        Err(fault) => fail(vec![reply], fault),
                    }
                }
            }
            Err(fault) => fail(replies, fault),
        }
    }

    /// Told to the feed and the senders, beside the next transaction.
    async fn land(
        &self,
        xid: i64,
        batch: Vec<NewMessage>,
        replies: Vec<Reply>,
        done: append::Done,
    ) {
        let stored = done.stored().count();
        if stored > 0 {
            self.counters.messages.inc_by(stored as u64);
            self.told.bell.ring();
        }
        let landed = Landed {
            xid,
            batch,
            replies,
            done,
        };
        // It ends after this task.
        let _ = self.told.landed.send(landed).await;
    }

    /// A transaction; more than one where others are quicker.
    async fn transact(&mut self, batch: &[&NewMessage]) -> Result<(i64, append::Done), Fault> {
        for numbers_too_many in NUMBERS_TOO_MANY {
            match self.attempt(batch, numbers_too_many).await {
                Err(Fault::Raced(error)) => {
                    tracing::debug!(error = %text(&error), "a batch is begun again");
                }
                ended => return ended,
            }
        }
        match self.attempt(batch, 0).await {
            Err(Fault::Raced(error)) => Err(Fault::Undone(translate(error))),
            ended => ended,
        }
    }

    async fn attempt(
        &mut self,
        batch: &[&NewMessage],
        numbers_too_many: usize,
    ) -> Result<(i64, append::Done), Fault> {
        let (begun, now, patience) = (Instant::now(), self.clock.now(), self.database.patience);
        let late = |_| {
            Fault::Undone(StoreError::Unavailable(
                "the database did not answer in time",
            ))
        };
        let ready = self.ready().await?;
        let planned = timeout(patience, append::plan(&ready.session, &ready.append, batch));
        let planned = match planned.await.map_err(late).and_then(|planned| planned) {
            Ok(planned) => planned,
            Err(fault) => return Err(self.undo(fault).await),
        };
        let xid = row_xid(&planned.xid);
        if planned.stores() {
            self.told.announcer.begins(xid);
        }
        let done = self.store(planned, batch, now, numbers_too_many).await;
        match &done {
            Ok(_) => self.counters.commits.observe(begun.elapsed(), batch.len()),
            Err(_) => self.told.announcer.ended(xid),
        }
        done.map(|done| (xid, done))
    }

    async fn store(
        &mut self,
        planned: append::Planned,
        batch: &[&NewMessage],
        now: Timestamp,
        numbers_too_many: usize,
    ) -> Result<append::Done, Fault> {
        let Some(ready) = &self.ready else {
            return Err(Fault::Undone(StoreError::Unavailable(
                "the connection is gone",
            )));
        };
        let (session, sql) = (&ready.session, &ready.append);
        let stored = append::store(session, sql, &planned, batch, now, numbers_too_many);
        let stored = timeout(self.database.patience, stored);
        let late = || Fault::Unknown("the commit was not answered in time".into());
        let numbers = match stored.await.unwrap_or_else(|_| Err(late())) {
            Ok(numbers) => numbers,
            Err(Fault::Unknown(why)) => self.find_out(&planned, why).await?,
            Err(fault) => return Err(self.undo(fault).await),
        };
        planned.outcomes(batch, numbers, now)
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
            if !presence::join(&session.client).await? {
                return Err(Fault::Undone(StoreError::Unavailable(presence::COPYING)));
            }
            // Whoever waits for the log for longer than this has time to say so.
            let half = self.database.patience.as_millis() / 2;
            let settings = format!("{DURABLE}; {PLANS}; SET lock_timeout = {half}");
            session.client.batch_execute(&settings).await?;
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
    async fn find_out(
        &mut self,
        planned: &append::Planned,
        why: String,
    ) -> Result<append::Numbers, Fault> {
        self.ready = None;
        if !planned.stores() {
            return Ok(append::Numbers::default());
        }
        let ended = timeout(self.database.patience, self.ended_as(planned)).await;
        match ended.ok().flatten() {
            Some(Some(numbers)) => {
                tracing::warn!(%why, "the connection broke in a commit, which was made all the same");
                Ok(numbers)
            }
            Some(None) => {
                tracing::warn!(%why, "the connection broke in a commit, which was not made");
                let why = "the connection to the database was lost";
                Err(Fault::Undone(StoreError::Unavailable(why)))
            }
            None => {
                tracing::error!(%why, "a commit failed, and its outcome is not known");
                Err(Fault::Unknown(why))
            }
        }
    }

    /// What became of a transaction, once it has ended: what it stored, or `Some(None)` when it was undone; `None` when the
    /// server cannot tell any more.
    async fn ended_as(&self, planned: &append::Planned) -> Option<Option<append::Numbers>> {
        // Nothing of it is fed, so it lies after this.
        let after = self.told.announcer.announced().await;
        loop {
            if let Ok(session) = self.database.connect().await {
                let client = &session.client;
                let status = client.query_one(STATUS, &[&planned.xid]).await;
                let status = status.and_then(|row| row.try_get::<_, Option<String>>(0));
                let lost = match status.map(|status| status.unwrap_or_default()).as_deref() {
                    Ok("in progress") => None,
                    Ok("aborted") => return Some(None),
                    Ok("committed") => match append::stored_by(client, planned, after).await {
                        Ok(numbers) => return Some(Some(numbers)),
                        Err(error) => Some(error),
                    },
                    Ok(_) => return None,
                    Err(_) => None,
                };
                // Its words are final; without any, it is asked again.
                if lost.is_some_and(|error| !is_lost(&error)) {
                    return None;
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
            self.told.bell.ring();
            if let Err(error) = self.told.announcer.catch_up().await {
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

/// Every statement is a search in indexes, whatever the tables' sizes are while its plan is made: it is made once.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off";

/// Numbers drawn beyond those that are needed, by attempt: some may lie before the end of the log, when connections of other
/// programs draw ahead (`CACHE`).
const NUMBERS_TOO_MANY: [usize; 4] = [0, 100, 1000, 10_000];

fn fail(replies: Vec<Reply>, fault: Fault) {
    let error = StoreError::from(fault);
    for reply in replies {
        let _ = reply.send(Err(match &error {
            StoreError::Uncertain(_) => AppendError::Uncertain,
            error => AppendError::Store(error.again()),
        }));
    }
}
