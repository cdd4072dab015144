//! How stored messages leave the store: in order, once, whoever stored them.
//!
//! There is one cursor and one door. Whoever knows that there may be something new (the writer after its commit, the listener)
//! comes here; what lies after the cursor is read and fed while the door is held.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as PlainMutex, PoisonError},
};

use tokio::sync::Mutex;

use super::{connect::Pool, followers::LOG, rows};
use crate::{
    protocol::Message,
    store::{Committed, FeedSender, Origin, StoreError},
};

/// Rows in one batch of the feed.
const BATCH: i64 = 500;

/// Moves through the log.
#[derive(Debug)]
pub(super) struct Announcer {
    pool: Pool,
    state: Mutex<State>,
    /// The connections from which this node's messages came, by position: put in before the commit, since from then on
    /// anybody may read them. Never locked while waiting.
    origins: PlainMutex<BTreeMap<i64, Origin>>,
}

#[derive(Debug)]
struct State {
    /// Everything up to here is fed, or was there before this process.
    announced: i64,
    /// `None` at the end.
    feed: Option<FeedSender>,
}

impl Announcer {
    pub(super) fn new(pool: Pool, feed: FeedSender, announced: i64) -> Self {
        Self {
            pool,
            state: Mutex::new(State {
                announced,
                feed: Some(feed),
            }),
            origins: PlainMutex::default(),
        }
    }

    /// These positions are about to be committed.
    pub(super) fn remember(&self, positions: impl Iterator<Item = (i64, Origin)>) {
        self.origins().extend(positions);
    }

    /// A commit of this node's, which followed `before` in the log. If everything before it is fed, it needs not be read.
    pub(super) async fn committed(
        &self,
        before: i64,
        messages: Vec<Message>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        if state.announced != before {
            return self.catch_up_in(&mut state).await;
        }
        self.tell(&mut state, messages).await;
        Ok(())
    }

    /// Feeds everything that lies after the cursor.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        self.catch_up_in(&mut state).await
    }

    async fn catch_up_in(&self, state: &mut State) -> Result<(), StoreError> {
        loop {
            let found = self.pool.read(LOG, &[&state.announced, &BATCH]).await?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            let last: i64 = rows::get(last, 0)?;
            let mut messages = Vec::with_capacity(found.len());
            for row in &found {
                messages.extend(rows::message(row)?);
            }
            self.tell(state, messages).await;
            // What was left out is not read again.
            state.announced = last;
        }
    }

    async fn tell(&self, state: &mut State, messages: Vec<Message>) {
        let (Some(last), Some(feed)) = (messages.last(), &state.feed) else {
            return;
        };
        let last = last.id.get();
        let origins = {
            let mut origins = self.origins();
            let later = origins.split_off(&(last + 1));
            std::mem::replace(&mut *origins, later)
        };
        let batch = messages.into_iter().map(|message| Committed {
            origin: origins.get(&message.id.get()).copied(),
            message: Arc::new(message),
        });
        feed.send_async(batch.collect()).await;
        state.announced = last;
    }

    /// Up to where everything is fed.
    pub(super) async fn announced(&self) -> i64 {
        self.state.lock().await.announced
    }

    /// Nothing comes any more.
    pub(super) async fn end(&self) {
        self.state.lock().await.feed = None;
    }

    fn origins(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, Origin>> {
        // Nothing that is done under this lock can panic half-way.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
