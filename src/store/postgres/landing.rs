//! What comes after a commit, beside the writer: first the feed hears of the messages, then the senders.
//!
//! In the order of the commits. On a node that is not alone the feed must read what others stored in between: the writer
//! begins the next transaction meanwhile.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{
    announce::Announcer,
    append::Done,
    known::{Outcome, ack_of},
};
use crate::{
    protocol::Ack,
    store::{AppendError, NewMessage},
};

pub(super) type Reply = oneshot::Sender<Result<Ack, AppendError>>;

/// Commits that may wait to be told. A writer that is further ahead waits.
pub(super) const AT_MOST: usize = 16;

/// A commit, and those who wait for it.
#[derive(Debug)]
pub(super) struct Landed {
    /// As its rows bear it.
    pub(super) xid: i64,
    pub(super) batch: Vec<NewMessage>,
    pub(super) replies: Vec<Reply>,
    pub(super) done: Done,
}

/// Tells of commits until the writer has ended.
pub(super) async fn run(announcer: Arc<Announcer>, mut commits: mpsc::Receiver<Landed>) {
    while let Some(landed) = commits.recv().await {
        let stored = landed.done.stored();
        let messages: Vec<_> = stored
            .map(|(at, message)| (message.clone(), landed.batch[at].origin))
            .collect();
        if messages.is_empty() {
            // Nothing is to be told, or what another program's trigger has made of it is no message.
            announcer.ended(landed.xid);
        } else {
            let fed = announcer.committed(landed.xid, landed.done.before, messages);
            if let Err(error) = fed.await {
                // Stored is stored: the listener goes on from the cursor as soon as it can.
                tracing::warn!(%error, "what was stored could not be read yet: its readers wait");
            }
        }
        for (reply, outcome) in landed.replies.into_iter().zip(landed.done.outcomes) {
            // Nobody waits any more when the connection has gone; the message is stored all the same.
            let _ = reply.send(match outcome {
                Outcome::Stored(message) => Ok(ack_of(&message)),
                Outcome::Duplicate(ack) => Ok(ack),
                Outcome::Refused(error) => Err(error),
            });
        }
    }
}
