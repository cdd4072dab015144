//! The one task of a node that stores messages. It takes a job, drains what else is in line, and makes one transaction of it.
//!
//! No timer: a batch is what arrived while the last commit was on its way, so one sender waits for one commit and a thousand
//! senders share one. Who hears of a commit, and when, is in `landing.rs`; what the statements say in `append.rs` and
//! `take_in.rs`; this file decides when they run and what a failure means.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::{sync::mpsc, time::timeout};

use super::{
    announce::Announcer,
    append::{self, row_xid},
    connect::Database,
    error::{Fault, text, translate},
    landing::{Landed, Reply},
    listen::Bell,
    outcome,
    passed::Passed,
    presence,
    ready::Ready,
    schema::Shape,
    take_in,
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
    /// There was no connection at the last attempt, and the log has said so.
    is_away: bool,
    passed: Arc<Mutex<Passed>>,
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
            is_away: false,
            passed: Arc::default(),
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
        let mut foreign = false;
        loop {
            // Of many foreign rows a batch is taken in between any two of our own, and while nothing of ours is in line.
            let taken = match foreign && self.line.is_empty() && !self.line.is_closed() {
                true => 1,
                false => self.line.recv_many(&mut jobs, self.batch_max).await,
            };
            let mut stop = taken == 0;
            let (mut batch, mut replies) = (Vec::new(), Vec::new());
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
            let mut is_away = false;
            if !batch.is_empty() {
                self.commit(batch, replies).await;
                is_away = self.is_away;
            }
            if foreign && !stop && !is_away {
                foreign = self.take_in().await;
                is_away = self.is_away;
            }
            stop |= is_away && self.turn_away();
            if stop {
                return;
            }
        }
    }

    /// Whoever stands in line behind a batch that found no database would wait as long again and be told the same. Whether
    /// the line has come to its end.
    fn turn_away(&mut self) -> bool {
        // Not those who come while this is done, or it might not end.
        for _ in 0..self.line.len() {
            match self.line.try_recv() {
                Ok(Job::Append { reply, .. }) => fail(vec![reply], no_connection()),
                // The next look asks again.
                Ok(Job::TakeIn) | Err(_) => {}
                Ok(Job::Stop) => return true,
            }
        }
        false
    }

    /// One transaction for the whole batch; when that fails for certain, one for each half, and so on: a bad one sinks alone,
    /// and costs the others a few commits.
    async fn commit(&mut self, batch: Vec<NewMessage>, replies: Vec<Reply>) {
        let mut parts = vec![(batch, replies)];
        while let Some((mut batch, mut replies)) = parts.pop() {
            let all: Vec<&NewMessage> = batch.iter().collect();
            match self.transact(&all).await {
                Ok((xid, done)) => self.land(xid, batch, replies, done).await,
                // No row's fault: in parts they would only wait once each.
                Err(fault @ Fault::Undone(StoreError::Unavailable(_))) => {
                    fail(replies, fault);
                    for (_, replies) in parts.drain(..).rev() {
                        fail(replies, late());
                    }
                }
                Err(Fault::Undone(_)) if batch.len() > 1 => {
                    let half = batch.len() / 2;
                    parts.push((batch.split_off(half), replies.split_off(half)));
                    parts.push((batch, replies));
                }
                Err(fault) => fail(replies, fault),
            }
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
        for _ in 1..ATTEMPTS {
            match self.attempt(batch).await {
                Err(Fault::Raced(error)) => {
                    tracing::debug!(error = %text(&error), "a batch is begun again");
                }
                ended => return ended,
            }
        }
        match self.attempt(batch).await {
            Err(Fault::Raced(error)) => Err(Fault::Undone(translate(error))),
            ended => ended,
        }
    }

    async fn attempt(&mut self, batch: &[&NewMessage]) -> Result<(i64, append::Done), Fault> {
        let (begun, patience) = (Instant::now(), self.database.patience);
        let ready = self.ready().await?;
        let planned = timeout(patience, append::plan(&ready.session, &ready.append, batch));
        let planned = match planned.await.unwrap_or_else(|_| Err(late())) {
            Ok(planned) => planned,
            Err(fault) => return Err(self.undo(fault).await),
        };
        let (xid, now) = (row_xid(&planned.xid), self.clock.now());
        if planned.stores() {
            self.told.announcer.begins(xid);
        }
        let done = self.store(planned, batch, now).await;
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
    ) -> Result<append::Done, Fault> {
        let Some(ready) = &self.ready else {
            return Err(Fault::Undone(StoreError::Unavailable(
                "the connection is gone",
            )));
        };
        let (session, sql) = (&ready.session, &ready.append);
        let stored = append::store(session, sql, &planned, batch, now);
        let stored = timeout(self.database.patience, stored);
        let late = || Fault::Unknown("the commit was not answered in time".into());
        let numbers = match stored.await.unwrap_or_else(|_| Err(late())) {
            Ok(numbers) => numbers,
            Err(Fault::Unknown(why)) => self.find_out(&planned, batch, now, why).await?,
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
            self.ready = None;
            let prepared = timeout(2 * self.database.patience, self.prepare());
            let silent = |_| Err(self.away("it did not answer in time"));
            let prepared = prepared.await.unwrap_or_else(silent);
            if self.is_away && prepared.is_ok() {
                tracing::info!("the database can be written to again");
            }
            self.is_away = prepared.is_err();
            self.ready = Some(prepared?);
        }
        self.ready.as_ref().ok_or_else(no_connection)
    }

    /// Said once, however many batches find it so.
    fn away(&self, why: impl std::fmt::Display) -> Fault {
        if !self.is_away {
            tracing::warn!(%why, "the database cannot be written to");
        }
        no_connection()
    }

    /// A new connection, and everything that is said on it before the first batch.
    async fn prepare(&self) -> Result<Ready, Fault> {
        let session = self.database.connect().await;
        let session = session.map_err(|why| self.away(why))?;
        let patience = self.database.patience;
        let ready = Ready::on(session, self.shape, patience, &self.passed).await;
        let ready = ready.map_err(|error| self.away(text(&error)))?;
        ready.ok_or_else(|| self.away(presence::COPYING))
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
        batch: &[&NewMessage],
        now: Timestamp,
        why: String,
    ) -> Result<append::Numbers, Fault> {
        self.ready = None;
        if !planned.stores() {
            return Ok(append::Numbers::default());
        }
        let ended = async {
            // Nothing of it is fed, so it lies after this.
            let after = self.told.announcer.announced().await;
            outcome::ended_as(&self.database, planned, batch, now, after).await
        };
        let ended = timeout(self.database.patience, ended).await;
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

    /// Takes some of other programs' rows into the log; whether there may be more.
    async fn take_in(&mut self) -> bool {
        let patience = self.database.patience;
        let taken = match self.ready().await {
            Ok(ready) => {
                let taken = take_in::take_in(&ready.session, &ready.append, &ready.take_in);
                timeout(patience, taken).await.unwrap_or_else(|_| {
                    Err(Fault::Unknown("the database did not answer in time".into()))
                })
            }
            Err(fault) => Err(fault),
        };
        match taken {
            Ok(0) => return false,
            Ok(_) => {}
            Err(fault) => {
                // What was taken in after all is found by the cursor, and what was not by the next look.
                tracing::warn!(?fault, "other programs' messages could not be taken in");
                Passed::of(&self.passed).slow();
                self.ready = None;
                return false;
            }
        }
        self.told.bell.ring();
        self.told.bell.look();
        true
    }
}

fn no_connection() -> Fault {
    Fault::Undone(StoreError::Unavailable(
        "there is no connection to the database",
    ))
}

/// Nothing was sent that could be stored.
fn late() -> Fault {
    Fault::Undone(StoreError::Unavailable(
        "the database did not answer in time",
    ))
}

/// At a transaction that another node's made impossible.
const ATTEMPTS: usize = 4;

fn fail(replies: Vec<Reply>, fault: Fault) {
    let error = StoreError::from(fault);
    for reply in replies {
        let _ = reply.send(Err(match &error {
            StoreError::Uncertain(_) => AppendError::Uncertain,
            error => AppendError::Store(error.again()),
        }));
    }
}
