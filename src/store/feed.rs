//! The one way by which a stored message leaves the store: in id order, after its commit, once.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::protocol::Message;

/// The connection that sent a message, as the layer above numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// A message that is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The row.
    pub message: Arc<Message>,
    /// The connection it came from, when that is one of this process.
    pub origin: Option<Origin>,
}

/// The reading end: batches of messages, each batch one commit, ids strictly increasing over all of them.
#[derive(Debug)]
pub struct CommitFeed(mpsc::Receiver<Vec<Committed>>);

/// The writing end, held by a store's writer.
#[derive(Debug)]
pub struct FeedSender(mpsc::Sender<Vec<Committed>>);

/// A feed that holds at most `batches` unread commits; a writer that is further ahead waits.
pub fn feed(batches: usize) -> (FeedSender, CommitFeed) {
    let (sender, receiver) = mpsc::channel(batches);
    (FeedSender(sender), CommitFeed(receiver))
}

impl CommitFeed {
    /// The next commit; `None` once the writer has stopped and everything was read.
    pub async fn next(&mut self) -> Option<Vec<Committed>> {
        self.0.recv().await
    }
}

impl FeedSender {
    /// Announces one commit, waiting for room. Must be called from a thread that may block.
    pub fn send(&self, batch: Vec<Committed>) {
        // Without a reader nobody is connected, and the log itself keeps everything.
        let _ = self.0.blocking_send(batch);
    }

    /// Announces one commit, waiting for room: for a writer that is a task and not a thread.
    pub async fn send_async(&self, batch: Vec<Committed>) {
        // As in `send`.
        let _ = self.0.send(batch).await;
    }
}
