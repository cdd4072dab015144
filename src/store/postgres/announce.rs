//! How stored messages leave the store: in order, once, whoever stored them.
//!
//! There is one cursor and one door. Whoever knows that there may be something new (the writer after its commit, the listener)
//! comes here; what lies after the cursor is read and fed while the door is held. Nobody commits while they wait at it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex as PlainMutex, PoisonError},
};

use tokio::sync::Mutex;

use super::{
    connect::Pool,
    rows::{self, AFTER_MESSAGE, columns},
};
use crate::{
    protocol::Message,
    store::{Committed, FeedSender, Origin, StoreError},
};

/// What lies after $1 and not after $2, each with the transaction that stored it.
const LOG: &str = concat!(
    "SELECT ",
    columns!(),
    ", m.xmin::text::bigint FROM messages m LEFT JOIN users u ON u.id = m.from_user
      WHERE m.chat_position > 0 AND m.chat_position > $1 AND m.chat_position <= $2 ORDER BY m.chat_position LIMIT $3"
);

/// Rows in one batch of the feed.
const BATCH: i64 = 500;

/// Moves through the log.
#[derive(Debug)]
pub(super) struct Announcer {
    pool: Pool,
    state: Mutex<State>,
    own: PlainMutex<Own>,
}

#[derive(Debug)]
struct State {
    /// Everything up to here is fed, or was there before this process.
    announced: i64,
    /// `None` at the end.
    feed: Option<FeedSender>,
    /// A commit of ours followed something that lies before what is fed: the log is not the one that it was.
    went_back: bool,
}

/// What is known of this node's own messages beyond what can be read. Never locked while waiting.
#[derive(Debug, Default)]
struct Own {
    /// The transactions, as rows bear them, that are being committed or whose messages are about to be fed from memory. From
    /// the commit on anybody may read those; but only the writer knows which connections they came from.
    under_way: HashSet<i64>,
    /// The connections from which messages came that could not be fed at once, by position.
    origins: BTreeMap<i64, Origin>,
}

/// What the cursor has come to.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// Everything that is asked for is fed.
    End,
    /// The next one is about to be fed from memory.
    Own,
}

impl Announcer {
    pub(super) fn new(pool: Pool, feed: FeedSender, announced: i64) -> Self {
        Self {
            pool,
            state: Mutex::new(State {
                announced,
                feed: Some(feed),
                went_back: false,
            }),
            own: PlainMutex::default(),
        }
    }

    /// This transaction is about to be committed. It MUST be ended by [`committed`](Self::committed) or
    /// [`ended`](Self::ended), or nothing that comes after it is ever fed.
    pub(super) fn begins(&self, xid: i64) {
        self.own().under_way.insert(xid);
    }

    /// It came to nothing, or nobody knows: what there is of it is read like anybody's.
    pub(super) fn ended(&self, xid: i64) {
        self.own().under_way.remove(&xid);
    }

    /// It is committed, and followed `before` in the log. What others stored before it is read, and it needs not be.
    pub(super) async fn committed(
        &self,
        xid: i64,
        before: i64,
        messages: Vec<(Message, Option<Origin>)>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        // Unless they were told as another program's, which has changed them at once.
        let is_new = messages
            .first()
            .is_some_and(|(message, _)| message.id.get() > state.announced);
        state.went_back |= is_new && before < state.announced;
        let read = self.catch_up_in(&mut state, before).await;
        if matches!(read, Ok(Until::End)) && state.announced < before {
            // What lay there was deleted.
            state.announced = before;
        }
        if state.announced == before {
            self.tell(&mut state, messages).await;
        } else {
            let origins = messages
                .iter()
                .filter_map(|(message, origin)| Some((message.id.get(), (*origin)?)));
            self.own().origins.extend(origins);
        }
        self.ended(xid);
        read.map(drop)
    }

    /// Feeds everything that lies after the cursor, up to what the writer will feed.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        self.catch_up_in(&mut state, i64::MAX).await.map(drop)
    }

    async fn catch_up_in(&self, state: &mut State, until: i64) -> Result<Until, StoreError> {
        while state.announced < until {
            let params: super::connect::Params<'_> = &[&state.announced, &until, &BATCH];
            let found = self.pool.read(LOG, params).await?;
            let mut messages = Vec::with_capacity(found.len());
            let is_all = found.len() < BATCH as usize;
            let (mut last, mut ends) = (state.announced, is_all.then_some(Until::End));
            for row in &found {
                if self
                    .own()
                    .under_way
                    .contains(&rows::get(row, AFTER_MESSAGE)?)
                {
                    ends = Some(Until::Own);
                    break;
                }
                last = rows::get(row, 0)?;
                messages.extend(rows::message(row)?.map(|message| (message, None)));
            }
            self.tell(state, messages).await;
            // What was left out is not read again.
            state.announced = last;
            if let Some(end) = ends {
                return Ok(end);
            }
        }
        Ok(Until::End)
    }

    /// Feeds these, each from the connection that is said here or was remembered.
    async fn tell(&self, state: &mut State, messages: Vec<(Message, Option<Origin>)>) {
        let (Some((last, _)), Some(feed)) = (messages.last(), &state.feed) else {
            return;
        };
        let last = last.id.get();
        let origins = {
            let mut own = self.own();
            let later = own.origins.split_off(&(last + 1));
            std::mem::replace(&mut own.origins, later)
        };
        let batch = messages.into_iter().map(|(message, origin)| Committed {
            origin: origin.or_else(|| origins.get(&message.id.get()).copied()),
            message: Arc::new(message),
        });
        feed.send_async(batch.collect()).await;
        state.announced = last;
    }

    /// Up to where everything is fed.
    pub(super) async fn announced(&self) -> i64 {
        self.state.lock().await.announced
    }

    /// Whether something was stored before what is fed.
    pub(super) async fn went_back(&self) -> bool {
        self.state.lock().await.went_back
    }

    /// Nothing comes any more.
    pub(super) async fn end(&self) {
        self.state.lock().await.feed = None;
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        // Nothing that is done under this lock can panic half-way.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
