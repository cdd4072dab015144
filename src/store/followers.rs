//! Those outside who must be told of every message, and where each of them stands.

use std::{fmt, future::pending, pin::Pin};

use super::{Answer, StoreError};
use crate::protocol::{Cursor, Message, MessageId, Timestamp};

/// Who follows the log from outside. Each has one cursor, which lies beside the log and outlives this process.
///
/// A follower's cursor moves in id order. A message that was refused for good is parked: kept with its reason, passed by
/// the cursor, and sent again only when an operator asks for it.
///
/// An operator may skip messages and ask for parked ones while a server tells its followers, from another process: then
/// the cursor that is kept runs ahead of the one in the server's memory. No change ever moves a cursor back, so that
/// neither undoes what the other did, and whoever keeps a position in memory MUST look at [`standings`](Self::standings)
/// again while a message is not taken.
///
/// Every change can be asked for again: done twice, it is done once. After [`StoreError::Uncertain`] whoever asked asks
/// again, or reads how it stands. A change of a follower that never followed comes to nothing.
///
/// Of several servers on one log one tells a follower, the one that has the [`lead`](Self::lead).
pub trait Followers: Send + Sync {
    /// Resolves when this server is the one that tells `follower`, which it is until the [`Lead`] is lost or dropped: then
    /// another one may be. Fails when that cannot be found out; nothing is held then.
    fn lead(&self, follower: Follower) -> Answer<'_, Result<Lead, StoreError>>;

    /// Makes sure that `follower` has a cursor, which begins at `begin` if it is new, and tells where it stands.
    fn follow(&self, follower: Follower, begin: Begin) -> Answer<'_, Result<Standing, StoreError>>;

    /// The messages of all conversations after `after`, by id: at most `limit`, and ended before their encoded size exceeds
    /// `max_bytes`, but not before the first.
    fn log(
        &self,
        after: Cursor,
        limit: u32,
        max_bytes: usize,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>>;

    /// Moves the cursor to `to`, unless it is there or further already, and forgets the last failure. With `parked`, the
    /// message `to` was refused for that reason; without, it was taken, and is not parked any more if it was. Durable when it
    /// resolves.
    fn advance(
        &self,
        follower: Follower,
        to: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>>;

    /// Notes why the message after the cursor is not taken at present: the newest reason, and the moment of the first since
    /// the cursor was last moved.
    fn note_failure(
        &self,
        follower: Follower,
        reason: String,
    ) -> Answer<'_, Result<(), StoreError>>;

    /// Everybody who ever followed, in the order of [`Follower`].
    fn standings(&self) -> Answer<'_, Result<Vec<Standing>, StoreError>>;

    /// Parked messages after `after`, by id.
    fn parked(
        &self,
        follower: Follower,
        after: Cursor,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Parked>, StoreError>>;

    /// Parked messages that an operator wants to be sent again, by id.
    fn due_again(
        &self,
        follower: Follower,
        limit: u32,
    ) -> Answer<'_, Result<Vec<Message>, StoreError>>;

    /// What came of a parked message that was due again: with a reason it stays parked, for that one, and is not due any more;
    /// without, it was taken, and is forgotten. Nothing, when it is not parked any more.
    fn conclude_again(
        &self,
        follower: Follower,
        id: MessageId,
        parked: Option<String>,
    ) -> Answer<'_, Result<(), StoreError>>;
}

/// Being the one that tells a follower.
pub struct Lead(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Lead {
    /// Where no other server can be.
    pub fn undisputed() -> Self {
        Self::until(pending())
    }

    /// Until `lost` resolves; what it holds is let go when this is dropped. It needs to be polled.
    pub fn until(lost: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(lost))
    }

    /// Resolves when another server may be the one.
    pub async fn lost(self) {
        self.0.await;
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lead")
    }
}

/// Who follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Follower {
    /// The backend, which keeps a copy.
    Backend,
    /// The webhook.
    Webhook,
}

impl Follower {
    /// Everybody who can.
    pub const ALL: [Self; 2] = [Self::Backend, Self::Webhook];

    /// The name in the database, in metrics and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Webhook => "webhook",
        }
    }
}

/// Where a new follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the first message that is stored.
    Oldest,
    /// With the first that is stored from now on.
    Newest,
}

/// Where a follower stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub follower: Follower,
    /// Everything up to here was taken, or is parked.
    pub position: Cursor,
    /// How many messages are parked.
    pub parked: u64,
    /// Since when the next message is not taken, and why; `None` when nothing is known to be wrong.
    pub failing: Option<(Timestamp, String)>,
}

/// A message that was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Which.
    pub id: MessageId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// An operator wants it to be sent again.
    pub due_again: bool,
}
