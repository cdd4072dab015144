//! What waits to be written to one connection: in order, bounded in bytes, never blocking whoever adds to it.
//!
//! Three may add: the relay (messages), the session (replies), the socket's reader (answers to control frames). One
//! takes: the connection's pump, which writes everything that waits in one system call. A message that finds no room
//! ends the connection as too slow; replies always find room, and a session asks no further while there is none.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{frame::Frame, protocol::CloseCode};

/// Frames on their way to one connection.
#[derive(Debug)]
pub struct Outbox {
    // Innermost lock: taken under the hub's, and nothing is locked while it is held.
    state: Mutex<State>,
    /// Something waits, or the end has come: for the pump.
    ready: Notify,
    /// The end has come: for the session.
    ended: Notify,
    /// Bytes were written: for a session that waits for room.
    drained: Notify,
    limit_bytes: usize,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Frame>,
    /// Messages that came before the first request was handled; `None` once they may flow.
    held: Option<VecDeque<Frame>>,
    /// Everything queued, held, or taken and not yet written.
    bytes: usize,
    end: Option<End>,
}

/// How a connection's writing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By our close frame, after what is queued.
    Close(CloseCode),
    /// After what is queued, without a close frame of ours: the peer has closed, or is gone.
    Finish,
}

impl Outbox {
    /// An outbox that holds messages back until [`Outbox::release`], and at most `limit_bytes` of them.
    pub fn new(limit_bytes: usize) -> Self {
        let state = State {
            queue: VecDeque::new(),
            held: Some(VecDeque::new()),
            bytes: 0,
            end: None,
        };
        Self {
            state: Mutex::new(state),
            ready: Notify::new(),
            ended: Notify::new(),
            drained: Notify::new(),
            limit_bytes,
        }
    }

    /// Queues a message; one that finds no room drops all messages and ends the connection as too slow.
    pub fn push(&self, frame: Frame) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        if state.bytes + frame.len_bytes() > self.limit_bytes {
            state.queue.clear();
            state.held = None;
            drop(state);
            return self.end(End::Close(CloseCode::TooSlow));
        }
        state.bytes += frame.len_bytes();
        match &mut state.held {
            Some(held) => held.push_back(frame),
            None => self.queue(state, frame),
        }
    }

    /// Queues a reply or a control frame, whatever the limit.
    pub fn reply(&self, frame: Frame) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.bytes += frame.len_bytes();
            self.queue(state, frame);
        }
    }

    fn queue(&self, mut state: MutexGuard<'_, State>, frame: Frame) {
        state.queue.push_back(frame);
        let was_empty = state.queue.len() == 1;
        drop(state);
        if was_empty {
            self.ready.notify_one();
        }
    }

    /// Lets messages flow, those held back first.
    pub fn release(&self) {
        let mut state = self.lock();
        if let Some(mut held) = state.held.take()
            && !held.is_empty()
        {
            state.queue.append(&mut held);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Ends the connection after what is queued; the first end wins.
    pub fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            drop(state);
            self.ready.notify_one();
            self.ended.notify_waiters();
        }
    }

    /// Up to here a session asks for replies: a quarter, so that one more history, which may be half, leaves room for
    /// messages.
    fn mark(&self) -> usize {
        self.limit_bytes / 4
    }

    /// Whether a session may go on asking for replies.
    pub fn has_room(&self) -> bool {
        self.lock().bytes <= self.mark()
    }

    /// Resolves once there is room again.
    pub async fn room(&self) {
        self.until(&self.drained, |state| {
            (state.bytes <= self.mark()).then_some(())
        })
        .await;
    }

    /// Resolves once the end has come, whoever decided it.
    pub async fn ended(&self) -> End {
        self.until(&self.ended, |state| state.end).await
    }

    async fn until<T>(&self, notify: &Notify, done: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(notify.notified());
            // In line before looking, so that a change in between is not missed.
            changed.as_mut().enable();
            if let Some(result) = done(&self.lock()) {
                return result;
            }
            changed.await;
        }
    }

    /// Moves up to `most` waiting frames into `batch`, waiting for the first; the end, once nothing waits any more.
    ///
    /// For one pump only. What was taken counts until [`Outbox::written`].
    pub async fn take(&self, batch: &mut VecDeque<Frame>, most: usize) -> Option<End> {
        loop {
            {
                let mut state = self.lock();
                if !state.queue.is_empty() {
                    move_front(&mut state.queue, batch, most);
                    return None;
                }
                if let Some(end) = state.end {
                    return Some(end);
                }
                shrink_after_burst(&mut state.queue);
            }
            self.ready.notified().await;
        }
    }

    /// `bytes` have left.
    pub fn written(&self, bytes: usize) {
        let mut state = self.lock();
        let mark = self.mark();
        let had_no_room = state.bytes > mark;
        state.bytes = state.bytes.saturating_sub(bytes);
        let has_room = state.bytes <= mark;
        drop(state);
        if had_no_room && has_room {
            self.drained.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way, so the state behind a poisoned lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves up to `most` frames from the front of `queue` to the end of `batch`, without copying when all of them go.
fn move_front(queue: &mut VecDeque<Frame>, batch: &mut VecDeque<Frame>, most: usize) {
    if batch.is_empty() && queue.len() <= most {
        std::mem::swap(queue, batch);
    } else {
        batch.extend(queue.drain(..most.min(queue.len())));
    }
}

/// A queue that a burst made longer than this gives its memory back when it is empty: 64 frames of 32 bytes are 2 KiB.
const KEPT_FRAMES: usize = 64;

/// Gives back what only a burst needs. Cheap enough for every round, since a usual round changes nothing.
pub fn shrink_after_burst(queue: &mut VecDeque<Frame>) {
    if queue.capacity() > KEPT_FRAMES && queue.is_empty() {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::encoded(&vec![b'x'; bytes])
    }

    async fn taken(outbox: &Outbox) -> Vec<usize> {
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, 64).await;
        batch.iter().map(Frame::len_bytes).collect()
    }

    #[tokio::test]
    async fn messages_wait_for_the_first_request_and_replies_do_not() {
        let outbox = Outbox::new(100);
        outbox.push(frame(1));
        outbox.reply(frame(2));
        assert_eq!(taken(&outbox).await, [2]);
        outbox.release();
        outbox.push(frame(3));
        assert_eq!(taken(&outbox).await, [1, 3]);
    }

    #[tokio::test]
    async fn a_message_too_many_ends_the_connection_as_too_slow() {
        let outbox = Outbox::new(100);
        outbox.release();
        outbox.push(frame(60));
        assert!(!outbox.has_room());
        outbox.push(frame(41));
        assert_eq!(outbox.ended().await, End::Close(CloseCode::TooSlow));
        assert!(taken(&outbox).await.is_empty());
    }

    #[tokio::test]
    async fn what_was_taken_counts_until_it_was_written() {
        let outbox = Outbox::new(100);
        outbox.release();
        outbox.push(frame(60));
        assert_eq!(taken(&outbox).await, [60]);
        outbox.push(frame(40));
        assert_eq!(taken(&outbox).await, [40]);
        outbox.written(60);
        outbox.push(frame(60));
        assert_eq!(taken(&outbox).await, [60]);
        assert!(!outbox.has_room());
        outbox.written(100);
        outbox.room().await;
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
}
