//! The way to one connection: ordered, bounded in bytes, never blocking whoever adds to it.
//!
//! Three may add: the relay (messages), the session (replies, and pages of the log), the socket's reader (answers to
//! control frames). One takes: the connection's pump, which writes everything that waits in one system call.
//!
//! A reader that falls behind costs no memory and loses nothing: when a message finds no room, every message that waits
//! is dropped, since the log has it, and the session serves the reader from the log, a page at a time, until it has
//! caught up. Replies always find room, and a session asks no further while there is none.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::queue::{Pushed, Queue, Queued};
use crate::{
    frame::Frame,
    protocol::{CloseCode, Cursor, MessageId},
};

/// Frames on their way to one connection.
#[derive(Debug)]
pub struct Outbox {
    // Innermost lock: taken under the hub's, and nothing is locked while it is held.
    state: Mutex<State>,
    /// Something waits, or the end has come: for the pump.
    ready: Notify,
    /// There is room again, the reader has fallen behind, or the end has come: for the session.
    news: Notify,
    limit_bytes: usize,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// The peer has made room in a socket that was full, and nobody has asked yet.
    progress: bool,
    /// Written since the peer was last heard of.
    unheard_bytes: usize,
    end: Option<End>,
}

/// How a connection's writing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// By our close frame, after what is queued.
    Close(CloseCode),
    /// After what is queued, without a close frame of ours: the peer has closed, or is gone.
    Finish,
}

/// What a session waits for besides requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The end has come, whoever decided it.
    Ended(End),
    /// The reader was too slow for what is live. Said once for each time, at once, whatever is waited for.
    FellBehind,
    /// There is room again for replies.
    Room,
    /// The reader is behind, and there is room for a page of the log.
    Behind,
}

impl Outbox {
    /// An outbox for a reader that is not live yet, with room for `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        let state = State {
            queue: Queue::new(Cursor::START),
            progress: false,
            unheard_bytes: 0,
            end: None,
        };
        Self {
            state: Mutex::new(state),
            ready: Notify::new(),
            news: Notify::new(),
            limit_bytes,
        }
    }

    /// Everything up to `position` is not for this reader. For a connection that begins.
    pub(super) fn begin_at(&self, position: Cursor) {
        self.lock().queue = Queue::new(position);
    }

    /// Queues a message that was just published; ids must increase. Whether it is queued, and not left to the log.
    pub fn push(&self, id: MessageId, frame: Frame) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        let pushed = state.queue.push(id, frame, self.limit_bytes);
        let wake_pump = state.queue.has_one();
        drop(state);
        match pushed {
            Pushed::Queued if wake_pump => self.ready.notify_one(),
            Pushed::Queued | Pushed::Left => {}
            Pushed::FellBehind => self.news.notify_waiters(),
        }
        pushed == Pushed::Queued
    }

    /// Notes a message that was published and came from this connection, which does not get it back.
    pub(super) fn skip(&self, id: MessageId) {
        let mut state = self.lock();
        state.queue.skip(id);
        let too_many = state.queue.own() > OWN_MAX;
        drop(state);
        if too_many {
            self.end(End::Close(CloseCode::TooSlow));
        }
    }

    /// Leaves messages to the log from now on; the newest that this reader was sent.
    pub(super) fn leave_to_log(&self) -> Cursor {
        let mut state = self.lock();
        state.queue.leave_to_log();
        state.queue.sent()
    }

    /// Reads the log from `position` on at the latest, which must not lie before what was sent; `missed` says that the log
    /// has something there. Own DMs up to `floor` come back this time.
    pub(super) fn rewind(&self, position: Cursor, floor: Cursor, missed: bool) {
        self.lock().queue.rewind(position, floor, missed);
    }

    /// What waits or was taken and not yet written, in bytes, and whether the reader is live.
    pub(super) fn load(&self) -> (usize, bool) {
        let state = self.lock();
        (state.queue.bytes(), state.queue.is_live())
    }

    /// Begins to read a page of the log, which must begin after the returned position and be finished or abandoned. `None`
    /// when there is nothing to read: then the reader is live.
    pub fn begin_page(&self) -> Option<Cursor> {
        self.lock().queue.begin_page()
    }

    /// Queues what a page of the log has for this reader, in id order, whatever the limit. Nothing in it may be ahead of what
    /// was published. With the last page the reader is live again, unless more came meanwhile than there is room for.
    pub fn finish_page(&self, page: Vec<(MessageId, Frame)>, has_more: bool) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.queue.finish_page(page, has_more);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// The page could not be read: what is in it is still missing.
    pub fn abandon_page(&self) {
        self.lock().queue.stop_reading();
    }

    /// Up to where a reader that is behind has been served; `None` when it is live.
    pub fn catching_up(&self) -> Option<Cursor> {
        let state = self.lock();
        (!state.queue.is_live()).then(|| state.queue.position())
    }

    /// Queues a reply or a control frame, whatever the limit.
    pub fn reply(&self, frame: Frame) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.queue.add(frame.into());
            let wake_pump = state.queue.has_one();
            drop(state);
            if wake_pump {
                self.ready.notify_one();
            }
        }
    }

    /// Ends the connection after what is queued; the first end wins.
    pub fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            drop(state);
            self.ready.notify_one();
            self.news.notify_waiters();
        }
    }

    /// Ends the connection of a peer that takes nothing, and drops what waits for it.
    pub fn give_up(&self) {
        self.lock().queue.clear();
        self.end(End::Close(CloseCode::TooSlow));
    }

    /// Up to here a session asks for replies and reads from the log: a quarter, so that one more history, which may be
    /// half, leaves room for messages.
    fn mark(&self) -> usize {
        self.limit_bytes / 4
    }

    /// For replies, and for a page of the log. Messages that wait stand in no reply's way: they can be dropped.
    fn room(&self, queue: &Queue) -> (bool, bool) {
        let mark = self.mark();
        (queue.kept_bytes() <= mark, queue.bytes() <= mark)
    }

    /// Whether a session may go on asking for replies.
    pub fn has_room(&self) -> bool {
        self.room(&self.lock().queue).0
    }

    /// Resolves once the end has come or the reader has fallen behind; or, when `room` or `behind` is waited for, with that.
    /// For one session only.
    pub async fn news(&self, room: bool, behind: bool) -> News {
        self.until(|state| {
            let (for_replies, for_pages) = self.room(&state.queue);
            match state.end {
                Some(end) => Some(News::Ended(end)),
                None if state.queue.fell_behind() => Some(News::FellBehind),
                None if room && for_replies => Some(News::Room),
                None if behind && for_pages && !state.queue.is_live() => Some(News::Behind),
                None => None,
            }
        })
        .await
    }

    /// Resolves once the end has come, whoever decided it. Takes no news from anybody.
    pub async fn ended(&self) -> End {
        self.until(|state| state.end).await
    }

    /// Resolves with what `look` finds, as soon as it finds something.
    async fn until<T>(&self, look: impl Fn(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.news.notified());
            // In line before looking, so that a change in between is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// Moves up to `most` waiting frames into `batch`, and about an eighth of the limit, waiting for the first; the end, once
    /// nothing waits any more.
    ///
    /// For one pump only. What was taken counts until [`Outbox::written`].
    pub async fn take(&self, batch: &mut VecDeque<Queued>, most: usize) -> Option<End> {
        loop {
            {
                let mut state = self.lock();
                if state.queue.take(batch, most, self.limit_bytes / 8) {
                    return None;
                }
                if state.end.is_some() {
                    return state.end;
                }
            }
            self.ready.notified().await;
        }
    }

    /// The peer has made room in a socket that was full: it is alive, however late it answers a ping that waits behind all
    /// the rest.
    pub fn note_progress(&self) {
        self.lock().progress = true;
    }

    /// Whether the peer has made room since this was last asked.
    pub fn made_progress(&self) -> bool {
        mem::take(&mut self.lock().progress)
    }

    /// The peer was heard of.
    pub fn heard(&self) {
        self.lock().unheard_bytes = 0;
    }

    /// What has left since the peer was last heard of, in bytes: it lies in the kernel's buffers here and there, and a ping
    /// behind it.
    pub fn unheard_bytes(&self) -> usize {
        self.lock().unheard_bytes
    }

    /// `bytes` have left.
    pub fn written(&self, bytes: usize) {
        let mut state = self.lock();
        let before = self.room(&state.queue);
        state.queue.written(bytes);
        state.unheard_bytes = state.unheard_bytes.saturating_add(bytes);
        let after = self.room(&state.queue);
        drop(state);
        if after != before {
            self.news.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way, so the state behind a poisoned lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// DMs from a connection that is behind, of which must be known that it does not get them back: 512 KiB of ids. A peer
/// that sends so many and reads none of what it is sent is too slow.
const OWN_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::encoded(&vec![b'x'; bytes])
    }

    fn id(id: i64) -> MessageId {
        MessageId::new(id).unwrap()
    }

    /// An outbox of 100 bytes whose reader is live.
    fn live() -> Outbox {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.begin_page(), None);
        outbox
    }

    async fn taken(outbox: &Outbox) -> Vec<usize> {
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, 64).await;
        batch.iter().map(|item| item.frame.len_bytes()).collect()
    }

    #[tokio::test]
    async fn what_was_taken_counts_until_it_was_written() {
        let outbox = live();
        assert!(outbox.push(id(1), frame(60)));
        assert_eq!(taken(&outbox).await, [60]);
        assert!(outbox.push(id(2), frame(40)));
        assert_eq!(taken(&outbox).await, [40]);
        outbox.written(60);
        assert!(outbox.push(id(3), frame(60)));
        assert_eq!(taken(&outbox).await, [60]);
        assert!(!outbox.has_room());
        outbox.written(100);
        assert_eq!(outbox.news(true, false).await, News::Room);
    }

    #[tokio::test]
    async fn whoever_waits_for_news_hears_once_and_at_once_that_the_reader_fell_behind() {
        let outbox = live();
        outbox.push(id(1), frame(60));
        assert_eq!(taken(&outbox).await, [60]);
        let (news, ended) = (outbox.news(false, false), outbox.ended());
        tokio::pin!(news, ended);
        assert!(futures_util::poll!(&mut news).is_pending());
        assert!(futures_util::poll!(&mut ended).is_pending());
        assert!(!outbox.push(id(2), frame(60)));
        assert!(futures_util::poll!(&mut ended).is_pending());
        assert_eq!(news.await, News::FellBehind);
        let news = outbox.news(false, true);
        tokio::pin!(news);
        assert!(
            futures_util::poll!(&mut news).is_pending(),
            "no room for a page"
        );
        outbox.written(60);
        assert_eq!(news.await, News::Behind);
    }

    #[tokio::test]
    async fn what_was_queued_before_the_end_is_still_taken() {
        let outbox = Outbox::new(100);
        outbox.reply(frame(1));
        outbox.end(End::Finish);
        outbox.end(End::Close(CloseCode::Internal));
        outbox.reply(frame(2));
        assert_eq!(taken(&outbox).await, [1]);
        assert_eq!(
            outbox.take(&mut VecDeque::new(), 64).await,
            Some(End::Finish)
        );
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up_with_what_waits_for_it() {
        let outbox = live();
        outbox.push(id(1), frame(1));
        outbox.reply(frame(2));
        outbox.give_up();
        let end = outbox.take(&mut VecDeque::new(), 64).await;
        assert_eq!(end, Some(End::Close(CloseCode::TooSlow)));
    }
}
